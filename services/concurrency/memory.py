"""Gives freed memory back to the system."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Gives the system what was freed and the C library keeps; for after work that takes much once.

    It takes some milliseconds, without the interpreter. Not every C library can; then it does nothing.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
