"""Keeps track of how an answer comes about, for people who look into a query."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from services.search.indexes.base import Hit


class Step(Enum):
    """A step on the way of a query."""

    TOTAL = "total"
    READ_DISLIKES = "read dislikes"
    EMBED = "embed"
    CLASSIFY = "classify"
    SEARCH = "search"
    EXPLAIN = "explain"


@dataclass(frozen=True, slots=True)
class StepTiming:
    """When a step began, since the request was taken up, and how long it took; in seconds."""

    step: Step
    start_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer came about.

    Attributes:
        timings: in the order in which the steps began; some overlap.
        hits_before_colours: what the same search finds without the user's dislikes; empty where there are none.
    """

    timings: tuple[StepTiming, ...]
    hits_before_colours: tuple[Hit, ...]


class Stopwatch:
    """Times the steps of one query."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._timings: list[StepTiming] = []

    @contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """Times what runs inside, however it ends."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._timings.append(StepTiming(step, start - self._begun, time.perf_counter() - start))

    def timings(self) -> tuple[StepTiming, ...]:
        """Returns the steps that have ended, in the order in which they began, the whole way up to now first."""
        total = StepTiming(Step.TOTAL, 0.0, time.perf_counter() - self._begun)
        return (total, *sorted(self._timings, key=lambda timing: timing.start_s))
