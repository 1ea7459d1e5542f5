"""Builds the generation beside the live one, compares it, and keeps it up to date."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from contextvars import Context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

import structlog

from services.concurrency.background import in_background
from services.contract.errors import DeadlineExceeded, FashionError, ModelMismatch, Overloaded, Unavailable
from services.search.catalogue.generations import GenerationRecord, Status
from services.search.catalogue.store import Catalogue
from services.search.reindex.comparison import CanaryResult, Plan, compare_neighbours, try_canary
from services.search.reindex.served import ServedGeneration, ServedGenerations
from services.search.reindex.throttle import Throttle
from services.search.writes.beside import Lag
from services.search.writes.writer import CatalogueWriter

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)

# Faults that pass: what failed is tried again.
_PASSING: Final = (Unavailable, ModelMismatch, Overloaded, DeadlineExceeded)
# How long the next classifier may take to follow the candidates before both generations are compared, in seconds.
_FOLLOW_S: Final = 60.0
_LOG_EVERY_S: Final = 30.0
_KEEP_UP_S: Final = 1.0
_LOOK_S: Final = 0.1
# Pauses before photographs that could not be embedded are tried again.
_RETRY_PAUSES: Final = 12
# Photographs by which the time that is left is told: the speed changes with the queries beside the work.
_RECENT: Final = 500
# Products whose ids are read at once.
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class ReindexSettings:
    """How a reindex works.

    Attributes:
        group: products per call of the next embedder.
        max_slowdown: by what factor the 99th percentile of queries may grow meanwhile.
        pause_s: time before something that failed is tried again, in seconds.
    """

    group: int = 1
    max_slowdown: float = 1.5
    pause_s: float = 5.0


@dataclass(slots=True)
class Progress:
    """How far the work has come.

    Attributes:
        missing: products with a photograph that still has to be embedded.
        embedded: photographs that have been embedded.
        trouble: what delays the work, as a sentence; "" for nothing.
        recent: when each of the last photographs was embedded: times of time.monotonic(), after that of the begin.
    """

    missing: int = 0
    embedded: int = 0
    trouble: str = ""
    recent: deque[float] = field(default_factory=lambda: deque([time.monotonic()], maxlen=_RECENT))

    def note(self, embedded: int) -> None:
        """Counts photographs that have been embedded."""
        self.embedded += embedded
        self.recent.extend([time.monotonic()] * embedded)

    def remaining_s(self) -> float | None:
        """How long the rest will take at the present speed, in seconds; None before that can be told."""
        if len(self.recent) < 2:
            return None
        return self.missing * (time.monotonic() - self.recent[0]) / (len(self.recent) - 1)


class GenerationBuilder:
    """The work on the generation beside the live one; belongs to one event loop.

    Attributes:
        throttle: holds the work back, so that queries hardly notice.
        progress: how far it has come.
        loaded: the generation beside the live one once its index is loaded: the next one, or after a switch the former.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        writer: CatalogueWriter,
        served: ServedGenerations,
        settings: ReindexSettings,
        opened: Callable[[GenerationRecord], Awaitable[ServedGeneration]],
        passed: Callable[[], Awaitable[bool]],
    ) -> None:
        """Takes the parts.

        Args:
            catalogue: the truth.
            writer: writes to all generations.
            served: the generation that queries are answered from.
            settings: how the work is done.
            opened: has the model of a generation served, and returns what answers from it.
            passed: called while a generation that has passed its gate lacks nothing and need not wait for an operator,
                until it returns True.
        """
        self._catalogue = catalogue
        self._writer = writer
        self._served = served
        self._settings = settings
        self._open = opened
        self._passed = passed
        self._working = AsyncExitStack()
        self._opened: ServedGeneration | None = None
        self._retried = time.monotonic()
        self.throttle = Throttle(settings.max_slowdown)
        self.progress = Progress()
        self.loaded: ServedGeneration | None = None

    async def begin(self, record: GenerationRecord) -> None:
        """Works on a generation in the background, from now on."""

        def ended(error: BaseException | None) -> None:
            if error is not None:
                why = error.message if isinstance(error, FashionError) else f"An unexpected {type(error).__name__}."
                self.progress.trouble = f"It has stopped until search is started again; the log says more. {why}"
                _log.error("the work on the other generation has ended", exc_info=error)

        self._opened = None
        self._working = AsyncExitStack()
        # Not bound by the deadline of the call that begins it.
        await self._working.enter_async_context(in_background(self._work(record), ended, context=Context()))

    @property
    def failed(self) -> tuple[str, ...]:
        """Products with a photograph that the model of the last reindex cannot embed, in the order they were found."""
        return () if self._opened is None else (*self._opened.generation.failed.copy(),)

    async def stop(self) -> None:
        """Ends the work; the next `begin` goes on with it."""
        await self._working.aclose()

    def forget(self) -> None:
        """Lets go of the generation, once its work has ended: its index is the largest thing in memory."""
        self.loaded = self._opened = None

    async def _work(self, record: GenerationRecord) -> None:
        """Builds, loads, compares and keeps up a generation, until cancelled."""
        with self.throttle.active():
            with self.throttle.unpaced():
                served = await self._until_done(lambda: self._open(record))
            self._opened = served
            await self._writer.beside.begin(served.generation)
            if record.status is Status.BUILDING:
                await self._fill_all(record.model_version)
            await self._load()
            with self.throttle.unpaced():
                await self._until_done(served.begin)
            self.loaded = served
            if record.status is Status.BUILDING:
                record = await self._judged(record, served)
        waiting = record.status is Status.READY and not Plan.from_text(record.plan).hold
        while True:
            await self._keep_up()
            if waiting:
                waiting = not await self._passed()
            await asyncio.sleep(_KEEP_UP_S)

    async def _load(self) -> None:
        """Fills the index of the other generation."""
        with self.throttle.paced() as pace:
            await self._until_done(lambda: self._writer.beside.load(pace))

    async def _fill_all(self, model_version: str) -> None:
        """Has everything embedded, until a whole pass finds nothing more that could be."""
        generations = self._catalogue.generations
        begun = time.monotonic()
        self.progress.recent = deque([begun], maxlen=_RECENT)
        self.progress.missing = await self._count_missing(model_version)
        said = time.monotonic()
        while True:
            embedded, after = self.progress.embedded, ""
            while ids := await asyncio.to_thread(generations.missing, model_version, after, _PAGE):
                after = ids[-1]
                for start in range(0, len(ids), self._settings.group):
                    await self._fill(ids[start : start + self._settings.group])
                    if time.monotonic() - said > _LOG_EVERY_S:
                        said = time.monotonic()
                        _log.info("reindex goes on", missing=self.progress.missing, rest=round(self.throttle.rest, 1))
            if self.progress.embedded == embedded:
                break
        self.progress.missing = await self._count_missing(model_version)
        _log.info(
            "photographs embedded by the next model",
            embedded=self.progress.embedded,
            missing=self.progress.missing,
            seconds=round(time.monotonic() - begun, 1),
        )

    async def _fill(self, product_ids: Sequence[str]) -> None:
        async with self.throttle.piece():
            filled = await self._until_done(lambda: self._writer.beside.fill(product_ids))
        self.progress.note(filled.embedded)
        self.progress.missing = max(0, self.progress.missing - len(product_ids) + len(filled.failed))

    async def _count_missing(self, model_version: str) -> int:
        count, after = 0, ""
        while ids := await asyncio.to_thread(self._catalogue.generations.missing, model_version, after, _PAGE):
            count, after = count + len(ids), ids[-1]
        return count

    async def _judged(self, record: GenerationRecord, served: ServedGeneration) -> GenerationRecord:
        """Compares a generation with the live one, and notes whether it may take its place."""
        until = time.monotonic() + _FOLLOW_S
        with self.throttle.unpaced():
            while not served.meter.measured and time.monotonic() < until:
                await asyncio.sleep(_LOOK_S)
        live = self._served.live
        await self._caught_up()
        with self.throttle.paced() as pace:
            indexes = live.generation.index, served.generation.index
            comparison = await self._until_done(lambda: asyncio.to_thread(compare_neighbours, *indexes, pace))
        results: list[CanaryResult] = []
        canaries = await self._until_done(lambda: asyncio.to_thread(self._catalogue.generations.canaries))
        for canary in canaries:
            next_passed, next_type = await self._until_done(partial(try_canary, served.finder, canary))
            try:
                live_passed, _ = await try_canary(live.finder, canary)
            except FashionError:
                live_passed = False
            results.append(CanaryResult(canary.name, live_passed, next_passed, next_type))
        # What writes brought meanwhile is not lost, but late.
        lost = (await self._caught_up()).lost
        comparison = replace(comparison, lost_count=lost, canaries=tuple(results))
        comparison = comparison.judged(Plan.from_text(record.plan).gate)
        status = Status.REFUSED if comparison.reasons else Status.READY
        judge = self._catalogue.generations.judge
        await self._until_done(lambda: asyncio.to_thread(judge, status, comparison.text()))
        _log.info(
            "generations compared",
            model_version=record.model_version,
            passed=not comparison.reasons,
            overlap=round(comparison.overlap, 3),
            label_agreement=round(comparison.next_label_agreement, 3),
            reasons=list(comparison.reasons),
        )
        return replace(record, status=status)

    async def _caught_up(self) -> Lag:
        """Waits until the other generation lacks nothing that it could embed."""
        while True:
            await self._keep_up()
            if (lag := await self._writer.beside.lag()).complete:
                return lag
            await asyncio.sleep(_LOOK_S)

    async def _keep_up(self) -> None:
        """Embeds what writes left out, and loads an index again that did not take over a write."""
        if not self._writer.generations.follows:
            await self._load()
        other = self._writer.generations.other
        assert other is not None, "The work ends before its generation."
        lacking = await asyncio.to_thread(other.to_embed)
        if other.failed and time.monotonic() - self._retried > _RETRY_PAUSES * self._settings.pause_s:
            self._retried = time.monotonic()
            lacking = sorted({*lacking, *other.failed.copy()})
        self.progress.missing = len(other.lacking)
        for start in range(0, len(lacking), self._settings.group):
            await self._fill(lacking[start : start + self._settings.group])

    async def _pause(self) -> None:
        await asyncio.sleep(self._settings.pause_s)

    async def _until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does something, again after each fault that passes; it must be able to begin anew after one."""
        while True:
            try:
                result = await work()
            except _PASSING as error:
                if not self.progress.trouble:
                    _log.warning("reindex is delayed; trying again", reason=error.reason, why=error.message)
                self.progress.trouble = error.message
                await self._pause()
            else:
                self.progress.trouble = ""
                return result
