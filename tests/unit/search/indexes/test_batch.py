"""Many searches at once: the answers of a comparison with all, with ties, variants, stock, filters and writes."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from offline.benchmark.correctness.conditions import COLOURS
from services.search.filters.filter import ColourFilter, Filter
from services.search.indexes import faiss
from services.search.indexes.base import Collapse, Eligibility, IndexedProduct, Search
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from tests.conformance.materials import product

DIMENSION, COUNT = 96, 3000
_COLOURS = tuple(COLOURS)
FEW = FaissSettings(exact_limit=100, components=12, min_candidates=20, candidates_per_hit=2)


def _catalogue() -> list[IndexedProduct]:
    """Most of an embedding is in few directions; many products are alike, have variants or are out of stock."""
    random = np.random.default_rng(11)
    wide = random.normal(size=(COUNT, 12)) @ random.normal(size=(12, DIMENSION))
    vectors = wide + 0.4 * random.normal(size=(COUNT, DIMENSION))
    vectors[500:900] = vectors[400]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = random.permutation(COUNT)
    return [
        IndexedProduct(
            product(
                f"{order[i]:04}",
                article_type=f"type {i % 5}",
                base_colour=_COLOURS[i % len(_COLOURS)],
                parent_id=f"family {order[i] % 700}" if i % 3 else None,
                in_stock=i % 7 > 0,
            ),
            vector.astype(np.float16),
        )
        for i, vector in enumerate(vectors)
    ]


def _queries() -> list[NDArray[np.float32]]:
    random = np.random.default_rng(12)
    rows = [each.embedding for each in _catalogue()[:1000:10]]
    return [row.astype(np.float32) for row in rows if row is not None] + [
        (each / np.linalg.norm(each)).astype(np.float32) for each in random.normal(size=(30, DIMENSION))
    ]


@pytest.fixture(scope="module")
def indexes() -> tuple[FaissIndex, FaissIndex]:
    few, exact = FaissIndex(DIMENSION, FEW), FaissIndex(DIMENSION, replace(FEW, exact_limit=COUNT))
    for index in (few, exact):
        index.load([_catalogue()], 1)
    return few, exact


@pytest.mark.parametrize("k", [1, 20, 60])
@pytest.mark.parametrize("collapse", list(Collapse))
def test_they_answer_as_a_comparison_with_all(
    indexes: tuple[FaissIndex, FaissIndex], collapse: Collapse, k: int
) -> None:
    few, exact = indexes
    red = Filter(base_colour=ColourFilter(any_of=("Red", "Blue", "Yellow")))
    searches = []
    for number, query in enumerate(_queries()):
        eligibility = Eligibility(
            excluded_ids=(f"{number:04}",),
            excluded_families=(f"family {number}",),
            include_out_of_stock=number % 3 == 0,
            filter=red if number % 2 else Filter(),
            derived_types=frozenset({"Men type 1"}) if number % 5 == 0 else None,
            collapse=collapse,
        )
        searches.append(Search(query, k, eligibility))
    expected = [exact.search(each.query, each.k, each.eligibility) for each in searches]
    assert list(few.search_many(searches)) == expected
    assert list(few.search_many(searches[:3])) == expected[:3]


def test_the_matrix_product_decides_what_is_compared(
    indexes: tuple[FaissIndex, FaissIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    few, _ = indexes
    searches = [Search(query, 5, Eligibility()) for query in _queries()]
    expected = list(few.search_many(searches))

    def never(*_: object) -> None:
        raise AssertionError("The reduced index is searched for a query alone.")

    monkeypatch.setattr(faiss.ReducedIndex, "search", never)
    assert list(few.search_many(searches)) == expected


def test_a_write_in_between_counts_at_once() -> None:
    index = FaissIndex(DIMENSION, FEW)
    index.load([_catalogue()], 1)
    searches = [Search(query, 20, Eligibility()) for query in _queries()]
    answers = index.search_many(searches)
    for number, search in enumerate(searches):
        answer = next(answers)
        assert answer == index.search(search.query, search.k, search.eligibility)
        if number % 10 == 0:
            index.apply([], [answer.hits[0].product.id], answer.index_version + 1)
        if number == 45:
            # All rows move, and the version is the same.
            index.load([list(reversed(_catalogue()))], answer.index_version)
