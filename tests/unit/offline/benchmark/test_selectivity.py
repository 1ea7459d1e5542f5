"""Filters of every selectivity: what they let through, recall, and what cannot be measured."""

from pathlib import Path

import numpy as np
import pytest

from offline.benchmark import selectivity
from offline.benchmark.selectivity import SELECTIVITIES, Inventory, Part, selectivity_figures, selectivity_page
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.indexes.base import Eligibility
from services.search.indexes.faiss import FaissIndex

DIMENSION = 32
ROOT = Path(__file__).parents[4]


def small_inventory(folder: Path, count: int | None) -> Inventory:
    random = np.random.default_rng(0)
    types = []
    for number in range(4):
        rows = random.normal(size=DIMENSION) + 0.5 * random.normal(size=(100 + number, DIMENSION))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        kind = Product(id="", gender=Gender.MEN, sub_category="Topwear", article_type=f"Type {number}")
        types.append((kind, list(rows.astype(np.float16))))
    return Inventory.of(types, count, 0, folder)


@pytest.mark.parametrize("count", [None, 3000])
def test_filters_let_through_what_they_are_meant_to(tmp_path: Path, count: int | None) -> None:
    inventory = small_inventory(tmp_path, count)
    assert inventory.count == (count or 406)
    index = FaissIndex(DIMENSION)
    index.load(inventory.products(), 1)
    parts = list(inventory.parts())
    assert [(part.selectivity, len(part.labels)) for part in parts] == [
        (share, number) for share in SELECTIVITIES for number in (1, 2, 3)
    ]
    for part in parts:
        answer = index.search(inventory.queries(1)[0], 10, part.eligibility)
        assert answer.eligible_count == np.count_nonzero(part.mask)
        # Ten more have every label.
        assert abs(answer.eligible_count - inventory.count * part.selectivity) < 12 + inventory.count / 20
    norms = np.linalg.norm(np.concatenate(list(inventory.embeddings())).astype(np.float32), axis=1)
    assert norms == pytest.approx(1, abs=0.01)


def test_ours_finds_all_and_recall_sees_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = small_inventory(tmp_path, 3000)
    made = selectivity._ours

    def makers(inventory: Inventory, folder: Path) -> dict[str, object]:
        def half() -> dict[str, selectivity.Way]:
            ours = made(inventory, folder)["ours"]
            return {"FAISS IVF": lambda query, part: ours(query, part)[::2]}

        return {"ours": (0.1, lambda: made(inventory, folder)), "FAISS IVF": (0.1, half), "hnswlib": (1e9, half)}

    monkeypatch.setattr(selectivity, "makers", makers)
    figures = selectivity_figures(
        inventory, tmp_path, queries=20, rounds=1, seconds=1, memory_gib=1, say=lambda _: None
    )
    assert figures["missing"].keys() == {"hnswlib"}
    for cell in figures["cells"]:
        ways = cell["ways"]
        assert ways["ours"]["recall"] == ways["scan alone"]["recall"] == ways["index alone"]["recall"] == 1
        assert cell["eligible"] < 10 or ways["FAISS IVF"]["recall"] == pytest.approx(0.5)


def test_what_does_not_pass_is_not_right(tmp_path: Path) -> None:
    inventory = small_inventory(tmp_path, 3000)
    queries = inventory.queries(3)
    part = next(iter(inventory.parts()))
    everything = Part(1.0, part.labels, np.ones_like(part.mask))
    (nearest,) = inventory.nearest(queries, [everything])
    index = FaissIndex(DIMENSION)
    index.load(inventory.products(), 1)
    found = [
        np.array([int(hit.product.id) for hit in index.search(query, 10, Eligibility()).hits]) for query in queries
    ]
    assert selectivity._recalls({"": found}, everything, queries, nearest, inventory) == {"": 1.0}
    assert selectivity._recalls({"": found}, part, queries, nearest, inventory)[""] < 0.2


def test_the_page_is_that_of_its_figures() -> None:
    page = selectivity_page(ROOT / "docs" / "performance", "fashion bench selectivity --work DIR")
    assert page == (ROOT / "docs" / "selectivity.md").read_text()
    first = page.partition("## 1,000,000")[0]
    assert first.count("\n| 0.01 % |") == first.count("\n| 100 % |") == 3
