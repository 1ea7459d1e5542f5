"""Changes the model of a running search: builds the next generation, compares it, switches, and goes back."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from contextvars import Context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog

from services.concurrency.background import in_background
from services.contract.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FashionError,
    ModelMismatch,
    Overloaded,
    Unavailable,
)
from services.search.catalogue.generations import CanaryRow, GenerationRecord, Status
from services.search.catalogue.store import Catalogue
from services.search.reindex.comparison import (
    CanaryResult,
    Comparison,
    Gate,
    Plan,
    check_canaries,
    compare_neighbours,
    try_canary,
)
from services.search.reindex.served import ModelParts, ModelSource, ServedGeneration, ServedGenerations
from services.search.reindex.throttle import Throttle
from services.search.writes.writer import CatalogueWriter

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)

# Faults that pass: what failed is tried again.
_PASSING: Final = (Unavailable, ModelMismatch, Overloaded, DeadlineExceeded)
_MAX_FAILED_NAMED: Final = 100
# How long the next classifier may take to follow the candidates before both generations are compared, in seconds.
_FOLLOW_S: Final = 60.0
# How long an embedder may take to say which model it serves before a switch, in seconds.
_ANSWER_S: Final = 2.0
_TIDY_PAUSE_S: Final = 0.05
_LOG_EVERY_S: Final = 30.0
_KEEP_UP_S: Final = 1.0
_LOOK_S: Final = 0.1
# Pauses before photographs that could not be embedded are tried again.
_RETRY_PAUSES: Final = 12
# Products whose ids are read at once.
_PAGE: Final = 500

Build = Callable[[ModelParts, Path], ServedGeneration]


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


@dataclass(frozen=True, slots=True)
class ReindexState:
    """What there is; see `Reindex` of reindex.proto."""

    live: GenerationRecord
    other: GenerationRecord | None
    loaded: bool
    product_count: int
    missing_count: int
    embedded_count: int
    failed: tuple[str, ...]
    remaining_s: float | None
    trouble: str
    comparison: Comparison | None


class Reindexer:
    """The generations of a running search; belongs to one event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        writer: CatalogueWriter,
        served: ServedGenerations,
        build: Build,
        directory: Path,
        settings: ReindexSettings,
        models: ModelSource | None = None,
        on_failure: Callable[[str], None] = lambda why: None,
    ) -> None:
        """Takes the parts.

        Args:
            catalogue: the truth.
            writer: writes to all generations.
            served: the generation that queries are answered from.
            build: makes what answers from a model, with a folder for what is derived from its embeddings.
            directory: the data directory.
            settings: how it works.
            models: finds models; None where the model cannot be changed.
            on_failure: called with a sentence if the work ends that never should.
        """
        self._catalogue = catalogue
        self._writer = writer
        self._served = served
        self._build = build
        self._directory = directory
        self._settings = settings
        self._models = models
        self._on_failure = on_failure
        self.throttle = Throttle(settings.max_slowdown)
        self._other: ServedGeneration | None = None
        # What each generation holds open, by its model.
        self._open = {served.live.model_version: AsyncExitStack()}
        self._open[served.live.model_version].push_async_callback(served.live.close)
        self._working = AsyncExitStack()
        self._changing = asyncio.Lock()
        self._loaded = False
        self._missing = 0
        self._embedded = 0
        self._begun = self._retried = time.monotonic()
        self._failed: dict[str, None] = {}
        self._trouble = ""
        self._wake = asyncio.Event()

    async def start(self, bundle: str, gate: Gate, canaries: Sequence[CanaryRow], *, hold: bool) -> None:
        """Begins the next generation; see `StartReindex`.

        Raises:
            InvalidInput: GATE_INVALID, CANARY_INVALID, and those of `ModelSource.find_next`.
            NotFound, Upstream: those of `ModelSource.find_next`.
            FailedPrecondition: REINDEX_UNDER_WAY, MODEL_ALREADY_LIVE, NO_NEXT_MODEL.
        """
        gate.check()
        check_canaries(canaries)
        async with self._changing:
            live, other = self._records()
            if other is not None:
                raise FailedPrecondition(
                    f"There is a generation of model {other.model_version} beside the live one ({other.status.value}): "
                    "end it first, with `fashion reindex end`.",
                    reason="REINDEX_UNDER_WAY",
                    metadata={"model_version": other.model_version},
                )
            if self._models is None:
                raise no_next_model()
            model = await self._models.find_next(bundle, live.model_version)
            if model.model_version == live.model_version:
                raise FailedPrecondition(
                    f"Model {live.model_version} is live already: name another bundle, or give the next embedder one.",
                    reason="MODEL_ALREADY_LIVE",
                    metadata={"model_version": live.model_version},
                )
            record = GenerationRecord(
                model.model_version,
                model.dimension,
                Status.BUILDING,
                self._catalogue.now(),
                model.source,
                Plan(gate, hold).text(),
            )
            await asyncio.to_thread(self._catalogue.generations.begin, record, canaries, self._models.live_source)
            self._reset()
            _log.info("reindex begun", model_version=record.model_version, live=live.model_version)
            await self._begin_work(record)

    async def state(self) -> ReindexState:
        """Returns what there is."""
        live, other = self._records()
        # After a switch, the live one is what was compared.
        compared = (other.comparison if other is not None else None) or live.comparison
        return ReindexState(
            live=live,
            other=other,
            loaded=self._loaded and self._writer.generations.follows,
            product_count=self._served.live.generation.index.facts().product_count,
            missing_count=self._missing,
            embedded_count=self._embedded,
            failed=(*self._failed,)[:_MAX_FAILED_NAMED],
            remaining_s=self._remaining_s(other),
            trouble=self._trouble,
            comparison=None if compared is None else Comparison.from_text(compared),
        )

    async def switch(self, *, force: bool = False) -> None:
        """Makes the next generation live.

        Raises:
            FailedPrecondition: NO_NEXT_GENERATION, GENERATION_NOT_READY, GATE_NOT_PASSED.
        """
        async with self._changing:
            _, other = self._records()
            if other is None or other.status is Status.PREVIOUS:
                raise FailedPrecondition(
                    "There is no next generation: begin one with `fashion reindex`.", reason="NO_NEXT_GENERATION"
                )
            if other.status is Status.BUILDING:
                raise _not_ready(other)
            if other.status is Status.REFUSED and not force:
                reasons = Comparison.from_text(other.comparison).reasons if other.comparison else ()
                raise FailedPrecondition(
                    f"The gate has not passed. {' '.join(reasons)} Switch all the same with --force, or end it.",
                    reason="GATE_NOT_PASSED",
                    metadata={"model_version": other.model_version},
                )
            await self._switch(other, force=force)

    async def rollback(self, *, force: bool = False) -> None:
        """Goes back to the previous generation.

        Raises:
            FailedPrecondition: NO_PREVIOUS_GENERATION, GENERATION_NOT_READY.
        """
        async with self._changing:
            _, other = self._records()
            if other is None or other.status is not Status.PREVIOUS:
                raise FailedPrecondition(
                    "There is no previous generation to go back to.", reason="NO_PREVIOUS_GENERATION"
                )
            await self._switch(other, force=force)

    async def end(self, *, force: bool = False) -> None:
        """Forgets the generation beside the live one.

        Raises:
            FailedPrecondition: NO_OTHER_GENERATION, MODEL_NOT_SETTLED.
        """
        async with self._changing:
            live, other = self._records()
            if other is None:
                raise FailedPrecondition(
                    "There is no generation beside the live one to be ended.", reason="NO_OTHER_GENERATION"
                )
            if not force and self._models is not None:
                await self._models.check_settled(live.model_version)
            await self._close_other()
            await asyncio.to_thread(self._catalogue.generations.drop_other)
            await asyncio.to_thread(shutil.rmtree, own_folder(self._directory, other.model_version), ignore_errors=True)
            self._reset()
            _log.info("reindex ended", model_version=other.model_version, status=other.status.value)
            self._wake.set()

    async def run(self) -> None:
        """Goes on with what an earlier process began, and removes what it left behind; until cancelled."""
        other = self._catalogue.generations.other
        if other is not None and self._models is not None:
            async with self._changing:
                await self._begin_work(other)
        while True:
            try:
                while await asyncio.to_thread(self._catalogue.generations.tidy):
                    await asyncio.sleep(_TIDY_PAUSE_S)
            except FashionError as error:
                _log.warning("embeddings cannot be tidied up now; trying again", why=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(60 * self._settings.pause_s):
                    await self._wake.wait()
            self._wake.clear()

    def ended(self, error: BaseException | None) -> None:
        """Takes note that `run` has ended, which it never should."""
        _log.error("reindexing has ended", exc_info=error)
        self._on_failure(f"reindexing has ended: {error!r}")

    async def close(self) -> None:
        """Ends the work on the other generation; the next start goes on with it."""
        await self._working.aclose()
        for resources in self._open.values():
            await resources.aclose()
        self._open.clear()

    def _records(self) -> tuple[GenerationRecord, GenerationRecord | None]:
        live = self._catalogue.generations.live
        assert live is not None, "Search adopts its model at the start."
        return live, self._catalogue.generations.other

    def _reset(self) -> None:
        self._missing = self._embedded = 0
        self._failed.clear()
        self._trouble = ""
        self._loaded = False
        self._begun = time.monotonic()

    def _remaining_s(self, other: GenerationRecord | None) -> float | None:
        if other is None or other.status is not Status.BUILDING or not self._embedded:
            return None
        return self._missing * (time.monotonic() - self._begun) / self._embedded

    async def _begin_work(self, record: GenerationRecord) -> None:
        """Works on a generation in the background, from now on."""

        def ended(error: BaseException | None) -> None:
            if error is not None:
                self._trouble = f"It has stopped after an unexpected {type(error).__name__}; the log says more."
                _log.error("the work on the other generation has ended", exc_info=error)

        self._working = AsyncExitStack()
        # Not bound by the deadline of the call that begins it.
        await self._working.enter_async_context(in_background(self._work(record), ended, context=Context()))

    async def _close_other(self) -> None:
        await self._working.aclose()
        await self._writer.beside.end()
        _, other = self._records()
        if self._other is not None:
            await self._other.drained()
        self._other = None
        if other is not None and (resources := self._open.pop(other.model_version, None)) is not None:
            await resources.aclose()

    async def _switch(self, other: GenerationRecord, *, force: bool) -> None:
        if self._other is None or not self._loaded or not self._writer.generations.follows:
            raise _not_ready(other)
        if not force:
            await self._check_answers(self._other)
        former, following = self._served.live, self._other

        def switched() -> None:
            self._served.live = following

        begun = time.monotonic()
        index_version = await self._writer.beside.switch(switched)
        self._other = former
        _log.info(
            "generation switched",
            model_version=following.model_version,
            former=former.model_version,
            index_version=index_version,
            seconds=round(time.monotonic() - begun, 3),
        )
        if self._models is not None:
            await self._models.now_live(following.parts)

    async def _check_answers(self, generation: ServedGeneration) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                model = await generation.parts.embedder.get_model()
        except (FashionError, TimeoutError) as error:
            why = str(error) or "it does not answer"
        else:
            if model.model_version == generation.model_version:
                return
            why = f"an embedder serves {model.model_version} instead"
        raise FailedPrecondition(
            f"No embedder serves model {generation.model_version} ({why}): start one, or switch with --force. "
            "Photographs are then refused until there is one.",
            reason="GENERATION_NOT_READY",
            metadata={"model_version": generation.model_version},
        )

    async def _work(self, record: GenerationRecord) -> None:
        """Builds, loads, compares and keeps up a generation, until cancelled."""
        served = await self._until_done(lambda: self._opened(record))
        await self._writer.beside.begin(served.generation)
        with self.throttle.active():
            if record.status is Status.BUILDING:
                await self._fill_all(record.model_version)
            await self._until_done(lambda: self._writer.beside.load(self.throttle.pace))
            await served.begin()
            self._other = served
            self._loaded = True
            if record.status is Status.BUILDING:
                record = await self._judged(record, served)
        if record.status is Status.READY and not Plan.from_text(record.plan).hold:
            await self._switch_by_itself()
        while True:
            await self._keep_up(served)
            await asyncio.sleep(_KEEP_UP_S)

    async def _opened(self, record: GenerationRecord) -> ServedGeneration:
        assert self._models is not None
        async with AsyncExitStack() as resources:
            parts = await resources.enter_async_context(self._models.opened(record))
            folder = own_folder(self._directory, record.model_version)
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            served = self._build(parts, folder)
            resources.push_async_callback(served.close)
            self._open[record.model_version] = resources.pop_all()
            return served

    async def _fill_all(self, model_version: str) -> None:
        """Has everything embedded, until a whole pass finds nothing more that could be."""
        generations = self._catalogue.generations
        self._begun = time.monotonic()
        self._missing = await self._count_missing(model_version)
        said = time.monotonic()
        while True:
            embedded, after = self._embedded, ""
            while ids := await asyncio.to_thread(generations.missing, model_version, after, _PAGE):
                after = ids[-1]
                for start in range(0, len(ids), self._settings.group):
                    await self._fill(ids[start : start + self._settings.group])
                    if time.monotonic() - said > _LOG_EVERY_S:
                        said = time.monotonic()
                        _log.info("reindex goes on", missing=self._missing, pause_s=round(self.throttle.pause_s, 3))
            if self._embedded == embedded:
                break
        self._missing = await self._count_missing(model_version)
        _log.info(
            "photographs embedded by the next model",
            embedded=self._embedded,
            missing=self._missing,
            seconds=round(time.monotonic() - self._begun, 1),
        )

    async def _fill(self, product_ids: Sequence[str]) -> None:
        async with self.throttle.piece():
            filled = await self._until_done(lambda: self._writer.beside.fill(product_ids))
        self._embedded += filled.embedded
        self._missing = max(0, self._missing - len(product_ids) + len(filled.failed))
        self._failed.update(dict.fromkeys(filled.failed))

    async def _count_missing(self, model_version: str) -> int:
        count, after = 0, ""
        while ids := await asyncio.to_thread(self._catalogue.generations.missing, model_version, after, _PAGE):
            count, after = count + len(ids), ids[-1]
        return count

    async def _judged(self, record: GenerationRecord, served: ServedGeneration) -> GenerationRecord:
        """Compares a generation with the live one, and notes whether it may take its place."""
        until = time.monotonic() + _FOLLOW_S
        while not served.meter.measured and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)
        live = self._served.live
        comparison = await asyncio.to_thread(
            compare_neighbours, live.generation.index, served.generation.index, self.throttle.pace
        )
        results: list[CanaryResult] = []
        for canary in await asyncio.to_thread(self._catalogue.generations.canaries):
            next_passed, next_type = await self._until_done(partial(try_canary, served.finder, canary))
            try:
                live_passed, _ = await try_canary(live.finder, canary)
            except FashionError:
                live_passed = False
            results.append(CanaryResult(canary.name, live_passed, next_passed, next_type))
        comparison = replace(comparison, canaries=tuple(results)).judged(Plan.from_text(record.plan).gate)
        status = Status.REFUSED if comparison.reasons else Status.READY
        await asyncio.to_thread(self._catalogue.generations.judge, status, comparison.text())
        _log.info(
            "generations compared",
            model_version=record.model_version,
            passed=not comparison.reasons,
            overlap=round(comparison.overlap, 3),
            label_agreement=round(comparison.next_label_agreement, 3),
            reasons=list(comparison.reasons),
        )
        return replace(record, status=status)

    async def _switch_by_itself(self) -> None:
        while True:
            try:
                async with self._changing:
                    _, other = self._records()
                    if other is not None and other.status is Status.READY:
                        await self._switch(other, force=False)
                    return
            except FashionError as error:
                self._trouble = error.message
                await asyncio.sleep(self._settings.pause_s)

    async def _keep_up(self, served: ServedGeneration) -> None:
        """Embeds what writes left out, and loads an index again that did not take over a write.

        Args:
            served: the generation of this reindex, live by now or not.
        """
        if not self._writer.generations.follows:
            await self._until_done(lambda: self._writer.beside.load(self.throttle.pace))
        lacking = sorted(self._writer.generations.lacking.copy() - self._failed.keys())
        if self._failed and time.monotonic() - self._retried > _RETRY_PAUSES * self._settings.pause_s:
            # A photograph that was damaged may have been sent again.
            self._retried = time.monotonic()
            again = sorted(self._failed)
            self._failed.clear()
            if self._served.live is served:
                await self._until_done(lambda: self._writer.photographs.embed_again(again))
                stored = await asyncio.to_thread(self._catalogue.of_model, again, served.model_version)
                lacks = served.generation.lacks
                self._failed.update({each.product.id: None for each in stored if any(map(lacks, each.contents))})
            else:
                lacking += again
        for start in range(0, len(lacking), self._settings.group):
            await self._fill(lacking[start : start + self._settings.group])

    async def _until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does something, again after each fault that passes."""
        while True:
            try:
                result = await work()
            except _PASSING as error:
                if not self._trouble:
                    _log.warning("reindex is delayed; trying again", reason=error.reason, why=error.message)
                self._trouble = error.message
                await asyncio.sleep(self._settings.pause_s)
            else:
                self._trouble = ""
                return result


def own_folder(directory: Path, model_version: str) -> Path:
    """Returns the folder of what is derived from a model's embeddings, where a reindex began with it."""
    return directory / "generations" / model_version


def derived_folder(directory: Path, model_version: str) -> Path:
    """Returns the folder of what is derived from a model's embeddings: its own, or the data directory itself."""
    own = own_folder(directory, model_version)
    return own if own.is_dir() else directory


def _not_ready(other: GenerationRecord) -> FailedPrecondition:
    return FailedPrecondition(
        f"The generation of model {other.model_version} is not complete yet: look at `fashion reindex status`, and try "
        "again.",
        reason="GENERATION_NOT_READY",
        metadata={"model_version": other.model_version},
    )


def no_next_model() -> FailedPrecondition:
    """Returns the error for a reindex without another model."""
    return FailedPrecondition(
        "No embedder serves another model than the live one: start one at SEARCH_NEXT_EMBEDDER_TARGET. Where all "
        "services run in one process, name a bundle.",
        reason="NO_NEXT_MODEL",
    )
