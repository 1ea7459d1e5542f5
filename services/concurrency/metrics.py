"""What the metrics share. Each stands beside the code that it counts; docs/metrics.md lists them all."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.concurrency import spans

# Upper bounds of times, in seconds: 1 ms to 10 s, in steps of about 2.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# OpenMetrics allows 128 characters for the names and values of an exemplar together.
_MAX_EXEMPLAR_CHARACTERS: Final = 128
_NAMES_CHARACTERS: Final = len("request_id") + len("trace_id")


def exemplar(request_id: str) -> dict[str, str] | None:
    """Returns the labels that lead from a bucket to one request: to its trace where there is one, and to its log lines.

    Args:
        request_id: of the request; one that is too long is left out.
    """
    ids = spans.ids()
    trace_id = "" if ids is None else ids[0]
    labels = {"trace_id": trace_id} if trace_id else {}
    if _NAMES_CHARACTERS + len(trace_id) + len(request_id) <= _MAX_EXEMPLAR_CHARACTERS:
        labels["request_id"] = request_id
    return labels or None


class CurrentMetrics(Collector):
    """Metrics that are asked for whenever Prometheus reads; of several sources the one that was opened last counts.

    A second family of one name would make the page invalid.
    """

    def __init__(self) -> None:
        """Registers it; there is no source yet."""
        self._sources: list[Callable[[], Iterable[Metric]]] = []
        REGISTRY.register(self)

    @contextmanager
    def of(self, source: Callable[[], Iterable[Metric]]) -> Iterator[None]:
        """Tells what a source returns, for as long as the context lasts."""
        self._sources.append(source)
        try:
            yield
        finally:
            self._sources.remove(source)

    def describe(self) -> Iterable[Metric]:
        """Names nothing, since Prometheus's client would ask a source already when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Returns the metrics of the last source."""
        return self._sources[-1]() if self._sources else ()
