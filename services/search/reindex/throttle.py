"""Holds work in the background back, so that queries beside it hardly notice."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import numpy as np

# Queries that are compared, and how many there must be before they count.
_WINDOW: Final = 400
_MIN_QUERIES: Final = 40
# So often the pause is set anew, in queries.
_EVERY: Final = 20
# The pause after a piece of work, in seconds; it grows and shrinks between these.
_CHANGE: Final = 1.5
_MIN_PAUSE_S: Final = 0.002
_MAX_PAUSE_S: Final = 0.5
# A piece of work begins while no query is under way; but it waits no longer than this for that.
_MAX_WAIT_S: Final = 0.1
_LOOK_S: Final = 0.002


class Throttle:
    """Lets pieces of work go on only as fast as the 99th percentile of queries allows.

    It compares queries beside the work with those that ran alone. Belongs to one event loop, but for `pace`.
    """

    def __init__(self, max_slowdown: float = 1.5) -> None:
        """Makes a throttle.

        Args:
            max_slowdown: by what factor the 99th percentile may grow, above 1.
        """
        self._max_slowdown = max_slowdown
        self._under_way = 0
        self._pieces = 0
        self._working = False
        self._alone: deque[float] = deque(maxlen=_WINDOW)
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._unseen = 0
        self._pause_s = _MIN_PAUSE_S
        self._active = False

    @property
    def pause_s(self) -> float:
        """The present pause after a piece of work, in seconds."""
        return self._pause_s

    @contextmanager
    def query(self) -> Iterator[None]:
        """Times a query."""
        begun, pieces, working = time.perf_counter(), self._pieces, self._working
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self.note(time.perf_counter() - begun, beside=working or pieces != self._pieces)

    def note(self, seconds: float, *, beside: bool) -> None:
        """Takes note of a query: its duration, and whether a piece of work was under way beside it."""
        if not beside:
            self._alone.append(seconds)
        if self._active:
            self._recent.append(seconds)
            self._unseen += 1
            if self._unseen >= _EVERY:
                self._unseen = 0
                self._adapt()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Marks that there is work to be done."""
        self._active = True
        self._recent.clear()
        try:
            yield
        finally:
            self._active = False

    @asynccontextmanager
    async def piece(self) -> AsyncIterator[None]:
        """Waits for a good moment, marks a piece of work, and pauses after it."""
        until = time.perf_counter() + _MAX_WAIT_S
        while self._under_way and time.perf_counter() < until:
            await asyncio.sleep(_LOOK_S)
        self._working = True
        self._pieces += 1
        try:
            yield
        finally:
            self._working = False
            await asyncio.sleep(self._pause_s)

    def pace(self) -> None:
        """Pauses in a thread, between two parts of work that needs the interpreter."""
        self._pieces += 1
        time.sleep(self._pause_s + (_LOOK_S if self._under_way else 0.0))

    def _adapt(self) -> None:
        if len(self._alone) < _MIN_QUERIES or len(self._recent) < _MIN_QUERIES:
            return
        slowdown = float(np.quantile(self._recent, 0.99) / np.quantile(self._alone, 0.99))
        # Well below what is allowed, since the percentile of few queries is uncertain.
        if slowdown > 1 + 0.7 * (self._max_slowdown - 1):
            self._pause_s = min(_CHANGE * self._pause_s, _MAX_PAUSE_S)
        elif slowdown < 1 + 0.3 * (self._max_slowdown - 1):
            self._pause_s = max(self._pause_s / _CHANGE, _MIN_PAUSE_S)
