"""A process of search that answers from an index in Milvus, beside the one that writes it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import structlog
from google.protobuf.message import Message

from fashion.v1 import search_pb2
from services.clients.search import SearchClient
from services.concurrency.background import in_background
from services.concurrency.workers import Workers
from services.contract.protocols import Classifier, Embedder
from services.search.catalogue.products import Product
from services.search.conversion import products
from services.search.followed_model import ModelFollower
from services.search.index_metrics import index_metrics
from services.search.indexes.base import ReadableIndex
from services.search.preferences import PreferenceStore
from services.search.query.find_similar import SimilarFinder
from services.search.reading import ReadingSearch
from services.search.servicer import SEARCH, ReadingServicer
from services.search.settings import SearchSettings

_log = structlog.stdlib.get_logger(__name__)


class ReplicaSearch(ReadingSearch):
    """Search by an index that another process writes."""

    def __init__(self, models: ModelFollower, preferences: PreferenceStore, workers: Workers) -> None:
        super().__init__(preferences, workers)
        self._models = models

    @property
    def _index(self) -> ReadableIndex:
        return self._models.live.index

    @contextmanager
    def _answering(self) -> Iterator[SimilarFinder]:
        # For the whole of a query: a change of the model meanwhile changes nothing of its answer.
        with self._models.live.used() as live:
            yield live.finder

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
    embedders: Sequence[Embedder],
    classifiers: Sequence[Classifier],
    preferences: PreferenceStore,
    writer: SearchClient,
    on_failure: Callable[[str], None],
) -> AsyncIterator[ReplicaServicer]:
    """Runs a replica for as long as the context lasts, its index read.

    Args:
        settings: of search.
        embedders: for photographs, at least one; with a second one the model can be changed.
        classifiers: for photographs and embeddings, at least one.
        preferences: the dislikes; its owner closes it.
        writer: the search that has the catalogue, and names the model.
        on_failure: called with a sentence if a background task ends that never should.

    Yields:
        What answers.

    Raises:
        TimeoutError, Upstream, FailedPrecondition: see `ModelFollower.begin`.
    """
    async with AsyncExitStack() as resources:
        workers = Workers("search", threads=settings.threads, max_pending=settings.max_pending)
        resources.callback(workers.close)
        models = ModelFollower(settings, embedders, classifiers, preferences, writer, workers)
        resources.push_async_callback(models.close)
        await models.begin()

        def ended(error: BaseException | None) -> None:
            _log.error("following the writer has ended", exc_info=error)
            on_failure(f"following the writer has ended: {error!r}")

        await resources.enter_async_context(in_background(models.follow(), ended))
        resources.enter_context(index_metrics(lambda: models.live.index, lambda: None))
        yield ReplicaServicer(ReplicaSearch(models, preferences, workers), writer)
