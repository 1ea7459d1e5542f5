"""What many searches have in common: bounds for all queries by one matrix product, and the products that pass."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from services.search.indexes.base import Eligibility
from services.search.indexes.columns import Columns, Eligible
from services.search.indexes.shards import Candidates, ReducedIndex
from services.search.indexes.state import State


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


class Batch:
    """What the searches of a batch have in common, for as long as the snapshot stays the same."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.reduced: ReducedIndex | None = None
        self.index_version = -1
        self.bounds: BatchBounds | None = None
        # The last arguments of `Columns.passing`, and what it returned.
        self.passing: tuple[Eligibility, Eligible] | None = None

    def holds(self, state: State, index_version: int) -> bool:
        """Returns whether the batch is one of this snapshot."""
        return self.state is state and self.reduced is state.reduced and self.index_version == index_version

    def eligible(self, columns: Columns, eligibility: Eligibility) -> Eligible:
        """See `Columns.eligible`, for all rows."""
        common = replace(eligibility, excluded_ids=(), excluded_families=(), excluded_designs_of=())
        if self.passing is None or self.passing[0] != common:
            self.passing = common, columns.passing(common, slice(None))
        return columns.without_excluded(self.passing[1], eligibility, slice(None))
