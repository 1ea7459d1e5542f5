"""From the products that may be nearest to the answer: exact similarities, groups, rules, and named variants."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import BASE_COLOUR
from services.contract.embedding import inner_products
from services.search.catalogue.products import Product
from services.search.filters import filter as filters
from services.search.filters.ranking import Boost, Ranking, boosted, diverse
from services.search.indexes.base import Collapse, Eligibility, Hit, Rung, Variant
from services.search.indexes.columns import Columns, Eligible
from services.search.indexes.designs import Groups

# Products per group that a search expects at most before it has seen any.
_MAX_FIRST_SHARE = 4.0


class SearchedFurther(Protocol):
    """The further photographs of a snapshot; see `FurtherPhotographs`."""

    def __len__(self) -> int: ...

    def contenders(
        self, query: NDArray[np.float32], k: int, least: float, rounding: float, eligible: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """See `FurtherPhotographs.contenders`."""
        ...

    def best(
        self, query: NDArray[np.float32], rows: NDArray[np.int64], similarities: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """See `FurtherPhotographs.best`."""
        ...


class Snapshot(Protocol):
    """The products of one version of an index, as a search reads them."""

    @property
    def columns(self) -> Columns:
        """Their attributes."""
        ...

    @property
    def further(self) -> SearchedFurther:
        """Their photographs after the first."""
        ...

    def groups(self, collapse: Collapse) -> Groups | None:
        """Returns which products take one place together; None where each takes its own."""
        ...

    def embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Copies the embeddings of rows that have one; float16, shape (n, dimension)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """The products that a search is about.

    Attributes:
        contenders: returns rows that may be among the `k` nearest of those in a mask like `mask`: int64, shape (n,).
        rows: the rows that it is about.
        eligible: which of them are eligible.
    """

    contenders: Callable[[int, NDArray[np.bool_]], NDArray[np.int64]]
    rows: NDArray[np.int64] | slice
    eligible: Eligible

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Whether each of the rows is eligible: bool, shape (m,)."""
        return self.eligible.mask

    def without(self, excluded: NDArray[np.bool_]) -> "Field":
        """Returns the field without some of its rows: bool, shape (m,)."""
        before = self.eligible.left_out
        mask = self.mask & ~excluded
        count = int(np.count_nonzero(mask))
        left_out = replace(before, excluded=before.excluded + self.eligible.count - count)
        return replace(self, eligible=replace(self.eligible, mask=mask, count=count, left_out=left_out))


