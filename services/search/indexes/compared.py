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
        self,
        state: State,
        query: NDArray[np.float32],
        rows: NDArray[np.int64],
        bounds: NDArray[np.float32],
        *,
        others: float = -math.inf,
        most: int | None = None,
    ) -> bool:
        """Compares rows until their bounds exclude the others, in parts of which each is twice as large as the last.

        Args:
            state: has the embeddings.
            query: float32, shape (dimension,).
            rows: int64, shape (n,).
            bounds: theirs: float32, shape (n,), descending.
            others: no row that is not given has a higher bound. The floor hardly rises after the second part: if it is
                not above this by then, more rows have to be given, and the rest of these is left.
            most: how many rows the floor of the first part may leave.

        Returns:
            Whether it left no more than `most`.
        """
        remaining = bounds >= self.floor
        if len(self.rows):
            remaining &= ~np.isin(rows, self.rows)
        rows, bounds = rows[remaining], bounds[remaining]
        size = first = max(FIRST_COMPARED, 2 * self._k)
        while len(rows) and (size <= 2 * first or self.floor > others):
            if most is not None and self.floor > -math.inf and len(rows) > most:
                return False
            similarities, part = state.nearest(query, rows[:size])
            self.rows = np.concatenate([self.rows, part])
            self.similarities = np.concatenate([self.similarities, similarities])
            if len(self.similarities) >= self._k:
                self.least = float(np.partition(self.similarities, -self._k)[-self._k])
                self.floor = self.least - self._rounding
            contending = bounds[size:] >= self.floor
            rows, bounds = rows[size:][contending], bounds[size:][contending]
            size *= 2
        return True

    def contenders(self) -> NDArray[np.int64]:
        """Returns the rows that may be among the `k` nearest: int64, shape (n,)."""
        return self.rows[self.similarities >= contending(self.least, self._rounding)]


def contending(least: float, rounding: float) -> float:
    """Returns the similarity below which a product cannot be as similar as the k-th, which has `least`.

    Its own similarity may be too low by rounding and that of the k-th too high, and both are rounded to float32 once
    more.
    """
    return least - 2 * rounding - 2.0**-23
