"""Feeds inference threads from bounded lanes, in small batches of whatever waits; each caller gets an answer.

Photographs of queries go first. While few are there, they use all threads, and those that wait are shared out:
several at once hardly take less time than one after another, and each waits for all of its batch. While many are
there, or while photographs of batches wait, half of the threads at most hold them: then larger batches spare the
processors, and batches never starve; a single thread takes one photograph of a batch along. Batches use all threads
while there are no queries. For a while after each query they leave one thread to the next query, which would wait for
a whole batch otherwise. No inference waits until its batch is full.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Gauge, Histogram

from services.concurrency import deadline, spans
from services.concurrency.metrics import SECONDS
from services.contract.errors import NotReady, Overloaded
from services.embedder.inference_thread import InferenceThread, ThreadDied

Pixels: TypeAlias = NDArray[np.uint8]

# What an inference says of one picture.
_Answer = TypeVar("_Answer")

_Result = TypeVar("_Result")

_log = structlog.stdlib.get_logger(__name__)

_PHOTOGRAPHS: Final = Gauge(
    "fashion_embedder_photographs", "Photographs from decoding to the answer, by lane.", ("lane",)
)
_WAIT_SECONDS: Final = Histogram(
    "fashion_embedder_wait_seconds",
    "Time from a decoded photograph to its inference, by lane.",
    ("lane",),
    buckets=SECONDS,
)
_BATCH: Final = Histogram(
    "fashion_embedder_batch_photographs", "Photographs per inference.", buckets=(1, 2, 4, 8, 16, 32, 64)
)
_INFERENCE_SECONDS: Final = Histogram("fashion_embedder_inference_seconds", "Time of an inference.", buckets=SECONDS)

_JOIN_TIMEOUT_S: Final = 10.0
# Work between inferences looks for a while of this length without photographs, and how often.
_CALM_S: Final = 0.25
_LOOK_S: Final = 0.05
# How long the processors count as shared after two calls have met: their next photographs will meet again.
_CROWDED_S: Final = 0.1
# More photographs of queries than this for each thread are many.
_MANY: Final = 2
# How long after a query batches leave a thread to the next one. Beside fewer queries than that, they have all threads.
_QUERIED_S: Final = 2.0


class Lane(Enum):
    """A queue of photographs."""

    QUERY = "query"
    BATCH = "batch"


# A label is looked up once, not for each photograph.
_PHOTOGRAPHS_OF: Final = {lane: _PHOTOGRAPHS.labels(lane.value) for lane in Lane}
_WAIT_SECONDS_OF: Final = {lane: _WAIT_SECONDS.labels(lane.value) for lane in Lane}


@dataclass(frozen=True, slots=True)
class BatchingLimits:
    """Limits of the queues and of the inferences.

    Attributes:
        query_places: maximum photographs of queries admitted, from decoding to the answer.
        batch_places: maximum photographs of batches admitted.
        micro_batch: maximum photographs per inference, at least 2.
        inference_timeout_s: time after which an inference counts as hanging, and its thread as dead, in seconds.
        inferences: maximum inferences at once, each in a thread of its own.
    """

    query_places: int
    batch_places: int
    micro_batch: int
    inference_timeout_s: float
    inferences: int = 1

    def __post_init__(self) -> None:
        if self.micro_batch < 2:
            raise ValueError("micro_batch must be at least 2, for one photograph of each lane")
        if self.inferences < 1:
            raise ValueError("inferences must be at least 1")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[_Answer]):
    pixels: Pixels
    deadline: float | None
    answer: "asyncio.Future[_Answer]"
    since: float


class MicroBatcher(Generic[_Answer]):
    """Runs inferences in threads of their own.

    All methods belong to one event loop. An async context manager: the threads run inside.
    """

    def __init__(self, encode: Callable[[Pixels, bool], Sequence[_Answer]], limits: BatchingLimits) -> None:
        """Makes a batcher.

        Args:
            encode: from uint8 (n, height, width, 3), n in 1..micro_batch, to one answer per picture; called by
                `limits.inferences` threads at once. It is told whether other calls need the processors too.
            limits: limits of the queues and of the inferences.
        """
        self._encode = encode
        self._limits = limits
        self._places = {Lane.QUERY: limits.query_places, Lane.BATCH: limits.batch_places}
        self._admitted = dict.fromkeys(Lane, 0)
        self._lanes: dict[Lane, deque[_Waiting[_Answer]]] = {lane: deque() for lane in Lane}
        self._threads = tuple(InferenceThread() for _ in range(limits.inferences))
        # A stack: the thread that ran last has its data in the processor's cache.
        self._idle = list(self._threads)
        # Who has a thread next, before any photograph.
        self._turns: dict[InferenceThread, asyncio.Future[None]] = {}
        # When a photograph was answered last.
        self._left = 0.0
        self._query_inferences = 0
        self._crowded_until = 0.0
        self._queried_until = 0.0
        self._running: dict[asyncio.Task[None], Sequence[_Waiting[_Answer]]] = {}
        self._died = asyncio.Event()
        self._ended = False

    async def __aenter__(self) -> Self:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Refuses waiting photographs, waits for inferences under way, and ends the threads."""
        self._end()
        if self._running:
            await asyncio.wait(self._running)
        if not self._died.is_set():
            for thread in self._threads:
                await asyncio.to_thread(thread.close, _JOIN_TIMEOUT_S)

    @contextmanager
    def admitted(self, lane: Lane, count: int) -> Iterator[None]:
        """Takes places for photographs, from before they are decoded until they are answered.

        An empty lane admits any number, so that a batch larger than the lane gets through.

        Raises:
            Overloaded: QUEUE_FULL; too few places are left.
            NotReady: MODEL_NOT_READY; an inference thread is dead.
        """
        if self._ended:
            raise _dead()
        taken = self._admitted[lane]
        if taken and taken + count > self._places[lane]:
            raise Overloaded(
                f"{taken} of at most {self._places[lane]} photographs are waiting already; try again a little later.",
                reason="QUEUE_FULL",
                metadata={"waiting": str(taken), "places": str(self._places[lane])},
            )
        self._meet()
        if lane is Lane.QUERY:
            self._queried_until = time.perf_counter() + _QUERIED_S
        with self.kept(lane, count):
            yield

    @contextmanager
    def kept(self, lane: Lane, count: int) -> Iterator[None]:
        """Keeps places of photographs whose caller has gone while work for them is still under way."""
        self._admitted[lane] += count
        _PHOTOGRAPHS_OF[lane].inc(count)
        try:
            yield
        finally:
            self._admitted[lane] -= count
            self._left = time.monotonic()
            _PHOTOGRAPHS_OF[lane].dec(count)
            self._meet()

    def _meet(self) -> None:
        """Notes that one call comes or leaves where others are."""
        if any(self._admitted.values()):
            self._crowded_until = time.perf_counter() + _CROWDED_S

    async def submit(self, pixels: Pixels, lane: Lane) -> _Answer:
        """Encodes one admitted photograph; drops it if its caller leaves or its deadline passes.

        Args:
            pixels: uint8 (height, width, 3).
            lane: the lane that admitted it.

        Returns:
            The picture's answer.

        Raises:
            DeadlineExceeded: the deadline passed before the inference began.
            NotReady: MODEL_NOT_READY; an inference thread is dead.
        """
        (answer,) = await self.submit_all([pixels], lane)
        return answer

    async def submit_all(self, pixels: Sequence[Pixels], lane: Lane) -> Sequence[_Answer]:
        """Encodes several admitted photographs; returns their answers in order.

        Raises:
            DeadlineExceeded: the deadline passed before the last inference began.
            NotReady: MODEL_NOT_READY; an inference thread is dead.
        """
        if self._ended:
            raise _dead()
        loop, until = asyncio.get_running_loop(), deadline.current()
        waiting = [_Waiting(each, until, loop.create_future(), time.perf_counter()) for each in pixels]
        self._lanes[lane].extend(waiting)
        self._start()
        try:
            with spans.step("embedder.inference"):
                return [await each.answer for each in waiting]
        finally:
            # If the caller leaves, or one photograph fails, nobody waits for the others.
            for each in waiting:
                if not each.answer.cancel() and not each.answer.cancelled():
                    each.answer.exception()

    async def in_every_thread(self, function: Callable[[], _Result], timeout_s: float) -> Sequence[_Result]:
        """Runs a function in all threads at once, such as warming up, before anything is submitted.

        Raises:
            ThreadDied: the function took too long, or ended a thread.
            Exception: raised by the function.
        """
        return await asyncio.gather(*(thread.run(function, timeout_s) for thread in self._threads))

    async def between(self, thread: int, function: Callable[[], _Result], patience_s: float = 0.0) -> _Result:
        """Runs a short function in one of the threads, as soon as its inference under way has ended.

        Args:
            thread: which, from 0.
            function: takes less than `inference_timeout_s`.
            patience_s: how long to wait first for a while without photographs, or for several that wait.

        Raises:
            NotReady: MODEL_NOT_READY; an inference thread is dead.
            Exception: raised by the function.
        """
        until = time.monotonic() + patience_s
        while not self._ended and time.monotonic() < until and not self._has_time():
            await asyncio.sleep(_LOOK_S)
        if self._ended:
            raise _dead()
        taken = self._threads[thread]
        if taken in self._idle:
            self._idle.remove(taken)
        else:
            turn = self._turns[taken] = asyncio.get_running_loop().create_future()
            try:
                await turn
            except asyncio.CancelledError:
                # It may have its turn already.
                if not turn.cancelled():
                    self._free(taken)
                raise
        try:
            return await taken.run(function, self._limits.inference_timeout_s)
        except ThreadDied:
            self._thread_died()
            raise _dead() from None
        finally:
            self._free(taken)

    async def died(self) -> None:
        """Waits until an inference thread has died; it is never replaced."""
        await self._died.wait()

    def _start(self) -> None:
        """Starts inferences while there are idle threads and waiting photographs."""
        while self._idle and not self._ended:
            queries, batches = self._next()
            if not queries and not batches:
                return
            self._query_inferences += bool(queries)
            batch = [*queries, *batches]
            _observe_begin(queries, batches)
            answering = asyncio.create_task(self._answer(batch, self._idle.pop(), bool(queries)))
            self._running[answering] = batch
            answering.add_done_callback(self._running.pop)

    def _next(self) -> tuple[Sequence[_Waiting[_Answer]], Sequence[_Waiting[_Answer]]]:
        """Takes what one thread encodes next, of queries and of batches; of batches its share, if several are idle."""
        queries, batches = self._lanes[Lane.QUERY], self._lanes[Lane.BATCH]
        size = self._limits.micro_batch
        most = len(self._threads)
        if batches or self._admitted[Lane.QUERY] > _MANY * most:
            most = max(1, most // 2)
        full = self._query_inferences >= most
        along = 1 if batches and len(self._threads) == 1 else 0
        taken = [] if full else _take(queries, min(size - along, -(-len(queries) // most)))
        if taken:
            return taken, _take(batches, along)
        left = not full and len(self._threads) > 1 and time.perf_counter() < self._queried_until
        threads = len(self._idle) - left
        return (), _take(batches, min(size, -(-len(batches) // threads))) if threads else []

    async def _answer(self, batch: Sequence[_Waiting[_Answer]], thread: InferenceThread, with_queries: bool) -> None:
        try:
            begin = time.perf_counter()
            crowded = begin < self._crowded_until or sum(self._admitted.values()) > len(batch)
            answers = await thread.run(lambda: self._encoded(batch, crowded), self._limits.inference_timeout_s)
            _INFERENCE_SECONDS.observe(time.perf_counter() - begin)
            if len(answers) != len(batch):
                raise RuntimeError(f"the encoder returned {len(answers)} embeddings of {len(batch)} photographs")
        except ThreadDied:
            self._thread_died()
            return
        except Exception as error:
            _refuse(batch, error)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)
        self._query_inferences -= with_queries
        self._free(thread)

    def _has_time(self) -> bool:
        if sum(map(len, self._lanes.values())) > 1:
            return True
        return not any(self._admitted.values()) and time.monotonic() - self._left >= _CALM_S

    def _free(self, thread: InferenceThread) -> None:
        """Gives a thread to whoever is next."""
        turn = self._turns.pop(thread, None)
        if turn is not None and not turn.done():
            turn.set_result(None)
        else:
            self._idle.append(thread)
        self._start()

    def _thread_died(self) -> None:
        _log.critical("an inference thread has died", exc_info=True)
        self._died.set()
        self._end()

    def _encoded(self, batch: Sequence[_Waiting[_Answer]], crowded: bool) -> Sequence[_Answer]:
        return self._encode(np.stack([waiting.pixels for waiting in batch]), crowded)

    def _end(self) -> None:
        """Refuses all waiting and all later photographs."""
        self._ended = True
        for answering, batch in self._running.items():
            # The task cannot do this: if it is cancelled before its first step, it refuses nobody.
            _refuse(batch, _dead())
            if answering is not asyncio.current_task():
                answering.cancel()
        for lane in self._lanes.values():
            _refuse(lane, _dead())
            lane.clear()
        for turn in self._turns.values():
            turn.cancel()


def _observe_begin(queries: Sequence[_Waiting[Any]], batches: Sequence[_Waiting[Any]]) -> None:
    now = time.perf_counter()
    _BATCH.observe(len(queries) + len(batches))
    for lane, started in ((Lane.QUERY, queries), (Lane.BATCH, batches)):
        for waiting in started:
            _WAIT_SECONDS_OF[lane].observe(now - waiting.since)


def _take(lane: deque[_Waiting[_Answer]], count: int) -> list[_Waiting[_Answer]]:
    """Takes photographs whose callers still wait, and refuses those whose deadline has passed."""
    taken: list[_Waiting[_Answer]] = []
    while lane and len(taken) < count:
        waiting = lane.popleft()
        if waiting.answer.done():
            continue
        if deadline.passed(waiting.deadline):
            waiting.answer.set_exception(deadline.exceeded())
            continue
        taken.append(waiting)
    return taken


def _refuse(refused: Sequence[_Waiting[Any]] | deque[_Waiting[Any]], error: Exception) -> None:
    for waiting in refused:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def _dead() -> NotReady:
    return NotReady("The encoder has stopped working; try again, another replica may answer.", reason="MODEL_NOT_READY")
