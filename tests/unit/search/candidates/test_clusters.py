"""Candidates: groups of similar products, under a version that is the hash of their content."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.contract.values import Gender
from services.search.candidates.clusters import MAX_CLUSTERS, Candidate, candidate_set, clusters, compute_candidates


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=60)
@given(n=st.integers(1, 60), dimension=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_groups_are_means_of_the_products_nearest_to_them(n: int, dimension: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, dimension))
    found = clusters(rows, [f"{row:03}" for row in range(n)])
    assert 1 <= len(found) <= min(MAX_CLUSTERS, math.isqrt(n))
    directions = np.stack([cluster.direction for cluster in found])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
    nearest = (_unit(rows) @ directions.T).argmax(axis=1)
    for group, cluster in enumerate(found):
        members = np.flatnonzero(nearest == group)
        best = (_unit(rows)[members] @ cluster.direction).max()
        assert _unit(rows)[cluster.row] @ cluster.direction >= best - 1e-5


def test_few_products_are_one_group_around_their_mean() -> None:
    rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    (found,) = clusters(rows, ["a", "b", "c"])
    np.testing.assert_allclose(found.direction, _unit(_unit(rows).sum(axis=0)[None])[0], atol=1e-6)
    assert found.row == 1


def test_clouds_apart_are_groups_apart() -> None:
    rng = np.random.default_rng(5)
    centres = np.eye(16)[:4]
    rows = np.repeat(centres, 25, axis=0) + rng.normal(size=(100, 16)) * 0.03
    directions = np.stack([cluster.direction for cluster in clusters(rows, [f"{row:03}" for row in range(100)])])
    assert ((directions @ centres.T).max(axis=0) > 0.99).all()


def test_neither_the_length_of_a_row_nor_the_order_of_rows_counts() -> None:
    rng = np.random.default_rng(1)
    rows, ids = rng.normal(size=(40, 8)), [f"p{row}" for row in range(40)]
    whole = clusters(rows, ids)
    order = rng.permutation(40)
    other = clusters((rows * rng.uniform(0.1, 10, (40, 1)))[order], [ids[row] for row in order])
    assert [ids[one.row] for one in whole] == [ids[order[one.row]] for one in other]
    for one, another in zip(whole, other, strict=True):
        np.testing.assert_allclose(one.direction, another.direction, atol=1e-5)


def test_twins_are_one_group() -> None:
    assert len(clusters(np.ones((50, 4)), [f"{row:02}" for row in range(50)])) == 1


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
def test_what_has_no_groups_is_refused(rows: NDArray[np.float64], ids: list[str]) -> None:
    with pytest.raises(ValueError):
        clusters(rows, ids)


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


def test_a_catalogue_has_candidates_for_each_derived_type_in_each_sub_category() -> None:
    catalogue = _catalogue()
    found = compute_candidates("v1", **catalogue)  # type: ignore[arg-type]
    kind_of = dict(
        zip(
            catalogue["product_ids"],
            zip(catalogue["sub_categories"], catalogue["genders"], catalogue["article_types"], strict=True),
            strict=True,
        )
    )
    rows = list(zip(found.sub_categories, found.genders, found.article_types, strict=True))
    assert set(rows) == set(kind_of.values())
    assert [kind_of[product] for product in found.product_ids] == rows
    keys = [(*row, product) for row, product in zip(rows, found.product_ids, strict=True)]
    assert keys == sorted(keys, key=lambda key: (key[0], f"{key[1].value} {key[2]}", key[3]))
    assert found.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-6)


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


def test_two_candidates_of_one_product_are_refused() -> None:
    one = Candidate("Topwear", Gender.MEN, "Tshirts", "1", np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="same product"):
        candidate_set("v1", 2, [one, one])
