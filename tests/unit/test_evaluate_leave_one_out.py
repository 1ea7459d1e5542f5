"""Medoids without each product in turn, against computing them anew."""

import numpy as np
import pytest

from offline.evaluate.leave_one_out import medoids_without_each
from services.candidates import medoid, medoids


def unit_rows(count: int, dimension: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)) + 1.0
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_the_group_without_that_product(seed: int) -> None:
    embeddings = unit_rows(60, 8, seed)
    # Twins: equal sums, which the smaller id decides.
    embeddings[7] = embeddings[3]
    groups = ["large" if row % 3 else "small" for row in range(60)]
    ids = [f"{(row * 37) % 60:03d}" for row in range(60)]
    whole = medoids(embeddings, ids, groups)

    changed = medoids_without_each(embeddings, ids, groups, whole)

    without = {row: taken for (_, taken), rows in changed.items() for row in rows}
    for row in range(60):
        rest = [other for other in range(60) if groups[other] == groups[row] and other != row]
        expected = rest[medoid(embeddings[rest], [ids[other] for other in rest])]
        assert without.get(row, whole[groups[row]]) == expected
    # The medoids themselves are always replaced, so that the comparison above is not of unchanged ones alone.
    assert set(whole.values()) <= without.keys()


def test_a_group_of_one_has_no_medoid_without_it() -> None:
    embeddings = unit_rows(3, 4, 0)
    groups = ["pair", "alone", "pair"]

    changed = medoids_without_each(embeddings, ["a", "b", "c"], groups, medoids(embeddings, ["a", "b", "c"], groups))

    assert changed["alone", None] == (1,)


def test_blocks_of_a_large_group_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = unit_rows(50, 6, 1)
    ids = [f"{row:03d}" for row in range(50)]
    whole = medoids(embeddings, ids, ["one"] * 50)
    at_once = medoids_without_each(embeddings, ids, ["one"] * 50, whole)

    monkeypatch.setattr("offline.evaluate.leave_one_out._ROWS_AT_A_TIME", 7)

    assert medoids_without_each(embeddings, ids, ["one"] * 50, whole) == at_once
