"""Counts the calls that use a part, which is closed once none does any more."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 0.05


class Users:
    """The calls that use a part at the moment; for one event loop."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts a call for as long as the context lasts."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def drained(self, timeout_s: float) -> None:
        """Waits until there is none, for at most so many seconds."""
        until = time.monotonic() + timeout_s
        while self._count and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)
