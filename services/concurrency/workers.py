"""Runs blocking work in threads, off the event loop, with a bounded queue."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from services.concurrency import deadline
from services.contract.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A pool of threads with a bounded queue; a pool of one thread keeps the order."""

    def __init__(self, name: str, *, threads: int, max_pending: int) -> None:
        """Makes a pool, which starts its threads with the first work.

        Args:
            name: name of the threads.
            threads: number of threads, at least 1.
            max_pending: maximum pieces of work waiting or under way, at least 1; more are refused.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._max_pending = max_pending
        self._pending = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs work in a thread.

        Cancelling the caller does not stop work under way. Work that has not begun by the deadline is dropped.

        Raises:
            Overloaded: the queue is full (QUEUE_FULL).
            DeadlineExceeded: the work was dropped.
        """
        if self._pending >= self._max_pending:
            raise Overloaded("The service has too much to do; try again a little later.", reason="QUEUE_FULL")
        until = deadline.current()
        context = contextvars.copy_context()

        def in_turn() -> T:
            if deadline.passed(until):
                raise deadline.exceeded()
            return context.run(work, *args, **kwargs)

        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        done = self._executor.submit(in_turn)
        # Counts until the thread is done, or the work is cancelled before its turn, even if its caller has left.
        self._pending += 1
        done.add_done_callback(lambda _: loop.call_soon_threadsafe(self._settle, done, answer))
        try:
            return await answer
        finally:
            done.cancel()

    def _settle(self, done: "Future[T]", answer: "asyncio.Future[T]") -> None:
        self._pending -= 1
        if answer.done():
            return
        if done.cancelled():
            answer.cancel()
        elif (error := done.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(done.result())

    def close(self) -> None:
        """Cancels waiting work, waits for work under way, and ends the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)