class Selection:
    """Selects the products of an answer to one query, from one snapshot.

    Attributes:
        eligible_count: how many products are eligible; groups of them count once.
        left_out: how many are not, and why.
    """

    def __init__(
        self,
        state: Snapshot,
        query: NDArray[np.float32],
        field: Field,
        groups: Groups | None,
        ranking: Ranking,
        rungs: NDArray[np.int8] | None = None,
    ) -> None:
        """Takes what the search is about.

        Args:
            state: the snapshot.
            query: float32, shape (dimension,), L2 norm 1.
            field: the eligible products.
            groups: which of them take one place together; None for none.
            ranking: what they are ranked by.
            rungs: the rung of each row of the state: int8, shape (n,). A lower one goes before any ranking; None for
                no ladder.

        Raises:
            InvalidInput: by a condition of the ranking.
        """
        self._state = state
        self._query = query
        self._field = field
        self._groups = groups
        self._ranking = ranking
        self._rungs = rungs
        # Maximum rounding error of an inner product of two float32 vectors of norm 1, in any order of the sum.
        self._rounding = 1.01 * len(query) * 2.0**-24
        self._factors: NDArray[np.float64] | None = None
        if len(state.further):
            self._search_further()
        if ranking.boosts:
            self._boost(ranking.boosts)
        if rungs is not None:
            self._search_apart(rungs[field.rows])
        self.eligible_count = self._count()
        self.left_out = replace(field.eligible.left_out, variants=field.eligible.count - self.eligible_count)

    def hits(self, k: int) -> tuple[Hit, ...]:
        """Returns the `k` products that rank highest, or all eligible ones."""
        pool = self._ranking.pool(k)
        if self._groups is None:
            hits = self._ranked(pool, self._field.contenders(pool, self._field.mask))
        else:
            hits = self._of_groups(pool, self._groups)
        return tuple(self._diverse(hits, k) if self._ranking.diversity and hits else hits[:k])

    def with_variants(self, hits: Sequence[Hit], eligibility: Eligibility) -> tuple[Hit, ...]:
        """Returns hits with the others that they stand for.

        Those that the filter leaves out are named too, but none of a disliked colour, and no excluded one.
        """
        groups, columns = self._groups, self._state.columns
        if groups is None or not self._ranking.named_variants:
            return tuple(hits)
        codes = [self._code(groups, hit.product) for hit in hits]
        others: dict[int, list[tuple[Product, int]]] = {code: [] for code in codes}
        shown = {hit.product.id for hit in hits}.union(eligibility.excluded_ids)
        labels = columns.labels(BASE_COLOUR)
        disliked = {labels[colour] for colour in self._field.eligible.excluded_colours if colour in labels}
        colours = columns.codes(BASE_COLOUR)
        for row in np.flatnonzero(groups.holding(codes)).tolist():
            product = columns.product(row)
            if product.id not in shown and int(colours[row]) not in disliked:
                others[int(groups.codes[row])].append((product, row))
        named = [
            _in_order(others[code], hit.product)[: self._ranking.named_variants]
            for code, hit in zip(codes, hits, strict=True)
        ]
        searchable = columns.searchable()
        rows = [row for each in named for _, row in each if searchable[row]]
        similarities = dict(zip(rows, self._similarities(np.array(rows, dtype=np.int64))[0], strict=True))
        return tuple(
            replace(
                hit,
                variants=tuple(Variant(product, similarities.get(row)) for product, row in each),
                variant_count=len(others[code]),
                derived=bool(groups.derived[code]) and bool(others[code]),
            )
            for hit, code, each in zip(hits, codes, named, strict=True)
        )

    def _search_further(self) -> None:
        """Finds products by their further photographs too."""
        inner, rows, further = self._field.contenders, self._field.rows, self._state.further

        def contenders(k: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
            nearest = inner(k, mask)
            if len(nearest) < k:
                # These are all there are.
                return nearest
            first = inner_products(self._state.embeddings(nearest), self._query)
            # The k-th product is at least so similar.
            least = float(np.partition(first, -k)[-k])
            eligible = np.zeros(len(self._state.columns), dtype=np.bool_)
            eligible[rows] = mask
            return np.union1d(nearest, further.contenders(self._query, k, least, self._rounding, eligible))

        self._field = replace(self._field, contenders=contenders)

    def _count(self) -> int:
        if self._groups is None:
            return self._field.eligible.count
        eligible = np.zeros_like(self._groups.derived)
        eligible[self._groups.codes[self._field.rows][self._field.mask]] = True
        return int(np.count_nonzero(eligible))

    def _boost(self, boosts: Sequence[Boost]) -> None:
        """Weighs the products, and searches those of each weight apart."""
        rows = self._field.rows
        some = self._state.columns.at(rows)
        factors = np.ones(len(self._field.mask))
        for boost in boosts:
            factors[filters.evaluate(boost.condition, some)] *= boost.factor
        self._factors = np.ones(len(self._state.columns))
        self._factors[rows] = factors
        self._search_apart(factors)

    def _search_apart(self, classes: NDArray[np.float64] | NDArray[np.int8]) -> None:
        """Searches the products of each class, shape (m,), apart.

        Among products of one class the nearest rank highest. So the nearest of each class hold the highest of all.
        """
        inner = self._field.contenders
        values = np.unique(classes[self._field.mask])

        def contenders(k: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
            parts = [inner(k, mask & (classes == value)) for value in values]
            return np.concatenate([np.empty(0, dtype=np.int64), *parts])

        self._field = replace(self._field, contenders=contenders)

    def _similarities(self, rows: NDArray[np.int64]) -> tuple[list[float], list[int]]:
        """Returns the exact similarity of each row that has an embedding, rounded to float32; and its photograph."""
        exact = inner_products(self._state.embeddings(rows), self._query)
        numbers: NDArray[np.int8] = np.zeros(len(rows), dtype=np.int8)
        if len(self._state.further):
            exact, numbers = self._state.further.best(self._query, rows, exact)
        return np.clip(exact, -1.0, 1.0).astype(np.float32).tolist(), numbers.tolist()

    def _ranked(self, k: int, rows: NDArray[np.int64]) -> list[Hit]:
        """Orders rows, int64, shape (n,), by what ranks them, and returns the first `k`."""
        products = [self._state.columns.product(row) for row in rows.tolist()]
        similarities, photographs = self._similarities(rows)
        if self._factors is None:
            hits = list(map(Hit, products, similarities))
        else:
            factors = self._factors[rows].tolist()
            hits = list(map(Hit, products, similarities, map(boosted, similarities, factors)))
        if any(photographs):
            hits = [replace(hit, photograph=number) for hit, number in zip(hits, photographs, strict=True)]
        if self._rungs is not None:
            hits = [replace(hit, rung=Rung(rung)) for hit, rung in zip(hits, self._rungs[rows].tolist(), strict=True)]
        least = self._ranking.min_similarity
        if least is not None:
            hits = [hit for hit in hits if hit.similarity >= least]
        return sorted(hits, key=_rank)[:k]

    def _of_groups(self, k: int, groups: Groups) -> list[Hit]:
        """Returns the highest product of each of the `k` highest groups.

        The groups of the highest products are the highest ones. If these are too few, the search goes on without them.
        """
        mask, rows = self._field.mask, self._field.rows
        group_count = self.eligible_count
        hits: dict[int, Hit] = {}
        # Products per group among the highest, as far as is known.
        share = min(_MAX_FIRST_SHARE, self._field.eligible.count / max(group_count, 1))
        while (lacking := min(k, group_count) - len(hits)) > 0:
            count = math.ceil(lacking * share)
            ranked = self._ranked(count, self._field.contenders(count, mask))
            before = len(hits)
            for hit in ranked:
                hits.setdefault(self._code(groups, hit.product), hit)
            if len(hits) == before:
                # All others are less similar than they must be.
                break
            share = max(share, len(ranked) / (len(hits) - before))
            mask = mask & ~groups.holding(hits, rows)
        return sorted(hits.values(), key=_rank)[:k]

    def _diverse(self, hits: Sequence[Hit], k: int) -> list[Hit]:
        rows = [row for hit in hits if (row := self._state.columns.row_of(hit.product.id)) is not None]
        vectors = self._state.embeddings(np.array(rows)).astype(np.float64)
        values = np.array([hit.value for hit in hits])
        tiers = np.array([hit.rung or 0 for hit in hits])
        places = diverse(
            values,
            min(k, len(hits)),
            self._ranking.diversity,
            lambda place: (vectors * vectors[place]).sum(axis=1),
            tiers,
        )
        return [hits[place] for place in places]

    def _code(self, groups: Groups, product: Product) -> int:
        row = self._state.columns.row_of(product.id)
        assert row is not None, "A hit is of the snapshot that is searched."
        return int(groups.codes[row])


def _in_order(others: Sequence[tuple[Product, int]], shown: Product) -> list[tuple[Product, int]]:
    """Orders other variants: first one of each colour that is not shown, then the others; available ones first."""
    by_id = sorted(others, key=lambda other: (not other[0].available, other[0].id))
    colours = {shown.base_colour}
    first: list[tuple[Product, int]] = []
    then: list[tuple[Product, int]] = []
    for other in by_id:
        new = other[0].base_colour not in colours
        (first if new else then).append(other)
        colours.add(other[0].base_colour)
    return first + then


def _rank(hit: Hit) -> tuple[int, float, str]:
    return hit.rung or 0, -hit.value, hit.product.id
