"""Times workloads interleaved in rounds: the machine is shared, so only what ran side by side is compared."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Series:
    """One workload's times.

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
    """How two sums of workloads compare, round by round.

    Attributes:
        median: of the rounds.
        low: the smallest of the rounds.
        high: the largest of the rounds.
    """

    median: float
    low: float
    high: float


def interleaved(workloads: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, Series]:
    """Runs every workload `calls` times in each of some rounds, after a warm-up of as many.

    Args:
        workloads: what to time, by name.
        rounds: at least 1.
        calls: of each workload in a round, at least 1.
    """
    times: dict[str, list[float]] = {name: [] for name in workloads}
    for at in range(rounds + 1):
        for name, work in workloads.items():
            spent = []
            for _ in range(calls):
                start = time.perf_counter()
                work()
                spent.append((time.perf_counter() - start) * 1000)
            if at:
                times[name].append(float(np.median(spent)))
    return {name: Series(tuple(medians)) for name, medians in times.items()}


def ratio(over: Series, *under: tuple[Series, float]) -> Ratio:
    """Compares a workload with a weighted sum of others, in each round by itself.

    Args:
        over: the workload.
        under: others, each with how often it counts.
    """
    values = [time / sum(series.rounds[at] * weight for series, weight in under) for at, time in enumerate(over.rounds)]
    return Ratio(float(np.median(values)), min(values), max(values))
