"""A thread for inferences, whose death or hanging is noticed."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class ThreadDied(Exception):
    """The inference thread has ended, or hangs."""


class InferenceThread:
    """A thread that runs one function after another, and whose death or hanging is noticed.

    It is a daemon, unlike the threads of an executor, so that a hang in native code cannot keep the process alive.
    """

    def __init__(self) -> None:
        # At most the next function, and None, which ends the thread.
        self._jobs: queue.Queue[Callable[[], bool] | None] = queue.Queue(maxsize=2)
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    async def run(self, function: Callable[[], _Result], timeout_s: float) -> _Result:
        """Runs a function in the thread, one at a time.

        Raises:
            ThreadDied: the function took longer than `timeout_s` seconds, or ended the thread.
            Exception: raised by the function.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Result] = loop.create_future()

        def job() -> bool:
            try:
                result = function()
            except Exception as error:
                _deliver(loop, _fail, answer, error)
            except BaseException as error:
                _deliver(loop, _fail, answer, ThreadDied(f"{type(error).__name__} ended the inference thread"))
                return False
            else:
                _deliver(loop, _succeed, answer, result)
            return True

        self._jobs.put_nowait(job)
        try:
            async with asyncio.timeout(timeout_s) as timer:
                return await answer
        except TimeoutError as error:
            if timer.expired():
                raise ThreadDied(f"the inference thread has not answered for {timeout_s:g} s") from error
            raise

    def close(self, timeout_s: float) -> None:
        """Ends the thread after its current function; waits at most `timeout_s` seconds for it."""
        self._jobs.put_nowait(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job():
                return


def _deliver(loop: asyncio.AbstractEventLoop, how: Callable[..., None], *arguments: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(how, *arguments)


def _succeed(answer: "asyncio.Future[_Result]", result: _Result) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
