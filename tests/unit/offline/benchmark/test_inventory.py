"""What a search of the whole inventory costs is measured on answers that are compared."""

import numpy as np

from offline.benchmark.inventory import inventory_figures
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.faiss_settings import FaissSettings


def unit_rows(count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows = np.random.default_rng(seed).normal(size=(count, 64)).astype(np.float32)
    unit: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_lists_are_compared_and_times_are_of_each_way() -> None:
    products = [
        IndexedProduct(
            Product(id=str(at), gender=Gender.WOMEN, sub_category="Topwear", article_type="Tshirts"),
            row.astype(np.float16),
        )
        for at, row in enumerate(unit_rows(300, 0))
    ]
    settings = FaissSettings(exact_limit=100, components=16, min_candidates=20)
    figures = inventory_figures([products], {"random": unit_rows(5, 1)}, 3, settings)["random"]
    assert (figures["queries"], figures["differing_lists"]) == (5, 0)
    for way in ("served_ms", "all compared_ms"):
        median, p99 = figures[way]
        assert 0 < median <= p99
