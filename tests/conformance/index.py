"""A suite for all indexes, against an oracle that compares every product."""

import re
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.products import Price, Product
from services.search.filters.colours import FAMILIES, DislikedColour
from services.search.filters.filter import ColourFilter, Condition, Filter, GenderFilter, LabelFilter, Words, YearRange
from services.search.filters.order import Order, place_of
from services.search.filters.ranking import Boost, Ranking
from services.search.indexes.base import Collapse, Eligibility, Index, IndexedProduct, Search
from services.search.indexes.designs import MIN_SAME_COLOUR_SIMILARITY, MIN_SIMILARITY

DIMENSION = 8
_COLOUR_WORDS = {"blue", "white", "red", "navy"}
IDS = tuple(f"p{number}" for number in (1, 10, 11, 2, 20, 3, 4, 5, 6, 7, 8, 9))
COLOURS = ("Blue", "Navy Blue", "Royal Blue", "Red", "Maroon", "Yellow", "Multi")
ARTICLE_TYPES = ("Tshirts", "Shirts", "Heels")

SEARCHES = ("", "blue", "BLUE t-shirt", "men", "elan", "p1", "tee white", "shirt harb", "nothing", "lue", "2", "?!")

SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.differing_executors])


def embedding(seed: int, dimension: int = DIMENSION) -> NDArray[np.float16]:
    """Returns a unit vector; equal seeds give equal vectors."""
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def _near(seed: int, number: int) -> NDArray[np.float16]:
    """Returns a unit vector close to `embedding(seed)`."""
    vector = embedding(seed).astype(np.float64) + 0.02 * np.random.default_rng(1000 + number).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def query_vector(seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def product(product_id: str, **attributes: object) -> Product:
    values: dict[str, object] = {"gender": Gender.MEN, "sub_category": "Topwear", "article_type": "Tshirts"}
    return Product(id=product_id, **{**values, **attributes})  # type: ignore[arg-type]


# Few embeddings and few labels, so that ties, moves between derived types and vanishing labels are common.
indexed_products = st.builds(
    lambda product, seed: IndexedProduct(product, None if seed is None else embedding(seed)),
    st.builds(
        Product,
        id=st.sampled_from(IDS),
        gender=st.sampled_from(list(Gender)),
        sub_category=st.sampled_from(("Topwear", "Shoes")),
        article_type=st.sampled_from(ARTICLE_TYPES),
        master_category=st.sampled_from((None, "Apparel")),
        base_colour=st.sampled_from((None, *COLOURS)),
        brand=st.sampled_from((None, "Harbour", "Velora")),
        season=st.sampled_from((None, "Summer", "Winter")),
        year=st.sampled_from((None, 2011, 2012, 2013)),
        usage=st.sampled_from((None, "Casual")),
        in_stock=st.sampled_from((None, True, False)),
        parent_id=st.sampled_from((None, None, "p1", "p2", "q")),
        name=st.sampled_from(
            (
                None,
                "Harbour Men Crew T-Shirt",
                "Élan Blue/White Tee",
                "éLAN 2 go",
                "Zebra",
                "Red Zebra",
                "ZEBRA navy-blue",
            )
        ),
        price=st.none() | st.builds(Price, st.sampled_from(("EUR", "USD")), st.integers(0, 2), st.sampled_from((0, 5))),
    ),
    st.one_of(st.integers(0, 4), st.none(), st.integers(0, 4)),
)
writes = st.tuples(
    st.lists(indexed_products, max_size=8, unique_by=lambda row: row.product.id),
    st.sets(st.sampled_from(IDS), max_size=4),
)
few_colours = st.lists(st.sampled_from(COLOURS), max_size=2, unique=True).map(tuple)
few_brands = st.lists(st.sampled_from(("Harbour", "Velora")), max_size=2, unique=True).map(tuple)
eligibilities = st.builds(
    Eligibility,
    derived_types=st.none()
    | st.frozensets(st.sampled_from([f"{g.value} {a}" for g in Gender for a in ARTICLE_TYPES]), min_size=1, max_size=4),
    filter=st.builds(
        Filter,
        gender=st.none()
        | st.builds(
            GenderFilter,
            any_of=st.lists(st.sampled_from(list(Gender)), max_size=3).map(tuple),
            none_of=st.lists(st.sampled_from(list(Gender)), max_size=1).map(tuple),
        ),
        base_colour=st.none() | st.builds(ColourFilter, few_colours, few_colours, st.booleans()),
        brand=st.none() | st.builds(LabelFilter, few_brands, few_brands),
        season=st.none() | st.builds(LabelFilter, st.just(("Summer",)), st.just(())),
        usage=st.none() | st.builds(LabelFilter, st.just(()), st.just(("Casual",))),
        year=st.none() | st.builds(YearRange, st.none() | st.just(2012), st.none() | st.just(2012)),
        words=st.none() | st.builds(Words, st.sampled_from(SEARCHES)),
    ),
    disliked_colours=st.lists(st.builds(DislikedColour, st.sampled_from(COLOURS), st.booleans()), max_size=2).map(
        tuple
    ),
    excluded_ids=st.frozensets(st.sampled_from((*IDS, "nobody")), max_size=3),
    include_out_of_stock=st.booleans(),
    excluded_families=st.frozensets(st.sampled_from(("p1", "p3", "q", "nobody")), max_size=1),
    collapse=st.sampled_from(list(Collapse)),
)
boosts = st.builds(
    Boost,
    st.builds(Filter, gender=st.builds(GenderFilter, st.lists(st.sampled_from(list(Gender)), min_size=1).map(tuple)))
    | st.builds(Filter, year=st.builds(YearRange, st.just(2012), st.none())),
    st.sampled_from((0.5, 0.8, 1.0, 1.1, 1.5, 2.0)),
)
rankings = st.builds(
    Ranking,
    boosts=st.lists(boosts, max_size=3).map(tuple),
    diversity=st.sampled_from((0.0, 0.0, 0.3, 0.7, 1.0)),
    min_similarity=st.sampled_from((None, None, -0.2, 0.3)),
    named_variants=st.sampled_from((0, 2, 20)),
)


class Oracle:
    """Answers like an index, by comparing every product."""

    def __init__(self) -> None:
        self.rows: dict[str, IndexedProduct] = {}

    def apply(self, upserts: Sequence[IndexedProduct], deletes: Collection[str]) -> None:
        for product_id in deletes:
            self.rows.pop(product_id, None)
        self.rows.update({row.product.id: row for row in upserts})

    def search(
        self, query: NDArray[np.float32], k: int, eligibility: Eligibility
    ) -> tuple[list[str], list[float], int]:
        eligible = [row for row in self.rows.values() if _is_eligible(row, eligibility)]
        ranked = sorted((-_similarity(row.embedding, query), row.product.id) for row in eligible)
        group_of = self.groups(eligibility.collapse)
        kept = _first_of_each(ranked, group_of)
        return [product_id for _, product_id in kept[:k]], [-negative for negative, _ in kept[:k]], len(kept)

    def groups(self, collapse: Collapse) -> dict[str, str]:
        """Returns the group of each product, by its id."""
        if collapse is Collapse.NONE:
            return {product_id: product_id for product_id in self.rows}
        group_of = {product_id: _kin(row.product) for product_id, row in self.rows.items()}
        if collapse is Collapse.VARIANTS:
            return group_of
        sizes = Counter(group_of.values())
        by_name: dict[object, list[IndexedProduct]] = {}
        for row in self.rows.values():
            p = row.product
            words = [word for word in re.findall(r"\w+", (p.name or "").lower()) if word not in _COLOUR_WORDS]
            if row.embedding is not None and words and p.parent_id is None and sizes[group_of[p.id]] == 1:
                by_name.setdefault((p.derived_type, (p.brand or "").lower(), *words), []).append(row)
        for rows in by_name.values():
            likeness = {(one.product.id, other.product.id): _likeness(one, other) for one in rows for other in rows}
            if any(
                one.product.base_colour == other.product.base_colour
                and likeness[one.product.id, other.product.id] < MIN_SAME_COLOUR_SIMILARITY
                for one in rows
                for other in rows
            ):
                continue
            for one, other in likeness:
                if likeness[one, other] >= MIN_SIMILARITY:
                    ours, theirs = group_of[one], group_of[other]
                    group_of = {each: ours if group == theirs else group for each, group in group_of.items()}
        return group_of

    def ranked(
        self, query: NDArray[np.float32], k: int, eligibility: Eligibility, ranking: Ranking
    ) -> list[tuple[float, str]]:
        """Returns value and id of the products of an answer, in its order."""
        values: list[tuple[float, str]] = []
        for row in self.rows.values():
            similarity = _similarity(row.embedding, query) if _is_eligible(row, eligibility) else -2
            if similarity < (-1 if ranking.min_similarity is None else ranking.min_similarity):
                continue
            factor = 1.0
            for boost in ranking.boosts:
                if all(_meets(row.product, *part) for part in boost.condition.conditions.items()):
                    factor *= boost.factor
            values.append((-(similarity * factor if similarity > 0 else similarity / factor), row.product.id))
        left = _first_of_each(sorted(values), self.groups(eligibility.collapse))
        if ranking.diversity:
            left = left[: max(k, min(5 * k, 200))]
        chosen: list[tuple[float, str]] = []
        while left and len(chosen) < k:
            best = left[0]
            if chosen and ranking.diversity:
                worth = {
                    each: (1 - ranking.diversity) * -each[0]
                    - ranking.diversity * max(_likeness(self.rows[each[1]], self.rows[one[1]]) for one in chosen)
                    for each in left
                }
                highest = max(worth.values())
                best = next(each for each in left if worth[each] > highest - 1e-12)
            left.remove(best)
            chosen.append(best)
        return [(-negative, product_id) for negative, product_id in chosen]

    def knows(self, filter: Filter) -> bool:
        """Returns whether every label of a filter is in the catalogue, or for a colour in the table."""
        table = {*FAMILIES, *(member for members in FAMILIES.values() for member in members)}
        return all(
            {*condition.any_of, *condition.none_of}
            <= {getattr(row.product, name) for row in self.rows.values()}
            | (table if isinstance(condition, ColourFilter) else set())
            for name, condition in filter.conditions.items()
            if isinstance(condition, LabelFilter | ColourFilter)
        )


def _first_of_each(ranked: list[tuple[float, str]], group_of: Mapping[str, str]) -> list[tuple[float, str]]:
    first: dict[str, tuple[float, str]] = {}
    for each in ranked:
        first.setdefault(group_of[each[1]], each)
    return list(first.values())


def _likeness(one: IndexedProduct, other: IndexedProduct) -> float:
    assert one.embedding is not None
    assert other.embedding is not None
    return float((one.embedding.astype(np.float64) * other.embedding.astype(np.float64)).sum())


def _kin(p: Product) -> str:
    return p.parent_id or p.id


def _sorted(products: Sequence[Product], order: Order) -> list[Product]:
    """Sorts in steps, of which the last counts most; what is unknown comes last."""
    in_order = sorted(products, key=lambda p: p.id)
    match order:
        case Order.NAME:
            named = [p for p in in_order if p.name]
            named.sort(key=lambda p: (p.name or "").lower().replace("é", "e"))
            return named + [p for p in in_order if not p.name]
        case Order.NEWEST:
            in_order.sort(key=lambda p: p.year or 0, reverse=True)
        case Order.PRICE | Order.PRICE_DESCENDING:
            descending = order is Order.PRICE_DESCENDING
            in_order.sort(key=lambda p: p.price.units + p.price.nanos / 1e9 if p.price else 0, reverse=descending)
            in_order.sort(key=lambda p: p.price.currency_code if p.price else "ZZZ")
    return in_order


def _similarity(row: NDArray[np.float16] | None, query: NDArray[np.float32]) -> float:
    assert row is not None
    exact = (row.astype(np.float64)[np.newaxis] * query).sum(axis=1)
    return float(np.clip(exact, -1, 1).astype(np.float32)[0])


def _family(colour: str) -> str:
    if colour == "Royal Blue":
        return "Blue"
    return next((family for family, members in FAMILIES.items() if colour in members), colour)


def _is_eligible(row: IndexedProduct, eligibility: Eligibility) -> bool:
    p = row.product
    disliked = any(
        p.base_colour is not None
        and (p.base_colour == d.colour or (not d.exact and _family(p.base_colour) == d.colour))
        for d in eligibility.disliked_colours
    )
    return (
        row.embedding is not None
        and not disliked
        and p.id not in eligibility.excluded_ids
        and _kin(p) not in eligibility.excluded_families
        and (eligibility.include_out_of_stock or p.in_stock is not False)
        and (eligibility.derived_types is None or p.derived_type in eligibility.derived_types)
        and all(_meets(p, name, condition) for name, condition in eligibility.filter.conditions.items())
    )


def _has_words(p: Product, text: str) -> bool:
    told = f"{p.name or ''} {p.brand or ''} {p.derived_type} {p.base_colour or ''} {p.id}".lower().replace("é", "e")
    words = re.split("[^a-z0-9]+", told) + re.split("[^a-z0-9]+", told.replace("-", ""))
    return all(any(word.startswith(wanted) for word in words) for wanted in _wanted(text))


def _wanted(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower().replace("-", ""))


def _meets(p: Product, name: str, condition: Condition) -> bool:
    if isinstance(condition, Words):
        return _has_words(p, condition.text)
    value: Any = getattr(p, name)
    if isinstance(condition, YearRange):
        first, last = condition.first, condition.last
        return value is not None and (first is None or value >= first) and (last is None or value <= last)
    names = {value}
    if isinstance(condition, ColourFilter) and condition.by_family and value is not None:
        names.add(_family(value))
    return (not condition.any_of or bool(names & {*condition.any_of})) and not names & {*condition.none_of}


class IndexConformance(ABC):
    """A class `Test…` that inherits from it makes the index to test."""

    @abstractmethod
    def make_index(self, dimension: int = DIMENSION) -> Index:
        """Returns an empty index."""

    @SETTINGS
    @given(
        st.lists(writes, min_size=1, max_size=6),
        st.lists(st.tuples(eligibilities, st.integers(1, 14)), min_size=1, max_size=6),
    )
    def test_answers_as_comparing_with_every_product_does(
        self, history: list[tuple[list[IndexedProduct], set[str]]], searches: list[tuple[Eligibility, int]]
    ) -> None:
        index, oracle = self.make_index(), Oracle()
        _write_all(index, oracle, history)
        for seed, (eligibility, k) in enumerate(searches):
            query = query_vector(seed)
            if not oracle.knows(eligibility.filter):
                with pytest.raises(InvalidInput, match="No product has") as refused:
                    index.search(query, k, eligibility)
                assert refused.value.reason == "FILTER_VALUE_UNKNOWN"
                continue
            answer = index.search(query, k, eligibility)
            ids, similarities, eligible_count = oracle.search(query, k, eligibility)
            assert [hit.product.id for hit in answer.hits] == ids
            assert [hit.similarity for hit in answer.hits] == pytest.approx(similarities, abs=1e-6)
            assert answer.eligible_count == eligible_count
            assert answer.index_version == len(history)
            assert all(hit.product == oracle.rows[hit.product.id].product for hit in answer.hits)

    @SETTINGS
    @given(
        st.lists(writes, min_size=1, max_size=4),
        st.lists(st.tuples(eligibilities, st.integers(1, 8), rankings), min_size=1, max_size=6),
    )
    def test_rules_order_as_comparing_with_every_product_does(
        self, history: list[tuple[list[IndexedProduct], set[str]]], searches: list[tuple[Eligibility, int, Ranking]]
    ) -> None:
        index, oracle = self.make_index(), Oracle()
        _write_all(index, oracle, history)
        for seed, (eligibility, k, ranking) in enumerate(searches):
            if not oracle.knows(eligibility.filter):
                continue
            query = query_vector(seed)
            answer = index.search(query, k, eligibility, ranking)
            expected = oracle.ranked(query, k, eligibility, ranking)
            assert [hit.product.id for hit in answer.hits] == [product_id for _, product_id in expected]
            assert [hit.value for hit in answer.hits] == pytest.approx([value for value, _ in expected], abs=1e-6)
            assert answer.eligible_count == oracle.search(query, k, eligibility)[2]
            groups = oracle.groups(eligibility.collapse)
            for hit in answer.hits:
                assert hit.similarity == pytest.approx(_similarity(oracle.rows[hit.product.id].embedding, query))
                assert (hit.rank_score is None) == (not ranking.boosts)
                others = {
                    each
                    for each, group in groups.items()
                    if group == groups[hit.product.id] and each not in {hit.product.id, *eligibility.excluded_ids}
                    if oracle.rows[each].product.base_colour not in answer.excluded_colours
                }
                named = [variant.product for variant in hit.variants]
                assert {each.id for each in named} <= others
                assert len(named) == min(len(others), ranking.named_variants)
                assert hit.variant_count == (len(others) if ranking.named_variants else 0)
                colours = [each.base_colour for each in named if each.base_colour != hit.product.base_colour]
                assert colours[: len(set(colours))] == list(dict.fromkeys(colours))
                for variant in hit.variants:
                    row = oracle.rows[variant.product.id].embedding
                    assert variant.similarity == (None if row is None else pytest.approx(_similarity(row, query)))

    @SETTINGS
    @given(st.lists(writes, min_size=2, max_size=4), st.lists(eligibilities, min_size=1, max_size=3))
    def test_many_searches_answer_as_each_alone_while_products_change(
        self, history: list[tuple[list[IndexedProduct], set[str]]], asked: list[Eligibility]
    ) -> None:
        index, oracle = self.make_index(), Oracle()
        steps = iter(enumerate(history, start=1))

        def write() -> bool:
            for version, (upserts, deletes) in steps:
                deletes = deletes - {row.product.id for row in upserts}
                index.apply(upserts, deletes, version)
                oracle.apply(upserts, deletes)
                return True
            return False

        write()
        for eligibility in asked:
            searches = [Search(query_vector(seed), 1 + seed % 14, eligibility) for seed in range(40)]
            found = index.search_many(searches)
            for number, search in enumerate(searches):
                if not oracle.knows(eligibility.filter):
                    break
                alone = index.search(search.query, search.k, eligibility)
                assert next(found) == alone, number
                if number % 30 == 25:
                    write()

    @SETTINGS
    @given(st.lists(writes, min_size=1, max_size=6))
    def test_tells_what_is_there(self, history: list[tuple[list[IndexedProduct], set[str]]]) -> None:
        index, oracle = self.make_index(), Oracle()
        _write_all(index, oracle, history)
        products = {product_id: row.product for product_id, row in oracle.rows.items()}
        facts = index.facts()
        assert facts.product_count == len(products)
        assert facts.available_count == sum(p.in_stock is not False for p in products.values())
        assert facts.outdated_count == sum(row.embedding is None for row in oracle.rows.values())
        assert facts.derived_types == _counts(p.derived_type for p in products.values())
        assert facts.index_version == len(history)
        searchable = [row.product for row in oracle.rows.values() if row.embedding is not None]
        assert index.searchable_types() == _counts(p.derived_type for p in searchable)
        for product in products.values():
            assert index.has_searchable(product.derived_type) == (product.derived_type in index.searchable_types())
        assert not index.has_searchable("Unisex Nothing")
        assert index.colours() == {p.base_colour for p in products.values()} - {None}
        for product_id in IDS:
            assert index.product(product_id) == products.get(product_id)
            stored = index.embedding(product_id)
            expected = oracle.rows[product_id].embedding if product_id in products else None
            assert (stored is None) == (expected is None)
            assert stored is None or expected is None or np.array_equal(stored, expected)
        for label in {p.derived_type for p in products.values()} | {"Nobody's"}:
            members = index.members(label)
            assert members.products == tuple(
                sorted((p for p in searchable if p.derived_type == label), key=lambda p: p.id)
            )
            for row, p in zip(members.embeddings, members.products, strict=True):
                assert np.array_equal(row, oracle.rows[p.id].embedding)  # type: ignore[arg-type]

    @SETTINGS
    @given(writes, st.integers(1, 5), st.sampled_from(Order), st.sampled_from(SEARCHES))
    def test_pages_hold_every_product_once_in_their_order(
        self, write: tuple[list[IndexedProduct], set[str]], size: int, order: Order, words: str
    ) -> None:
        index = self.make_index()
        index.apply(write[0], (), 1)
        filter = Filter(words=Words(words))
        expected = [row.product for row in write[0] if _has_words(row.product, words)]
        listed: list[Product] = []
        more = True
        while more:
            page = index.page(filter, place_of(listed[-1], order) if listed else None, size, order)
            assert page.total_count == len(expected)
            assert len(page.products) == min(size, len(expected) - len(listed))
            listed += page.products
            more = page.more
        assert listed == _sorted(expected, order)
        assert index.facets(filter).total_count == len(expected)

    def test_a_page_keeps_to_its_filter(self) -> None:
        index = self.make_index()
        rows = [
            product("a", season="Summer"),
            product("b", season="Winter"),
            product("c", season="Summer", in_stock=False),
        ]
        index.apply([IndexedProduct(p, embedding(0)) for p in rows], (), 1)
        page = index.page(Filter(season=LabelFilter(any_of=("Summer",))), None, 1)
        assert ([p.id for p in page.products], page.total_count, page.more) == (["a"], 2, True)
        page = index.page(Filter(season=LabelFilter(any_of=("Summer",))), ("a",), 1)
        assert ([p.id for p in page.products], page.total_count, page.more) == (["c"], 2, False)

    @SETTINGS
    @given(first=writes, second=writes, chosen=st.sampled_from((None, "Blue", "Red")))
    def test_facets_count_what_is_there(
        self,
        first: tuple[list[IndexedProduct], set[str]],
        second: tuple[list[IndexedProduct], set[str]],
        chosen: str | None,
    ) -> None:
        index = self.make_index()
        index.apply(first[0], (), 1)
        index.apply(second[0], second[1] - {row.product.id for row in second[0]}, 2)
        products = index.page(Filter(), None, 100).products
        passing = [p for p in products if chosen in (None, p.base_colour)]
        facets = index.facets(Filter(base_colour=ColourFilter((chosen,) if chosen else ())))
        assert facets.total_count == len(passing)
        for attribute, values in facets.values.items():
            counted = Counter(
                str(value.value if isinstance(value, Gender) else value)
                for value in (getattr(p, attribute) for p in (products if attribute == "base_colour" else passing))
                if value is not None
            )
            assert {each.value: each.count for each in values} == counted
            if attribute != "year":
                assert list(values) == sorted(values, key=lambda each: (-each.count, each.value))

    @pytest.mark.parametrize("sizes", [(1,) * 40, (5,) * 20, (300, 1, 1, 40, 2)])
    def test_families_fill_the_answer_however_large_they_are(self, sizes: tuple[int, ...]) -> None:
        index = self.make_index()
        rows = [
            IndexedProduct(product(f"{family:02}-{size:03}", parent_id=f"f{family}"), _near(family, size))
            for family, count in enumerate(sizes)
            for size in range(count)
        ]
        index.apply(rows, (), 1)
        query = _near(0, 0).astype(np.float32)
        answer = index.search(query, 10, Eligibility(collapse=Collapse.VARIANTS))
        oracle = Oracle()
        oracle.apply(rows, ())
        assert [hit.product.id for hit in answer.hits] == oracle.search(
            query, 10, Eligibility(collapse=Collapse.VARIANTS)
        )[0]
        assert len(answer.hits) == min(10, len(sizes))
        assert answer.eligible_count == len(sizes)

    @pytest.mark.parametrize("diversity", [0.0, 0.4, 0.9])
    @pytest.mark.parametrize("collapse", list(Collapse))
    def test_rules_reach_products_far_behind_the_nearest(self, collapse: Collapse, diversity: float) -> None:
        index, oracle = self.make_index(), Oracle()
        rng = np.random.default_rng(7)
        rows = [
            IndexedProduct(
                product(
                    f"{number:03}",
                    year=int(rng.choice([2011, 2012, 2013], p=[0.9, 0.05, 0.05])),
                    brand=("Harbour", "Velora", None)[number % 3],
                    parent_id=f"f{number // 3}" if number % 4 == 0 else None,
                ),
                embedding(number),
            )
            for number in range(240)
        ]
        index.apply(rows, (), 1)
        oracle.apply(rows, ())
        boosts = (
            Boost(Filter(year=YearRange(2012, None)), 2.0),
            Boost(Filter(brand=LabelFilter(("Velora",))), 0.5),
            Boost(Filter(year=YearRange(2013, None)), 2.0),
        )
        moved = 0
        for seed in range(2):
            query, eligibility = query_vector(seed), Eligibility(collapse=collapse)
            for ranking in (Ranking(boosts, diversity), Ranking(boosts, diversity, 0.5), Ranking((), diversity)):
                for k in (2, 12):
                    answer = index.search(query, k, eligibility, ranking)
                    expected = oracle.ranked(query, k, eligibility, ranking)
                    assert [hit.product.id for hit in answer.hits] == [product_id for _, product_id in expected]
            plain = {hit.product.id for hit in index.search(query, 2 + 32, eligibility).hits}
            moved += (
                not {product_id for _, product_id in oracle.ranked(query, 2, eligibility, Ranking(boosts))} <= plain
            )
        assert moved > 0

    def test_designs_are_grouped_by_name_colour_and_looks_while_products_change(self) -> None:
        index, oracle = self.make_index(), Oracle()
        rng = np.random.default_rng(5)
        sizes = set()
        for version in range(1, 60):
            rows = [
                IndexedProduct(
                    product(
                        product_id,
                        name=str(rng.choice(["Zebra", "Red Zebra", "ZEBRA navy-blue", "Élan Blue/White Tee"])),
                        base_colour=str(rng.choice(COLOURS)),
                        brand=str(rng.choice(["Harbour", "harbour", "Velora"], p=[0.5, 0.4, 0.1])),
                        parent_id="p1" if rng.random() < 0.05 else None,
                    ),
                    _near(int(rng.integers(2)), int(rng.integers(100))),
                )
                for product_id in rng.choice(IDS, size=3, replace=False).tolist()
            ]
            if version % 3 == 0:
                known = [row.product for row in rows if row.product.id in oracle.rows]
                index.apply((), (), version, known)
                oracle.apply([replace(oracle.rows[p.id], product=p) for p in known], ())
            else:
                deletes = {str(rng.choice(IDS))} - {row.product.id for row in rows} if version % 4 == 0 else set()
                index.apply(rows, deletes, version)
                oracle.apply(rows, deletes)
            query, eligibility = query_vector(version), Eligibility(collapse=Collapse.DESIGNS)
            answer = index.search(query, 12, eligibility, Ranking(named_variants=20))
            expected = oracle.ranked(query, 12, eligibility, Ranking())
            assert [hit.product.id for hit in answer.hits] == [product_id for _, product_id in expected]
            sizes |= {(hit.derived, hit.variant_count) for hit in answer.hits}
        assert {(False, 0), (True, 1), (True, 2)} <= sizes

    def test_equals_beyond_any_slack_come_in_the_order_of_ids(self) -> None:
        index = self.make_index()
        names = [f"{number:03}" for number in range(300)]
        twins = [IndexedProduct(product(name), embedding(1)) for name in reversed(names)]
        nearer = IndexedProduct(product("zz"), embedding(2))
        index.apply([*twins, nearer], (), 1)
        answer = index.search(embedding(2).astype(np.float32), 5, Eligibility())
        assert [hit.product.id for hit in answer.hits] == ["zz", *names[:4]]
        answer = index.search(embedding(1).astype(np.float32), 100, Eligibility())
        assert [hit.product.id for hit in answer.hits] == names[:100]
        assert len({hit.similarity for hit in answer.hits}) == 1

    def test_a_similarity_stays_within_its_range(self) -> None:
        index = self.make_index(2)
        # Rounded to float16, its norm is a little over 1.
        longer = np.array([0.6, 0.8003], dtype=np.float16)
        assert float((longer.astype(np.float64) ** 2).sum()) > 1
        index.apply([IndexedProduct(product("a"), longer), IndexedProduct(product("b"), -longer)], (), 1)
        query = longer.astype(np.float32) / np.linalg.norm(longer.astype(np.float32))
        assert [hit.similarity for hit in index.search(query, 2, Eligibility()).hits] == [1.0, -1.0]

    def test_loading_replaces_everything(self) -> None:
        index = self.make_index()
        index.apply([IndexedProduct(product("old"), embedding(0))], (), 1)
        index.load([[IndexedProduct(product("a"), embedding(1))], [IndexedProduct(product("b"), embedding(2))]], 7)
        answer = index.search(embedding(1).astype(np.float32), 5, Eligibility())
        assert [hit.product.id for hit in answer.hits] == ["a", "b"]
        assert (answer.index_version, index.product("old")) == (7, None)

    def test_an_empty_index_answers_with_nothing(self) -> None:
        index = self.make_index()
        answer = index.search(query_vector(0), 10, Eligibility(disliked_colours=(DislikedColour("Red"),)))
        assert (answer.hits, answer.eligible_count, answer.excluded_colours) == ((), 0, ("Red",))
        assert index.facts().product_count == 0

    def test_a_dislike_is_spelt_out_against_the_catalogue(self) -> None:
        index = self.make_index()
        rows = [
            product(str(i), base_colour=colour) for i, colour in enumerate(("Navy Blue", "royal blue", "Red", None))
        ]
        index.apply([IndexedProduct(p, embedding(0)) for p in rows], (), 1)
        answer = index.search(query_vector(0), 10, Eligibility(disliked_colours=(DislikedColour("Blue"),)))
        assert answer.excluded_colours == ("Blue", "Navy Blue", "royal blue")
        assert {hit.product.id for hit in answer.hits} == {"2", "3"}

    def test_refuses_what_is_no_embedding_and_changes_nothing(self) -> None:
        index = self.make_index()
        good = IndexedProduct(product("good"), embedding(0))
        for bad in (
            embedding(0, DIMENSION + 1),
            embedding(0).astype(np.float32),
            np.full(DIMENSION, np.nan, dtype=np.float16),
        ):
            with pytest.raises(ValueError, match="bad"):
                index.apply([good, IndexedProduct(product("bad"), bad)], (), 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="twice"):
            index.apply([good, good], (), 1)
        with pytest.raises(ValueError, match="twice"):
            index.apply([good], ["good"], 1)
        with pytest.raises(ValueError, match="finite"):
            index.search(np.full(DIMENSION, np.nan, dtype=np.float32), 1, Eligibility())
        assert index.facts().product_count == 0
        assert index.facts().index_version == 0

    def test_every_answer_under_writes_is_that_of_one_snapshot(self) -> None:
        """Version v has v % 7 + 1 products, all of the colour "v", so that an answer shows its version."""
        index = self.make_index()
        stop, wrong, answered = threading.Event(), list[str](), [0]

        def read() -> None:
            while not stop.is_set():
                answer = index.search(query_vector(3), 50, Eligibility())
                colours = {hit.product.base_colour for hit in answer.hits}
                count = answer.index_version % 7 + 1 if answer.index_version else 0
                if len(answer.hits) != count or colours != ({str(answer.index_version)} if count else set()):
                    wrong.append(f"{answer.index_version}: {len(answer.hits)} hits of {colours}")
                answered[0] += 1

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for version in range(1, 200):
            ids = [f"p{number}" for number in range(version % 7 + 1)]
            rows = [
                IndexedProduct(
                    product(name, base_colour=str(version), article_type=ARTICLE_TYPES[(version + i) % 3]),
                    embedding(version + i),
                )
                for i, name in enumerate(ids)
            ]
            index.apply(rows, [f"p{number}" for number in range(len(ids), 8)], version)
        stop.set()
        for reader in readers:
            reader.join(timeout=30)
        assert not any(reader.is_alive() for reader in readers)
        assert not wrong
        assert answered[0] > 0


def _write_all(index: Index, oracle: Oracle, history: Sequence[tuple[list[IndexedProduct], set[str]]]) -> None:
    """Writes what products are; every other time only the attributes of those that are known."""
    for version, (rows, deletes) in enumerate(history, start=1):
        deletes = deletes - {row.product.id for row in rows}
        known = [row for row in rows if version % 2 == 0 and row.product.id in oracle.rows]
        upserts = [row for row in rows if row not in known]
        index.apply(upserts, deletes, version, [row.product for row in known])
        kept = [IndexedProduct(row.product, oracle.rows[row.product.id].embedding) for row in known]
        oracle.apply([*upserts, *kept], deletes)


def _counts(labels: object) -> Mapping[str, int]:
    counted: dict[str, int] = {}
    for label in labels:  # type: ignore[attr-defined]
        counted[label] = counted.get(label, 0) + 1
    return dict(sorted(counted.items()))
