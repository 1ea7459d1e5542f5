"""Holds each key to its quotas, in this process."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.contract.errors import QuotaExceeded
from services.serving.keys import Key


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call counts for.

    Attributes:
        requests: calls.
        photographs: photographs, which have to be decoded and embedded.
        rows: rows of a batch.
    """

    requests: int = 1
    photographs: int = 0
    rows: int = 0


@dataclass(slots=True)
class _Bucket:
    """Fills at a rate, up to what a second brings; a call may overdraw it, and the next ones wait until that is paid.

    So a batch larger than the quota of a second passes too, only not often.
    """

    rate: float
    level: float
    since: float

    def fill(self, now: float) -> None:
        self.level = min(max(self.rate, 1.0), self.level + (now - self.since) * self.rate)
        self.since = now

    def wait_s(self) -> float:
        """How long until a call may take something, in seconds."""
        return 0.0 if self.level >= 1.0 else (1.0 - self.level) / self.rate


class Quotas:
    """The quotas of keys: calls, photographs and rows a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take(self, key: Key, cost: Cost) -> None:
        """Counts a call.

        Raises:
            QuotaExceeded: the key has used up one of its quotas; nothing is counted.
        """
        now, due = self._clock(), []
        for what, (rate, count) in _counted(key, cost).items():
            if rate is None or not count:
                continue
            bucket = self._buckets.get((key.id, what))
            if bucket is None or bucket.rate != rate:
                bucket = self._buckets[key.id, what] = _Bucket(rate, max(rate, 1.0), now)
            bucket.fill(now)
            wait_s = bucket.wait_s()
            # A hundredth of a call is the clock's.
            if wait_s * rate > 0.01:
                raise QuotaExceeded(
                    f"The key has used up its {rate:g} {what} a second; try again in {wait_s:.2g} s.",
                    reason="QUOTA_EXCEEDED",
                    retry_after_s=wait_s,
                )
            due.append((bucket, count))
        for bucket, count in due:
            bucket.level -= count


def _counted(key: Key, cost: Cost) -> Mapping[str, tuple[float | None, int]]:
    return {
        "requests": (key.requests_per_s, cost.requests),
        "photographs": (key.photographs_per_s, cost.photographs),
        "rows": (key.rows_per_s, cost.rows),
    }
