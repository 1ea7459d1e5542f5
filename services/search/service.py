"""Search in this process: every use case of the service, on the values of the domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.concurrency.workers import Workers
from services.contract.embedding import renormalised
from services.contract.errors import InvalidInput, NotFound
from services.contract.protocols import EmbeddingSpace
from services.contract.values import Embedding
from services.search.candidates.publisher import CandidatePublisher
from services.search.catalogue.photographs import StoredPhotograph
from services.search.catalogue.products import Product, product_not_found, validate_product_id
from services.search.catalogue.store import Catalogue
from services.search.filters.colours import DislikedColour, expand, require_known
from services.search.filters.facets import Facets
from services.search.filters.filter import Filter
from services.search.filters.paging import DEFAULT_PAGE_SIZE, check_page_size, last_id, next_page_token
from services.search.indexes.base import Index, IndexFacts
from services.search.preferences import PreferenceStore, validate_user_id
from services.search.query.find_similar import SimilarAnswer, SimilarFinder
from services.search.query.request import SimilarRequest
from services.search.writes.writer import CatalogueWriter, DeleteReport, UpsertReport, UpsertRow

_log = structlog.stdlib.get_logger(__name__)

MAX_COLOURS = 100


@dataclass(frozen=True, slots=True)
class FoundProduct:
    """A product, and its embedding where that was asked for, of whatever model it is."""

    product: Product
    embedding: Embedding | None


@dataclass(frozen=True, slots=True)
class ProductList:
    """A page of products.

    Attributes:
        products: in the order of their ids.
        next_page_token: "" on the last page.
        total_count: of products on all pages.
    """

    products: tuple[Product, ...]
    next_page_token: str
    total_count: int


@dataclass(frozen=True, slots=True)
class CatalogueFacts:
    """Facts about what is searched.

    Attributes:
        index: counts and version.
        model_version: of the embeddings that are compared.
        update_time: of the newest write; None where nothing was ever written.
        candidates_version: of the candidates that were published last; "" where there are none.
    """

    index: IndexFacts
    model_version: str
    update_time: datetime | None
    candidates_version: str


class LocalSearch:
    """The search service without its transport."""

    def __init__(
        self,
        *,
        finder: SimilarFinder,
        writer: CatalogueWriter,
        catalogue: Catalogue,
        index: Index,
        space: EmbeddingSpace,
        preferences: PreferenceStore,
        candidates: CandidatePublisher,
        workers: Workers,
    ) -> None:
        """Takes the parts, the index loaded.

        Args:
            finder: finds similar products.
            writer: writes the catalogue and the index.
            catalogue: read for what the index does not hold.
            index: read for everything else.
            space: the model whose embeddings are compared.
            preferences: the dislikes.
            candidates: told by the writer; asked to publish after a write.
            workers: where reading runs.
        """
        self._finder = finder
        self._writer = writer
        self._catalogue = catalogue
        self._index = index
        self._space = space
        self._preferences = preferences
        self._candidates = candidates
        self._workers = workers

    async def find_similar(self, request: SimilarRequest) -> SimilarAnswer:
        """Finds similar products; see `SimilarFinder.find_similar`."""
        return await self._finder.find_similar(request)

    async def upsert_products(self, rows: Sequence[UpsertRow]) -> UpsertReport:
        """Creates or replaces products; see `CatalogueWriter.upsert_products`."""
        report = await self._writer.upsert_products(rows)
        await self._follow()
        return report

    async def delete_products(self, product_ids: Sequence[str]) -> DeleteReport:
        """Deletes products; see `CatalogueWriter.delete_products`."""
        report = await self._writer.delete_products(product_ids)
        await self._follow()
        return report

    async def get_product(self, product_id: str, *, include_embedding: bool) -> FoundProduct:
        """Returns one product.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND.
        """
        validate_product_id(product_id, "product_id")
        if not include_embedding:
            product = await self._workers.run(self._index.product, product_id)
            if product is None:
                raise product_not_found(product_id)
            return FoundProduct(product, None)
        stored = await self._workers.run(self._catalogue.get, product_id)
        if stored is None:
            raise product_not_found(product_id)
        # Rounded to float16 it is not quite of norm 1, which is what callers are promised.
        embedding = Embedding(renormalised(stored.embedding), stored.content.model_version)
        return FoundProduct(stored.product, embedding)

    async def get_photograph(self, product_id: str) -> StoredPhotograph:
        """Returns the photograph of a product as it was uploaded.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND, PHOTOGRAPH_NOT_FOUND.
        """
        validate_product_id(product_id, "product_id")
        kept = await self._workers.run(self._catalogue.photograph, product_id)
        if kept is None:
            if await self._workers.run(self._index.product, product_id) is None:
                raise product_not_found(product_id)
            raise NotFound(
                f'product "{product_id}" came as an embedding: no photograph of it is kept',
                reason="PHOTOGRAPH_NOT_FOUND",
                metadata={"product_id": product_id},
            )
        return kept

    async def list_products(
        self, filter: Filter, *, page_size: int = DEFAULT_PAGE_SIZE, page_token: str = ""
    ) -> ProductList:
        """Lists products in the order of their ids.

        Args:
            filter: which ones.
            page_size: 1..500.
            page_token: of the page before; "" for the first.

        Raises:
            InvalidInput: PAGE_SIZE_OUT_OF_RANGE, PAGE_TOKEN_INVALID, FILTER_VALUE_UNKNOWN, YEAR_RANGE_INVALID.
        """
        check_page_size(page_size)
        after = last_id(page_token, filter) if page_token else None
        page = await self._workers.run(self._index.page, filter, after, page_size)
        token = next_page_token(page.products[-1].id, filter) if page.more else ""
        return ProductList(page.products, token, page.total_count)

    async def list_facets(self, filter: Filter) -> Facets:
        """Counts the products that a filter lets through by the values of their attributes.

        Raises:
            InvalidInput: FILTER_VALUE_UNKNOWN, TOO_MANY_FILTER_VALUES, YEAR_RANGE_INVALID.
        """
        return await self._workers.run(self._index.facets, filter)

    async def covered(self, dislikes: Sequence[DislikedColour]) -> tuple[tuple[str, ...], ...]:
        """Returns for each dislike the colours of the catalogue that it stands for, in alphabetical order."""
        known = await self._workers.run(self._index.colours)
        return tuple(tuple(sorted(expand((each,), known) & known)) for each in dislikes)

    async def add_disliked_colours(self, user_id: str, colours: Sequence[DislikedColour]) -> tuple[DislikedColour, ...]:
        """Remembers colours that a user dislikes; returns all of them.

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
        """Forgets that a user dislikes some colours; returns those that remain.

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
        """Erases all that is kept about a user; tells whether there was anything.

        Raises:
            InvalidInput: USER_ID_INVALID.
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        return await self._preferences.forget(validate_user_id(user_id))

    async def get_index(self) -> CatalogueFacts:
        """Returns facts about what is searched."""
        return await self._workers.run(self._facts)

    def _facts(self) -> CatalogueFacts:
        return CatalogueFacts(
            self._index.facts(),
            self._space.model_version,
            self._catalogue.update_time,
            self._candidates.published_version,
        )

    async def _follow(self) -> None:
        try:
            await self._candidates.after_write()
        except Exception:
            # The write is done: that its candidates are not is no reason to tell the caller otherwise.
            _log.exception("candidates could not follow a write")


def _check_colours(count: int) -> None:
    if count == 0:
        raise InvalidInput("No colours are named.", reason="COLOURS_MISSING", metadata={"field": "colours"})
    if count > MAX_COLOURS:
        raise InvalidInput(
            f"{count} colours are named; at most {MAX_COLOURS} are taken at once.",
            reason="TOO_MANY_COLOURS",
            metadata={"field": "colours"},
        )
