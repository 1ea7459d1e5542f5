"""Many products with several photographs: the reduced index chooses few to compare, and no answer changes."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from offline.benchmark.correctness.oracle import Oracle
from services.search.filters.filter import Filter, LabelFilter
from services.search.filters.ranking import Boost, Ranking
from services.search.indexes.base import Collapse, Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.further import FurtherPhotographs
from tests.conformance.answers import check
from tests.conformance.materials import product

DIMENSION = 48
SETTINGS = FaissSettings(exact_limit=200, components=8, min_candidates=10, candidates_per_hit=1)
ARTICLE_TYPES = ("Tshirts", "Shirts", "Heels")


def unit(values: NDArray[np.floating]) -> NDArray[np.float16]:
    return (values / np.linalg.norm(values)).astype(np.float16)


class Shop:
    """Products whose photographs lie around a few looks, as those of a shop do."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)
        # Most of what tells looks apart lies in few directions.
        self.looks = self.random.normal(size=(20, DIMENSION)) * np.geomspace(1, 0.05, DIMENSION)
        self.index, self.oracle = FaissIndex(DIMENSION, SETTINGS), Oracle()
        self.version = 1

    def vector(self) -> NDArray[np.float16]:
        look = self.looks[self.random.integers(len(self.looks))]
        return unit(look + 0.15 * self.random.normal(size=DIMENSION) * np.geomspace(1, 0.05, DIMENSION))

    def row(self, number: int, most: int = 4) -> IndexedProduct:
        further = tuple(self.vector() for _ in range(int(self.random.integers(most))))
        attributes = {"article_type": ARTICLE_TYPES[number % 3], "brand": ("Harbour", "Velora")[number % 2]}
        if number % 5 == 0:
            attributes["parent_id"] = f"f{number % 35}"
        return IndexedProduct(product(f"p{number:04}", **attributes), self.vector(), further)

    def load(self, count: int) -> None:
        rows = [self.row(number) for number in range(count)]
        self.index.load([rows], 1)
        self.oracle.apply(rows)

    def write(self, rows: list[IndexedProduct], deletes: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.version += 1
        self.index.apply(rows, deletes, self.version)
        self.oracle.apply(rows, deletes)

    def check(self, times: int = 6) -> None:
        for _ in range(times):
            query = self.vector().astype(np.float32)
            query /= np.linalg.norm(query)
            for eligibility in (
                Eligibility(),
                Eligibility(derived_types=frozenset({"Men Tshirts", "Men Heels"})),
                Eligibility(filter=Filter(brand=LabelFilter(any_of=("Velora",))), collapse=Collapse.VARIANTS),
            ):
                for ranking in (Ranking(), Ranking(boosts=(Boost(Filter(brand=LabelFilter(("Harbour",))), 1.2),))):
                    for k in (1, 10, 60):
                        expected = self.oracle.answer(query, k, eligibility, ranking)
                        check(self.index.search(query, k, eligibility, ranking), expected, ranking, self.oracle)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the reduced index was enough in each search that asked it."""
    counts: list[bool] = []
    original = FurtherPhotographs._choose

    def counting(self: FurtherPhotographs, *arguments: object) -> bool:
        counts.append(original(self, *arguments))  # type: ignore[arg-type]
        return counts[-1]

    monkeypatch.setattr(FurtherPhotographs, "_choose", counting)
    return counts


def test_answers_stay_exact_through_writes_while_few_are_compared(chosen: list[bool]) -> None:
    shop = Shop()
    shop.load(700)
    shop.check(3)
    assert len(chosen) > 20
    assert sum(chosen) > 3
    for step in range(3):
        numbers = shop.random.choice(760, 40, replace=False).tolist()
        rows = [shop.row(number, most=(1, 4, 8)[step % 3]) for number in numbers]
        gone = {f"p{number:04}" for number in shop.random.choice(760, 25, replace=False).tolist()}
        shop.write(rows, gone - {row.product.id for row in rows})
        # Another derived type, and nothing else.
        known = list(shop.oracle.rows)[step::29]
        moved = [replace(shop.oracle.rows[each].product, article_type="Boots") for each in known]
        shop.version += 1
        shop.index.apply((), (), shop.version, moved)
        shop.oracle.update(moved)
        shop.check(1)


def test_photographs_that_come_later_are_reduced_too(chosen: list[bool]) -> None:
    shop = Shop()
    rows = [replace(shop.row(number), further=()) for number in range(700)]
    shop.write(rows)
    shop.check(1)
    assert not chosen
    shop.write([shop.row(number, most=8) for number in range(0, 400)])
    shop.check(1)
    assert any(chosen)
    shop.write([replace(row, further=()) for row in shop.oracle.rows.values()])
    chosen.clear()
    shop.check(1)
    assert not chosen


def test_few_products_with_many_photographs_have_a_reduced_index(chosen: list[bool]) -> None:
    shop = Shop()
    shop.write([replace(shop.row(number), further=tuple(shop.vector() for _ in range(7))) for number in range(150)])
    shop.check(1)
    assert any(chosen)
