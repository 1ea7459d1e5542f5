"""What the suite of all indexes draws from, and how it writes to an index and to the oracle."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from offline.benchmark.correctness.material import Material
from offline.benchmark.correctness.oracle import Oracle
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.filters.ranking import Ranking
from services.search.indexes.base import Eligibility, Index, IndexedProduct

DIMENSION = 8
IDS = tuple(f"p{number}" for number in (1, 10, 11, 2, 20, 3, 4, 5, 6, 7, 8, 9))
SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])

Write = tuple[list[IndexedProduct], set[str]]


def embedding(seed: int, dimension: int = DIMENSION) -> NDArray[np.float16]:
    """Returns a unit vector; equal seeds give equal vectors."""
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def near(seed: int, number: int) -> NDArray[np.float16]:
    """Returns a unit vector close to `embedding(seed)`."""
    vector = embedding(seed).astype(np.float64) + 0.02 * np.random.default_rng(1000 + number).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def query_vector(seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def product(product_id: str, **attributes: object) -> Product:
    values: dict[str, object] = {"gender": Gender.MEN, "sub_category": "Topwear", "article_type": "Tshirts"}
    return Product(id=product_id, **{**values, **attributes})  # type: ignore[arg-type]


MATERIAL = Material(IDS, ("p1", "p2", "q"))
# Few, so that equal similarities are common, some of them near one another; None is another model's.
EMBEDDINGS = (*map(embedding, range(4)), near(0, 1), near(0, 2), near(1, 1), None)


def _row(product_id: str, seed: int) -> IndexedProduct:
    dice = Random(seed)
    row = IndexedProduct(MATERIAL.product(dice, product_id), dice.choice(EMBEDDINGS))
    # None is another model's among several photographs too.
    further = dice.choice(((), (), dice.choices(EMBEDDINGS, k=1), dice.choices(EMBEDDINGS, k=3)))
    return row if row.embedding is None else replace(row, further=tuple(further))


# Whatever fails is made of as few of these as possible.
seeds = st.integers(0, 2**32 - 1)
writes: st.SearchStrategy[Write] = st.tuples(
    st.lists(st.builds(_row, st.sampled_from(IDS), seeds), max_size=8, unique_by=lambda row: row.product.id),
    st.sets(st.sampled_from(IDS), max_size=4),
)
eligibilities: st.SearchStrategy[Eligibility] = seeds.map(lambda seed: MATERIAL.eligibility(Random(seed)))
rankings: st.SearchStrategy[Ranking] = seeds.map(lambda seed: MATERIAL.ranking(Random(seed)))


class MakesIndex(ABC):
    """A class `Test…` that inherits from it makes the index to test.

    Attributes:
        versions: how many versions are written while others read.
    """

    versions = 200

    @abstractmethod
    def make_index(self, dimension: int = DIMENSION) -> Index:
        """Returns an empty index."""


def write_all(index: Index, oracle: Oracle, history: Sequence[Write]) -> None:
    """Writes what products are; every other time only the attributes of those that are known."""
    for version, (rows, deletes) in enumerate(history, start=1):
        deletes = deletes - {row.product.id for row in rows}
        known = [row for row in rows if version % 2 == 0 and row.product.id in oracle.rows]
        upserts = [row for row in rows if row not in known]
        index.apply(upserts, deletes, version, [row.product for row in known])
        oracle.apply(upserts, deletes)
        oracle.update([row.product for row in known])
