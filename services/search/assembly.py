"""Assembles search from its parts, for a process of its own and for the stack."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from services.clients.embedder import wait_for_model
from services.concurrency.background import in_background
from services.concurrency.workers import Workers
from services.contract.protocols import CandidateStore, Classifier, Embedder, EmbeddingSpace
from services.search.candidates.doubt_meter import DoubtMeter
from services.search.candidates.file import CandidateFile
from services.search.candidates.keeper import CandidateKeeper
from services.search.candidates.publisher import CandidatePublisher
from services.search.catalogue.store import Catalogue
from services.search.index_metrics import index_metrics
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.reduction_file import ReductionFile
from services.search.preferences import PreferenceStore
from services.search.query.find_similar import SimilarFinder
from services.search.query.retrieval import Inventory
from services.search.service import LocalSearch
from services.search.settings import SearchSettings
from services.search.writes.photograph_embedder import WriteEmbedder
from services.search.writes.reembed import reembed
from services.search.writes.writer import CatalogueWriter, Change

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

    Yields:
        Search.

    Raises:
        TimeoutError: the embedder has not described its model in time.
    """
    async with AsyncExitStack() as resources:
        model: EmbeddingSpace = space or await wait_for_model(embedder, settings.start_timeout_s)
        index = FaissIndex(model.dimension, settings.index(), ReductionFile(settings.data_dir, model.model_version))
        keeper = CandidateKeeper(
            index, model, settings.candidates_changed_share, CandidateFile(settings.data_dir, model)
        )
        snapshots = settings.snapshots(catalogue, keeper.keep_as_of)
        publisher = CandidatePublisher(keeper, candidate_store, model, settings.publisher())
        meter = DoubtMeter(
            index,
            classifier,
            model,
            settings.data_dir,
            candidates_version=lambda: publisher.published_version,
            changed_share=settings.candidates_changed_share,
            period_s=settings.candidates_period_s,
        )

        def on_change(changes: Sequence[Change]) -> None:
            publisher.note(changes)
            meter.note(changes)

        writer = CatalogueWriter(
            catalogue,
            index,
            model,
            WriteEmbedder(
                embedder,
                model.model_version,
                group_size=settings.embed_group,
                groups_in_flight=settings.embed_groups_in_flight,
            ),
            limits=settings.write_limits(),
            on_change=on_change,
            restore=snapshots.restore if snapshots else lambda _: False,
        )
        resources.callback(writer.close)
        workers = Workers("search", threads=settings.threads, max_pending=settings.max_pending)
        resources.callback(workers.close)
        began = time.monotonic()
        outdated = await writer.load()
        facts = index.facts()
        _log.info(
            "index loaded",
            seconds=round(time.monotonic() - began, 3),
            products=facts.product_count,
            outdated=facts.outdated_count,
            index_version=facts.index_version,
            model_version=model.model_version,
        )
        await publisher.begin(index.searchable_types(), snapshots.restored if snapshots else None)
        # Runs on the way out, once no task writes any more.
        resources.push_async_callback(asyncio.to_thread, keeper.keep)
        meter.begin()
        resources.push_async_callback(asyncio.to_thread, meter.keep)
        if snapshots:
            resources.push_async_callback(asyncio.to_thread, snapshots.stop)

        def publishing_ended(error: BaseException | None) -> None:
            _log.error("publishing candidates has ended", exc_info=error)
            on_failure(f"publishing candidates has ended: {error!r}")

        def reembedding_ended(error: BaseException | None) -> None:
            if error is not None:
                _log.error("embedding outdated products again has failed", exc_info=error)

        def measuring_ended(error: BaseException | None) -> None:
            _log.error("measuring doubt has ended", exc_info=error)
            on_failure(f"measuring doubt has ended: {error!r}")

        def snapshots_ended(error: BaseException | None) -> None:
            _log.error("writing snapshots of the index has ended", exc_info=error)

        await resources.enter_async_context(in_background(publisher.run(), publishing_ended))
        if snapshots:
            await resources.enter_async_context(in_background(snapshots.run(), snapshots_ended))
        await resources.enter_async_context(in_background(meter.run(), measuring_ended))
        if outdated:
            reembedding = reembed(
                writer,
                outdated,
                group=settings.renew_group,
                pause_s=settings.candidates_period_s,
                after_group=publisher.after_write,
            )
            await resources.enter_async_context(in_background(reembedding, reembedding_ended))
        resources.enter_context(index_metrics(index, catalogue))
        yield LocalSearch(
            finder=SimilarFinder(
                Inventory(index, model.model_version),
                model,
                embedder,
                classifier,
                preferences,
                workers,
                settings.classifier_use(),
                lambda: meter.current.unsure_below if meter.current else 0.0,
            ),
            writer=writer,
            catalogue=catalogue,
            index=index,
            space=model,
            preferences=preferences,
            candidates=publisher,
            doubt=meter,
            workers=workers,
        )
