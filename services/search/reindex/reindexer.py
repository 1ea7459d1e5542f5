"""What an operator may ask for: to begin the next generation, to switch to it, to go back, and to end it."""

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from contextvars import Context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from services.contract.errors import FailedPrecondition, FashionError
from services.search.catalogue.generations import CanaryRow, GenerationRecord, Status
from services.search.catalogue.store import Catalogue
from services.search.reindex.builder import GenerationBuilder, Progress, ReindexSettings
from services.search.reindex.comparison import Comparison, Gate, Plan, check_canaries
from services.search.reindex.served import ModelParts, ModelSource, ServedGeneration, ServedGenerations
from services.search.reindex.throttle import Throttle
from services.search.writes.writer import CatalogueWriter

_log = structlog.stdlib.get_logger(__name__)

_MAX_FAILED_NAMED: Final = 100
# How long an embedder may take to say which model it serves before a switch, in seconds.
_ANSWER_S: Final = 2.0
_TIDY_PAUSE_S: Final = 0.05

Build = Callable[[ModelParts, Path], ServedGeneration]
GiveUp = Callable[[GenerationRecord], None]


@dataclass(frozen=True, slots=True)
class ReindexState:
    """What there is; see `Reindex` of reindex.proto.

    Attributes:
        failed: the first of the products with a photograph that cannot be embedded.
        failed_count: how many there are.
        rest: the present rest after a piece of work, as a multiple of its duration.
        moved: when a piece of work ended last, in seconds since 1970.
    """

    live: GenerationRecord
    other: GenerationRecord | None
    loaded: bool
    product_count: int
    missing_count: int
    embedded_count: int
    failed: tuple[str, ...]
    failed_count: int
    rest: float
    moved: float
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
        give_up: GiveUp = lambda record: None,
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
            give_up: deletes what the index of a generation that is ended keeps outside the data directory; called in a
                thread once the index is closed.
        """
        self._catalogue = catalogue
        self._writer = writer
        self._served = served
        self._build = build
        self._directory = directory
        self._settings = settings
        self._models = models
        self._on_failure = on_failure
        self._give_up = give_up
        self._builder = GenerationBuilder(catalogue, writer, served, settings, self._opened, self._switch_by_itself)
        # What each generation holds open, by its model.
        self._open = {served.live.model_version: AsyncExitStack()}
        self._open[served.live.model_version].push_async_callback(served.live.close)
        self._changing = asyncio.Lock()
        self._wake = asyncio.Event()

    @property
    def throttle(self) -> Throttle:
        """Holds the work back; to be told of each query."""
        return self._builder.throttle

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
            await _to_its_end(self._begin(record, canaries, self._models.live_source))
            _log.info("reindex begun", model_version=record.model_version, live=live.model_version)

    async def _begin(self, record: GenerationRecord, canaries: Sequence[CanaryRow], live_source: str | None) -> None:
        await asyncio.to_thread(self._catalogue.generations.begin, record, canaries, live_source)
        self._builder.progress = Progress()
        await self._builder.begin(record)

    def state(self) -> ReindexState:
        """Returns what there is; in any thread."""
        live, other = self._records()
        # After a switch, the live one is what was compared.
        compared = (other.comparison if other is not None else None) or live.comparison
        progress, building = self._builder.progress, other is not None and other.status is Status.BUILDING
        failed = self._builder.failed if other is not None else ()
        return ReindexState(
            live=live,
            other=other,
            loaded=self._builder.loaded is not None and self._writer.generations.follows,
            product_count=self._served.live.generation.index.facts().product_count,
            missing_count=progress.missing,
            embedded_count=progress.embedded,
            failed=failed[:_MAX_FAILED_NAMED],
            failed_count=len(failed),
            rest=self.throttle.rest,
            moved=self.throttle.moved,
            remaining_s=progress.remaining_s() if building else None,
            trouble=progress.trouble,
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
            await _to_its_end(self._end(other))
            _log.info("reindex ended", model_version=other.model_version, status=other.status.value)

    async def _end(self, other: GenerationRecord) -> None:
        # First, so that nothing has been changed where the disk is full.
        await asyncio.to_thread(self._catalogue.generations.drop_other)
        try:
            await self._close_other(other)
        finally:
            self._builder.progress = Progress()
            self._wake.set()
        await asyncio.to_thread(shutil.rmtree, own_folder(self._directory, other.model_version), ignore_errors=True)
        try:
            await asyncio.to_thread(self._give_up, other)
        except FashionError as error:
            # The generation is ended all the same, and whoever runs Milvus can delete what is left.
            _log.warning("the index of an ended generation is left behind", why=error.message, **error.metadata)

    async def run(self) -> None:
        """Goes on with what an earlier process began, and removes what it left behind; until cancelled."""
        other = self._catalogue.generations.other
        if other is not None and self._models is not None:
            async with self._changing:
                await self._builder.begin(other)
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

    async def stop(self) -> None:
        """Ends the work on the other generation, after a change under way; the next start goes on with it."""
        async with self._changing:
            await self._builder.stop()

    async def close(self) -> None:
        """Ends the work, and closes all generations; to be called while no write is under way."""
        await self.stop()
        for resources in self._open.values():
            await resources.aclose()
        self._open.clear()

    def _records(self) -> tuple[GenerationRecord, GenerationRecord | None]:
        live = self._catalogue.generations.live
        assert live is not None, "Search adopts its model at the start."
        return live, self._catalogue.generations.other

    async def _close_other(self, other: GenerationRecord) -> None:
        await self._builder.stop()
        await self._writer.beside.end()
        if self._builder.loaded is not None:
            await self._builder.loaded.drained()
        self._builder.forget()
        if (resources := self._open.pop(other.model_version, None)) is not None:
            await resources.aclose()
            if self._models is not None:
                await self._models.ended(other.model_version)

    async def _switch(self, other: GenerationRecord, *, force: bool, max_lost: int | None = None) -> None:
        following = self._builder.loaded
        if following is None:
            raise _not_ready(other)
        if not force:
            await self._check_answers(following)
        await _to_its_end(self._make_live(other, following, max_lost))

    async def _make_live(self, other: GenerationRecord, following: ServedGeneration, max_lost: int | None) -> None:
        former = self._served.live

        def switched() -> None:
            self._served.live, self._builder.loaded = following, former

        begun = time.monotonic()
        index_version = await self._writer.beside.switch(switched, max_lost)
        if index_version is None:
            raise _not_ready(other)
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

    async def _switch_by_itself(self) -> bool:
        """Switches to a generation that has passed its gate, unless writes have brought since what it lacks.

        Returns:
            Whether that is settled; otherwise it has to be tried again.
        """
        try:
            async with self._changing:
                _, other = self._records()
                if other is None or other.status is not Status.READY:
                    return True
                gate, lag = Plan.from_text(other.plan).gate, await self._writer.beside.lag()
                if not lag.complete:
                    return False
                if lag.lost > gate.max_lost_products:
                    await self._refuse(other, gate, lag.lost)
                else:
                    await self._switch(other, force=False, max_lost=gate.max_lost_products)
        except FashionError as error:
            self._builder.progress.trouble = error.message
            await asyncio.sleep(self._settings.pause_s)
            return False
        self._builder.progress.trouble = ""
        return True

    async def _refuse(self, other: GenerationRecord, gate: Gate, lost: int) -> None:
        """Shuts the gate of a generation again, since what was written after it is found in the live one alone."""
        assert other.comparison is not None, "Its gate has passed."
        comparison = replace(Comparison.from_text(other.comparison), lost_count=lost).judged(gate)
        await asyncio.to_thread(self._catalogue.generations.judge, Status.REFUSED, comparison.text())
        _log.warning(
            "the gate is shut again", model_version=other.model_version, lost=lost, reasons=list(comparison.reasons)
        )


async def _to_its_end(change: Coroutine[Any, Any, None]) -> None:
    """Runs a change that must not be left half done to its end, even where its caller leaves or its deadline passes.

    A caller that leaves is told once it is done, so that what the caller holds stays held until then.
    """
    # Not bound by the deadline of the call.
    task = asyncio.create_task(change, context=Context())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if (error := task.exception()) is not None:
            _log.error("a change of the generations has failed, and its caller has left", exc_info=error)
        raise


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
