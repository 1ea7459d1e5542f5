"""What every index does alike that keeps the attributes of its products in columns: lists, counts, and answers."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import BASE_COLOUR, DERIVED_TYPE
from services.search.catalogue.products import Product
from services.search.filters import filter as filters
from services.search.filters.facets import Facets, count_facets, other_currencies
from services.search.filters.filter import Filter
from services.search.filters.order import Order, Place, place_of
from services.search.indexes.base import Collapse, IndexAnswer, IndexFacts, Ladder, ProductPage, Rung, Search
from services.search.indexes.columns import Columns
from services.search.indexes.ladder import ladder_from, rungs_of
from services.search.indexes.locking import ReadersWriterLock
from services.search.indexes.nearest import Field, Selection, Snapshot


class ColumnarIndex(ABC):
    """The part of `services.search.indexes.base.Index` that needs no embeddings, and the end of every search."""

    def __init__(self) -> None:
        self._lock = ReadersWriterLock()
        self._index_version = 0

    @property
    def index_version(self) -> int:
        """See `Index.index_version`."""
        # Read without the lock: it is set within a write, and whoever reads products next waits for its end.
        return self._index_version

    def close(self) -> None:  # noqa: B027
        """See `Index.close`; an index in memory holds nothing open."""

    @property
    @abstractmethod
    def _columns(self) -> Columns:
        """The attributes of the present snapshot; to be read under the lock."""

    def _climb(
        self,
        state: Snapshot,
        search: Search,
        within: Field,
        among: Callable[[NDArray[np.int64]], Field],
    ) -> IndexAnswer:
        """Searches derived types, then one rung after another, as `among` finds its rows, until the answer is full."""
        answer = self._answer(state, search, within, np.zeros(len(state.columns), dtype=np.int8))
        if len(answer.hits) < search.k:
            rungs = rungs_of(state.columns, search.eligibility)
            for rung in list(Rung)[1:]:
                field = _with_exact(within, among(np.flatnonzero(rungs <= rung)), len(state.columns))
                answer = replace(self._answer(state, search, field, rungs), rung=rung)
                if len(answer.hits) == search.k:
                    return answer
            return answer
        return replace(answer, rung=Rung.DERIVED_TYPE)

    def _answer(
        self, state: Snapshot, search: Search, field: Field, rungs: NDArray[np.int8] | None = None
    ) -> IndexAnswer:
        """Selects the products of an answer from a field; with a ladder by the rung of each row: int8, shape (n,)."""
        eligibility = search.eligibility
        groups = state.groups(eligibility.collapse)
        if groups is not None and eligibility.collapse is Collapse.DESIGNS:
            known = map(state.columns.row_of, eligibility.excluded_designs_of)
            codes = [int(groups.codes[row]) for row in known if row is not None]
            field = field.without(groups.holding(codes, field.rows))
        selection = Selection(state, search.query, field, groups, search.ranking, rungs)
        return IndexAnswer(
            hits=selection.with_variants(selection.hits(search.k), eligibility),
            eligible_count=selection.eligible_count,
            excluded_colours=tuple(sorted(field.eligible.excluded_colours)),
            index_version=self._index_version,
            left_out=selection.left_out,
            other_currencies=state.columns.other_currencies(eligibility, field.rows),
        )

    def product(self, product_id: str) -> Product | None:
        """See `Index.product`."""
        return self.products([product_id]).get(product_id)

    def products(self, product_ids: Iterable[str]) -> Mapping[str, Product]:
        """See `Index.products`."""
        with self._lock.reading():
            columns = self._columns
            return {each: columns.product(row) for each in product_ids if (row := columns.row_of(each)) is not None}

    def page(self, filter: Filter, after: Place | None, size: int, order: Order = Order.ID) -> ProductPage:
        """See `Index.page`."""
        with self._lock.reading():
            columns = self._columns
            passing = filters.evaluate(filter, columns)
            rows = columns.in_order(order)
            rows = rows[passing[rows]]
            start = 0
            if after is not None:
                start = bisect_right(rows, after, key=lambda row: place_of(columns.product(row), order))
            products = tuple(columns.product(row) for row in rows[start : start + size].tolist())
            others = other_currencies(filter, columns)
            return ProductPage(products, len(rows), more=start + size < len(rows), other_currencies=others)

    def facets(self, filter: Filter) -> Facets:
        """See `Index.facets`."""
        with self._lock.reading():
            return count_facets(filter, self._columns)

    def ladder(
        self, derived_types: Collection[str], article_types: Collection[str] = (), sub_categories: Collection[str] = ()
    ) -> Ladder:
        """See `Index.ladder`."""
        with self._lock.reading():
            return ladder_from(self._columns, derived_types, article_types, sub_categories)

    def colours(self) -> frozenset[str]:
        """See `Index.colours`."""
        with self._lock.reading():
            return frozenset(self._columns.labels(BASE_COLOUR))

    def attribute_names(self) -> frozenset[str]:
        """See `Index.attribute_names`."""
        with self._lock.reading():
            return frozenset(self._columns.own_names())

    def facts(self) -> IndexFacts:
        """See `Index.facts`."""
        with self._lock.reading():
            columns = self._columns
            return IndexFacts(
                product_count=len(columns),
                available_count=int(np.count_nonzero(columns.available())),
                outdated_count=len(columns) - int(np.count_nonzero(columns.searchable())),
                derived_types=columns.counts(DERIVED_TYPE),
                index_version=self._index_version,
            )


def _with_exact(within: Field, field: Field, products: int) -> Field:
    """Returns a field that has the products of a smaller one compared as that one does.

    A large field may miss products; those of derived types are promised, however far the search goes on.
    """
    inside = np.zeros(products, dtype=np.bool_)
    inside[within.rows] = True

    def contenders(k: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        asked = np.zeros(products, dtype=np.bool_)
        asked[field.rows] = mask
        found = []
        if (first := asked[within.rows]).any():
            found.append(within.contenders(k, first))
        if (others := mask & ~inside[field.rows]).any():
            found.append(field.contenders(k, others))
        return np.concatenate([np.empty(0, dtype=np.int64), *found])

    return replace(field, contenders=contenders)
