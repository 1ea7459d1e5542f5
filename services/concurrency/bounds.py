"""Bounds what is held at once for strangers, altogether and for each of them; counts and tells what it refuses."""

import collections
import time
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

_log = structlog.stdlib.get_logger(__name__)

_HELD: Final = Gauge("fashion_bound_held", "What is held for callers of what is bounded, by its name.", ("bound",))
_REFUSED: Final = Counter("fashion_bound_refusals", "How often a bound has refused a caller, by its name.", ("bound",))

# Minimum time between two lines of the log about one bound.
_TELL_EVERY_S: Final = 10.0


class Bound:
    """A limit on an amount held at once, such as connections or bytes; for one event loop, not for threads.

    Attributes:
        refused: how often it has refused since the start.
    """

    def __init__(self, name: str, *, total: int, per_holder: int) -> None:
        """Takes the limits.

        Args:
            name: what is held, for the log.
            total: maximum amount of all holders together.
            per_holder: maximum amount of one holder, such as an address.
        """
        self._name, self._total, self._per_holder = name, total, per_holder
        self._held: collections.Counter[str] = collections.Counter()
        self._all = 0
        self.refused = 0
        self._refusals, self._gauge = _REFUSED.labels(name), _HELD.labels(name)
        self._told = -_TELL_EVERY_S

    def has_room(self, holder: str | None, amount: int = 1) -> bool:
        """Tells whether an amount is within the limits: of one holder, or of all together for None."""
        if holder is None:
            return self._all + amount <= self._total
        return self._held.get(holder, 0) + amount <= self._per_holder

    def take(self, holder: str, amount: int = 1) -> bool:
        """Takes an amount for a holder if it is within the limits; returns whether it is."""
        if not self.has_room(None, amount) or not self.has_room(holder, amount):
            self.refused += 1
            self._refusals.inc()
            self._tell(holder)
            return False
        self._all += amount
        self._gauge.inc(amount)
        self._held[holder] += amount
        return True

    def give_back(self, holder: str, amount: int = 1) -> None:
        """Gives back what was taken."""
        self._all -= amount
        self._gauge.dec(amount)
        self._held[holder] -= amount
        if not self._held[holder]:
            # Otherwise every address that ever called would be remembered.
            del self._held[holder]

    def _tell(self, holder: str) -> None:
        if time.monotonic() - self._told < _TELL_EVERY_S:
            return
        self._told = time.monotonic()
        _log.warning(
            "a bound is reached",
            bound=self._name,
            holder=holder,
            held=self._held.get(holder, 0),
            held_by_all=self._all,
            refused=self.refused,
        )
