"""What an index lists and counts, held to the products that were written."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from offline.benchmark.correctness.material import SEARCHES
from offline.benchmark.correctness.oracle import Oracle
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.filters.filter import ColourFilter, Filter, LabelFilter, Words
from services.search.filters.order import Order, place_of
from services.search.indexes.base import IndexedProduct
from tests.conformance.materials import IDS, SETTINGS, MakesIndex, Write, embedding, product, write_all, writes


class ListConformance(MakesIndex):
    """Lists, counts and facts are of what is there."""

    @SETTINGS
    @given(st.lists(writes, min_size=1, max_size=6))
    def test_tells_what_is_there(self, history: list[Write]) -> None:
        index, oracle = self.make_index(), Oracle()
        write_all(index, oracle, history)
        products = {product_id: row.product for product_id, row in oracle.rows.items()}
        facts = index.facts()
        assert facts.product_count == len(products)
        assert facts.available_count == sum(p.in_stock is not False for p in products.values())
        assert facts.outdated_count == sum(row.embedding is None for row in oracle.rows.values())
        assert facts.derived_types == _counts(p.derived_type for p in products.values())
        assert facts.index_version == len(history)
        searchable = [row.product for row in oracle.rows.values() if row.embedding is not None]
        assert index.searchable_types() == _counts(p.derived_type for p in searchable)
        for p in products.values():
            assert index.has_searchable(p.derived_type) == (p.derived_type in index.searchable_types())
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
        self, write: Write, size: int, order: Order, words: str
    ) -> None:
        index = self.make_index()
        index.apply(write[0], (), 1)
        filter = Filter(words=Words(words))
        oracle = Oracle()
        oracle.apply(write[0])
        expected = [oracle.rows[each].product for each in oracle.passing(filter)]
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
        first: Write,
        second: Write,
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


def _counts(labels: Iterable[str]) -> Mapping[str, int]:
    counted: dict[str, int] = {}
    for label in labels:  # type: ignore[attr-defined]
        counted[label] = counted.get(label, 0) + 1
    return dict(sorted(counted.items()))
