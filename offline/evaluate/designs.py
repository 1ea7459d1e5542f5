"""Pairs of products that may be one design, by their similarity: what decision 19 took its threshold from."""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np

from offline.dataset.rows import Dataset
from offline.evaluate.products import ProductTable
from offline.evaluate.sheets import draw_answers, product_text
from services.search.catalogue.products import Product
from services.search.filters.designs import design_name
from services.search.indexes.designs import MAX_SAME_NAME, MIN_SAME_COLOUR_SIMILARITY

# Lower ends of the ranges of similarity, the highest first.
_RANGES: Final = (0.9, 0.85, 0.8, 0.75, 0.7, -1.0)
_DRAWN: Final = 11


@dataclass(frozen=True, slots=True)
class DesignPairs:
    """Pairs of one name and two colours.

    Attributes:
        products: of the catalogue.
        names: how many names without colour words there are.
        names_of_several: how many of them belong to two products or more.
        products_of_several: the products of these names.
        names_of_designs: how many of these belong to a design: no two products of one colour look different, and at
            most 200 products share it.
        pairs: rows of two products for each range of similarity, the highest range first, in random order.
    """

    products: tuple[Product, ...]
    names: int
    names_of_several: int
    products_of_several: int
    names_of_designs: int
    pairs: dict[str, list[tuple[int, int]]]

    def document(self) -> dict[str, Any]:
        """Returns the figures as JSON values."""
        return {
            "products": {"all": len(self.products), "of_several": self.products_of_several},
            "names": {"all": self.names, "of_several": self.names_of_several, "of_designs": self.names_of_designs},
            "pairs": [{"similarity": name, "pairs": len(pairs)} for name, pairs in self.pairs.items()],
        }

    def draw(self, dataset: Dataset, folder: Path) -> list[Path]:
        """Draws up to 11 random pairs of each range, a row each.

        Args:
            dataset: holds the photographs.
            folder: created if missing.

        Returns:
            The paths of the pictures.
        """
        folder.mkdir(parents=True, exist_ok=True)
        sold = [(product.id, product_text(product)) for product in self.products]
        paths = []
        for name, pairs in self.pairs.items():
            if not pairs:
                continue
            few = pairs[:_DRAWN]
            results = np.array([[second] for _, second in few])
            sheet = draw_answers(
                dataset, dataset, [sold[first] for first, _ in few], sold, results, np.ones(results.shape, np.bool_)
            )
            paths.append(folder / f"{name.replace(' ', '-')}.png")
            sheet.save(paths[-1])
        return paths


def measure_designs(catalogue: ProductTable, seed: int = 0) -> DesignPairs:
    """Finds the pairs of a catalogue that may be one design.

    Args:
        catalogue: the products.
        seed: seeds the order of the pairs.
    """
    by_name: dict[Hashable, list[int]] = defaultdict(list)
    for row, product in enumerate(catalogue.products):
        if (name := design_name(product)) is not None:
            by_name[name].append(row)
    several = [rows for rows in by_name.values() if len(rows) > 1]
    pairs: dict[str, list[tuple[int, int]]] = {_range_name(at): [] for at in range(len(_RANGES))}
    of_designs = 0
    for rows in several:
        if len(rows) > MAX_SAME_NAME:
            continue
        vectors = catalogue.embeddings[rows].astype(np.float32)
        similarities = vectors @ vectors.T
        colours = np.unique([catalogue.products[row].base_colour or "" for row in rows], return_inverse=True)[1]
        same = colours[:, np.newaxis] == colours
        if (similarities[same] < MIN_SAME_COLOUR_SIMILARITY).any():
            continue
        of_designs += 1
        for first, second in combinations(range(len(rows)), 2):
            if not same[first, second]:
                at = next(at for at, low in enumerate(_RANGES) if similarities[first, second] >= low or low == -1)
                pairs[_range_name(at)].append((rows[first], rows[second]))
    random = np.random.default_rng(seed)
    for each in pairs.values():
        random.shuffle(each)
    return DesignPairs(catalogue.products, len(by_name), len(several), sum(map(len, several)), of_designs, pairs)


def _range_name(at: int) -> str:
    if at == len(_RANGES) - 1:
        return f"below {_RANGES[at - 1]:g}"
    return f"{_RANGES[at]:g} to {_RANGES[at - 1] if at else 1:g}"
