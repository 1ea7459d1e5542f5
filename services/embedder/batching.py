"""Feeds one inference thread from bounded lanes, in small batches of whatever waits; each caller gets an answer.

Photographs of queries go first. Those of batches take the thread while there are none, and are never starved: wherever
both wait, one of a batch goes along. Nothing waits for a batch to fill up.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from services.serving import deadline
from services.serving.errors import NotReady, Overloaded

Pixels: TypeAlias = NDArray[np.uint8]
Vectors: TypeAlias = NDArray[np.float32]

_Result = TypeVar("_Result")

_log = structlog.stdlib.get_logger(__name__)

_JOIN_TIMEOUT_S: Final = 10.0


class Lane(Enum):
    """Where photographs wait."""

    QUERY = "query"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class BatchingLimits:
    """How much may wait, and how much is worked on at once.

    Attributes:
        query_places: photographs of queries that are admitted at once, from decoding to the answer.
        batch_places: the same for photographs of batches.
        micro_batch: most photographs in one inference, at least 2.
        inference_timeout_s: an inference that takes longer, in seconds, will never end: the thread is given up.
    """

    query_places: int
    batch_places: int
    micro_batch: int
    inference_timeout_s: float

    def __post_init__(self) -> None:
        if self.micro_batch < 2:
            raise ValueError("a micro-batch takes at least 2 photographs, one of either lane")


@dataclass(slots=True, eq=False)
class _Waiting:
    pixels: Pixels
    deadline: float | None
    answer: "asyncio.Future[Vectors]"


class MicroBatcher:
    """Answers `submit` with the rows of inferences that run one after another in a thread of their own.

    All methods belong to one event loop. Use as an async context manager: the thread runs inside.
    """

    def __init__(self, encode: Callable[[Pixels], Vectors], limits: BatchingLimits) -> None:
        """Takes what is run in the thread.

        Args:
            encode: uint8 (n, height, width, 3), n in 1..micro_batch, to float32 (n, dimension).
            limits: how much may wait.
        """
        self._encode = encode
        self._limits = limits
        self._places = {Lane.QUERY: limits.query_places, Lane.BATCH: limits.batch_places}
        self._admitted = dict.fromkeys(Lane, 0)
        self._lanes: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in Lane}
        self._thread = InferenceThread()
        self._something_waits = asyncio.Event()
        self._died = asyncio.Event()
        self._ended = False
        self._dispatcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "MicroBatcher":
        """Starts the thread."""
        self._thread.start()
        self._dispatcher = asyncio.create_task(self._dispatch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the thread after the inference that it is in; whatever still waits is refused."""
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.wait({self._dispatcher})
        if not self._died.is_set():
            await asyncio.to_thread(self._thread.close, _JOIN_TIMEOUT_S)

    @contextmanager
    def admitted(self, lane: Lane, count: int) -> Iterator[None]:
        """Takes places for photographs from before they are decoded until they are answered.

        More than all the places are given to one who comes when none is taken: any number gets through.

        Raises:
            Overloaded: QUEUE_FULL; there are not so many places left.
            NotReady: MODEL_NOT_READY; the inference thread is dead.
        """
        if self._ended:
            raise _dead()
        taken = self._admitted[lane]
        if taken and taken + count > self._places[lane]:
            raise Overloaded(
                f"{taken} photographs are waiting already, and {self._places[lane]} may; try again a little later.",
                reason="QUEUE_FULL",
                metadata={"waiting": str(taken), "places": str(self._places[lane])},
            )
        self._admitted[lane] += count
        try:
            yield
        finally:
            self._admitted[lane] -= count

    async def submit(self, pixels: Pixels, lane: Lane) -> Vectors:
        """Encodes one photograph, for which a place was taken; dropped where the caller goes or its deadline passes.

        Args:
            pixels: uint8 (height, width, 3).
            lane: the one that the place was taken in.

        Returns:
            float32 (dimension,).

        Raises:
            DeadlineExceeded: it passed before the inference began.
            NotReady: MODEL_NOT_READY; the inference thread is dead.
        """
        (vectors,) = await self.submit_all([pixels], lane)
        return vectors

    async def submit_all(self, pixels: Sequence[Pixels], lane: Lane) -> Sequence[Vectors]:
        """Encodes several photographs; returns their rows in order.

        Raises:
            DeadlineExceeded: it passed before the last inference began.
            NotReady: MODEL_NOT_READY; the inference thread is dead.
        """
        if self._ended:
            raise _dead()
        loop, until = asyncio.get_running_loop(), deadline.current()
        waiting = [_Waiting(each, until, loop.create_future()) for each in pixels]
        self._lanes[lane].extend(waiting)
        self._something_waits.set()
        try:
            return [await each.answer for each in waiting]
        finally:
            # Whoever leaves, or fails with one of them, waits for none of the others.
            for each in waiting:
                if not each.answer.cancel() and not each.answer.cancelled():
                    each.answer.exception()

    async def call(self, function: Callable[[], _Result], timeout_s: float) -> _Result:
        """Runs something else in the inference thread, before anything was submitted: loading, warming up.

        Raises:
            ThreadDied: it takes too long, or ended the thread.
            Exception: its own.
        """
        return await self._thread.run(function, timeout_s)

    async def died(self) -> None:
        """Waits until the inference thread is dead; it does not come back."""
        await self._died.wait()

    async def _dispatch(self) -> None:
        batch: Sequence[_Waiting] = ()
        try:
            while True:
                await self._something_waits.wait()
                batch = self._next()
                if batch:
                    await self._answer(batch)
        except Exception:
            # Whether the thread or these lines failed: nobody is left waiting, and whoever asks is told.
            _log.critical("inference has stopped", exc_info=True)
            self._died.set()
        finally:
            self._ended = True
            _refuse(batch, _dead())
            for lane in self._lanes.values():
                _refuse(lane, _dead())
                lane.clear()

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        pixels = np.stack([waiting.pixels for waiting in batch])
        try:
            vectors = await self._thread.run(lambda: self._encode(pixels), self._limits.inference_timeout_s)
            if len(vectors) != len(batch):
                raise RuntimeError(f"the encoder made {len(vectors)} embeddings of {len(batch)} photographs")
        except ThreadDied:
            raise
        except Exception as error:
            _refuse(batch, error)
            return
        for waiting, vector in zip(batch, vectors, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(vector)

    def _next(self) -> Sequence[_Waiting]:
        queries, batches = self._lanes[Lane.QUERY], self._lanes[Lane.BATCH]
        size = self._limits.micro_batch
        taken = _take(queries, size - 1 if batches else size)
        taken += _take(batches, 1 if taken else size)
        if not queries and not batches:
            self._something_waits.clear()
        return taken


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


def _take(lane: deque[_Waiting], count: int) -> list[_Waiting]:
    """Takes those from the head that somebody still waits for, and refuses those whose deadline has passed."""
    taken: list[_Waiting] = []
    while lane and len(taken) < count:
        waiting = lane.popleft()
        if waiting.answer.done():
            continue
        if deadline.passed(waiting.deadline):
            waiting.answer.set_exception(deadline.exceeded())
            continue
        taken.append(waiting)
    return taken


def _refuse(refused: Sequence[_Waiting] | deque[_Waiting], error: Exception) -> None:
    for waiting in refused:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def _dead() -> NotReady:
    return NotReady("The encoder has stopped working; another replica may answer.", reason="MODEL_NOT_READY")


def _deliver(loop: asyncio.AbstractEventLoop, how: Callable[..., None], *arguments: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(how, *arguments)


def _succeed(answer: "asyncio.Future[_Result]", result: _Result) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
