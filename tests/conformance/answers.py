"""Answers of an index, held to the oracle, which compares every product."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from offline.benchmark.correctness.conditions import COLOURS
from offline.benchmark.correctness.expected import Expected
from offline.benchmark.correctness.material import DERIVED_TYPES
from offline.benchmark.correctness.oracle import Oracle
from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.filters.colours import DislikedColour
from services.search.filters.filter import Filter, LabelFilter, YearRange
from services.search.filters.ranking import BY_SIMILARITY, Boost, Ranking
from services.search.indexes.base import Collapse, Eligibility, Index, IndexAnswer, IndexedProduct, Ladder, Search
from tests.conformance.materials import (
    IDS,
    MATERIAL,
    SETTINGS,
    MakesIndex,
    Write,
    eligibilities,
    embedding,
    near,
    product,
    query_vector,
    rankings,
    seeds,
    write_all,
    writes,
)


def check(answer: IndexAnswer, expected: Expected, ranking: Ranking, oracle: Oracle) -> None:
    """Holds an answer to what it must be, to the last bit of its similarities."""
    assert [hit.product.id for hit in answer.hits] == expected.ids
    assert [hit.similarity for hit in answer.hits] == [hit.similarity for hit in expected.hits]
    assert [hit.value for hit in answer.hits] == [hit.value for hit in expected.hits]
    assert answer.eligible_count == expected.eligible_count
    assert answer.rung == expected.rung
    assert answer.excluded_colours == expected.excluded_colours
    assert answer.other_currencies == expected.other_currencies
    left_out = answer.left_out
    reasons = left_out.by_filter, left_out.out_of_stock, left_out.disliked, left_out.excluded, left_out.variants
    assert reasons == expected.left_out
    for hit, wanted in zip(answer.hits, expected.hits, strict=True):
        assert hit.product == oracle.rows[hit.product.id].product
        assert hit.photograph == wanted.photograph
        assert hit.rung == wanted.rung
        assert (hit.rank_score is None) == (not ranking.boosts)
        assert tuple(each.product.id for each in hit.variants) == wanted.variants[: ranking.named_variants]
        assert hit.variant_count == (len(wanted.variants) if ranking.named_variants else 0)
        assert hit.derived == (wanted.derived and ranking.named_variants > 0)


def _answer(index: Index, oracle: Oracle, query: NDArray[np.float32], search: tuple[Eligibility, int, Ranking]) -> None:
    """Asks, and holds the answer or the refusal to the oracle."""
    eligibility, k, ranking = search
    conditions = [eligibility.filter, *(boost.condition for boost in ranking.boosts)]
    if reasons := set[str]().union(*map(oracle.refusals, conditions)):
        with pytest.raises(InvalidInput) as refused:
            index.search(query, k, eligibility, ranking)
        assert refused.value.reason in reasons
        return
    check(index.search(query, k, eligibility, ranking), oracle.answer(query, k, eligibility, ranking), ranking, oracle)


class AnswerConformance(MakesIndex):
    """Every answer is that of a comparison with all products."""

    @SETTINGS
    @given(
        st.lists(writes, min_size=1, max_size=6),
        st.lists(
            st.tuples(eligibilities, st.integers(1, 14), st.just(BY_SIMILARITY) | rankings), min_size=1, max_size=8
        ),
    )
    def test_answers_as_comparing_with_every_product_does(
        self, history: list[Write], searches: list[tuple[Eligibility, int, Ranking]]
    ) -> None:
        index, oracle = self.make_index(), Oracle()
        write_all(index, oracle, history)
        for seed, search in enumerate(searches):
            _answer(index, oracle, query_vector(seed), search)
        assert index.search(query_vector(0), 1, Eligibility()).index_version == len(history)

    @SETTINGS
    @given(st.lists(writes, min_size=2, max_size=6), seeds)
    def test_each_condition_alone_leaves_what_it_must(self, history: list[Write], seed: int) -> None:
        index, oracle = self.make_index(), Oracle()
        write_all(index, oracle, history)
        for filter in MATERIAL.each_condition(Random(seed)):
            everything = Eligibility(filter=filter, include_out_of_stock=True)
            _answer(index, oracle, query_vector(0), (everything, len(IDS), BY_SIMILARITY))

    @SETTINGS
    @given(st.lists(writes, min_size=2, max_size=4), st.lists(eligibilities, min_size=1, max_size=3))
    def test_many_searches_answer_as_each_alone_while_products_change(
        self, history: list[Write], asked: list[Eligibility]
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
                if oracle.refusals(eligibility.filter):
                    break
                alone = index.search(search.query, search.k, eligibility)
                assert next(found) == alone, number
                if number % 30 == 25:
                    write()

    @SETTINGS
    @given(st.lists(writes, min_size=1, max_size=6), st.sets(st.sampled_from(DERIVED_TYPES), max_size=3))
    def test_a_ladder_is_that_of_most_products(self, history: list[Write], derived_types: set[str]) -> None:
        index, oracle = self.make_index(), Oracle()
        write_all(index, oracle, history)
        assert index.ladder(derived_types) == oracle.ladder(derived_types)

    def test_a_ladder_fills_the_answer_from_the_lowest_rung_that_can(self) -> None:
        index, oracle = self.make_index(), Oracle()
        kinds = [
            (Gender.MEN, "Tshirts", "Topwear", "Apparel"),
            (Gender.WOMEN, "Tshirts", "Topwear", "Apparel"),
            (Gender.MEN, "Shirts", "Topwear", "Apparel"),
            (Gender.MEN, "Heels", "Shoes", "Apparel"),
            (Gender.WOMEN, "Heels", "Shoes", "Footwear"),
        ]
        rows = [
            IndexedProduct(
                product(
                    f"{kind}{number}", gender=gender, article_type=article, sub_category=sub, master_category=master
                ),
                embedding(10 * kind + number),
            )
            for kind, (gender, article, sub, master) in enumerate(kinds)
            for number in range(3)
        ]
        index.apply(rows, (), 1)
        oracle.apply(rows)
        ladder = Ladder(frozenset({"Tshirts"}), frozenset({"Topwear"}), frozenset({"Apparel"}))
        asked = Eligibility(derived_types=frozenset({"Men Tshirts"}), ladder=ladder)
        for k, kinds_shown, rung in [
            (3, "0", 0),
            (4, "01", 1),
            (6, "01", 1),
            (7, "012", 2),
            (10, "0123", 3),
            (99, "0123", 3),
        ]:
            for ranking in (BY_SIMILARITY, Ranking(diversity=0.5), Ranking(min_similarity=-0.9)):
                answer = index.search(query_vector(1), k, asked, ranking)
                check(answer, oracle.answer(query_vector(1), k, asked, ranking), ranking, oracle)
            assert answer.rung == rung
            assert {hit.product.id[0] for hit in index.search(query_vector(1), k, asked).hits} <= set(kinds_shown)
        assert index.ladder(["Men Tshirts"]) == ladder
        assert index.ladder((), ["Heels", "Boots"], ["Shoes"]) == Ladder(
            frozenset({"Heels"}), frozenset({"Shoes"}), frozenset({"Apparel"})
        )
        assert not index.ladder((), ["Boots"], ["Boots"])

    @pytest.mark.parametrize("sizes", [(1,) * 40, (5,) * 20, (300, 1, 1, 40, 2)])
    def test_families_fill_the_answer_however_large_they_are(self, sizes: tuple[int, ...]) -> None:
        index = self.make_index()
        rows = [
            IndexedProduct(product(f"{family:02}-{size:03}", parent_id=f"f{family}"), near(family, size))
            for family, count in enumerate(sizes)
            for size in range(count)
        ]
        index.apply(rows, (), 1)
        query = near(0, 0).astype(np.float32)
        answer = index.search(query, 10, Eligibility(collapse=Collapse.VARIANTS))
        oracle = Oracle()
        oracle.apply(rows)
        check(answer, oracle.answer(query, 10, Eligibility(collapse=Collapse.VARIANTS)), BY_SIMILARITY, oracle)
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
        oracle.apply(rows)
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
                    _answer(index, oracle, query, (eligibility, k, ranking))
            plain = {hit.product.id for hit in index.search(query, 2 + 32, eligibility).hits}
            moved += not {*oracle.answer(query, 2, eligibility, Ranking(boosts)).ids} <= plain
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
                        base_colour=str(rng.choice(tuple(COLOURS))),
                        brand=str(rng.choice(["Harbour", "harbour", "Velora"], p=[0.5, 0.4, 0.1])),
                        parent_id="p1" if rng.random() < 0.05 else None,
                    ),
                    near(int(rng.integers(2)), int(rng.integers(100))),
                )
                for product_id in rng.choice(IDS, size=3, replace=False).tolist()
            ]
            if version % 3 == 0:
                known = [row.product for row in rows if row.product.id in oracle.rows]
                index.apply((), (), version, known)
                oracle.update(known)
            else:
                deletes = {str(rng.choice(IDS))} - {row.product.id for row in rows} if version % 4 == 0 else set()
                index.apply(rows, deletes, version)
                oracle.apply(rows, deletes)
            query, eligibility = query_vector(version), Eligibility(collapse=Collapse.DESIGNS)
            ranking = Ranking(named_variants=20)
            answer = index.search(query, 12, eligibility, ranking)
            check(answer, oracle.answer(query, 12, eligibility, ranking), ranking, oracle)
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

    def test_a_dislike_is_spelt_out_against_the_catalogue(self) -> None:
        index = self.make_index()
        rows = [
            product(str(i), base_colour=colour) for i, colour in enumerate(("Navy Blue", "royal blue", "Red", None))
        ]
        index.apply([IndexedProduct(p, embedding(0)) for p in rows], (), 1)
        answer = index.search(query_vector(0), 10, Eligibility(disliked_colours=(DislikedColour("Blue"),)))
        assert answer.excluded_colours == ("Blue", "Navy Blue", "royal blue")
        assert {hit.product.id for hit in answer.hits} == {"2", "3"}
