"""What operators see of the calls of other services: logs and metrics, which a command line does without."""

from typing import Final

import structlog
from prometheus_client import Counter, Gauge

_log = structlog.stdlib.get_logger(__name__)

_AGAIN: Final = Counter("fashion_further_tries", "Calls of a service that were made again, by its name.", ("service",))
_OPEN: Final = Gauge(
    "fashion_breaker_open", "1 while one call at a time waits for a service or store, by its name.", ("service",)
)


class CallWatch:
    """Logs and counts what happens to the calls of one service."""

    def __init__(self, service: str) -> None:
        """Takes its name."""
        self._service = service
        self._again, self._open = _AGAIN.labels(service), _OPEN.labels(service)

    def made_again(self) -> None:
        """Counts a call that is made again."""
        self._again.inc()

    def breaker_changed(self, is_open: bool) -> None:
        """Tells whether one call at a time waits for an answer."""
        self._open.set(is_open)
        if is_open:
            _log.warning("a service does not answer; one call at a time waits for it", service=self._service)
        else:
            _log.info("a service answers again", service=self._service)
