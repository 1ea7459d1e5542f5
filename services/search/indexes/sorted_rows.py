"""The rows of products in the orders of lists, so that a page costs no look at all products."""

import threading
from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.search.catalogue.products import Product
from services.search.filters.order import Order, Place, place_of

# Products that are sorted at once: no other thread has the interpreter meanwhile, which is a few milliseconds.
_RUN: Final = 4096
# Where more than one in this many products has changed, all are sorted again.
_MAX_CHANGED: Final = 8


class SortedRows:
    """Each order that was asked for, 4 bytes a product. Writes need the index's lock for writing, reads for reading."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Order, NDArray[np.int32]] = {}
        # The rows whose product has changed since.
        self._changed: dict[Order, set[int]] = {}

    def change(self, rows: Collection[int]) -> None:
        """Notes rows that are new, or have another product; those past the last product need no note."""
        for order, changed in list(self._changed.items()):
            changed.update(rows)
            if len(changed) > len(self._rows[order]) // _MAX_CHANGED:
                del self._rows[order], self._changed[order]

    def of(self, products: Sequence[Product], order: Order) -> NDArray[np.int32]:
        """Returns all rows as a list has them: int32, shape (n,).

        Args:
            products: n of them, by row.
            order: of the list.
        """
        with self._lock:
            changed = self._changed.get(order)
            if changed is None:
                self._rows[order] = _sorted(products, order)
            elif changed or len(self._rows[order]) != len(products):
                self._rows[order] = _merged(self._rows[order], changed, products, order)
            self._changed[order] = set()
            return self._rows[order]


def _sorted(products: Sequence[Product], order: Order) -> NDArray[np.int32]:
    runs = [
        sorted((place_of(products[row], order), row) for row in range(start, min(start + _RUN, len(products))))
        for start in range(0, len(products), _RUN)
    ]
    while len(runs) > 1:
        # Python merges sorted runs in linear time.
        runs = [sorted(chain(*runs[place : place + 2])) for place in range(0, len(runs), 2)]
    return np.array([row for run in runs for _, row in run], dtype=np.int32)


def _merged(
    rows: NDArray[np.int32], changed: Collection[int], products: Sequence[Product], order: Order
) -> NDArray[np.int32]:
    """Returns rows with those that have changed in their places, and without those that are gone."""

    def place(row: int) -> Place:
        return place_of(products[row], order)

    stays = np.zeros(max(len(products), int(rows.max(initial=-1)) + 1), dtype=np.bool_)
    stays[: len(products)] = True
    present = sorted((row for row in changed if row < len(products)), key=place)
    stays[present] = False
    staying = rows[stays[rows]]
    positions = [bisect_left(staying, place(row), key=place) for row in present]
    return np.insert(staying, positions, present).astype(np.int32, copy=False)
