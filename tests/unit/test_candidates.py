"""Medoids: the definition against brute force, ties, and a version that follows the content."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services import candidates as module
from services.candidates import Candidate, candidate_set, compute_candidates, medoid, medoids
from services.contract import Gender


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), dimension=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_the_medoid_is_the_product_most_like_all_others(n: int, dimension: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, dimension))
    similarities = _unit(rows) @ _unit(rows).T
    np.fill_diagonal(similarities, 0.0)
    sums = similarities.sum(axis=1)
    found = medoid(rows, [f"{row:03}" for row in range(n)])
    assert sums[found] >= sums.max() - 1e-9 * n


def test_the_length_of_a_row_does_not_count() -> None:
    rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    ids = ["a", "b", "c"]
    scaled = rows * np.array([[100.0], [0.01], [1.0]])
    assert medoid(rows, ids) == medoid(scaled, ids) == 1


def test_twins_are_told_apart_by_their_ids_wherever_they_stand() -> None:
    rng = np.random.default_rng(1)
    twin, others = rng.normal(size=64), rng.normal(size=(5, 64)) * 0.05
    rows = np.concatenate([others + twin, [twin] * 7]).astype(np.float32)
    ids = [f"z{row}" for row in range(5)] + ["k", "m", "b", "x", "c", "l", "d"]
    order = rng.permutation(len(ids))
    for permutation in (np.arange(len(ids)), order, order[::-1]):
        found = medoid(rows[permutation], [ids[row] for row in permutation])
        assert ids[permutation[found]] == "b"


def test_more_rows_than_fit_one_step_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(2).normal(size=(50, 16)).astype(np.float16)
    ids = [str(row) for row in range(50)]
    whole = medoid(rows, ids)
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", 7)
    assert medoid(rows, ids) == whole


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        (np.zeros((0, 3)), []),
        (np.ones((2, 3)), ["a"]),
        (np.ones(3), ["a"]),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), ["a", "b"]),
        (np.array([[1.0, 0.0], [np.nan, 0.0]]), ["a", "b"]),
    ],
)
def test_what_has_no_medoid_is_refused(rows: NDArray[np.float64], ids: list[str]) -> None:
    with pytest.raises(ValueError):
        medoid(rows, ids)


def test_each_group_has_its_own_medoid() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9], [0.8, 0.2]])
    found = medoids(rows, list("abcde"), ["x", "y", "x", "y", "x"])
    assert found == {"x": 2, "y": 1}
    assert list(found) == ["x", "y"]


def _catalogue(seed: int = 3, n: int = 60) -> dict[str, list[str] | list[Gender] | NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    types = ["Tshirts", "Shirts", "Jeans"]
    article_types = [types[int(row)] for row in rng.integers(0, 3, n)]
    return {
        "embeddings": rng.normal(size=(n, 8)).astype(np.float32),
        "product_ids": [str(1000 + row) for row in range(n)],
        "sub_categories": ["Bottomwear" if kind == "Jeans" else "Topwear" for kind in article_types],
        "genders": [list(Gender)[int(row)] for row in rng.integers(0, 5, n)],
        "article_types": article_types,
    }


def test_a_catalogue_has_a_candidate_for_each_derived_type_in_each_sub_category() -> None:
    catalogue = _catalogue()
    found = compute_candidates("v1", **catalogue)  # type: ignore[arg-type]
    kinds = set(zip(catalogue["sub_categories"], catalogue["genders"], catalogue["article_types"], strict=True))
    rows = list(zip(found.sub_categories, found.genders, found.article_types, strict=True))
    assert set(rows) == kinds and len(rows) == len(kinds)
    assert rows == sorted(rows, key=lambda row: (row[0], f"{row[1].value} {row[2]}"))
    assert found.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-6)
    position = {product: row for row, product in enumerate(catalogue["product_ids"])}
    rows_of_medoids = np.asarray(catalogue["embeddings"])[[position[product] for product in found.product_ids]]
    np.testing.assert_allclose(found.embeddings, _unit(rows_of_medoids), atol=1e-6)


def test_the_version_is_the_contents() -> None:
    catalogue = _catalogue()
    found = compute_candidates("v1", **catalogue)  # type: ignore[arg-type]
    backwards = {name: values[::-1] for name, values in catalogue.items()}
    assert compute_candidates("v1", **backwards).version == found.version  # type: ignore[arg-type]
    assert compute_candidates("v2", **catalogue).version != found.version  # type: ignore[arg-type]
    one = Candidate("Topwear", Gender.MEN, "Tshirts", "1", np.array([1.0, 0.0]))
    versions = {
        candidate_set("v1", 2, candidates).version
        for candidates in (
            [],
            [one],
            [Candidate("Topwear", Gender.MEN, "Tshirts", "2", one.embedding)],
            [Candidate("Topwear", Gender.MEN, "Tshirts", "1", one.embedding[::-1])],
            [Candidate("Topwea", Gender.MEN, "rTshirts", "1", one.embedding)],
        )
    }
    assert len(versions) == 5


def test_an_empty_catalogue_has_no_candidates() -> None:
    found = compute_candidates(
        "v1", embeddings=np.zeros((0, 8), np.float16), product_ids=[], sub_categories=[], genders=[], article_types=[]
    )
    assert found.embeddings.shape == (0, 8) and found.product_ids == ()


def test_two_candidates_of_one_kind_are_refused() -> None:
    one = Candidate("Topwear", Gender.MEN, "Tshirts", "1", np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="same derived type"):
        candidate_set("v1", 2, [one, one])
