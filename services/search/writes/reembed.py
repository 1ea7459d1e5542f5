"""Embeds again what another model embedded, from the photographs that are kept: in the background, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.contract.errors import DeadlineExceeded, Overloaded, Unavailable
from services.search.writes.writer import CatalogueWriter

_log = structlog.stdlib.get_logger(__name__)

_LOG_EVERY = 1000


async def renew(
    writer: CatalogueWriter,
    product_ids: Sequence[str],
    *,
    group: int,
    pause_s: float,
    after_group: Callable[[], Awaitable[None]],
) -> None:
    """Embeds products again until all are done; an embedder that is away or busy is tried again.

    Args:
        writer: of the catalogue.
        product_ids: those of another model version, as `CatalogueWriter.load` named them.
        group: products at once.
        pause_s: before an embedder that did not answer is tried again, in seconds.
        after_group: called after each group.
    """
    if not product_ids:
        return
    _log.info("embedding products of another model version again", count=len(product_ids))
    renewed = 0
    for start in range(0, len(product_ids), group):
        while True:
            try:
                renewed += await writer.embed_again(product_ids[start : start + group])
                break
            except (Unavailable, Overloaded, DeadlineExceeded) as error:
                _log.warning("embedding again has to wait", reason=error.reason, why=error.message)
                await asyncio.sleep(pause_s)
        await after_group()
        done = start + group
        if done // _LOG_EVERY != start // _LOG_EVERY and done < len(product_ids):
            _log.info("embedding products again", done=done, count=len(product_ids))
    _log.info("products embedded again", renewed=renewed, count=len(product_ids))
