"""Groups of products that take one place in an answer: known families, and designs derived from names and looks."""

import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.search.catalogue.products import Product
from services.search.filters.designs import design_name
from services.search.indexes.columns import Columns

# Products of one design are at least so similar from one to the next. Measured, see docs/decisions/0019.
MIN_SIMILARITY: Final = 0.75
# Two products of one name and colour that are less similar than this are different designs: the name is no design's.
MIN_SAME_COLOUR_SIMILARITY: Final = 0.95
# A name that more products share is no design's, such as "Dress".
MAX_SAME_NAME: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The group of each product.

    Attributes:
        codes: int32, shape (n,), one per row.
        derived: whether the group of each code is derived from names and looks: bool, shape (codes,).
    """

    codes: NDArray[np.int32]
    derived: NDArray[np.bool_]

    def holding(self, codes: Collection[int], rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.bool_]:
        """Returns whether each of some rows, n of them, is in one of some groups: bool, shape (n,)."""
        chosen = np.zeros_like(self.derived)
        chosen[list(codes)] = True
        return chosen[self.codes[rows]]


class Designs:
    """The designs among the products without a known family. Writes need the index's lock, reads do not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: Groups | None = None
        # Kept between writes: the name of each product, and for each name its products by id, and their designs.
        self._names: dict[str, Hashable | None] = {}
        self._designs: dict[Hashable | None, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {}

    @property
    def in_use(self) -> bool:
        """Whether anything is known that a write may change."""
        return self._groups is not None or bool(self._names)

    def change(self, product_ids: Iterable[str]) -> None:
        """Forgets what is known about products that a write changes."""
        self._groups = None
        if self._names:
            for product_id in product_ids:
                self._designs.pop(self._names.pop(product_id, None), None)

    def groups(self, columns: Columns, embeddings: Callable[[NDArray[np.int64]], NDArray[np.float16]]) -> Groups:
        """Returns the group of each product: its family, or its design where no family is known.

        Args:
            columns: the products.
            embeddings: returns those of rows: float16, shape (n, dimension), L2-normalised.
        """
        with self._lock:
            if self._groups is None:
                self._groups = self._derived(columns, embeddings)
            return self._groups

    def _derived(self, columns: Columns, embeddings: Callable[[NDArray[np.int64]], NDArray[np.float16]]) -> Groups:
        families = columns.families()
        counts = np.bincount(families, minlength=len(columns.of_families(())))
        alone = np.flatnonzero((counts[families] == 1) & columns.searchable()).tolist()
        by_name: dict[Hashable, list[int]] = {}
        for row in alone:
            name = self._name(columns.product(row))
            if name is not None:
                by_name.setdefault(name, []).append(row)
        codes = families.copy()
        derived = np.zeros(len(counts), dtype=np.bool_)
        for name, rows in by_name.items():
            if 2 <= len(rows) <= MAX_SAME_NAME:
                for design in self._of_name(name, columns, rows, embeddings):
                    members = [known for product_id in design if (known := columns.row_of(product_id)) is not None]
                    codes[members] = codes[members[0]]
                    derived[codes[members[0]]] = True
        return Groups(codes, derived)

    def _name(self, product: Product) -> Hashable | None:
        if product.id not in self._names:
            self._names[product.id] = design_name(product)
        return self._names[product.id]

    def _of_name(
        self,
        name: Hashable,
        columns: Columns,
        rows: Sequence[int],
        embeddings: Callable[[NDArray[np.int64]], NDArray[np.float16]],
    ) -> tuple[tuple[str, ...], ...]:
        """Returns the designs of two or more among products of one name, each as ids in ascending order."""
        products = sorted((columns.product(row) for row in rows), key=lambda product: product.id)
        ids = tuple(product.id for product in products)
        known = self._designs.get(name)
        if known is None or known[0] != ids:
            vectors = embeddings(np.array([columns.row_of(each) for each in ids])).astype(np.float32)
            parts = designs_of([product.base_colour for product in products], vectors @ vectors.T)
            known = ids, tuple(tuple(ids[place] for place in part) for part in parts)
            self._designs[name] = known
        return known[1]


def designs_of(colours: Sequence[str | None], similarities: NDArray[np.float32]) -> list[list[int]]:
    """Returns the designs of two or more among products of one name, as their positions in ascending order.

    Args:
        colours: the main colour of each product.
        similarities: of each pair: float32, shape (n, n).
    """
    codes = np.unique([colour or "" for colour in colours], return_inverse=True)[1]
    if (similarities[codes[:, np.newaxis] == codes] < MIN_SAME_COLOUR_SIMILARITY).any():
        return []
    linked = similarities >= MIN_SIMILARITY
    left = np.ones(len(codes), dtype=np.bool_)
    parts: list[list[int]] = []
    for first in range(len(codes)):
        if not left[first]:
            continue
        part = np.zeros_like(left)
        part[first] = True
        while (reached := linked[part].any(axis=0) | part).sum() > part.sum():
            part = reached
        left &= ~part
        if part.sum() > 1:
            parts.append(np.flatnonzero(part).tolist())
    return parts
