"""Round bounds that part numbers into a handful of ranges of about equal size."""

import math
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_RANGES: Final = 5
_ROUND: Final = tuple(map(Decimal, ("1", "1.5", "2", "2.5", "3", "4", "5", "6", "8", "10")))


def round_bounds(values: NDArray[np.float64], step: Decimal) -> list[Decimal]:
    """Returns the inner bounds of at most `MAX_RANGES` ranges: a range ends before its upper bound.

    Args:
        values: finite, shape (n,), n at least 1.
        step: what all values are multiples of, more than 0; so are the bounds.

    Returns:
        Ascending; each is more than the least value and at most the greatest. Empty where all values are one.
    """
    lowest, highest = (_on_steps(Decimal(float(end)), step, "ROUND_HALF_EVEN") for end in (values.min(), values.max()))
    quantiles = np.quantile(values, np.arange(1, MAX_RANGES) / MAX_RANGES).tolist()
    bounds = {_on_steps(_rounded(quantile), step, "ROUND_CEILING") for quantile in quantiles}
    inner = sorted(bound for bound in bounds if lowest < bound <= highest)
    # Of few different values, all quantiles may round to the least.
    return inner or ([highest] if lowest < highest else [])


def _rounded(value: float) -> Decimal:
    """Returns the nearest round number, with one digit or a half more."""
    if value == 0:
        return Decimal(0)
    magnitude = Decimal(1).scaleb(math.floor(math.log10(abs(value))))
    share = Decimal(abs(value)) / magnitude
    nearest = min(_ROUND, key=lambda each: abs(each - share))
    return (nearest * magnitude).copy_sign(Decimal(value))


def _on_steps(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    # Without the sign of -0.
    return (value / step).to_integral_value(rounding=rounding) * step + 0
