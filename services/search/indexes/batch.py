"""Bounds for many queries at once: one matrix product over the reduced index instead of a search of it for each."""

import numpy as np
from numpy.typing import NDArray

from services.search.indexes.shards import Candidates, ReducedIndex


class Bounds:
    """Upper bounds of the similarity of one query with each product: float32, shape (n,)."""

    def __init__(self, bounds: NDArray[np.float32]) -> None:
        self._bounds = bounds

    def first(self, count: int) -> int:
        """See `ReducedSearch.first`; a second choice costs little here."""
        return 1

    def nearest(self, k: int, eligible: NDArray[np.bool_]) -> Candidates:
        """See `ReducedSearch.nearest`."""
        bounds = np.where(eligible, self._bounds, np.float32(-np.inf))
        rows = np.argpartition(bounds, len(bounds) - k)[len(bounds) - k :]
        rows = rows[np.argsort(-bounds[rows])]
        return Candidates(rows, bounds[rows], float(bounds[rows[-1]]), float(bounds[rows[k // 2]]))

    def more_than(self, candidates: Candidates, floor: float, eligible: NDArray[np.bool_]) -> int:
        """Returns how many products to choose where these are too few to hold all of a similarity of `floor`."""
        return int(np.count_nonzero(eligible & (self._bounds >= floor))) + 1


class BatchBounds:
    """The bounds of a reduced index, for queries in groups; a copy, so that writes may go on meanwhile.

    Attributes:
        reduced: the index.
        index_version: of the snapshot that was copied.
    """

    def __init__(self, reduced: ReducedIndex, index_version: int) -> None:
        """Copies the index, which must not change during this call."""
        self.reduced = reduced
        self.index_version = index_version
        self._vectors = reduced.rows().astype(np.float32)

    def of(self, queries: NDArray[np.float32]) -> list[Bounds]:
        """Returns the bounds of some queries: float32, shape (m, dimension), of norm 1."""
        return [Bounds(each) for each in self.reduced.upper_bounds(queries, self._vectors)]
