"""What an index of the catalogue must do, whoever does it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.search.catalogue.products import Product
from services.search.filters.colours import DislikedColour
from services.search.filters.facets import Facets
from services.search.filters.filter import Filter


@dataclass(frozen=True, slots=True, eq=False)
class IndexedProduct:
    """A product as an index takes it.

    Attributes:
        product: its attributes.
        embedding: float16, shape (dimension,), L2 norm 1; None for a product whose embedding is another model's,
            which is kept and listed but never found.
    """

    product: Product
    embedding: NDArray[np.float16] | None


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Which products a search may return: those that pass every part.

    Attributes:
        derived_types: only these derived types; None for the whole inventory.
        filter: what the caller asked for.
        disliked_colours: none of these, spelt out against the colours of the very snapshot that is searched, so that a
            shade that arrives between two steps of a request cannot slip through.
        excluded_ids: none of these products; one that is not in the catalogue is no error.
        include_out_of_stock: whether products that are marked as out of stock may be returned.
    """

    derived_types: frozenset[str] | None = None
    filter: Filter = field(default_factory=Filter)
    disliked_colours: tuple[DislikedColour, ...] = ()
    excluded_ids: Collection[str] = ()
    include_out_of_stock: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A product that was found; `similarity` in [-1, 1], higher is closer."""

    product: Product
    similarity: float


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """What a search of one snapshot found.

    Attributes:
        hits: min(k, eligible_count) of them, the most similar first, equal similarities by product id.
        eligible_count: how many products passed the eligibility.
        excluded_colours: the colours that the dislikes stood for, in alphabetical order.
        index_version: of the snapshot.
    """

    hits: tuple[Hit, ...]
    eligible_count: int
    excluded_colours: tuple[str, ...]
    index_version: int


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """Facts about one snapshot.

    Attributes:
        product_count: all products, found or not.
        available_count: those that are not marked as out of stock.
        outdated_count: those without an embedding of the model that is served.
        derived_types: label -> how many products, in alphabetical order.
        index_version: of the snapshot.
    """

    product_count: int
    available_count: int
    outdated_count: int
    derived_types: Mapping[str, int]
    index_version: int


@dataclass(frozen=True, slots=True)
class ProductPage:
    """Products in the order of their ids; `total_count` counts those on all pages, `more` tells whether any follow."""

    products: tuple[Product, ...]
    total_count: int
    more: bool


@dataclass(frozen=True, slots=True, eq=False)
class TypeMembers:
    """The products of one derived type that can be found, as candidates are computed from them.

    Attributes:
        products: shape (n,), in the order of their ids.
        embeddings: float16, shape (n, dimension), L2-normalised rows; a copy.
        index_version: of the snapshot.
    """

    products: tuple[Product, ...]
    embeddings: NDArray[np.float16]
    index_version: int


class Index(Protocol):
    """Finds the nearest of the eligible products.

    Any number of threads may read while one writes; every answer is that of one snapshot, whose version it tells.
    """

    def load(self, batches: Iterable[Sequence[IndexedProduct]], index_version: int) -> None:
        """Replaces everything by these products; fastest where a batch holds a whole derived type.

        Raises:
            ValueError: an embedding has another dtype or shape, or an id comes twice.
        """
        ...

    def apply(self, upserts: Sequence[IndexedProduct], deletes: Collection[str], index_version: int) -> None:
        """Creates, replaces and deletes products, all at once as readers see it.

        Args:
            upserts: whole products, no id twice.
            deletes: ids; one that is not there is no error.
            index_version: of the state after it.

        Raises:
            ValueError: an embedding has another dtype or shape, or an id comes twice.
        """
        ...

    def search(self, query: NDArray[np.float32], k: int, eligibility: Eligibility) -> IndexAnswer:
        """Finds the `k` eligible products of the highest similarity.

        Args:
            query: float32, shape (dimension,), L2 norm 1.
            k: at least 1.
            eligibility: which products may be returned.

        Raises:
            InvalidInput: FILTER_VALUE_UNKNOWN, YEAR_RANGE_INVALID or TOO_MANY_FILTER_VALUES, by the filter.
        """
        ...

    def product(self, product_id: str) -> Product | None:
        """Returns a product, or None where there is none of that id."""
        ...

    def embedding(self, product_id: str) -> NDArray[np.float16] | None:
        """Returns a copy of a product's embedding; None where it is unknown, or its embedding another model's."""
        ...

    def page(self, filter: Filter, after: str | None, size: int) -> ProductPage:
        """Lists products that pass a filter (out of stock and outdated ones too), `size` of them after an id.

        Raises:
            InvalidInput: as `search`.
        """
        ...

    def facets(self, filter: Filter) -> Facets:
        """Counts products by the values of their attributes, out of stock and outdated ones too.

        Raises:
            InvalidInput: as `search`.
        """
        ...

    def members(self, derived_type: str) -> TypeMembers:
        """Returns the products of a derived type that can be found; none for one that is unknown."""
        ...

    def has_searchable(self, derived_type: str) -> bool:
        """Tells whether products of a derived type can be found; asked with every photograph."""
        ...

    def searchable_types(self) -> Mapping[str, int]:
        """Returns the derived types with products that can be found, and how many those are."""
        ...

    def colours(self) -> frozenset[str]:
        """Returns the colours that products of the catalogue have."""
        ...

    def facts(self) -> IndexFacts:
        """Returns counts and version."""
        ...
