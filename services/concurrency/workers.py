"""Runs what computes or waits for a disk in threads, off the event loop: so much at a time, and no endless queue."""

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
    """Some threads, and room for so much work beside what they are doing; one thread does work in its order."""

    def __init__(self, name: str, *, threads: int, max_pending: int) -> None:
        """Starts no thread before there is work.

        Args:
            name: of the threads.
            threads: how many there are, at least 1.
            max_pending: how much may be waiting or under way, at least 1; more is refused.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._max_pending = max_pending
        self._pending = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Does some work in a thread.

        A caller that gives up does not end what is under way; what has not begun by its deadline is dropped.

        Raises:
            Overloaded: too much is waiting (QUEUE_FULL).
            DeadlineExceeded: its turn came after the caller's deadline.
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
        # Counted until the thread is done with it or it was cancelled before its turn, whoever still waits for it.
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
        """Ends the threads; what waits is cancelled, what is under way is waited for."""
        self._executor.shutdown(wait=True, cancel_futures=True)
