"""A breaker: while nobody answers, one call at a time waits for an answer, and all others fail at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# Calls in a row without an answer after which the breaker opens.
MAX_UNANSWERED: Final = 5


class Unanswered(Exception):
    """The last calls had no answer, and another one waits for one already."""


class Breaker:
    """Lets calls of a service pass; for one event loop, not for threads.

    A service that hangs would hold up every caller for as long as each may wait. Calls that fail at once hold nobody
    up, and count as answered. No clock closes the breaker: the first answer does, so that nothing is lost by waiting.
    """

    def __init__(self, *, patience_s: float, changed: Callable[[bool], None] = lambda is_open: None) -> None:
        """Makes a closed breaker.

        Args:
            patience_s: a call that ends sooner without an answer, as one whose caller gives up, does not count.
            changed: told whenever it opens (True) or closes.
        """
        self._patience_s, self._changed = patience_s, changed
        self._unanswered = 0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether calls fail at once, but for one at a time."""
        return self._unanswered >= MAX_UNANSWERED

    @contextmanager
    def passing(self) -> Iterator[Callable[[], None]]:
        """Surrounds a call; yields what is to be called once there is an answer.

        Raises:
            Unanswered: the breaker is open, and another call waits already.
        """
        probe = self.open
        if probe and self._probing:
            raise Unanswered
        self._probing = self._probing or probe
        began, answered = time.monotonic(), False

        def answer() -> None:
            nonlocal answered
            answered = True
            self.answered()

        try:
            yield answer
        finally:
            if probe:
                self._probing = False
            if not answered and time.monotonic() - began >= self._patience_s:
                self._count()

    def answered(self) -> None:
        """Closes the breaker."""
        was_open, self._unanswered = self.open, 0
        if was_open:
            self._changed(False)

    def _count(self) -> None:
        was_open = self.open
        self._unanswered += 1
        if self.open and not was_open:
            self._changed(True)
