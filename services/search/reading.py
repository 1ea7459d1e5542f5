"""What every process of search answers by its index alone: one method per RPC, on the values of the domain."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from services.concurrency.workers import Workers
from services.contract.errors import FashionError, InvalidInput
from services.contract.values import Garment, Photograph
from services.search.catalogue.products import Product
from services.search.filters.colours import DislikedColour, expand, require_known
from services.search.filters.facets import Facets
from services.search.filters.filter import Filter
from services.search.filters.order import Order, place_of
from services.search.filters.paging import coerced_page_size, last_place, next_page_token
from services.search.indexes.base import ReadableIndex
from services.search.preferences import PreferenceStore, validate_user_id
from services.search.query.batch import batch_find_similar
from services.search.query.find_similar import SimilarAnswer, SimilarFinder
from services.search.query.request import SimilarRequest

MAX_COLOURS = 100


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


class ReadingSearch(ABC):
    """The part of search that changes no product."""

    def __init__(self, preferences: PreferenceStore, workers: Workers) -> None:
        """Takes the parts.

        Args:
            preferences: the dislikes.
            workers: the threads in which the index is read.
        """
        self._preferences = preferences
        self._workers = workers

    @property
    @abstractmethod
    def _index(self) -> ReadableIndex:
        """The index that is read now."""

    @abstractmethod
    def _answering(self) -> AbstractContextManager[SimilarFinder]:
        """Takes what answers a query, for the whole of it."""

    async def find_similar(self, request: SimilarRequest) -> SimilarAnswer:
        """Finds similar products; see `SimilarFinder.find_similar`."""
        with self._answering() as finder:
            return await finder.find_similar(request)

    async def batch_find_similar(
        self, product_ids: Sequence[str], request: SimilarRequest
    ) -> list[SimilarAnswer | FashionError]:
        """Finds similar products for each of some products; see `services.search.query.batch`."""
        with self._answering() as finder:
            return await batch_find_similar(finder, product_ids, request)

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph; see `Embedder.detect_garments`."""
        with self._answering() as finder:
            return await finder.embedder.detect_garments(photograph)

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
