"""The search for neighbours, beside what sorting everything gives."""

import numpy as np
import pytest

from offline.measure.neighbours import nearest, nearest_others


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 10, 700])
def test_neighbours_are_those_that_sorting_gives(k: int) -> None:
    queries, catalogue = unit(600, 1), unit(700, 2)

    similarities = queries @ catalogue.T

    results = nearest(queries, catalogue, k)

    assert all(len(set(row)) == k for row in results.tolist())
    expected = -np.sort(-similarities, axis=1)[:, :k]
    np.testing.assert_allclose(np.take_along_axis(similarities, results, axis=1), expected, atol=1e-6)


def test_a_small_catalogue_gives_all_that_it_has() -> None:
    assert nearest(unit(2, 1), unit(3, 2), 10).shape == (2, 3)


def test_a_row_is_none_of_its_own_neighbours_whatever_is_equal_to_it() -> None:
    rows = np.concatenate([unit(20, 3), np.repeat(unit(1, 4), 9, axis=0)])

    others = nearest_others(rows, 4)

    assert others.shape == (29, 4)
    assert not (others[:20] == np.arange(20)[:, None]).any()
    # Of nine that are equal, each finds four of them.
    assert (others[20:] >= 20).all()
