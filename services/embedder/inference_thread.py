"""One thread that runs inferences one after another, and whose death or silence is noticed."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class ThreadDied(Exception):
    """The inference thread ended, or hangs, instead of answering."""


class InferenceThread:
    """One thread that runs one function after another, and whose death or silence is noticed.

    A daemon, unlike the threads of an executor: one that hangs in native code cannot keep the process from ending.
    """

    def __init__(self) -> None:
        # Holds the one function that comes next, and at the end the wish to end.
        self._jobs: queue.Queue[Callable[[], bool] | None] = queue.Queue(maxsize=2)
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    async def run(self, function: Callable[[], _Result], timeout_s: float) -> _Result:
        """Runs a function in the thread; one at a time.

        Raises:
            ThreadDied: it takes too long, or ended the thread.
            Exception: its own.
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
        """Ends the thread after what it is in, and waits for that so long."""
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
