"""A process of search that answers from an index in Milvus, beside the one that writes it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import structlog
from google.protobuf.message import Message

from fashion.v1 import search_pb2
from services.clients.embedder import wait_for_model
from services.clients.search import SearchClient
from services.concurrency.background import in_background
from services.concurrency.workers import Workers
from services.contract.errors import FashionError
from services.contract.protocols import Classifier, Embedder
from services.search.catalogue.products import Product
from services.search.conversion import products
from services.search.index_metrics import index_metrics
from services.search.indexes.base import ReadableIndex
from services.search.indexes.milvus.follower import MilvusFollower
from services.search.indexes.milvus.store import MilvusStore
from services.search.preferences import PreferenceStore
from services.search.query.find_similar import SimilarFinder
from services.search.query.retrieval import Inventory
from services.search.reading import ReadingSearch
from services.search.servicer import SEARCH, ReadingServicer
from services.search.settings import SearchSettings

_log = structlog.stdlib.get_logger(__name__)


class ReplicaSearch(ReadingSearch):
    """Search by an index that another process writes.

    Attributes:
        unsure_below: the confidence below which recognition counts as unsure, as the writer has measured it.
    """

    def __init__(self, index: ReadableIndex, preferences: PreferenceStore, workers: Workers) -> None:
        super().__init__(preferences, workers)
        self._followed = index
        self._finder: SimilarFinder | None = None
        self.unsure_below = 0.0

    def answer_by(self, finder: SimilarFinder) -> None:
        """Takes what answers queries."""
        self._finder = finder

    @property
    def _index(self) -> ReadableIndex:
        return self._followed

    @contextmanager
    def _answering(self) -> Iterator[SimilarFinder]:
        assert self._finder is not None, "It is given before the first query."
        yield self._finder

    async def known_product(self, product_id: str) -> Product | None:
        """Returns a product, or None if there is none here."""
        return await self._workers.run(self._index.product, product_id)


def _passed_on(rpc: str) -> Callable[["ReplicaServicer", Message, Any], Awaitable[Any]]:
    """Returns a method that has the writer answer."""

    async def method(servicer: "ReplicaServicer", request: Message, context: Any) -> Any:
        return await servicer.writer.pass_on(rpc, request, writes=rpc in SEARCH.writes)

    return method


class ReplicaServicer(ReadingServicer):
    """SearchService of fashion.v1: answers queries and lists, and passes everything else on to the writer.

    Attributes:
        writer: the search that has the catalogue.
    """

    def __init__(self, search: ReplicaSearch, writer: SearchClient) -> None:
        super().__init__(search)
        self._replica = search
        self.writer = writer

    # Answered by the one that has the catalogue: photographs, their stored embeddings, and facts about all of it.
    UpsertProducts: Any = _passed_on("UpsertProducts")
    UpdateProducts: Any = _passed_on("UpdateProducts")
    DeleteProducts: Any = _passed_on("DeleteProducts")
    AddPhotograph: Any = _passed_on("AddPhotograph")
    RemovePhotograph: Any = _passed_on("RemovePhotograph")
    GetPhotograph: Any = _passed_on("GetPhotograph")
    GetIndex: Any = _passed_on("GetIndex")

    async def GetProduct(  # noqa: N802
        self, request: search_pb2.GetProductRequest, context: Any
    ) -> search_pb2.GetProductResponse:
        """Returns one product; what is not here may be new, or damaged."""
        if not request.include_embedding:
            product = await self._replica.known_product(request.product_id)
            if product is not None:
                return search_pb2.GetProductResponse(product=products.product_to_proto(product))
        response: search_pb2.GetProductResponse = await self.writer.pass_on("GetProduct", request, writes=False)
        return response


@asynccontextmanager
async def running_replica(
    settings: SearchSettings,
    *,
    embedder: Embedder,
    classifier: Classifier,
    preferences: PreferenceStore,
    writer: SearchClient,
    on_failure: Callable[[str], None],
) -> AsyncIterator[ReplicaServicer]:
    """Runs a replica for as long as the context lasts, its index read.

    Args:
        settings: of search.
        embedder: describes its model before search starts.
        classifier: for photographs and embeddings.
        preferences: the dislikes; its owner closes it.
        writer: the search that has the catalogue.
        on_failure: called with a sentence where the process has to start again.

    Yields:
        What answers.

    Raises:
        TimeoutError: the embedder has not described its model in time.
        Upstream: INDEX_UNAVAILABLE: Milvus does not answer in time, or has no collection of the model.
    """
    async with AsyncExitStack() as resources:
        model = await wait_for_model(embedder, settings.start_timeout_s)
        store = MilvusStore(settings.milvus(), model.dimension, model.model_version)
        index = MilvusFollower(store)
        resources.push_async_callback(asyncio.to_thread, index.close)
        await asyncio.to_thread(index.begin, settings.start_timeout_s)
        facts = await asyncio.to_thread(index.facts)
        _log.info(
            "index read",
            products=facts.product_count,
            index_version=facts.index_version,
            model_version=model.model_version,
        )
        workers = Workers("search", threads=settings.threads, max_pending=settings.max_pending)
        resources.callback(workers.close)
        search = ReplicaSearch(index, preferences, workers)
        search.answer_by(
            SimilarFinder(
                Inventory(index, model.model_version),
                model,
                embedder,
                classifier,
                preferences,
                workers,
                settings.classifier_use(),
                lambda: search.unsure_below,
            )
        )

        async def follow_facts() -> None:
            while True:
                try:
                    facts = await writer.get_index()
                    search.unsure_below = facts.unsure_below
                    if facts.model_version != model.model_version:
                        on_failure(f"The writer has changed to the model {facts.model_version}.")
                except FashionError as error:
                    _log.info("the writer of the catalogue does not answer", why=error.message)
                await asyncio.sleep(settings.candidates_period_s)

        def ended(error: BaseException | None) -> None:
            _log.error("following the writer has ended", exc_info=error)
            on_failure(f"following the writer has ended: {error!r}")

        await resources.enter_async_context(in_background(follow_facts(), ended))
        resources.enter_context(index_metrics(lambda: index, lambda: None))
        yield ReplicaServicer(search, writer)
