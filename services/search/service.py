"""Search in this process: one method per RPC, on the values of the domain."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.concurrency.workers import Workers
from services.contract.embedding import renormalised
from services.contract.errors import FashionError, InvalidInput, NotFound
from services.contract.values import Embedding, Photograph
from services.search.candidates.doubt import Doubt
from services.search.catalogue.content import product_damaged
from services.search.catalogue.photographs import StoredPhotograph
from services.search.catalogue.products import Product, product_not_found, validate_product_id
from services.search.catalogue.store import Catalogue
from services.search.indexes.base import Index, IndexFacts
from services.search.preferences import PreferenceStore
from services.search.query.find_similar import SimilarAnswer, SimilarFinder
from services.search.query.request import SimilarRequest
from services.search.reading import ReadingSearch
from services.search.reindex.reindexer import Reindexer
from services.search.reindex.served import ServedGenerations
from services.search.writes.contents import photograph_not_found
from services.search.writes.rows import DeleteReport, PhotographReport, UpdateRow, UpsertReport, UpsertRow
from services.search.writes.writer import CatalogueWriter

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProductAndEmbedding:
    """A product, and its embedding of whatever model; None unless asked for."""

    product: Product
    embedding: Embedding | None


@dataclass(frozen=True, slots=True)
class CatalogueFacts:
    """Facts about the catalogue.

    Attributes:
        index: counts and version.
        model_version: the model whose embeddings are compared.
        update_time: when the newest write was committed; None before the first write.
        candidates_version: version of the candidates that were published last; "" if there are none.
        doubt: what is usual in the catalogue; None before it was measured, and with fewer than two products.
    """

    index: IndexFacts
    model_version: str
    update_time: datetime | None
    candidates_version: str
    doubt: Doubt | None


class LocalSearch(ReadingSearch):
    """The search service without its transport.

    Attributes:
        reindexer: changes the model.
    """

    def __init__(
        self,
        *,
        generations: ServedGenerations,
        reindexer: Reindexer,
        writer: CatalogueWriter,
        catalogue: Catalogue,
        preferences: PreferenceStore,
        workers: Workers,
    ) -> None:
        """Takes the parts.

        Args:
            generations: the one that queries are answered from; its index is loaded.
            reindexer: changes the model.
            writer: writes the catalogue and the indexes.
            catalogue: read for photographs and stored embeddings.
            preferences: the dislikes.
            workers: the threads in which index and catalogue are read.
        """
        super().__init__(preferences, workers)
        self._generations = generations
        self.reindexer = reindexer
        self._writer = writer
        self._catalogue = catalogue

    @property
    def _index(self) -> Index:
        return self._generations.live.generation.index

    @contextmanager
    def _answering(self) -> Iterator[SimilarFinder]:
        # For the whole of a query: a switch meanwhile changes nothing of its answer.
        with self._generations.live.used() as live:
            yield live.finder

    async def find_similar(self, request: SimilarRequest) -> SimilarAnswer:
        """See `ReadingSearch.find_similar`."""
        with self.reindexer.throttle.query():
            return await super().find_similar(request)

    async def upsert_products(self, rows: Sequence[UpsertRow], fields: Collection[str] | None = None) -> UpsertReport:
        """Creates or replaces products; see `CatalogueWriter.upsert_products`."""
        report = await self._writer.upsert_products(rows, fields)
        await self._publish_candidates()
        return report

    async def update_products(self, rows: Sequence[UpdateRow]) -> UpsertReport:
        """Changes some fields of products; see `CatalogueWriter.update_products`."""
        report = await self._writer.update_products(rows)
        await self._publish_candidates()
        return report

    async def delete_products(self, product_ids: Sequence[str]) -> DeleteReport:
        """Deletes products; see `CatalogueWriter.delete_products`."""
        report = await self._writer.delete_products(product_ids)
        await self._publish_candidates()
        return report

    async def add_photograph(
        self, product_id: str, content: Photograph | Embedding | None, *, index: int | None = None
    ) -> PhotographReport:
        """Adds a photograph to a product; see `PhotographWriter.add`.

        Raises:
            InvalidInput: PHOTOGRAPH_MISSING: there is no content.
        """
        if content is None:
            raise InvalidInput(
                "The request has no photograph: send an image or an embedding.",
                reason="PHOTOGRAPH_MISSING",
                metadata={"field": "content"},
            )
        report = await self._writer.photographs.add(product_id, content, index)
        await self._publish_candidates()
        return report

    async def remove_photograph(self, product_id: str, photograph: int | str) -> PhotographReport:
        """Removes one of several photographs of a product; see `PhotographWriter.remove`."""
        report = await self._writer.photographs.remove(product_id, photograph)
        await self._publish_candidates()
        return report

    async def get_product(self, product_id: str, *, include_embedding: bool) -> ProductAndEmbedding:
        """Returns one product.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND.
            DataLoss: PRODUCT_DAMAGED.
        """
        validate_product_id(product_id, "product_id")
        if not include_embedding:
            product = await self._workers.run(self._index.product, product_id)
            if product is None:
                raise self._product_missing(product_id)
            return ProductAndEmbedding(product, None)
        stored = await self._workers.run(self._catalogue.get, product_id)
        if stored is None:
            raise product_not_found(product_id)
        # Callers are promised a norm of 1, which the rounding to float16 has changed a little.
        embedding = Embedding(renormalised(stored.embedding), stored.content.model_version)
        return ProductAndEmbedding(stored.product, embedding)

    async def get_photograph(self, product_id: str, index: int = 0) -> StoredPhotograph:
        """Returns a photograph of a product as it was uploaded; they are counted from 0.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND, PHOTOGRAPH_NOT_FOUND.
            DataLoss: PRODUCT_DAMAGED, PHOTOGRAPH_DAMAGED.
        """
        validate_product_id(product_id, "product_id")
        photograph = await self._workers.run(self._catalogue.photograph, product_id, index)
        if photograph is None:
            product = await self._workers.run(self._index.product, product_id)
            if product is None:
                raise self._product_missing(product_id)
            if not 0 <= index < product.photograph_count:
                raise photograph_not_found(product_id, index)
            raise NotFound(
                f'This photograph of the product "{product_id}" came as an embedding, so there is no file of it.',
                reason="PHOTOGRAPH_NOT_FOUND",
                metadata={"product_id": product_id},
            )
        return photograph

    async def get_index(self) -> CatalogueFacts:
        """Returns facts about the catalogue."""
        return await self._workers.run(self._facts)

    def _product_missing(self, product_id: str) -> FashionError:
        known = product_id in self._catalogue.damaged
        return product_damaged(product_id) if known else product_not_found(product_id)

    def _facts(self) -> CatalogueFacts:
        live = self._generations.live
        return CatalogueFacts(
            live.generation.index.facts(),
            live.model_version,
            self._catalogue.update_time,
            live.publisher.published_version,
            live.meter.current,
        )

    async def _publish_candidates(self) -> None:
        try:
            await self._generations.live.publisher.after_write()
        except Exception:
            # The write succeeded, so the caller must not be told otherwise.
            _log.exception("candidates could not be published after a write")
