"""Embeds products of another model version again, from their stored photographs, in the background."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.contract.errors import DeadlineExceeded, ModelMismatch, Overloaded, Unavailable
from services.search.writes.writer import CatalogueWriter

_log = structlog.stdlib.get_logger(__name__)

_LOG_EVERY = 1000


async def reembed(
    writer: CatalogueWriter,
    product_ids: Sequence[str],
    *,
    group: int,
    pause_s: float,
    after_group: Callable[[], Awaitable[None]],
) -> None:
    """Embeds products again until all are done; while the embedder is down or busy, it waits and tries again.

    Args:
        writer: writes the catalogue.
        product_ids: products of another model version, as returned by `CatalogueWriter.load`.
        group: products per call of the embedder.
        pause_s: how long to wait before another attempt, in seconds.
        after_group: called after each group.
    """
    if not product_ids:
        return
    _log.info("embedding products of another model version again", count=len(product_ids))
    embedded = 0
    for start in range(0, len(product_ids), group):
        while True:
            try:
                embedded += await writer.photographs.embed_again(product_ids[start : start + group])
                break
            except (Unavailable, ModelMismatch, Overloaded, DeadlineExceeded) as error:
                _log.warning("embedding again is delayed", reason=error.reason, why=error.message)
                await asyncio.sleep(pause_s)
        await after_group()
        done = start + group
        if done // _LOG_EVERY != start // _LOG_EVERY and done < len(product_ids):
            _log.info("embedding products again", done=done, count=len(product_ids))
    _log.info("products embedded again", embedded=embedded, count=len(product_ids))
