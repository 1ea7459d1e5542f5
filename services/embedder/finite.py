"""Refuses a network whose weights are finite, but too large to compute with."""

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import DataLoss


def check_finite(computed: NDArray[np.float32]) -> None:
    """Checks what a network has computed.

    Raises:
        DataLoss: WEIGHTS_INVALID.
    """
    if not np.isfinite(computed).all():
        raise DataLoss(
            "The model computes numbers that are not finite. Fetch its bundle again.", reason="WEIGHTS_INVALID"
        )
