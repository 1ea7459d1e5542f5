"""Compares products in the order of their bounds, until these exclude all others."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.search.indexes.state import State

# Products compared at once at first, then twice as many each time.
FIRST_COMPARED: Final = 64


class Compared:
    """The products that a search has compared, in the order of their bounds.

    Attributes:
        rows: int64, shape (n,).
        similarities: float32, shape (n,).
        least: the similarity of the k-th nearest of them; -inf while they are fewer than `k`.
        floor: a product with a lower bound is none of the `k` nearest.
    """

    def __init__(self, k: int, rounding: float) -> None:
        """Takes how many are searched for, and how much of a similarity rounding may take or add."""
        self.rows = np.empty(0, dtype=np.int64)
        self.similarities = np.empty(0, dtype=np.float32)
        self.least = self.floor = -math.inf
        self._k = k
        self._rounding = rounding

    def add(
        self, state: State, query: NDArray[np.float32], rows: NDArray[np.int64], bounds: NDArray[np.float32]
    ) -> None:
        """Compares rows, int64, shape (n,), until their bounds exclude the others: float32, shape (n,), descending."""
        remaining = bounds >= self.floor
        if len(self.rows):
            remaining &= ~np.isin(rows, self.rows)
        rows, bounds = rows[remaining], bounds[remaining]
        size = max(FIRST_COMPARED, 2 * self._k)
        while len(rows):
            similarities, part = state.nearest(query, rows[:size])
            self.rows = np.concatenate([self.rows, part])
            self.similarities = np.concatenate([self.similarities, similarities])
            if len(self.similarities) >= self._k:
                self.least = float(np.partition(self.similarities, -self._k)[-self._k])
                self.floor = self.least - self._rounding
            contending = bounds[size:] >= self.floor
            rows, bounds = rows[size:][contending], bounds[size:][contending]
            size *= 2
