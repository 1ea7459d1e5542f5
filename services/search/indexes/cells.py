"""Cells of similar products, so that a search of very many products looks at those of the nearest cells alone."""

from collections.abc import Sequence
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from services.search.indexes.eligible_rows import (
    EligibleRows,
    eligible_count_of,
    eligible_mask_of,
    eligible_rows_of,
)

# Products that a centre is trained on, and rounds of the training: FAISS warns of fewer than 39, and more gain little.
SAMPLE_PER_CELL: Final = 40
_ROUNDS: Final = 10
_LEAST_NORM: Final = 1e-6


def train_centres(sample: NDArray[np.float32], cells: int, seed: int) -> NDArray[np.float32]:
    """Computes the centres of cells by k-means.

    Args:
        sample: projections of products, float32, shape (n, components).
        cells: number of cells; at most n, and at most 65,536.
        seed: of the random start.

    Returns:
        float32, shape (cells, components).
    """
    means = faiss.Kmeans(sample.shape[1], min(cells, len(sample)), niter=_ROUNDS, seed=seed, min_points_per_centroid=1)
    means.train(np.ascontiguousarray(sample))
    centres: NDArray[np.float32] = np.asarray(means.centroids, dtype=np.float32)
    return centres


def cells_of(projections: NDArray[np.float16], centres: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Returns the cells of projections, float16, shape (n, components): those of the nearest centres."""
    halves = np.square(centres).sum(axis=1) / 2
    nearest: NDArray[np.int64] = np.argmax(projections.astype(np.float32) @ centres.T - halves, axis=1)
    return nearest.astype(np.uint16)


class Cells:
    """The cell of each row. Not thread-safe, but for writes to other rows."""

    def __init__(self, centres: NDArray[np.float32], rows: int) -> None:
        """Puts all rows into the first cell.

        Args:
            centres: float32, shape (cells, components).
            rows: number of rows.
        """
        self._centres = centres
        self._halves = np.square(centres).sum(axis=1) / 2
        self._cells = np.zeros(rows, dtype=np.uint16)
        # Rows per cell; None after a change.
        self._sizes: NDArray[np.int64] | None = None

    def write(self, rows: Sequence[int] | NDArray[np.int64], cells: NDArray[np.uint16]) -> None:
        """Puts rows into cells: uint16, shape (n,)."""
        self._cells[rows] = cells
        self._sizes = None

    def append(self, cells: NDArray[np.uint16]) -> None:
        """Adds rows with their cells: uint16, shape (n,)."""
        self._cells = np.concatenate([self._cells, cells])
        self._sizes = None

    def copied(self, rows: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Copies the cells of some rows."""
        return self._cells[rows]

    def move(self, moves: Sequence[tuple[int, int]], length: int) -> None:
        """Moves rows, given as (new, old), then removes all from `length` on."""
        for new, old in moves:
            self._cells[new] = self._cells[old]
        self._cells = self._cells[:length].copy()
        self._sizes = None

    def near(self, projection: NDArray[np.float32], wanted: int, eligible: EligibleRows) -> NDArray[np.int64]:
        """Returns the rows that are eligible and in one of the cells that are most similar to a query.

        Args:
            projection: of the query, float32, of at least as many components as the centres have.
            wanted: about how many rows to find.
            eligible: whether each row is, or those that are.

        Returns:
            int64, shape (m,), ascending: at least half as many as wanted, or all that are eligible.
        """
        eligible_count = eligible_count_of(eligible)
        if eligible_count <= wanted:
            return eligible_rows_of(eligible)
        direction = projection[: self._centres.shape[1]]
        # By distance: a query of few components would be far from its own centre by the inner product. Scaled, as a
        # photograph has less in these components than products do.
        direction = direction / max(float(np.linalg.norm(direction)), _LEAST_NORM)
        # Unlike `@`, einsum starts no threads.
        order = np.argsort(self._halves - np.einsum("ij,j->i", self._centres, direction))
        if eligible.dtype != np.bool_:
            cells = self._cells[eligible]
            ends = np.cumsum(np.bincount(cells, minlength=len(self._centres))[order])
            chosen = np.zeros(len(order), dtype=np.bool_)
            chosen[order[: int(np.searchsorted(ends, wanted)) + 1]] = True
            return eligible_rows_of(eligible)[np.take(chosen, cells, mode="clip")]
        sizes = self._sizes
        if sizes is None:
            sizes = self._sizes = np.bincount(self._cells, minlength=len(self._centres))
        mask = eligible_mask_of(eligible, len(self._cells))
        share = eligible_count / len(mask)
        count = int(np.searchsorted(np.cumsum(sizes[order]) * share, wanted)) + 1
        while True:
            chosen = np.zeros(len(order), dtype=np.bool_)
            chosen[order[:count]] = True
            # Takes half as long as an index.
            near: NDArray[np.bool_] = np.take(chosen, self._cells, mode="clip")
            near &= mask
            if count >= len(order) or 2 * np.count_nonzero(near) >= wanted:
                return np.flatnonzero(near)
            count *= 2
