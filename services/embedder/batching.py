"""Feeds inference threads from bounded lanes, in small batches of whatever waits; each caller gets an answer.

Photographs of queries go first, in one inference at a time, which has the processors to itself. Those of batches take
the threads while there are none, and are never starved: wherever both wait, one of a batch goes along. Nothing waits
for a batch to fill up.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from services.concurrency import deadline
from services.contract.errors import NotReady, Overloaded
from services.embedder.inference_thread import InferenceThread, ThreadDied

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
        inferences: most inferences at once, each in a thread of its own.
    """

    query_places: int
    batch_places: int
    micro_batch: int
    inference_timeout_s: float
    inferences: int = 1

    def __post_init__(self) -> None:
        if self.micro_batch < 2:
            raise ValueError("a micro-batch takes at least 2 photographs, one of either lane")
        if self.inferences < 1:
            raise ValueError("at least one inference has to be possible")


@dataclass(slots=True, eq=False)
class _Waiting:
    pixels: Pixels
    deadline: float | None
    answer: "asyncio.Future[Vectors]"


class MicroBatcher:
    """Answers `submit` with the rows of inferences that run in threads of their own.

    All methods belong to one event loop. Use as an async context manager: the threads run inside.
    """

    def __init__(self, encode: Callable[[Pixels], Vectors], limits: BatchingLimits) -> None:
        """Takes what is run in the threads.

        Args:
            encode: uint8 (n, height, width, 3), n in 1..micro_batch, to float32 (n, dimension); called by as many
                threads at once as there are inferences.
            limits: how much may wait.
        """
        self._encode = encode
        self._limits = limits
        self._places = {Lane.QUERY: limits.query_places, Lane.BATCH: limits.batch_places}
        self._admitted = dict.fromkeys(Lane, 0)
        self._lanes: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in Lane}
        self._threads = tuple(InferenceThread() for _ in range(limits.inferences))
        # The one that was busy last is taken first: what it works with is still in the processor's cache.
        self._idle = list(self._threads)
        self._queries_run = False
        self._running: dict[asyncio.Task[None], Sequence[_Waiting]] = {}
        self._died = asyncio.Event()
        self._ended = False

    async def __aenter__(self) -> "MicroBatcher":
        """Starts the threads."""
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the threads after the inferences that they are in; whatever still waits is refused."""
        self._end()
        if self._running:
            await asyncio.wait(self._running)
        if not self._died.is_set():
            for thread in self._threads:
                await asyncio.to_thread(thread.close, _JOIN_TIMEOUT_S)

    @contextmanager
    def admitted(self, lane: Lane, count: int) -> Iterator[None]:
        """Takes places for photographs from before they are decoded until they are answered.

        More than all the places are given to one who comes when none is taken: any number gets through.

        Raises:
            Overloaded: QUEUE_FULL; there are not so many places left.
            NotReady: MODEL_NOT_READY; an inference thread is dead.
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
            NotReady: MODEL_NOT_READY; an inference thread is dead.
        """
        (vectors,) = await self.submit_all([pixels], lane)
        return vectors

    async def submit_all(self, pixels: Sequence[Pixels], lane: Lane) -> Sequence[Vectors]:
        """Encodes several photographs; returns their rows in order.

        Raises:
            DeadlineExceeded: it passed before the last inference began.
            NotReady: MODEL_NOT_READY; an inference thread is dead.
        """
        if self._ended:
            raise _dead()
        loop, until = asyncio.get_running_loop(), deadline.current()
        waiting = [_Waiting(each, until, loop.create_future()) for each in pixels]
        self._lanes[lane].extend(waiting)
        self._start()
        try:
            return [await each.answer for each in waiting]
        finally:
            # Whoever leaves, or fails with one of them, waits for none of the others.
            for each in waiting:
                if not each.answer.cancel() and not each.answer.cancelled():
                    each.answer.exception()

    async def in_every_thread(self, function: Callable[[], _Result], timeout_s: float) -> Sequence[_Result]:
        """Runs something else in all the threads at once, before anything was submitted: loading, warming up.

        Raises:
            ThreadDied: it takes too long, or ended a thread.
            Exception: its own.
        """
        return await asyncio.gather(*(thread.run(function, timeout_s) for thread in self._threads))

    async def died(self) -> None:
        """Waits until an inference thread is dead; it does not come back."""
        await self._died.wait()

    def _start(self) -> None:
        """Starts as many inferences as there are idle threads and something that may take them."""
        while self._idle and not self._ended:
            queries, batches = self._next()
            if not queries and not batches:
                return
            self._queries_run = self._queries_run or bool(queries)
            batch = [*queries, *batches]
            answering = asyncio.create_task(self._answer(batch, self._idle.pop(), bool(queries)))
            self._running[answering] = batch
            answering.add_done_callback(self._running.pop)

    def _next(self) -> tuple[Sequence[_Waiting], Sequence[_Waiting]]:
        """What one thread encodes next, of queries and of batches: its share, where several are idle."""
        queries, batches = self._lanes[Lane.QUERY], self._lanes[Lane.BATCH]
        size = self._limits.micro_batch
        taken = [] if self._queries_run else _take(queries, size - 1 if batches else size)
        if taken:
            return taken, _take(batches, 1)
        return taken, _take(batches, min(size, -(-len(batches) // len(self._idle))))

    async def _answer(self, batch: Sequence[_Waiting], thread: InferenceThread, with_queries: bool) -> None:
        try:
            pixels = np.stack([waiting.pixels for waiting in batch])
            vectors = await thread.run(lambda: self._encode(pixels), self._limits.inference_timeout_s)
            if len(vectors) != len(batch):
                raise RuntimeError(f"the encoder made {len(vectors)} embeddings of {len(batch)} photographs")
        except ThreadDied:
            _log.critical("inference has stopped", exc_info=True)
            self._died.set()
            self._end()
            return
        except Exception as error:
            _refuse(batch, error)
        else:
            for waiting, vector in zip(batch, vectors, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(vector)
        self._idle.append(thread)
        if with_queries:
            self._queries_run = False
        self._start()

    def _end(self) -> None:
        """Starts nothing more: nobody is left waiting, and whoever asks is told."""
        self._ended = True
        for answering, batch in self._running.items():
            # Not left to the task: one that is cancelled before its first step refuses nobody.
            _refuse(batch, _dead())
            if answering is not asyncio.current_task():
                answering.cancel()
        for lane in self._lanes.values():
            _refuse(lane, _dead())
            lane.clear()


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
