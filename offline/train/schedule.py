"""The progress of a run through its schedule, and the learning rate there."""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Progress through the schedule, by pictures seen or by time spent.

    By time, each step moves on by its share of what is left. So the schedule always ends with a learning rate of zero,
    however much slower the machine becomes. Only a run by passes is the same on every machine.

    Attributes:
        passes: length in passes; None if time decides.
        seconds: length in seconds; None if passes decide.
        progress: share of the schedule done, in [0, 1].
        spent_s: seconds spent.
    """

    passes: float | None
    seconds: float | None
    progress: float = 0.0
    spent_s: float = 0.0

    def advance(self, seen_passes: float, elapsed_s: float) -> None:
        """Moves on after a step.

        Args:
            seen_passes: passes over the training part done, in all.
            elapsed_s: seconds since the step before.
        """
        if self.passes is not None:
            self.progress = min(1.0, seen_passes / self.passes)
        elif self.seconds is not None:
            left = self.seconds - self.spent_s
            share = 1.0 if elapsed_s >= left else elapsed_s / left
            self.progress = min(1.0, self.progress + (1.0 - self.progress) * share)
        self.spent_s += elapsed_s

    @property
    def finished(self) -> bool:
        """Tells whether the schedule is over."""
        return self.progress >= 1.0 - 1e-9

    @property
    def left_s(self) -> float | None:
        """Seconds until the end, an estimate by passes; None before anything is known."""
        if self.seconds is not None:
            return max(0.0, self.seconds - self.spent_s)
        if self.progress <= 0.0:
            return None
        return self.spent_s * (1.0 - self.progress) / self.progress


def one_cycle(progress: float, peak: float, warm_up: float) -> float:
    """Returns the rate of a one-cycle schedule (Smith 2018): a straight rise, then half a cosine down to zero.

    Args:
        progress: share of the schedule, in [0, 1].
        peak: highest learning rate.
        warm_up: share of the schedule in which it rises from a twentieth of the peak.
    """
    if progress < warm_up:
        return peak * (0.05 + 0.95 * progress / warm_up)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (progress - warm_up) / (1.0 - warm_up)))
