"""Eligible rows of an index: a mask where they are many, their numbers where they are few."""

import numpy as np
from numpy.typing import NDArray

# Either whether each row is eligible: bool, shape (n,); or the eligible rows: int64, shape (m,), ascending.
EligibleRows = NDArray[np.bool_] | NDArray[np.int64]


def eligible_count_of(eligible: EligibleRows) -> int:
    """Returns how many rows are eligible."""
    return int(np.count_nonzero(eligible)) if eligible.dtype == np.bool_ else len(eligible)


def eligible_rows_of(eligible: EligibleRows) -> NDArray[np.int64]:
    """Returns the rows that are eligible: int64, shape (m,), ascending."""
    return np.flatnonzero(eligible) if eligible.dtype == np.bool_ else eligible.astype(np.int64, copy=False)


def eligible_mask_of(eligible: EligibleRows, count: int) -> NDArray[np.bool_]:
    """Returns whether each of `count` rows is eligible: bool, shape (count,)."""
    if eligible.dtype == np.bool_:
        return eligible.astype(np.bool_, copy=False)
    mask = np.zeros(count, dtype=np.bool_)
    mask[eligible] = True
    return mask


def eligible_span_of(eligible: EligibleRows) -> tuple[int, int]:
    """Returns rows between which all eligible ones lie: the first of them, and that after the last."""
    if eligible.dtype == np.bool_:
        return 0, len(eligible)
    return (int(eligible[0]), int(eligible[-1]) + 1) if len(eligible) else (0, 0)


def as_slice(rows: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Returns the same rows as a slice if they are successive ones, of which nothing has to be copied."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
