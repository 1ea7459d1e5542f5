"""Times of workloads that run interleaved in rounds, as only neighbours on a shared machine are comparable."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Series:
    """The times of one workload.

    Attributes:
        rounds: the median of each round, in ms.
    """

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds' medians, in ms."""
        return float(np.median(self.rounds))


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of one workload to others, per round.

    Attributes:
        median: the median of the rounds.
        low: the smallest round.
        high: the largest round.
    """

    median: float
    low: float
    high: float


def interleaved(
    workloads: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Series]:
    """Runs every workload `calls` times per round, after one more round of warm-up.

    Args:
        workloads: the workloads by name.
        rounds: the number of rounds, at least 1.
        calls: the calls of each workload per round, at least 1.
        clock: returns the time in seconds; that of the processor for work that waits for nothing.
    """
    times: dict[str, list[float]] = {name: [] for name in workloads}
    for at in range(rounds + 1):
        for name, work in workloads.items():
            spent = []
            for _ in range(calls):
                start = clock()
                work()
                spent.append((clock() - start) * 1000)
            if at:
                times[name].append(float(np.median(spent)))
    return {name: Series(tuple(medians)) for name, medians in times.items()}


def ratio(over: Series, *under: tuple[Series, float]) -> Ratio:
    """Divides a workload by a weighted sum of others, round by round.

    Args:
        over: the workload.
        under: the others with their weights.
    """
    values = [time / sum(series.rounds[at] * weight for series, weight in under) for at, time in enumerate(over.rounds)]
    return Ratio(float(np.median(values)), min(values), max(values))
