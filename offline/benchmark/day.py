"""A shop's day, compressed: readers never wait for writers, and never see half a batch or what is deleted."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import numpy as np

from offline.benchmark.day_shop import DELETES, DISLIKES, FEED, PRICES, UPLOADS, Shop
from offline.benchmark.deployment import PATIENT, Usage, deployed
from offline.benchmark.growth import Sample, growth_figures, memory_text, watch
from offline.benchmark.machine import Machine
from offline.report.plots import BLUE, GREEN, ORANGE, new_figure, save_figure

Say = Callable[[str], None]

MAX_SLOWDOWN: Final = 1.5
_WARM_UP_S: Final = 5.0
_MAX_WINDOWS: Final = 240
_WINDOW_S: Final = 5.0
# One write of a kind begins this long after the one before, in seconds.
_PERIOD_S: Final = {PRICES: 0.25, FEED: 4.0, DELETES: 4.0, DISLIKES: 0.3, UPLOADS: 1.0}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the day: first queries alone, then the same beside writes.

    Attributes:
        name: the time of day.
        wave: the rate of queries, as a factor.
        kinds: what is written.
    """

    name: str
    wave: float
    kinds: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What is written, in a word."""
        return self.kinds[0] if len(self.kinds) == 1 else "all at once"


DAY: Final = (
    Part("06:00", 0.5, (PRICES,)),
    Part("07:00", 0.6, (FEED,)),
    Part("08:00", 0.8, (PRICES,)),
    Part("09:00", 0.9, (DELETES,)),
    Part("11:00", 1.1, (DISLIKES,)),
    Part("12:00", 1.3, (UPLOADS,)),
    Part("13:00", 1.2, tuple(_PERIOD_S)),
    Part("15:00", 0.9, (DELETES,)),
    Part("17:00", 1.2, (UPLOADS,)),
    Part("19:00", 1.5, (DISLIKES,)),
    Part("21:00", 1.2, tuple(_PERIOD_S)),
    Part("23:00", 0.6, (FEED,)),
)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the day as it was: when its queries were alone, and when there were writes too, in seconds."""

    part: Part
    alone_s: tuple[float, float]
    beside_s: tuple[float, float]


