"""The reduced index: its bounds hold for every product and query, and the further components tighten them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from services.search.indexes.shards import ReducedIndex, train_reduction

DIMENSION, COUNT, COMPONENTS = 96, 2000, 12


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float16]:
    random = np.random.default_rng(3)
    falling = np.exp(-np.arange(DIMENSION) / 10)
    rows = random.normal(size=(COUNT, DIMENSION)) * falling + 0.05 * random.normal(size=(COUNT, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float16)


def _index(vectors: NDArray[np.float16], further: int) -> ReducedIndex:
    reduction = train_reduction(vectors[::2], COMPONENTS + further, trained_on=COUNT, seed=1)
    index = ReducedIndex(reduction, COMPONENTS, COUNT)
    index.write(np.arange(COUNT), reduction.project(vectors))
    return index


def _queries(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    random = np.random.default_rng(4)
    near = vectors[:20].astype(np.float64)
    queries = np.concatenate([near, near + 0.3 * random.normal(size=near.shape), random.normal(size=near.shape)])
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("further", [0, 5, COMPONENTS, DIMENSION - COMPONENTS])
def test_no_product_is_more_similar_than_its_bound(vectors: NDArray[np.float16], further: int) -> None:
    index = _index(vectors, further)
    eligible = np.arange(COUNT) % 3 > 0
    for query in _queries(vectors):
        similarities = vectors.astype(np.float64) @ query
        candidates = index.search(query).nearest(150, eligible)
        assert eligible[candidates.rows].all()
        assert len(set(candidates.rows.tolist())) == 150
        assert (similarities[candidates.rows] <= candidates.bounds).all()
        assert (np.diff(candidates.bounds) <= 0).all()
        assert similarities[np.setdiff1d(np.flatnonzero(eligible), candidates.rows)].max() <= candidates.others


def test_further_components_tighten_the_bounds(vectors: NDArray[np.float16]) -> None:
    everything = np.ones(COUNT, dtype=np.bool_)
    slack = []
    for further in (0, COMPONENTS, DIMENSION - COMPONENTS):
        index = _index(vectors, further)
        for query in _queries(vectors)[20:]:
            candidates = index.search(query).nearest(150, everything)
            slack.append(float((candidates.bounds - vectors[candidates.rows].astype(np.float64) @ query).mean()))
    without, some, whole = np.array(slack).reshape(3, -1).mean(axis=1)
    assert whole < 0.01 < some < 0.8 * without


def test_an_estimate_of_how_many_to_choose_is_mostly_enough(vectors: NDArray[np.float16]) -> None:
    index = _index(vectors, COMPONENTS)
    everything = np.ones(COUNT, dtype=np.bool_)
    enough = []
    for query in _queries(vectors):
        search = index.search(query)
        floor = search.nearest(600, everything).others
        estimate = search.more_than(search.nearest(150, everything), floor, everything)
        assert estimate > 150
        enough.append(estimate >= 600)
    assert np.mean(enough) > 0.7
