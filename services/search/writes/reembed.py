"""Embeds what the live generation lacks, from the stored photographs, in the background."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from services.contract.errors import DeadlineExceeded, ModelMismatch, Overloaded, Unavailable
from services.search.writes.writer import CatalogueWriter

_log = structlog.stdlib.get_logger(__name__)

_LOG_EVERY = 1000
_LOOK_S: Final = 1.0
# How long before photographs that could not be embedded are tried again, unless their product is written before; each
# time twice as long, since each one is a line of the log.
_RETRY_S: Final = 600.0
_MAX_RETRY_S: Final = 86_400.0
_AFTER_FAULT_S: Final = 60.0


async def keep_complete(
    writer: CatalogueWriter,
    *,
    group: int,
    pause_s: float,
    after_group: Callable[[], Awaitable[None]],
) -> None:
    """Embeds what the live generation lacks, whichever is live; until it is cancelled.

    A start with another model leaves products without an embedding of it. So does a switch to a generation whose
    embedder could not keep up with writes.

    Args:
        writer: writes the catalogue; its index is loaded.
        group: products per call of the embedder.
        pause_s: how long to wait before another attempt, in seconds.
        after_group: called after each group.
    """
    retried, retry_s = time.monotonic(), _RETRY_S
    while True:
        live = writer.generations.live
        if time.monotonic() - retried > retry_s:
            retried, retry_s = time.monotonic(), min(2 * retry_s, _MAX_RETRY_S)
            live.try_again(tuple(live.failed.copy()))
        try:
            product_ids = await asyncio.to_thread(live.to_embed)
            await reembed(writer, product_ids, group=group, pause_s=pause_s, after_group=after_group)
            await asyncio.sleep(_LOOK_S)
        except Exception:
            # A fault of this program must not leave products unfindable until a restart.
            _log.exception("embedding outdated products again has failed; trying again")
            await asyncio.sleep(_AFTER_FAULT_S)


async def reembed(
    writer: CatalogueWriter,
    product_ids: Sequence[str],
    *,
    group: int,
    pause_s: float,
    after_group: Callable[[], Awaitable[None]],
) -> None:
    """Embeds products again until all are done, or another generation is live.

    While the embedder is down or busy, it waits and tries again.

    Args:
        writer: writes the catalogue.
        product_ids: products that the live generation lacks.
        group: products per call of the embedder.
        pause_s: how long to wait before another attempt, in seconds.
        after_group: called after each group.
    """
    if not product_ids:
        return
    live = writer.generations.live
    _log.info("embedding products of another model version again", count=len(product_ids))
    embedded = 0
    for start in range(0, len(product_ids), group):
        while True:
            if writer.generations.live is not live:
                return
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