def day(
    minutes: float,
    products: int,
    rate: float,
    seed: int,
    say: Say = lambda text: None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Runs all services through a day of a shop.

    Args:
        minutes: how long the day takes.
        products: of the drawn catalogue, in [100, 5000]; it stays as large.
        rate: queries per second in the mean of the day.
        seed: of all that is random.
        say: takes a line now and then.
        environment: further settings of all services.

    Returns:
        The figures; `problems` is empty where all promises were kept.
    """
    patient = {**PATIENT, **(environment or {})}
    with TemporaryDirectory() as folder, deployed(Path(folder), environment=patient) as deployment:
        shop = Shop(deployment.search.target, deployment.url, products, seed)
        return asyncio.run(Day(shop, deployment.usage, rate, seed, say).run(minutes * 60))


class Day:
    """Queries at random times through the parts of a day, and writes of each part's kinds."""

    def __init__(
        self, shop: Shop, usage: Callable[[], Mapping[str, Usage]], rate: float, seed: int, say: Say = lambda text: None
    ) -> None:
        """Takes the shop.

        Args:
            shop: what is asked and written.
            usage: returns what each process holds now.
            rate: queries per second in the mean of the day.
            seed: of the times.
            say: takes a line now and then.
        """
        self._shop, self._usage, self._rate, self._say = shop, usage, rate, say
        self._random = Random(seed)
        self._wave = 1.0
        # Planned time and duration of each query, in seconds and ms.
        self._queries: list[tuple[float, float]] = []
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._began = 0.0

    async def run(
        self, seconds: float, parts: Sequence[Part] = DAY, max_slowdown: float = MAX_SLOWDOWN
    ) -> dict[str, Any]:
        """Goes through a day.

        Args:
            seconds: how long it takes.
            parts: of the day; each takes the same time, half of it beside writes.
            max_slowdown: by what factor writes may raise the 99th percentile.

        Returns:
            The figures; `problems` is empty where all promises were kept.
        """
        machine = Machine.this()
        async with self._shop.connected():
            self._say(f"{self._shop.size:,} products; the day begins")
            self._began = time.monotonic()
            browsing = asyncio.create_task(self._browse())
            await asyncio.sleep(min(_WARM_UP_S, seconds / 10))
            watching = asyncio.create_task(watch(self._usage, seconds, self._tell))
            try:
                spans = [await self._live(part, seconds / len(parts) / 2) for part in parts]
                samples = await watching
            finally:
                for task in (browsing, watching):
                    task.cancel()
                await asyncio.gather(browsing, watching, return_exceptions=True)
        return self._figures(machine, spans, samples, max_slowdown)

    async def _live(self, part: Part, half_s: float) -> Span:
        """Lets queries go on alone, then beside writes."""
        self._wave = part.wave
        alone = self._now()
        await asyncio.sleep(half_s)
        beside = self._now()
        await asyncio.gather(*(self._repeat(kind, beside + half_s) for kind in part.kinds))
        span = Span(part, (alone, beside), (beside, self._now()))
        wrong = self._shop.judge.wrong.total() + self._failed.total()
        self._say(f"{part.name}, {part.kind}: {self._done.total():,} writes, {wrong} wrong or failed")
        return span

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _tell(self, sample: Sample) -> None:
        self._say(memory_text(sample))

    async def _browse(self) -> None:
        """Sends queries at random times, without waiting for answers."""
        sent: set[asyncio.Task[None]] = set()
        at_s = 0.0
        try:
            while True:
                at_s += self._random.expovariate(self._rate * self._wave)
                await asyncio.sleep(max(0.0, at_s - self._now()))
                task = asyncio.create_task(self._query(at_s))
                sent.add(task)
                task.add_done_callback(sent.discard)
        finally:
            await asyncio.gather(*sent, return_exceptions=True)

    async def _query(self, at_s: float) -> None:
        await self._succeeds("a query", self._shop.query)
        # From when it was to be sent, so that a sender that falls behind hides nothing.
        self._queries.append((at_s, 1000 * (self._now() - at_s)))

    async def _repeat(self, kind: str, until_s: float) -> None:
        due_s = self._now() + self._random.random() * _PERIOD_S[kind] / 2
        while due_s < until_s:
            await asyncio.sleep(max(0.0, due_s - self._now()))
            due_s = max(due_s + _PERIOD_S[kind], self._now())
            self._done[kind] += await self._succeeds(kind, self._shop.kinds[kind])

    async def _succeeds(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Does something; returns False, and counts it as failed, where it fails."""
        try:
            await work()
        except grpc.aio.AioRpcError as error:
            self._failed[f"{name}: {error.code().name}: {error.details()}"] += 1
            return False
        # Nothing else would tell of an error in a task of its own, be it one of this check.
        except Exception as error:
            self._failed[f"{name}: {error!r}"] += 1
            return False
        return True

    def _figures(
        self, machine: Machine, spans: Sequence[Span], samples: Sequence[Sample], max_slowdown: float
    ) -> dict[str, Any]:
        held = growth_figures(samples)
        of_kinds: defaultdict[str, list[Span]] = defaultdict(list)
        for span in spans:
            of_kinds["the whole day"].append(span)
            of_kinds[span.part.kind].append(span)
        slowdowns = {name: self._slowdown(of_kind) for name, of_kind in of_kinds.items()}
        problems = [f"{count} x {what}" for what, count in (self._shop.judge.wrong + self._failed).items()]
        problems += self._shop.judge.examples
        problems += held.pop("grown")
        problems += [
            f"{name}: the 99th percentile grew {each['slowdown']:.2f} times; at most {max_slowdown:g} is allowed."
            for name, each in slowdowns.items()
            # NaN, of no queries at all, is no answer either.
            if not each["slowdown"] <= max_slowdown
        ]
        end_s = spans[-1].beside_s[1]
        width_s = max(_WINDOW_S, end_s / _MAX_WINDOWS)
        windows = np.arange(spans[0].alone_s[0], end_s, width_s).tolist()
        return {
            "machine": asdict(machine),
            "load_at_end": Machine.this().load,
            "products": self._shop.size,
            "minutes": round(end_s / 60, 1),
            "rate": self._rate,
            "queries": len(self._queries),
            "judged": {"answers": self._shop.judge.answers, "batches": self._shop.judge.batches},
            "wrong": dict(self._shop.judge.wrong),
            "failed": dict(self._failed),
            "writes": dict(self._done),
            "slowdowns": slowdowns,
            **held,
            "parts": [
                {"name": each.part.name, "kind": each.part.kind, "alone_s": each.alone_s, "beside_s": each.beside_s}
                for each in spans
            ],
            "window_s": [round(each + width_s / 2, 1) for each in windows],
            "window_p99_ms": [round(self._percentile([(each, each + width_s)], 0.99), 2) for each in windows],
            "problems": problems,
            "seconds": round(end_s),
        }

    def _slowdown(self, spans: Sequence[Span]) -> dict[str, float]:
        """Compares queries beside writes with those alone, in the same parts of the day."""
        alone, beside = [each.alone_s for each in spans], [each.beside_s for each in spans]
        figures = {
            f"{name}_{share}_ms": round(self._percentile(times, quantile), 2)
            for share, quantile in (("p50", 0.5), ("p99", 0.99))
            for name, times in (("alone", alone), ("beside", beside))
        }
        return {**figures, "slowdown": round(figures["beside_p99_ms"] / figures["alone_p99_ms"], 2)}

    def _percentile(self, spans: Sequence[tuple[float, float]], share: float) -> float:
        times = [ms for at_s, ms in self._queries if any(start <= at_s < end for start, end in spans)]
        return float(np.quantile(times, share)) if times else float("nan")


def draw_day(figures: Mapping[str, Any], file: Path) -> Path:
    """Draws the 99th percentile of queries over the day, and when there were writes.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(9.0, 3.8)
    axes = figure.add_subplot()
    minutes = [each / 60 for each in figures["window_s"]]
    axes.plot(minutes, figures["window_p99_ms"], color=BLUE, linewidth=1, label="99th percentile")
    alone = figures["slowdowns"]["the whole day"]["alone_p99_ms"]
    axes.axhline(alone, color=GREEN, linewidth=0.8, label="of queries alone")
    axes.axhline(MAX_SLOWDOWN * alone, color=ORANGE, linewidth=0.8, label=f"{MAX_SLOWDOWN:g} times")
    top = 1.35 * max(*(each for each in figures["window_p99_ms"] if each == each), MAX_SLOWDOWN * alone)
    for number, part in enumerate(figures["parts"]):
        begin, end = (each / 60 for each in part["beside_s"])
        axes.axvspan(begin, end, color="black", alpha=0.08, linewidth=0, label=None if number else "writes")
        text = f"{part['name']}\n{part['kind']}"
        axes.annotate(text, (begin, top), xytext=(2, -3), textcoords="offset points", va="top", fontsize=6)
    axes.set_ylim(0, top)
    axes.set_xlabel(f"minutes; {figures['products']:,} products, {figures['rate']:g} queries a second in the mean")
    axes.set_ylabel("ms")
    axes.legend(loc="lower right", fontsize=8)
    return save_figure(figure, file)
