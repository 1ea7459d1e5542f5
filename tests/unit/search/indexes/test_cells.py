"""Cells of similar products: what they hold follows every write, and searches of them are filled and nearly right."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product as combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.values import Gender
from services.search.filters.filter import Filter, LabelFilter
from services.search.filters.ranking import Ranking
from services.search.indexes.base import Collapse, Eligibility, IndexedProduct, Rung, Search
from services.search.indexes.cells import Cells, cells_of, train_centres
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.reduction_file import ReductionFile
from tests.conformance.materials import product

DIMENSION, COUNT, GROUPS, CELLS = 64, 6000, 120, 40
LARGE = FaissSettings(
    exact_limit=50,
    components=16,
    min_candidates=60,
    candidates_per_hit=5,
    approximate_from=2000,
    cells=CELLS,
    near=1000,
    exact_type_limit=300,
)
EXACT = FaissSettings(exact_limit=2 * COUNT)


def _vectors(count: int, seed: int) -> NDArray[np.float16]:
    """Products of many groups, most of which is in few directions, as photographs are."""
    middles = np.random.default_rng(5).normal(size=(GROUPS, DIMENSION)) * np.exp(-np.arange(DIMENSION) / 10)
    random = np.random.default_rng(seed)
    rows = middles[random.integers(GROUPS, size=count)]
    rows = rows + 0.4 * random.normal(size=(count, DIMENSION)) * np.exp(-np.arange(DIMENSION) / 10)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def _products() -> list[IndexedProduct]:
    return [
        IndexedProduct(
            product(
                f"{number:05}",
                article_type=f"Type {number % 3}",
                brand=f"Brand {number % 10}",
                parent_id=f"Family {number // 4}" if number % 2 else None,
            ),
            vector,
        )
        for number, vector in enumerate(_vectors(COUNT, 6))
    ]


@pytest.fixture(scope="module")
def indexes() -> Iterator[tuple[FaissIndex, FaissIndex]]:
    large, exact = FaissIndex(DIMENSION, LARGE), FaissIndex(DIMENSION, EXACT)
    for index in (large, exact):
        index.load([_products()], 1)
    yield large, exact


def _ids(index: FaissIndex, query: NDArray[np.float32], k: int, eligibility: Eligibility) -> list[str]:
    return [hit.product.id for hit in index.search(query, k, eligibility).hits]


def test_every_row_is_in_the_cell_of_the_nearest_centre() -> None:
    vectors = _vectors(3000, 7)
    centres = train_centres(vectors.astype(np.float32), CELLS, 1)
    assert centres.shape == (CELLS, DIMENSION)
    assert np.array_equal(centres, train_centres(vectors.astype(np.float32), CELLS, 1))
    distances = np.linalg.norm(vectors[:, np.newaxis].astype(np.float64) - centres, axis=2)
    assert np.allclose(distances[np.arange(3000), cells_of(vectors, centres)], distances.min(axis=1), atol=1e-3)


def test_the_nearest_cells_hold_about_as_many_as_are_wanted() -> None:
    vectors = _vectors(3000, 7)
    centres = train_centres(vectors.astype(np.float32), CELLS, 1)
    cells = Cells(centres, 0)
    cells.append(cells_of(vectors, centres))
    random = np.random.default_rng(1)
    for share in (1.0, 0.3, 0.01):
        eligible = random.random(3000) < share
        for wanted in (1, 200, 5000):
            for given in (eligible, np.flatnonzero(eligible)):
                near = cells.near(vectors[3].astype(np.float32), wanted, given)
                assert eligible[near].all() and (np.diff(near) > 0).all()
                assert len(near) >= min(wanted / 2, np.count_nonzero(eligible))
    # Those that are eligible may all be in one cell that is far away.
    far = cells_of(vectors, centres) == int(np.argmin(centres @ vectors[3].astype(np.float32)))
    for given in (far, np.flatnonzero(far)):
        assert np.array_equal(cells.near(vectors[3].astype(np.float32), 4, given), np.flatnonzero(far))


def test_large_searches_are_filled_and_nearly_right(indexes: tuple[FaissIndex, FaissIndex]) -> None:
    large, exact = indexes
    assert large.facts().approximate and not exact.facts().approximate
    searches = [
        Eligibility(),
        Eligibility(filter=Filter(brand=LabelFilter(any_of=("Brand 3",)))),
        Eligibility(collapse=Collapse.VARIANTS),
    ]
    for eligibility in searches:
        shares = []
        for query in _vectors(40, 8).astype(np.float32):
            right, found = (_ids(index, query, 10, eligibility) for index in (exact, large))
            assert len(found) == len(set(found)) == 10
            shares.append(len(set(right) & set(found)) / 10)
        assert np.mean(shares) >= 0.95
    everything = large.search(_vectors(1, 9)[0].astype(np.float32), 500, Eligibility())
    assert len(everything.hits) == 500 and everything.eligible_count == COUNT


def test_few_cells_miss_products_so_that_recall_is_something_to_measure() -> None:
    few = FaissIndex(DIMENSION, replace(LARGE, near=40, min_candidates=2, candidates_per_hit=2))
    exact = FaissIndex(DIMENSION, EXACT)
    for index in (few, exact):
        index.load([_products()], 1)
    queries = _vectors(40, 8).astype(np.float32)
    shares = [
        len(set(_ids(exact, each, 10, Eligibility())) & set(_ids(few, each, 10, Eligibility()))) for each in queries
    ]
    assert 20 < np.sum(shares) < 380


def test_searches_of_derived_types_stay_exact(indexes: tuple[FaissIndex, FaissIndex]) -> None:
    _, exact = indexes
    on_disk = FaissIndex(DIMENSION, replace(LARGE, on_disk_from=COUNT, exact_on_disk=100))
    on_disk.load([_products()], 1)
    assert not on_disk._state.in_memory
    for large in (indexes[0], on_disk):
        _assert_types_are_exact(large, exact)


def _assert_types_are_exact(large: FaissIndex, exact: FaissIndex) -> None:
    types = (frozenset({"Men Type 1"}), frozenset({"Men Type 0", "Men Type 2"}))
    for query in (*_vectors(20, 8), *np.eye(DIMENSION)[:20].astype(np.float16)):
        for derived_types, brand in combinations(types, ((), ("Brand 3",), ("Brand 1", "Brand 4", "Brand 5"))):
            eligibility = Eligibility(derived_types, Filter(brand=LabelFilter(any_of=brand)) if brand else Filter())
            assert (
                large.search(query.astype(np.float32), 10, eligibility).hits
                == exact.search(query.astype(np.float32), 10, eligibility).hits
            )


def test_a_search_that_goes_on_beyond_a_derived_type_misses_none_of_it() -> None:
    random = np.random.default_rng(9)
    # Of no groups, so that the nearest products are in many cells.
    vectors = random.normal(size=(COUNT, DIMENSION))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    genders = (Gender.MEN, Gender.WOMEN) * (COUNT // 2)
    index = FaissIndex(DIMENSION, replace(LARGE, near=100, exact_bounded=50))
    rows = zip(vectors, genders, strict=True)
    index.load([[IndexedProduct(product(f"{n:05}", gender=gender), row) for n, (row, gender) in enumerate(rows)]], 1)
    assert index.facts().approximate
    own = frozenset({f"Men {product('any').article_type}"})
    within, beyond = Eligibility(derived_types=own), Eligibility(derived_types=own, ladder=index.ladder(own))
    found = 0
    for query in np.eye(DIMENSION, dtype=np.float32)[:20]:
        ranking = Ranking(min_similarity=index.search(query, 12, within).hits[-1].similarity)
        nearest = index.search(query, 20, within, ranking).hits
        hits = index.search(query, 20, beyond, ranking).hits
        lowest = [hit for hit in hits if hit.rung is Rung.DERIVED_TYPE]
        assert lowest == list(hits[: len(lowest)])
        assert [hit.product.id for hit in lowest] == [hit.product.id for hit in nearest]
        found += len(hits) - len(lowest)
    assert found, "The search went on."


@pytest.mark.parametrize("brands", [("Brand 3",), ("Brand 3", "Brand 4"), ("Brand 1", "Brand 2", "Brand 3"), ()])
def test_rows_with_a_rare_label_are_all_that_a_filter_looks_at(
    indexes: tuple[FaissIndex, FaissIndex], brands: tuple[str, ...]
) -> None:
    columns = indexes[1]._state.columns
    for kinds in ((), ("Type 1",), ("Type 0", "Type 1", "Type 2")):
        filter = Filter(brand=LabelFilter(any_of=brands, none_of=("Brand 7",)), article_type=LabelFilter(any_of=kinds))
        eligibility = Eligibility(filter=filter, excluded_ids=["00003", "00013"], excluded_families=["Family 8"])
        everything = columns.eligible(eligibility, slice(None))
        rows, eligible = columns.eligible_of_all(eligibility)
        assert isinstance(rows, slice) == (len(brands) != 1)
        assert np.arange(COUNT)[rows][eligible.mask].tolist() == np.flatnonzero(everything.mask).tolist()
        assert eligible.left_out == everything.left_out


def test_many_searches_are_answered_as_one_by_one(indexes: tuple[FaissIndex, FaissIndex]) -> None:
    large, _ = indexes
    searches = [Search(query.astype(np.float32), 10, Eligibility()) for query in _vectors(40, 8)]
    for search, answer in zip(searches, large.search_many(searches), strict=True):
        assert answer.hits == large.search(search.query, search.k, search.eligibility).hits


def test_cells_follow_writes_and_begin_once_there_are_enough_products(tmp_path: Path) -> None:
    rows = _products()
    index = FaissIndex(DIMENSION, LARGE, ReductionFile(tmp_path, "m1"))
    index.load([rows[:1900]], 1)
    assert not index.facts().approximate
    index.apply(rows[1900:2500], (), 2)
    assert index.facts().approximate
    index.apply(rows[2500:3000], [row.product.id for row in rows[:400]], 3)
    moved = [
        IndexedProduct(row.product, other.embedding) for row, other in zip(rows[400:900], rows[5000:], strict=False)
    ]
    index.apply(moved, (), 4)
    held = {row.product.id: row.embedding for row in (*rows[900:3000], *moved)}
    state = index._state
    assert state.reduced is not None and state.reduced.cells is not None and state.reduced.reduction.centres is not None
    everything = [state.columns.product(row).id for row in range(len(state.columns))]
    assert set(everything) == held.keys()
    stacked = np.stack([each for name in everything if (each := held[name]) is not None])
    cells = state.reduced.reduction.project(stacked).cells
    assert np.array_equal(state.reduced.cells.copied(np.arange(len(everything))), cells)
    # The centres are stored, and used again.
    again = FaissIndex(DIMENSION, LARGE, ReductionFile(tmp_path, "m1"))
    again.load([rows[:2400]], 5)
    assert again._state.reduced is not None
    assert np.array_equal(again._state.reduced.reduction.centres, state.reduced.reduction.centres)
    # A catalogue that has become small is searched exactly.
    index.apply((), everything[:1500], 6)
    assert not index.facts().approximate
