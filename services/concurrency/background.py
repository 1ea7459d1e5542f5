"""Runs a task in the background of other work, and cancels it when that work ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, TypeVar

# A library may lose a cancellation, as where a timeout ends at the same moment.
_CANCEL_AGAIN_S = 2.0

T = TypeVar("T")


@asynccontextmanager
async def in_background(
    work: Coroutine[Any, Any, T],
    on_end: Callable[[BaseException | None], None] | None = None,
    *,
    context: Context | None = None,
) -> AsyncIterator["asyncio.Task[T]"]:
    """Runs a coroutine as a task for as long as the context lasts, then cancels it and waits until it is gone.

    Args:
        work: the coroutine.
        on_end: called if the task ends by itself: with its error, or with None where it returned.
        context: what the task finds in context variables, such as a deadline; None for what its caller finds.

    Yields:
        The task.
    """
    task = asyncio.create_task(work, context=context)
    if on_end is not None:
        task.add_done_callback(lambda done: None if done.cancelled() else on_end(done.exception()))
    try:
        yield task
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)
