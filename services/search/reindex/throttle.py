"""Holds work in the background back, so that queries beside it hardly notice."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import numpy as np

# Queries that ran alone and are compared with, and how many there must be before they count.
_WINDOW: Final = 400
_MIN_QUERIES: Final = 40
# So often their percentile is computed anew, in queries.
_EVERY: Final = 20
# The rest after a piece of work, as a multiple of its duration: the first while too few queries are known, the second
# once they are. It stays between the last two. At the last, work takes 0.4 % of the time, so that hardly one query in a
# hundred meets it, whatever it costs.
_UNKNOWN_REST: Final = 1.0
_FIRST_REST: Final = 50.0
_MIN_REST: Final = 0.25
_MAX_REST: Final = 250.0
_MAX_PAUSE_S: Final = 5.0
# A query that is late beside the work multiplies the rest by this, and each other query divides it by as much as makes
# up for it in 200 queries. So one in 200 is late for the work's sake; with those that are late by themselves, the 99th
# percentile stays within the limit.
_LATE_FACTOR: Final = 2.0
_QUERIES_PER_LATE: Final = 200
# Before the first late one, the rest shrinks faster: so many queries halve it.
_QUERIES_PER_TRIAL: Final = 50
# Without queries for so long, nobody has to be spared.
_IDLE_S: Final = 10.0
# A piece of work begins while no query is under way; but it waits no longer than this for that.
_MAX_WAIT_S: Final = 1.0


class Throttle:
    """Lets pieces of work go on only as fast as the 99th percentile of queries allows.

    It compares queries beside the work with those that ran alone, on this machine and in these minutes. Belongs to one
    event loop, but for what `paced` yields.
    """

    def __init__(self, max_slowdown: float = 1.5) -> None:
        """Makes a throttle.

        Args:
            max_slowdown: by what factor the 99th percentile may grow, above 1.
        """
        self._max_slowdown = max_slowdown
        self._under_way = 0
        self._free = asyncio.Event()
        self._pieces = 0
        self._working = False
        self._alone: deque[float] = deque(maxlen=_WINDOW)
        self._unseen = 0
        self._limit_s: float | None = None
        self._rest = _UNKNOWN_REST
        self._active = self._tried = False
        self._last_query = -_IDLE_S
        self._moved = time.time()

    @property
    def rest(self) -> float:
        """The present rest after a piece of work, as a multiple of its duration."""
        return self._rest

    @property
    def moved(self) -> float:
        """When a piece of work ended last, or work began, in seconds since 1970."""
        return self._moved

    @contextmanager
    def query(self) -> Iterator[None]:
        """Times a query."""
        begun, pieces, working = time.perf_counter(), self._pieces, self._working
        self._under_way += 1
        self._free.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._free.set()
            beside = working or self._working or pieces != self._pieces
            self.note(time.perf_counter() - begun, beside=beside)

    def note(self, seconds: float, *, beside: bool) -> None:
        """Takes note of a query: its duration, and whether a piece of work was under way beside it."""
        self._last_query = time.monotonic()
        if not beside:
            self._note_alone(seconds)
        if self._active and self._limit_s is not None:
            late = beside and seconds > self._limit_s
            self._tried = self._tried or late
            queries = _QUERIES_PER_LATE if self._tried else _QUERIES_PER_TRIAL
            self._rest *= _LATE_FACTOR if late else _LATE_FACTOR ** (-1 / queries)
            self._rest = min(max(self._rest, _MIN_REST), _MAX_REST)

    def _note_alone(self, seconds: float) -> None:
        self._alone.append(seconds)
        self._unseen += 1
        if self._unseen >= _EVERY and len(self._alone) >= _MIN_QUERIES:
            self._unseen = 0
            if self._limit_s is None:
                self._rest = _FIRST_REST
            self._limit_s = self._max_slowdown * float(np.quantile(self._alone, 0.99))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Marks that there is work to be done."""
        self._active, self._tried, self._moved = True, False, time.time()
        self._rest = _UNKNOWN_REST if self._limit_s is None else _FIRST_REST
        try:
            yield
        finally:
            self._active = False

    @asynccontextmanager
    async def piece(self) -> AsyncIterator[None]:
        """Waits for a good moment, marks a piece of work, and pauses after it."""
        if self._under_way:
            with suppress(TimeoutError):
                async with asyncio.timeout(_MAX_WAIT_S):
                    await self._free.wait()
        begun = time.perf_counter()
        with self.unpaced():
            yield
        await asyncio.sleep(self._pause_s(time.perf_counter() - begun))

    @contextmanager
    def unpaced(self) -> Iterator[None]:
        """Marks work that cannot be held back."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def paced(self) -> Iterator[Callable[[], None]]:
        """Marks work in a thread; yields what the thread calls between two parts of it, to pause.

        A thread that goes on after the context neither pauses nor counts as work, so that nobody waits for its end.
        """
        begun, ended, marking = time.perf_counter(), threading.Event(), threading.Lock()

        def mark(change: Callable[[], None]) -> bool:
            # Under a lock, so that a thread that goes on marks nothing once the context has ended.
            with marking:
                if ended.is_set():
                    return False
                change()
                return True

        def pace() -> None:
            nonlocal begun
            if mark(self._end):
                ended.wait(self._pause_s(time.perf_counter() - begun))
                mark(self._begin)
                begun = time.perf_counter()

        self._begin()
        try:
            yield pace
        finally:
            with marking:
                ended.set()
                self._end()

    def _begin(self) -> None:
        self._working = True
        self._pieces += 1

    def _end(self) -> None:
        self._working, self._moved = False, time.time()

    def _pause_s(self, worked_s: float) -> float:
        if not self._under_way and time.monotonic() - self._last_query > _IDLE_S:
            return 0.0
        return min(self._rest * worked_s, _MAX_PAUSE_S)
