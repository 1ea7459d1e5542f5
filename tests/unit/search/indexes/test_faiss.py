"""The FAISS index: the suite of all indexes, with and without its reduced index, and tests of its own."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.benchmark.correctness.material import ARTICLE_TYPES
from services.search.indexes.base import Eligibility, Index, IndexAnswer, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.locking import ReadersWriterLock
from tests.conformance.answers import AnswerConformance
from tests.conformance.index import IndexConformance
from tests.conformance.materials import DIMENSION, SETTINGS, embedding, product


class TestExact(IndexConformance):
    def make_index(self, dimension: int = DIMENSION) -> Index:
        return FaissIndex(dimension)


class TestReduced(IndexConformance):
    def make_index(self, dimension: int = DIMENSION) -> Index:
        # Nearly every search asks the reduced index first.
        return FaissIndex(
            dimension, FaissSettings(exact_limit=2, components=dimension // 2, min_candidates=1, candidates_per_hit=1)
        )


def large(dimension: int) -> FaissSettings:
    """As if there were very many products; all that is eligible in the nearest cells is compared."""
    return FaissSettings(
        exact_limit=2,
        components=dimension // 2,
        min_candidates=1000,
        approximate_from=3,
        on_disk_from=4,
        cells=3,
        exact_type_limit=2,
        exact_on_disk=2,
    )


class TestLarge(IndexConformance):
    def make_index(self, dimension: int = DIMENSION) -> Index:
        return FaissIndex(dimension, large(dimension))


class Restored(FaissIndex):
    """An index that is taken apart and filled anew before every answer."""

    def search(self, *arguments: Any) -> IndexAnswer:
        version, reduction, parts = self.snapshot(2)
        self.restore(reduction, [*parts], version)
        return super().search(*arguments)


class TestRestored(AnswerConformance):
    def make_index(self, dimension: int = DIMENSION) -> Index:
        return Restored(dimension, FaissSettings(exact_limit=2, components=dimension // 2, min_candidates=1))


class TestRestoredLarge(AnswerConformance):
    def make_index(self, dimension: int = DIMENSION) -> Index:
        return Restored(dimension, large(dimension))


@SETTINGS
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.integers(0, 30), st.sampled_from(ARTICLE_TYPES)), unique_by=lambda row: row[0], max_size=12
            ),
            st.sets(st.integers(0, 30), max_size=8),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_reduced_index_follows_every_write(history: list[tuple[list[tuple[int, str]], set[int]]]) -> None:
    # Only one candidate is compared. It is the right one only if rows and vectors still belong together.
    index = FaissIndex(
        DIMENSION, FaissSettings(exact_limit=3, components=DIMENSION, candidates_per_hit=1, min_candidates=1)
    )
    vectors: dict[str, int] = {}
    for version, (upserts, deletes) in enumerate(history, start=1):
        gone = {str(number) for number in deletes - {number for number, _ in upserts}}
        rows = [
            IndexedProduct(product(str(number), article_type=article_type), embedding(1000 * version + number))
            for number, article_type in upserts
        ]
        index.apply(rows, gone, version)
        vectors = {name: seed for name, seed in vectors.items() if name not in gone}
        vectors.update({str(number): 1000 * version + number for number, _ in upserts})
    for name, seed in vectors.items():
        (hit,) = index.search(embedding(seed).astype(np.float32), 1, Eligibility()).hits
        assert hit.product.id == name


def test_a_large_inventory_is_found_by_way_of_the_reduced_index() -> None:
    # 3,000 products in 40 groups; they differ in only 12 of 64 directions, as photographs do.
    random = np.random.default_rng(5)
    basis = np.linalg.qr(random.normal(size=(64, 64)))[0]
    groups = random.normal(size=(40, 64)) * np.exp(-np.arange(64) / 6)
    vectors = (
        np.repeat(groups, 75, axis=0) + 0.3 * random.normal(size=(3000, 64)) * np.exp(-np.arange(64) / 6)
    ) @ basis
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    rows = [
        IndexedProduct(product(f"{i:04}", article_type=ARTICLE_TYPES[i % 3]), vector)
        for i, vector in enumerate(vectors)
    ]
    reduced = FaissIndex(64, FaissSettings(exact_limit=500, components=16))
    exact = FaissIndex(64, FaissSettings(exact_limit=5000))
    for index in (reduced, exact):
        index.load([rows[i::3] for i in range(3)], 1)
    found = 0
    for query in vectors[::100].astype(np.float32):
        right = {hit.product.id for hit in exact.search(query, 10, Eligibility()).hits}
        answer = reduced.search(query, 10, Eligibility())
        assert answer.eligible_count == 3000
        found += len(right & {hit.product.id for hit in answer.hits})
        assert len(reduced.search(query, 100, Eligibility()).hits) == 100
    assert found / 300 > 0.95


def test_any_query_gets_the_list_of_a_comparison_with_all() -> None:
    # As an embedding is: most of it in few directions, a little in all others, and many products alike.
    random = np.random.default_rng(11)
    dimension, count = 96, 3000
    wide = random.normal(size=(count, 12)) @ random.normal(size=(12, dimension))
    vectors = wide + 0.4 * random.normal(size=(count, dimension))
    vectors[500:900] = vectors[400]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = random.permutation(count)
    rows = [
        IndexedProduct(product(f"{order[i]:04}", article_type=f"type {i % 5}"), vectors[i].astype(np.float16))
        for i in range(count)
    ]
    reduced, exact = (
        FaissIndex(dimension, FaissSettings(exact_limit=limit, components=12, min_candidates=20, candidates_per_hit=2))
        for limit in (100, 5000)
    )
    for index in (reduced, exact):
        index.load([rows], 1)
    queries = [
        *(vectors[i] for i in (0, 1, 400, 777)),
        *(vectors[i] + 0.05 * random.normal(size=dimension) for i in range(10)),
        *random.normal(size=(20, dimension)),
        *np.eye(dimension)[:20],
        -vectors[400],
    ]
    for query in queries:
        unit = (query / np.linalg.norm(query)).astype(np.float32)
        for k in (1, 10, 60):
            assert reduced.search(unit, k, Eligibility()).hits == exact.search(unit, k, Eligibility()).hits
    # Equals are in the order of their ids.
    alike = sorted(f"{order[i]:04}" for i in (400, *range(500, 900)))
    found = reduced.search(vectors[400].astype(np.float32), 10, Eligibility()).hits
    assert [hit.product.id for hit in found] == alike[:10]


def test_filters_reach_into_the_reduced_index() -> None:
    random = np.random.default_rng(6)
    vectors = random.normal(size=(1000, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        IndexedProduct(product(f"{i:04}", in_stock=i % 2 == 0), vector.astype(np.float16))
        for i, vector in enumerate(vectors)
    ]
    index = FaissIndex(DIMENSION, FaissSettings(exact_limit=100, components=4, min_candidates=10, candidates_per_hit=1))
    index.load([rows], 1)
    answer = index.search(vectors[1].astype(np.float32), 100, Eligibility())
    assert (len(answer.hits), answer.eligible_count) == (100, 500)
    assert all(hit.product.available for hit in answer.hits)


def test_loading_refuses_an_id_that_comes_twice() -> None:
    index = FaissIndex(DIMENSION)
    row = IndexedProduct(product("a"), embedding(0))
    with pytest.raises(ValueError, match="twice"):
        index.load([[row], [row]], 1)
    assert index.facts().product_count == 0


def test_settings_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FaissSettings(threads=0)


def test_a_failed_writer_gives_the_lock_free() -> None:
    lock = ReadersWriterLock()
    with pytest.raises(RuntimeError), lock.writing():
        raise RuntimeError
    with lock.reading(), lock.reading():
        pass
    with lock.writing():
        pass
