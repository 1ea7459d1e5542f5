"""What processes hold over time, and whether it grows once the first minutes are over."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from offline.benchmark.deployment import Usage
from offline.report.plots import new_figure, save_figure

_SAMPLE_S: Final = 5.0
_TELL_S: Final = 60.0
# So long things may settle, and so long are the spans that are compared.
_SETTLE_S: Final = 300.0
# What allocators and the machine's other work move about.
_MEMORY_SLACK_MIB: Final = 8.0
_MEMORY_SLACK_SHARE: Final = 0.03
_COUNT_SLACK: Final = 2
_MAX_POINTS: Final = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """What all processes held at one time.

    Attributes:
        at_s: since the begin of the load, in seconds.
        usage: by the name of the process.
    """

    at_s: float
    usage: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Growth:
    """What one process held after it had settled, and at the end.

    Attributes:
        resident_mib: median memory of the two spans, in MiB.
        threads: highest number in the two spans.
        files: highest number of open files and sockets in the two spans.
    """

    resident_mib: tuple[float, float]
    threads: tuple[int, int]
    files: tuple[int, int]

    def problems(self) -> list[str]:
        """Names what has grown; nothing where nothing has."""
        before, after = self.resident_mib
        slack = max(_MEMORY_SLACK_MIB, _MEMORY_SLACK_SHARE * before)
        grown = [f"memory from {before:.0f} to {after:.0f} MiB"] if after > before + slack else []
        for name, (first, last) in (("threads", self.threads), ("files", self.files)):
            if last > first + _COUNT_SLACK:
                grown.append(f"{name} from {first} to {last}")
        return grown


def growth(samples: Sequence[Sample]) -> dict[str, Growth]:
    """Compares the span after the first minutes with the last one, for each process.

    Args:
        samples: at least four, ascending in time.
    """
    seconds = samples[-1].at_s
    settle_s = min(_SETTLE_S, seconds / 4)
    span_s = min(_SETTLE_S, (seconds - settle_s) / 3)
    first = [each.usage for each in samples if settle_s <= each.at_s <= settle_s + span_s]
    last = [each.usage for each in samples if each.at_s >= seconds - span_s]

    def compared(name: str) -> Growth:
        def both(of: Callable[[Sequence[Usage]], Any]) -> tuple[Any, Any]:
            return of([usage[name] for usage in first]), of([usage[name] for usage in last])

        return Growth(
            both(lambda usages: float(np.median([each.resident_mib for each in usages]))),
            both(lambda usages: max(each.threads for each in usages)),
            both(lambda usages: max(each.files for each in usages)),
        )

    return {name: compared(name) for name in samples[0].usage}


async def watch(
    usage: Callable[[], Mapping[str, Usage]], seconds: float, tell: Callable[[Sample], None] = lambda sample: None
) -> list[Sample]:
    """Notes for a while what processes hold.

    Args:
        usage: returns what each process holds now.
        seconds: how long.
        tell: called with a sample about once a minute.

    Returns:
        The samples, ascending in time; the begin of the call is time 0.
    """
    began, told_s, step_s = time.monotonic(), 0.0, min(_SAMPLE_S, seconds / 40)
    samples: list[Sample] = []
    while (at_s := time.monotonic() - began) < seconds:
        samples.append(Sample(at_s, usage()))
        if at_s - told_s >= _TELL_S:
            told_s = at_s
            tell(samples[-1])
        await asyncio.sleep(step_s)
    return samples


def memory_text(sample: Sample) -> str:
    """Returns the memory of each process in MiB, as a line tells it."""
    return "MiB: " + ", ".join(f"{name} {usage.resident_mib:.0f}" for name, usage in sample.usage.items())


def growth_figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """Returns what each process held: after the first minutes and at the end, and its memory over time."""
    grown, every = growth(samples), max(1, len(samples) // _MAX_POINTS)
    return {
        "processes": {
            name: {"resident_mib": each.resident_mib, "threads": each.threads, "files": each.files}
            for name, each in grown.items()
        },
        "grown": [f"{name}: {problem}" for name, each in grown.items() for problem in each.problems()],
        "minute": [round(each.at_s / 60, 2) for each in samples[::every]],
        "resident_mib": {
            name: [round(each.usage[name].resident_mib, 1) for each in samples[::every]] for name in grown
        },
    }


def draw_memory(figures: Mapping[str, Any], file: Path) -> Path:
    """Draws the memory of each process over time, from `growth_figures` and "seconds".

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(8.0, 4.0)
    axes = figure.add_subplot()
    for name, memory in figures["resident_mib"].items():
        axes.plot(figures["minute"], memory, label=name)
    axes.axvline(min(_SETTLE_S, figures["seconds"] / 4) / 60, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("minutes of mixed load; growth counts from the dotted line on")
    axes.set_ylabel("resident memory, MiB")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center right")
    return save_figure(figure, file)
