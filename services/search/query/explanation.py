"""Times the steps of a query, for people who want to know how an answer came about."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from prometheus_client import Histogram

from services.concurrency import spans
from services.concurrency.metrics import SECONDS
from services.search.indexes.base import Hit

_STEP_SECONDS: Final = Histogram(
    "fashion_search_step_seconds", "Time of a step of FindSimilar; steps overlap.", ("step",), buckets=SECONDS
)


class Step(Enum):
    """A step of a query."""

    TOTAL = "total"
    READ_DISLIKES = "read dislikes"
    EMBED = "embed"
    CLASSIFY = "classify"
    SEARCH = "search"
    EXPLAIN = "explain"


# A label is looked up once, not in each query.
_SECONDS_OF: Final[Mapping[Step, Histogram]] = {
    step: _STEP_SECONDS.labels(step.value) for step in Step if step is not Step.TOTAL
}
_SPAN_OF: Final[Mapping[Step, str]] = {step: f"search.{step.name.lower()}" for step in Step}


@dataclass(frozen=True, slots=True)
class StepTiming:
    """The start of a step, counted from the start of the query, and its duration; in seconds."""

    step: Step
    start_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer came about.

    Attributes:
        timings: in the order in which the steps began; some overlap.
        hits_before_colours: the result of the same search without the user's dislikes; empty if there are none.
    """

    timings: tuple[StepTiming, ...]
    hits_before_colours: tuple[Hit, ...]


class Stopwatch:
    """Times the steps of one query."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._timings: list[StepTiming] = []

    @contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """Times the block, however it ends."""
        start = time.perf_counter()
        try:
            with spans.step(_SPAN_OF[step]):
                yield
        finally:
            duration = time.perf_counter() - start
            self._timings.append(StepTiming(step, start - self._start, duration))
            _SECONDS_OF[step].observe(duration)

    def timings(self) -> tuple[StepTiming, ...]:
        """Returns the total up to now, then the steps that have ended, in the order in which they began."""
        total = StepTiming(Step.TOTAL, 0.0, time.perf_counter() - self._start)
        return (total, *sorted(self._timings, key=lambda timing: timing.start_s))
