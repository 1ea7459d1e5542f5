"""Candidates as they would be without the query's own product, so that no product is recognised by itself."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

GroupT = TypeVar("GroupT", bound=Hashable)

# Rows of the matrix of similarities that exist at a time: 256 x 40,000 of them in float64 are 82 MB.
_ROWS_AT_A_TIME = 256
# As in services.candidates: sums that differ by less than this share of their number are equal.
_EQUAL_WITHIN = 1e-9


def medoids_without_each(
    embeddings: NDArray[np.floating],
    product_ids: Sequence[str],
    groups: Sequence[GroupT],
    medoids: Mapping[GroupT, int],
) -> Mapping[tuple[GroupT, int | None], tuple[int, ...]]:
    """Finds the products without which their group would have another medoid.

    The medoid is that of `services.candidates.medoid`: the highest sum of cosine similarities to the others, of equal
    sums the smallest id.

    Args:
        embeddings: any floating type, shape (n, dimension); rows are normalised here.
        product_ids: shape (n,).
        groups: shape (n,), what each product belongs to.
        medoids: the row of each group's medoid with all products there.

    Returns:
        Rows of products by their group and the row of the medoid that takes over without one of them; None where
        the group holds nothing else. A product that is not there changes nothing by leaving.
    """
    rows_of: dict[GroupT, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    changed: dict[tuple[GroupT, int | None], list[int]] = {}
    for group, rows in rows_of.items():
        if len(rows) == 1:
            changed[(group, None)] = rows
            continue
        rows.sort(key=lambda row: product_ids[row])
        for row, medoid in zip(rows, _medoids_without(embeddings[rows]), strict=True):
            if rows[medoid] != medoids[group]:
                changed.setdefault((group, rows[medoid]), []).append(row)
    return {key: tuple(rows) for key, rows in changed.items()}


def _medoids_without(embeddings: NDArray[np.floating]) -> list[int]:
    """For each row the medoid of the others; of equal sums the first. At least two rows."""
    rows = embeddings.astype(np.float64)
    # What float16 left of the norms would decide between equals otherwise.
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sums = rows @ rows.sum(axis=0)
    found: list[int] = []
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        # What each row of the group sums up to without the one that is left out.
        without = sums - rows[start : start + _ROWS_AT_A_TIME] @ rows.T
        own = np.arange(len(without))
        without[own, start + own] = -np.inf
        best = without >= without.max(axis=1, keepdims=True) - _EQUAL_WITHIN * (len(rows) - 1)
        found += best.argmax(axis=1).tolist()
    return found
