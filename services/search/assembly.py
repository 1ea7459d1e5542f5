"""Assembles search from its parts, for a process of its own and for the stack."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from services.clients.embedder import wait_for_model
from services.concurrency.background import in_background
from services.concurrency.workers import Workers
from services.contract.protocols import CandidateStore, Classifier, Embedder, EmbeddingSpace
from services.search.candidates.doubt_meter import DoubtMeter
from services.search.candidates.file import CandidateFile
from services.search.candidates.keeper import CandidateKeeper
from services.search.candidates.publisher import CandidatePublisher
from services.search.catalogue.disk import disk_metrics
from services.search.catalogue.generations import GenerationRecord
from services.search.catalogue.store import Catalogue
from services.search.index_metrics import index_metrics
from services.search.indexes.base import Index
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.reduction_file import ReductionFile
from services.search.preferences import PreferenceStore
from services.search.query.find_similar import SimilarFinder
from services.search.query.retrieval import Inventory
from services.search.reindex.metrics import reindex_metrics
from services.search.reindex.reindexer import Reindexer, derived_folder
from services.search.reindex.served import ModelParts, ModelSource, ServedGeneration, ServedGenerations
from services.search.service import LocalSearch
from services.search.settings import SearchSettings
from services.search.writes.generation import Change, Generation
from services.search.writes.photograph_embedder import WriteEmbedder
from services.search.writes.reembed import keep_complete
from services.search.writes.writer import CatalogueWriter

_log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def running_search(
    settings: SearchSettings,
    *,
    catalogue: Catalogue,
    embedder: Embedder,
    classifier: Classifier,
    preferences: PreferenceStore,
    candidate_store: CandidateStore,
    on_failure: Callable[[str], None],
    space: EmbeddingSpace | None = None,
    models: ModelSource | None = None,
) -> AsyncIterator[LocalSearch]:
    """Runs search for as long as the context lasts, its index loaded and its candidates published.

    Args:
        settings: of search.
        catalogue: opened by the caller before anything that takes long, so that a directory in use is refused at once;
            its owner closes it.
        embedder: describes its model before search starts, unless `space` is given.
        classifier: for photographs and embeddings.
        preferences: the dislikes; its owner closes it.
        candidate_store: takes the candidates; its owner closes it.
        on_failure: called with a sentence if a background task ends that never should.
        space: the embedder's model, if it is known; then the embedder may still be loading.
        models: the models that can be changed to; None for none.

    Yields:
        Search.

    Raises:
        TimeoutError: the embedder has not described its model in time.
    """
    async with AsyncExitStack() as resources:
        model: EmbeddingSpace = space or await wait_for_model(embedder, settings.start_timeout_s)
        await asyncio.to_thread(catalogue.generations.adopt, model.model_version, model.dimension)
        workers = Workers("search", threads=settings.threads, max_pending=settings.max_pending)

        def build(parts: ModelParts, folder: Path) -> ServedGeneration:
            index = _index(settings, parts.space, folder, catalogue, on_failure)
            return _generation(settings, parts, folder, index, preferences, workers, on_failure)

        folder = derived_folder(settings.data_dir, model.model_version)
        live = build(ModelParts(model, embedder, classifier, candidate_store), folder)
        generations = ServedGenerations(live)
        snapshots = settings.snapshots(catalogue, lambda version: generations.live.keeper.keep_as_of(version))
        writer = CatalogueWriter(
            catalogue,
            live.generation,
            limits=settings.write_limits(),
            restore=snapshots.restore if snapshots else lambda _: False,
        )
        reindexer = Reindexer(
            catalogue,
            writer,
            generations,
            build,
            settings.data_dir,
            settings.reindex(),
            models,
            on_failure,
            lambda record: _give_up_index(settings, record, catalogue),
        )
        # They leave in the reverse order: what is stored at the end is of all writes, and none is under way any more.
        resources.push_async_callback(reindexer.close)
        stored_at_end = await resources.enter_async_context(AsyncExitStack())
        resources.push_async_callback(asyncio.to_thread, workers.close)
        resources.push_async_callback(asyncio.to_thread, writer.close)
        resources.push_async_callback(reindexer.stop)
        began = time.monotonic()
        await writer.load()
        facts = await asyncio.to_thread(live.generation.index.facts)
        _log.info(
            "index loaded",
            seconds=round(time.monotonic() - began, 3),
            products=facts.product_count,
            outdated=facts.outdated_count,
            index_version=facts.index_version,
            model_version=model.model_version,
        )
        await live.begin(snapshots.restored if snapshots else None)
        if snapshots:
            stored_at_end.push_async_callback(asyncio.to_thread, snapshots.stop)

        def snapshots_ended(error: BaseException | None) -> None:
            _log.error("writing snapshots of the index has ended", exc_info=error)

        if snapshots:
            await resources.enter_async_context(in_background(snapshots.run(), snapshots_ended))
        reembedding = keep_complete(
            writer,
            group=settings.renew_group,
            pause_s=settings.candidates_period_s,
            after_group=lambda: generations.live.publisher.after_write(),
        )
        await resources.enter_async_context(in_background(reembedding))
        # A reindex may end this generation, and its index is the largest thing in memory.
        del live
        await resources.enter_async_context(in_background(reindexer.run(), reindexer.ended))
        resources.enter_context(disk_metrics(settings.data_dir))
        resources.enter_context(reindex_metrics(reindexer.state))
        resources.enter_context(index_metrics(lambda: generations.live.generation.index, lambda: catalogue.update_time))
        yield LocalSearch(
            generations=generations,
            reindexer=reindexer,
            writer=writer,
            catalogue=catalogue,
            preferences=preferences,
            workers=workers,
        )


def _generation(
    settings: SearchSettings,
    parts: ModelParts,
    folder: Path,
    index: Index,
    preferences: PreferenceStore,
    workers: Workers,
    on_failure: Callable[[str], None],
) -> ServedGeneration:
    """Puts together what answers from a model, with its index."""
    model = parts.space
    keeper = CandidateKeeper(index, model, settings.candidates_changed_share, CandidateFile(folder, model))
    publisher = CandidatePublisher(keeper, parts.candidate_store, model, settings.publisher())
    meter = DoubtMeter(
        index,
        parts.classifier,
        model,
        folder,
        candidates_version=lambda: publisher.published_version,
        changed_share=settings.candidates_changed_share,
        period_s=settings.candidates_period_s,
    )

    def on_change(changes: Sequence[Change]) -> None:
        publisher.note(changes)
        meter.note(changes)

    embedder = WriteEmbedder(
        parts.embedder,
        model.model_version,
        group_size=settings.embed_group,
        groups_in_flight=settings.embed_groups_in_flight,
    )
    finder = SimilarFinder(
        Inventory(index, model.model_version),
        model,
        parts.embedder,
        parts.classifier,
        preferences,
        workers,
        settings.classifier_use(),
        lambda: meter.current.unsure_below if meter.current else 0.0,
    )
    return ServedGeneration(
        parts=parts,
        generation=Generation(model, index, embedder, on_change),
        finder=finder,
        keeper=keeper,
        publisher=publisher,
        meter=meter,
        on_failure=on_failure,
    )


def _index(
    settings: SearchSettings,
    model: EmbeddingSpace,
    folder: Path,
    catalogue: Catalogue,
    on_failure: Callable[[str], None],
) -> Index:
    """Makes the index that was chosen; it is empty."""
    if settings.index == "milvus":
        from services.search.indexes.milvus.index import MilvusIndex
        from services.search.indexes.milvus.store import MilvusStore

        store = MilvusStore(settings.milvus(), model.dimension, model.model_version)
        return MilvusIndex(store, catalogue.identity, start_timeout_s=settings.start_timeout_s, on_failure=on_failure)
    return FaissIndex(model.dimension, settings.faiss(), ReductionFile(folder, model.model_version), settings.data_dir)


def _give_up_index(settings: SearchSettings, record: GenerationRecord, catalogue: Catalogue) -> None:
    """Deletes what the index of a generation keeps outside the data directory.

    Raises:
        FailedPrecondition: INDEX_FOREIGN.
        Upstream: INDEX_UNAVAILABLE.
    """
    if settings.index == "milvus":
        from services.search.indexes.milvus.store import MilvusStore

        MilvusStore(settings.milvus(), record.dimension, record.model_version).give_up(catalogue.identity)
