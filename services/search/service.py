"""Search in this process: one method per RPC, on the values of the domain."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.concurrency.workers import Workers
from services.contract.embedding import renormalised
from services.contract.errors import FashionError, InvalidInput, NotFound
from services.contract.values import Embedding, Garment, Photograph
from services.search.candidates.doubt import Doubt
from services.search.catalogue.content import product_damaged
from services.search.catalogue.photographs import StoredPhotograph
from services.search.catalogue.products import Product, product_not_found, validate_product_id
from services.search.catalogue.store import Catalogue
from services.search.filters.colours import DislikedColour, expand, require_known
from services.search.filters.facets import Facets
from services.search.filters.filter import Filter
from services.search.filters.order import Order, place_of
from services.search.filters.paging import coerced_page_size, last_place, next_page_token
from services.search.indexes.base import Index, IndexFacts
from services.search.preferences import PreferenceStore, validate_user_id
from services.search.query.batch import batch_find_similar
from services.search.query.find_similar import SimilarAnswer
from services.search.query.request import SimilarRequest
from services.search.reindex.reindexer import Reindexer
from services.search.reindex.served import ServedGeneration, ServedGenerations
from services.search.writes.contents import photograph_not_found
from services.search.writes.rows import DeleteReport, PhotographReport, UpdateRow, UpsertReport, UpsertRow
from services.search.writes.writer import CatalogueWriter

_log = structlog.stdlib.get_logger(__name__)

MAX_COLOURS = 100


@dataclass(frozen=True, slots=True)
class ProductAndEmbedding:
    """A product, and its embedding of whatever model; None unless asked for."""

    product: Product
    embedding: Embedding | None


@dataclass(frozen=True, slots=True)
class ProductList:
    """A page of products.

    Attributes:
        products: in the order that was asked for.
        next_page_token: "" on the last page.
        total_count: number of products on all pages.
        other_currencies: as in `ProductPage`.
    """

    products: tuple[Product, ...]
    next_page_token: str
    total_count: int
    other_currencies: Mapping[str, int]


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


class LocalSearch:
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
        self._generations = generations
        self.reindexer = reindexer
        self._writer = writer
        self._catalogue = catalogue
        self._preferences = preferences
        self._workers = workers

    @property
    def _index(self) -> Index:
        return self._generations.live.generation.index

    def _answering(self) -> AbstractContextManager[ServedGeneration]:
        """Takes the live generation for the whole of a query: a switch meanwhile changes nothing of its answer."""
        return self._generations.live.used()

    async def find_similar(self, request: SimilarRequest) -> SimilarAnswer:
        """Finds similar products; see `SimilarFinder.find_similar`."""
        with self._answering() as live, self.reindexer.throttle.query():
            return await live.finder.find_similar(request)

    async def batch_find_similar(
        self, product_ids: Sequence[str], request: SimilarRequest
    ) -> list[SimilarAnswer | FashionError]:
        """Finds similar products for each of some products; see `services.search.query.batch`."""
        with self._answering() as live:
            return await batch_find_similar(live.finder, product_ids, request)

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph; see `Embedder.detect_garments`."""
        with self._answering() as live:
            return await live.finder.embedder.detect_garments(photograph)

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

    async def list_products(
        self,
        filter: Filter,
        *,
        order: Order = Order.ID,
        page_size: int = 0,
        page_token: str = "",
    ) -> ProductList:
        """Lists products in an order.

        Args:
            filter: the products to list.
            order: what the list goes by.
            page_size: how many products a page holds at most; 0 for the default, and what is above 500 counts as 500.
            page_token: the previous page's `next_page_token`; "" for the first page.

        Raises:
            InvalidInput: PAGE_SIZE_OUT_OF_RANGE, PAGE_TOKEN_INVALID, and as `Index.search`.
        """
        after = last_place(page_token, filter, order) if page_token else None
        page = await self._workers.run(self._index.page, filter, after, coerced_page_size(page_size), order)
        token = next_page_token(place_of(page.products[-1], order), filter, order) if page.more else ""
        return ProductList(page.products, token, page.total_count, page.other_currencies)

    async def list_facets(self, filter: Filter) -> Facets:
        """Counts products by the values of their attributes.

        Raises:
            InvalidInput: see `filters.evaluate`.
        """
        return await self._workers.run(self._index.facets, filter)

    async def covered(self, dislikes: Sequence[DislikedColour]) -> tuple[tuple[str, ...], ...]:
        """Returns per dislike the colours of the catalogue that it stands for, in alphabetical order."""
        known = await self._workers.run(self._index.colours)
        return tuple(tuple(sorted(expand((each,), known) & known)) for each in dislikes)

    async def add_disliked_colours(self, user_id: str, colours: Sequence[DislikedColour]) -> tuple[DislikedColour, ...]:
        """Adds colours that a user dislikes; returns all that the user dislikes now.

        Raises:
            InvalidInput: USER_ID_INVALID, COLOURS_MISSING, TOO_MANY_COLOURS, COLOUR_UNKNOWN.
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        validate_user_id(user_id)
        _check_colours(len(colours))
        known = await self._workers.run(self._index.colours)
        for disliked in colours:
            require_known(disliked.colour, known)
        return await self._preferences.add(user_id, colours)

    async def remove_disliked_colours(self, user_id: str, colours: Sequence[str]) -> tuple[DislikedColour, ...]:
        """Removes colours that a user dislikes; returns all that the user dislikes now.

        Raises:
            InvalidInput: USER_ID_INVALID, COLOURS_MISSING, TOO_MANY_COLOURS.
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        validate_user_id(user_id)
        _check_colours(len(colours))
        return await self._preferences.remove(user_id, colours)

    async def list_disliked_colours(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns the colours that a user dislikes, in alphabetical order.

        Raises:
            InvalidInput: USER_ID_INVALID.
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        return await self._preferences.disliked_colours(validate_user_id(user_id))

    async def forget_user(self, user_id: str) -> bool:
        """Erases all data about a user; returns whether there was any.

        Raises:
            InvalidInput: USER_ID_INVALID.
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        return await self._preferences.forget(validate_user_id(user_id))

    async def dislikes_known(self) -> bool:
        """Tells whether the disliked colours can be read now."""
        return await self._preferences.available()

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


def _check_colours(count: int) -> None:
    if count == 0:
        raise InvalidInput(
            "The request names no colours; name at least one.", reason="COLOURS_MISSING", metadata={"field": "colours"}
        )
    if count > MAX_COLOURS:
        raise InvalidInput(
            f"The request names {count} colours; at most {MAX_COLOURS} are allowed.",
            reason="TOO_MANY_COLOURS",
            metadata={"field": "colours"},
        )
