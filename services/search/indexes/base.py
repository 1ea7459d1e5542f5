"""The Protocol of an index over the catalogue, and its values."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.search.catalogue.products import Product
from services.search.filters.colours import DislikedColour
from services.search.filters.facets import Facets
from services.search.filters.filter import Filter
from services.search.filters.order import Order, Place
from services.search.filters.ranking import BY_SIMILARITY, Ranking


@dataclass(frozen=True, slots=True, eq=False)
class IndexedProduct:
    """A product to be indexed.

    Attributes:
        product: its attributes.
        embedding: float16, shape (dimension,), L2 norm 1; None if the product's embedding is of another model. Then
            the product is listed, but no search returns it.
        further: the embeddings of its further photographs, in their order, of the same form; at most 7, none without a
            first one.
    """

    product: Product
    embedding: NDArray[np.float16] | None
    further: tuple[NDArray[np.float16] | None, ...] = ()


class Collapse(Enum):
    """What a search does with the variants of a product, such as its sizes."""

    NONE = "none"
    """Each stands for itself."""
    VARIANTS = "variants"
    """The highest eligible one stands for all of its family."""
    DESIGNS = "designs"
    """So too, and for products without a known family those of one design, by name and looks, are one."""


class Rung(IntEnum):
    """A step of a ladder: the products of these labels, and those of the steps below it."""

    DERIVED_TYPE = 0
    ARTICLE_TYPE = 1
    SUB_CATEGORY = 2
    MASTER_CATEGORY = 3


@dataclass(frozen=True, slots=True)
class Ladder:
    """Where a search goes on while its answer is not full.

    Attributes:
        article_types: the labels of the second rung; the first one has the derived types of the search.
        sub_categories: those of the third.
        master_categories: those of the last.
    """

    article_types: frozenset[str]
    sub_categories: frozenset[str]
    master_categories: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.article_types or self.sub_categories or self.master_categories)

    @classmethod
    def of(cls, product: Product) -> "Ladder":
        """Returns the ladder of a product."""
        master = () if product.master_category is None else (product.master_category,)
        return cls(frozenset({product.article_type}), frozenset({product.sub_category}), frozenset(master))

    def labels(self, rung: Rung) -> frozenset[str]:
        """Returns the labels of a rung above the first."""
        return (frozenset[str](), self.article_types, self.sub_categories, self.master_categories)[rung]


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The products that a search may return: those that meet all conditions.

    Attributes:
        derived_types: only products of these derived types; None for the whole inventory.
        filter: only products that pass it.
        disliked_colours: no products of these colours. Families are expanded to the colours of the snapshot that is
            searched, so that a shade that arrives during a request cannot slip through.
        excluded_ids: none of these products; an unknown id is no error.
        include_out_of_stock: whether products that are out of stock may be returned.
        excluded_families: none of the products of these families (`Product.family`).
        excluded_designs_of: where designs are collapsed, none of the products of these products' designs.
        collapse: how many products of a family may be returned.
        ladder: where to go on from the derived types while fewer than `k` products are found; None for nowhere. A lower
            rung goes before a higher one.
    """

    derived_types: frozenset[str] | None = None
    filter: Filter = field(default_factory=Filter)
    disliked_colours: tuple[DislikedColour, ...] = ()
    excluded_ids: Collection[str] = ()
    include_out_of_stock: bool = False
    excluded_families: Collection[str] = ()
    excluded_designs_of: Collection[str] = ()
    collapse: Collapse = Collapse.NONE
    ladder: Ladder | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The arguments of `Index.search`."""

    query: NDArray[np.float32]
    k: int
    eligibility: Eligibility
    ranking: Ranking = BY_SIMILARITY


@dataclass(frozen=True, slots=True)
class Variant:
    """Another product that a hit stands for; `similarity` as of a `Hit`, None without an embedding to compare."""

    product: Product
    similarity: float | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A similar product.

    Attributes:
        product: its attributes.
        similarity: in [-1, 1], higher is closer.
        rank_score: with boosts, the value that ranked it; else None.
        variants: some of the others that it stands for.
        variant_count: how many there are.
        derived: whether they were derived from names and looks.
        photograph: which of the product's photographs is the most similar one; 0 is the first.
        rung: the lowest rung of the ladder that it is on; None without a ladder.
    """

    product: Product
    similarity: float
    rank_score: float | None = None
    variants: tuple[Variant, ...] = ()
    variant_count: int = 0
    derived: bool = False
    photograph: int = 0
    rung: Rung | None = None

    @property
    def value(self) -> float:
        """The number that it is ranked by."""
        return self.similarity if self.rank_score is None else self.rank_score


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many products of a scope are not eligible; each counts once, for the first reason that holds.

    Attributes:
        by_filter: do not pass the filter.
        out_of_stock: pass it, and are out of stock.
        disliked: are of a disliked colour.
        excluded: are excluded by id, family or design.
        variants: are eligible, and another one of their group stands for them.
    """

    by_filter: int = 0
    out_of_stock: int = 0
    disliked: int = 0
    excluded: int = 0
    variants: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.by_filter + self.out_of_stock + self.disliked + self.excluded + self.variants


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """The result of searching one snapshot.

    Attributes:
        hits: min(k, eligible_count) products, the most similar first, equal similarities by product id; in another
            order, or fewer, by the ranking alone.
        eligible_count: number of eligible products; of families that have one, where variants are collapsed.
        excluded_colours: the colours that the dislikes cover, in alphabetical order.
        index_version: of the snapshot.
        left_out: what became of the other products of the scope that have an embedding.
        rung: the highest rung that was searched, which is the scope; None without a ladder.
        other_currencies: with a condition on the price, how many products were left out for their price's currency
            alone, by currency, the most frequent first.
    """

    hits: tuple[Hit, ...]
    eligible_count: int
    excluded_colours: tuple[str, ...]
    index_version: int
    left_out: LeftOut = LeftOut()
    rung: Rung | None = None
    other_currencies: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def searched_count(self) -> int:
        """How many products of the scope have an embedding."""
        return self.eligible_count + self.left_out.total


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """Facts about one snapshot.

    Attributes:
        product_count: number of products.
        available_count: number of products that are not out of stock.
        outdated_count: number of products without an embedding of the served model.
        derived_types: number of products by label, in alphabetical order.
        index_version: of the snapshot.
        approximate: whether a large search of the whole inventory may miss a product.
    """

    product_count: int
    available_count: int
    outdated_count: int
    derived_types: Mapping[str, int]
    index_version: int
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class ProductPage:
    """Products in the order that was asked for.

    Attributes:
        products: those of the page.
        total_count: over all pages.
        more: whether any follow.
        other_currencies: as in `IndexAnswer`.
    """

    products: tuple[Product, ...]
    total_count: int
    more: bool
    other_currencies: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, eq=False)
class TypeMembers:
    """The products of one derived type that have an embedding, for computing candidates.

    Attributes:
        products: shape (n,), in the order of their ids.
        embeddings: float16, shape (n, dimension), L2-normalised rows; a copy.
        index_version: of the snapshot.
    """

    products: tuple[Product, ...]
    embeddings: NDArray[np.float16]
    index_version: int


class ReadableIndex(Protocol):
    """Finds the most similar of the eligible products.

    Any number of threads may read while one writes. Every answer is of one snapshot, and has its version.
    """

    def search(
        self, query: NDArray[np.float32], k: int, eligibility: Eligibility, ranking: Ranking = ...
    ) -> IndexAnswer:
        """Finds the `k` eligible products that rank highest, at most one of a family where that is asked for.

        Args:
            query: float32, shape (dimension,), L2 norm 1.
            k: at least 1.
            eligibility: the products that may be returned.
            ranking: what they are ranked by; by default the similarity.

        Raises:
            InvalidInput: FILTER_VALUE_UNKNOWN, YEAR_RANGE_INVALID, TOO_MANY_FILTER_VALUES or WORDS_TOO_LONG, by the
                filter or a condition of the ranking.
        """
        ...

    def search_many(self, searches: Iterable[Search]) -> Iterator[IndexAnswer]:
        """Yields the answers that `search` would give, in order, faster than as many calls.

        Each answer is of a snapshot of its own. Searches are taken as they are needed, some in advance.

        Raises:
            InvalidInput: as `search`.
        """
        ...

    def product(self, product_id: str) -> Product | None:
        """Returns a product, or None if there is none with this id."""
        ...

    def products(self, product_ids: Iterable[str]) -> Mapping[str, Product]:
        """Returns those of some products that there are, by id."""
        ...

    def embedding(self, product_id: str) -> NDArray[np.float16] | None:
        """Returns a copy of a product's embedding; None if the product or its embedding is unknown."""
        ...

    def page(self, filter: Filter, after: Place | None, size: int, order: Order = Order.ID) -> ProductPage:
        """Lists at most `size` products after a place that pass a filter, out of stock and outdated ones too.

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
        """Returns the products of a derived type that have an embedding; none for an unknown derived type."""
        ...

    def has_searchable(self, derived_type: str) -> bool:
        """Returns whether any product of a derived type has an embedding; called for every photograph."""
        ...

    def searchable_types(self) -> Mapping[str, int]:
        """Returns the number of products with an embedding per derived type that has any."""
        ...

    def ladder(
        self, derived_types: Collection[str], article_types: Collection[str] = (), sub_categories: Collection[str] = ()
    ) -> Ladder:
        """Returns where a search of derived types can go on.

        Each label leads to those that most of its products have on the rungs above; of equally frequent ones to the
        first in alphabetical order.

        Args:
            derived_types: those to begin with.
            article_types: others of the second rung.
            sub_categories: others of the third rung.

        Returns:
            Labels that products have.
        """
        ...

    def colours(self) -> frozenset[str]:
        """Returns the colours that products of the catalogue have."""
        ...

    def attribute_names(self) -> frozenset[str]:
        """Returns the names of the shop's own attributes that products of the catalogue have."""
        ...

    def facts(self) -> IndexFacts:
        """Returns counts and version."""
        ...

    @property
    def index_version(self) -> int:
        """The version of the catalogue; it waits for no write, so that an event loop may ask."""
        ...


class Index(ReadableIndex, Protocol):
    """An index that this process writes."""

    def load(self, batches: Iterable[Sequence[IndexedProduct]], index_version: int) -> None:
        """Replaces all products; fastest if each batch has a whole derived type.

        Raises:
            ValueError: an embedding has another dtype or shape, or an id comes twice.
        """
        ...

    def apply(
        self,
        upserts: Sequence[IndexedProduct],
        deletes: Collection[str],
        index_version: int,
        updates: Sequence[Product] = (),
    ) -> None:
        """Creates, replaces and deletes products in one step for readers.

        Args:
            upserts: whole products, no id twice.
            deletes: ids; an unknown one is no error.
            index_version: the version after this write.
            updates: products that are known, with other attributes; their embeddings stay as they are.

        Raises:
            ValueError: an embedding has another dtype or shape, an id comes twice, or that of an update is unknown.
        """
        ...

    def close(self) -> None:
        """Ends its threads and connections, once what is under way has ended; it answers nothing afterwards."""
        ...
