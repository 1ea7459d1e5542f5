"""What search must answer, by comparing every product: no index, no pruning, no shortcut.

It takes the domain's values and none of its code that filters, groups or ranks, so that a mistake there shows.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, zip_longest
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark.correctness.conditions import COLOURS, TABLE_COLOURS, meets, value_of
from offline.benchmark.correctness.expected import Expected, ExpectedHit
from services.contract.own_attributes import Flag
from services.search.catalogue.products import Product
from services.search.filters.colours import DislikedColour
from services.search.filters.filter import (
    ColourFilter,
    Condition,
    Filter,
    FlagFilter,
    LabelFilter,
    NumberRange,
    PriceRange,
)
from services.search.filters.ranking import BY_SIMILARITY, Boost, Ranking
from services.search.indexes.base import Collapse, Eligibility, IndexedProduct, Ladder

# The words of names that say a colour; no other is used.
_COLOUR_WORDS: Final = frozenset({"blue", "white", "red", "navy"})
# See Collapse in search.proto.
_MIN_DESIGN_SIMILARITY: Final = 0.75
_MIN_SAME_COLOUR_SIMILARITY: Final = 0.95
_MAX_SAME_NAME: Final = 200
_MAX_DIVERSE: Final = 200
_NO_LOOK: Final = -1
# The name of a column: what variants of one product have in common.
_KIN: Final = "kin"
_RUNGS: Final = ("derived_type", "article_type", "sub_category", "master_category")


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """A query beside every product, in the order of their ids, whatever their rungs.

    Attributes:
        searchable: whether each has an embedding, bool, shape (n,).
        similarities: float64, shape (n,), -2 for a product without embedding.
        photographs: which photograph each is of, int64, shape (n,).
        values: what ranks them, float64, shape (n,).
        conditions: whether each passes the filter, is in stock, is liked, is not excluded: bool, shape (n,) each.
        group_of: int64, shape (n,).
        derived: the groups that were derived.
    """

    searchable: NDArray[np.bool_]
    similarities: NDArray[np.float64]
    photographs: NDArray[np.int64]
    values: NDArray[np.float64]
    conditions: tuple[NDArray[np.bool_], ...]
    group_of: NDArray[np.int64]
    derived: frozenset[int]


class Oracle:
    """Answers as an index must, over the products that it was told of."""

    def __init__(self) -> None:
        self.rows: dict[str, IndexedProduct] = {}
        # The embeddings seen, each once; products share them by identity. Kept, so that no identity is used again.
        self._known: dict[int, int] = {}
        self._arrays: list[NDArray[np.float16]] = []
        self._exact: NDArray[np.float64] = np.empty((0, 0))
        # The products of one of them with all of them.
        self._dots: dict[int, NDArray[np.float64]] = {}
        # The places of each product's embeddings among those seen, by its id.
        self._looks_of: dict[str, list[int]] = {}
        self._forget()

    def apply(self, upserts: Sequence[IndexedProduct], deletes: Collection[str] = ()) -> None:
        """Takes over a write."""
        for product_id in deletes:
            self.rows.pop(product_id, None)
        for row in upserts:
            self.rows[row.product.id] = row
            self._looks_of[row.product.id] = [self._place_of(each) for each in (row.embedding, *row.further)]
        self._forget()

    def update(self, products: Sequence[Product]) -> None:
        """Takes over other attributes of known products."""
        self.apply([replace(self.rows[each.id], product=each) for each in products])

    def _forget(self) -> None:
        """Forgets what was read from the products before a write."""
        self._columns: dict[str, tuple[dict[Any, int], NDArray[np.int64]]] = {}
        self._masks: dict[tuple[str, Condition], NDArray[np.bool_]] = {}
        self._place_of_id: dict[str, int] | None = None
        self._groups: dict[Collapse, tuple[NDArray[np.int64], frozenset[int]]] = {}
        self._sorted: list[IndexedProduct] | None = None
        self._look_places: NDArray[np.int64] | None = None

    @property
    def _in_order(self) -> list[IndexedProduct]:
        """The products by id."""
        if self._sorted is None:
            self._sorted = [self.rows[product_id] for product_id in sorted(self.rows)]
        return self._sorted

    @property
    def _places(self) -> dict[str, int]:
        """The place of each product among them, by its id."""
        if self._place_of_id is None:
            self._place_of_id = {row.product.id: place for place, row in enumerate(self._in_order)}
        return self._place_of_id

    def answer(
        self, query: NDArray[np.float32], k: int, eligibility: Eligibility, ranking: Ranking = BY_SIMILARITY
    ) -> Expected:
        """Returns what `Index.search` must answer."""
        comparison = self._comparison(query, eligibility, ranking)
        if eligibility.ladder is None:
            types = eligibility.derived_types
            rungs = np.zeros(len(self.rows), dtype=np.int64)
            if types is not None:
                rungs[~self._where("derived_type", lambda label: label in types)] = 1
            return self._answer_of(comparison, k, eligibility, ranking, rungs, 0)
        rungs = self._rungs(eligibility)
        for rung in range(4):
            expected = self._answer_of(comparison, k, eligibility, ranking, rungs, rung)
            if len(expected.hits) == k:
                break
        hits = (replace(hit, rung=int(rungs[self._places[hit.product_id]])) for hit in expected.hits)
        return replace(expected, hits=tuple(hits), rung=rung)

    def _comparison(self, query: NDArray[np.float32], eligibility: Eligibility, ranking: Ranking) -> _Comparison:
        similarities, photographs = self._similarities(query)
        group_of, derived = self._grouped(eligibility.collapse)
        conditions = (
            self._passing(eligibility.filter),
            self._in_stock(eligibility),
            self._liked(eligibility),
            ~self._excluded(eligibility, group_of),
        )
        values = self._values(similarities, ranking.boosts)
        searchable = (self._looks[:, :1] != _NO_LOOK).any(axis=1)
        return _Comparison(searchable, similarities, photographs, values, conditions, group_of, derived)

    def _rungs(self, eligibility: Eligibility) -> NDArray[np.int64]:
        """Returns the lowest rung of a ladder that each product is on; 4 for none."""
        ladder, types = eligibility.ladder, eligibility.derived_types
        assert ladder is not None and types is not None
        steps = (types, ladder.article_types, ladder.sub_categories, ladder.master_categories)
        rungs = np.full(len(self.rows), 4, dtype=np.int64)
        for rung in (3, 2, 1, 0):
            rungs[self._where(_RUNGS[rung], lambda label: label in steps[rung])] = rung  # noqa: B023
        return rungs

    def ladder(self, derived_types: Collection[str]) -> Ladder:
        """Returns where derived types lead: each label to those that most of its products have on the rungs above."""
        known: list[set[str]] = [{*derived_types}]
        for name in _RUNGS[1:]:
            values, codes = self._column(name)
            found = set[str]()
            for below, labels in zip(_RUNGS, known, strict=False):
                for each in labels:
                    has_label = self._where(below, lambda label: label == each)  # noqa: B023
                    frequent = np.bincount(codes[has_label], minlength=len(values)).tolist()
                    counts = {
                        label: count
                        for label, count in zip(values, frequent, strict=True)
                        if count and label is not None
                    }
                    found.update(sorted(counts, key=lambda label: (-counts[label], label))[:1])
            known.append(found)
        return Ladder(*map(frozenset, known[1:]))

    def _answer_of(
        self,
        comparison: _Comparison,
        k: int,
        eligibility: Eligibility,
        ranking: Ranking,
        rungs: NDArray[np.int64],
        rung: int,
    ) -> Expected:
        """Returns the answer from the products that are on a rung or below, by rung first."""
        similarities, values, group_of = comparison.similarities, comparison.values, comparison.group_of
        searched = comparison.searchable & (rungs <= rung)
        steps = [searched]
        for mask in comparison.conditions:
            steps.append(steps[-1] & mask)
        eligible = steps[-1]
        similar = eligible & (similarities >= (-2 if ranking.min_similarity is None else ranking.min_similarity))
        places = np.flatnonzero(similar)
        # Products are in the order of their ids, and equal values keep it.
        order = places[np.lexsort((-values[places], rungs[places]))]
        order = order[np.sort(np.unique(group_of[order], return_index=True)[1])]
        if ranking.diversity:
            pool = order[: max(k, min(5 * k, _MAX_DIVERSE))]
            order = self._diverse(pool, values, k, ranking.diversity, rungs)
        eligible_count = len(np.unique(group_of[eligible]))
        counts = [int(np.count_nonzero(step)) for step in steps] + [eligible_count]
        return Expected(
            hits=tuple(self._hit(place, comparison, eligibility) for place in order[:k].tolist()),
            eligible_count=eligible_count,
            excluded_colours=self._excluded_colours(eligibility.disliked_colours),
            left_out=tuple(more - less for more, less in pairwise(counts)),  # type: ignore[arg-type]
            other_currencies=self._other_currencies(eligibility, searched),
        )

    def passing(self, filter: Filter) -> list[str]:
        """Returns the ids of the products that pass a filter, in their order."""
        return [p.id for p, passes in zip(self._products(), self._passing(filter), strict=True) if passes]

    def values(self, name: str) -> Collection[Any]:
        """Returns the different values of products that a condition of a name is about; None among them for none."""
        return self._column(name)[0].keys()

    def refusals(self, filter: Filter) -> set[str]:
        """Returns the reasons for which a filter must be refused, any of them; none if it must be answered."""
        reasons: set[str] = set()
        known: set[str | None]
        for name, condition in filter.conditions.items():
            if name.startswith("attributes."):
                values = [value for value in self.values(name) if value is not None]
                kind = {LabelFilter: tuple, NumberRange: float, FlagFilter: Flag}[type(condition)]
                if not values:
                    reasons.add("FILTER_VALUE_UNKNOWN")
                elif not any(isinstance(value, kind) for value in values):
                    reasons.add("ATTRIBUTE_KIND_MISMATCH")
                known = {label for value in values if isinstance(value, tuple) for label in value}
            elif isinstance(condition, ColourFilter):
                known = {*self.values(name)} | TABLE_COLOURS
            else:
                known = {*self.values(name)}
            if (
                isinstance(condition, LabelFilter | ColourFilter)
                and not {*condition.any_of, *condition.none_of} <= known
            ):
                reasons.add("FILTER_VALUE_UNKNOWN")
        return reasons

    def groups(self, collapse: Collapse) -> dict[str, int]:
        """Returns the group of each product, by its id."""
        codes, _ = self._grouped(collapse)
        return dict(zip((p.id for p in self._products()), codes.tolist(), strict=True))

    def _products(self) -> list[Product]:
        return [row.product for row in self._in_order]

    def _column(self, name: str) -> tuple[Mapping[Any, int], NDArray[np.int64]]:
        """Returns the different values of products with their places, and the place of each product's among them."""
        if name not in self._columns:
            places: dict[Any, int] = {}
            read = _kin if name == _KIN else value_of(name)
            codes = [places.setdefault(read(row.product), len(places)) for row in self._in_order]
            self._columns[name] = places, np.array(codes, dtype=np.int64)
        return self._columns[name]

    def _where(self, name: str, holds: Callable[[Any], bool]) -> NDArray[np.bool_]:
        """Returns whether something holds for a value of each product: bool, shape (n,)."""
        values, codes = self._column(name)
        return np.array([holds(value) for value in values], dtype=np.bool_)[codes]

    def _in_stock(self, eligibility: Eligibility) -> NDArray[np.bool_]:
        return self._where("in_stock", lambda in_stock: in_stock is not False or eligibility.include_out_of_stock)

    def _liked(self, eligibility: Eligibility) -> NDArray[np.bool_]:
        return self._where("base_colour", lambda colour: not _is_disliked(colour, eligibility.disliked_colours))

    def _passing(self, filter: Filter) -> NDArray[np.bool_]:
        mask = np.ones(len(self.rows), dtype=np.bool_)
        for name, condition in filter.conditions.items():
            if (name, condition) not in self._masks:
                self._masks[name, condition] = self._where(name, lambda value: meets(value, condition))  # noqa: B023
            mask &= self._masks[name, condition]
        return mask

    def _excluded(self, eligibility: Eligibility, group_of: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        """Returns whether each product is excluded, bool, shape (n,); by its design too where groups are given."""
        families, codes = self._column(_KIN)
        mask = np.isin(codes, [families[each] for each in eligibility.excluded_families if each in families])
        places = self._places
        mask[[places[each] for each in eligibility.excluded_ids if each in places]] = True
        if group_of is not None and eligibility.collapse is Collapse.DESIGNS:
            designs = group_of[[places[each] for each in eligibility.excluded_designs_of if each in places]]
            mask |= np.isin(group_of, designs)
        return mask

    def _excluded_colours(self, dislikes: Sequence[DislikedColour]) -> tuple[str, ...]:
        covered = {colour for colour in self.values("base_colour") if _is_disliked(colour, dislikes)}
        return tuple(sorted(covered | {each.colour for each in dislikes}))

    def _other_currencies(self, eligibility: Eligibility, searched: NDArray[np.bool_]) -> Mapping[str, int]:
        condition = eligibility.filter.conditions.get("price")
        if not isinstance(condition, PriceRange):
            return {}
        # Designs do not count here.
        excluded = self._excluded(eligibility, None)
        passing = self._passing(eligibility.filter.without("price"))
        mask = searched & passing & self._in_stock(eligibility) & self._liked(eligibility) & ~excluded
        found = Counter(
            p.price.currency_code for p, counts in zip(self._products(), mask, strict=True) if counts and p.price
        )
        return {code: count for code, count in found.items() if code != condition.currency_code}

    def _similarities(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Returns the similarity of each product, -2 for one without embedding; and the photograph that it is of."""
        looks = self._looks
        if not looks.size or not self._arrays:
            return np.full(len(self.rows), -2.0), np.zeros(len(self.rows), dtype=np.int64)
        # The last one stands for no embedding.
        exact = np.append((self._vectors() * query.astype(np.float64)).sum(axis=1), -np.inf)[looks]
        # The most similar one of each product, the first of equal ones.
        photographs = exact.argmax(axis=1)
        best = exact.max(axis=1)
        similarities = np.where(best == -np.inf, -2.0, np.clip(best, -1, 1).astype(np.float32).astype(np.float64))
        return similarities, photographs

    @property
    def _looks(self) -> NDArray[np.int64]:
        """The places of each product's embeddings among those that were seen: shape (n, photographs of any at most)."""
        if self._look_places is None:
            looks = [self._looks_of[row.product.id] for row in self._in_order]
            columns = list(zip_longest(*looks, fillvalue=_NO_LOOK))
            self._look_places = np.array(columns, dtype=np.int64).reshape(len(columns), len(looks)).T
        return self._look_places

    def _vectors(self) -> NDArray[np.float64]:
        """Returns the embeddings that were seen, shape (m, dimension)."""
        if len(self._exact) < len(self._arrays):
            self._exact = np.array(self._arrays, dtype=np.float64)
            self._dots = {}
        return self._exact

    def _alike(self, codes: Sequence[int], other: int) -> NDArray[np.float64]:
        """Returns the products of some embeddings with another one: shape (len(codes),)."""
        vectors = self._vectors()
        if other not in self._dots:
            self._dots[other] = (vectors * vectors[other]).sum(axis=1)
        alike: NDArray[np.float64] = self._dots[other][codes]
        return alike

    def _place_of(self, embedding: NDArray[np.float16] | None) -> int:
        """Returns the place of an embedding among those that were seen."""
        if embedding is None:
            return _NO_LOOK
        place = self._known.get(id(embedding))
        if place is None:
            place = self._known[id(embedding)] = len(self._arrays)
            self._arrays.append(embedding)
        return place

    def _values(self, similarities: NDArray[np.float64], boosts: Sequence[Boost]) -> NDArray[np.float64]:
        factors = np.ones(len(similarities))
        for boost in boosts:
            factors = np.where(self._passing(boost.condition), factors * boost.factor, factors)
        return np.where(similarities > 0, similarities * factors, similarities / factors)

    def _diverse(
        self,
        order: NDArray[np.int64],
        values: NDArray[np.float64],
        k: int,
        diversity: float,
        rungs: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Chooses places that differ, as FindSimilarRequest.diversity says; one rung to its end before the next."""
        codes = [self._place_of(self._in_order[place].embedding) for place in order.tolist()]
        nearest = np.full(len(order), -np.inf)
        left, chosen = np.ones(len(order), dtype=np.bool_), list[int]()
        while left.any() and len(chosen) < k:
            worth = (1 - diversity) * values[order] - diversity * nearest if chosen else values[order]
            lowest = left & (rungs[order] == rungs[order][left].min())
            highest = worth[lowest].max()
            best = int(np.flatnonzero(lowest & (worth > highest - 1e-12))[0])
            left[best] = False
            chosen.append(best)
            nearest = np.maximum(nearest, self._alike(codes, codes[best]))
        return order[chosen]

    def _hit(self, place: int, comparison: _Comparison, eligibility: Eligibility) -> ExpectedHit:
        group_of = comparison.group_of
        shown = self._in_order[place].product
        others = [
            p
            for each in np.flatnonzero(group_of == group_of[place]).tolist()
            if (p := self._in_order[each].product).id not in {shown.id, *eligibility.excluded_ids}
            and not _is_disliked(p.base_colour, eligibility.disliked_colours)
        ]
        others.sort(key=lambda p: (p.in_stock is False, p.id))
        # First one of each colour that is not shown.
        colours, first, then = {shown.base_colour}, list[str](), list[str]()
        for p in others:
            (then if p.base_colour in colours else first).append(p.id)
            colours.add(p.base_colour)
        return ExpectedHit(
            shown.id,
            float(comparison.similarities[place]),
            float(comparison.values[place]),
            variants=(*first, *then),
            derived=bool(others) and int(group_of[place]) in comparison.derived,
            photograph=int(comparison.photographs[place]),
        )

    def _grouped(self, collapse: Collapse) -> tuple[NDArray[np.int64], frozenset[int]]:
        """Returns the group of each product, int64, shape (n,), and which groups were derived."""
        if collapse not in self._groups:
            self._groups[collapse] = self._made_groups(collapse)
        return self._groups[collapse]

    def _made_groups(self, collapse: Collapse) -> tuple[NDArray[np.int64], frozenset[int]]:
        if collapse is Collapse.NONE:
            return np.arange(len(self.rows)), frozenset()
        places: dict[str, int] = {}
        group_of = [places.setdefault(_kin(p), len(places)) for p in self._products()]
        derived: set[int] = set()
        if collapse is Collapse.DESIGNS:
            sizes = Counter(group_of)
            by_name: dict[object, list[int]] = {}
            for place, row in enumerate(self._in_order):
                p = row.product
                words = _name_words(p.name or "")
                if row.embedding is not None and words and p.parent_id is None and sizes[group_of[place]] == 1:
                    by_name.setdefault((p.derived_type, (p.brand or "").lower(), *words), []).append(place)
            for members in by_name.values():
                if 2 <= len(members) <= _MAX_SAME_NAME:
                    derived |= self._join(members, group_of)
        return np.array(group_of, dtype=np.int64), frozenset(derived)

    def _join(self, members: Sequence[int], group_of: list[int]) -> set[int]:
        """Joins the groups of products of one name that look alike; returns the groups that it made."""
        codes = [self._place_of(self._in_order[place].embedding) for place in members]
        alike = np.array([self._alike(codes, each) for each in codes])
        colours = [self._in_order[place].product.base_colour for place in members]
        pairs = [(one, other) for one in range(len(members)) for other in range(len(members))]
        if any(
            colours[one] == colours[other] and alike[one, other] < _MIN_SAME_COLOUR_SIMILARITY for one, other in pairs
        ):
            return set()
        joined: set[int] = set()
        for one, other in pairs:
            ours, theirs = group_of[members[one]], group_of[members[other]]
            if ours != theirs and alike[one, other] >= _MIN_DESIGN_SIMILARITY:
                for place in members:
                    group_of[place] = ours if group_of[place] == theirs else group_of[place]
                joined = (joined - {theirs}) | {ours}
        return joined


def _kin(p: Product) -> str:
    return p.parent_id or p.id


@lru_cache(maxsize=65_536)
def _name_words(name: str) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"\w+", name.lower()) if word not in _COLOUR_WORDS)


def _is_disliked(colour: str | None, dislikes: Sequence[DislikedColour]) -> bool:
    return colour is not None and any(
        colour == each.colour or (not each.exact and each.colour in COLOURS[colour][1]) for each in dislikes
    )
