"""Keeps little memory that is free, and gives it back to the system."""

import ctypes
import os
from contextlib import suppress
from typing import Final

from services.concurrency.processor import available_processors

# As malloc.h of the GNU C library has it.
_M_ARENA_MAX: Final = -8


def share_arenas() -> None:
    """Lets threads take memory from one place for every two processors; to be called before there is a second thread.

    Otherwise the C library gives nearly each thread a place of its own, and what one of them has freed is of no use to
    the others. `MALLOC_ARENA_MAX` says otherwise. Not every C library has such places; then it does nothing.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, max(1, available_processors() // 2))


def give_back() -> None:
    """Gives the system what was freed and the C library keeps; for after work that takes much once.

    It takes some milliseconds, without the interpreter. Not every C library can; then it does nothing.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
