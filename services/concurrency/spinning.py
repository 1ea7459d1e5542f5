"""Keeps the threads of numeric libraries from spinning while they wait, which takes the processors from all others."""

import os
from typing import Final

_SETTINGS: Final = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}


def wait_passively() -> None:
    """Sets what the libraries read as they are imported, such as NumPy; a variable that is set keeps its value."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
