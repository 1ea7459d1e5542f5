"""A budget of memory for the pictures that are decoded at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.concurrency import deadline

# Time between two looks at a deadline that may have passed, in seconds.
_PATIENCE_S: Final = 0.5


class MemoryBudget:
    """Makes threads wait until the memory that they need is free."""

    def __init__(self, max_bytes: int) -> None:
        """Makes a budget.

        Args:
            max_bytes: maximum memory of all decoding under way, in bytes. A picture that needs more is decoded alone.
        """
        self._max_bytes = max_bytes
        self._taken = 0
        self._free = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Takes `size` bytes for as long as the context lasts.

        Raises:
            DeadlineExceeded: the deadline passed while waiting.
        """
        with self._free:
            while self._taken and self._taken + size > self._max_bytes:
                if deadline.passed(deadline.current()):
                    raise deadline.exceeded()
                self._free.wait(_PATIENCE_S)
            self._taken += size
        try:
            yield
        finally:
            with self._free:
                self._taken -= size
                self._free.notify_all()
