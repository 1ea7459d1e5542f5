"""Tells Prometheus how large and how fresh the index is, whenever it asks."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.search.indexes.base import ReadableIndex

# Returns when the newest write was committed; None for never, and where that is not known.
UpdateTime = Callable[[], datetime | None]


class _IndexCollector(Collector):
    """Tells about the index that was opened last; a second family of one name would make the page invalid."""

    def __init__(self) -> None:
        self._open: list[tuple[Callable[[], ReadableIndex], UpdateTime]] = []

    @contextmanager
    def telling(self, index: Callable[[], ReadableIndex], update_time: UpdateTime) -> Iterator[None]:
        source = index, update_time
        self._open.append(source)
        try:
            yield
        finally:
            self._open.remove(source)

    def describe(self) -> Iterable[Metric]:
        """Names nothing, since Prometheus's client would count the products already when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        if not self._open:
            return
        index, update_time = self._open[-1]
        facts, updated = index().facts(), update_time()
        for name, value, help in (
            ("products", facts.product_count, "Products of the catalogue."),
            ("available_products", facts.available_count, "Products that are not out of stock."),
            ("outdated_products", facts.outdated_count, "Products that wait for an embedding of the served model."),
            ("derived_types", len(facts.derived_types), "Derived types that have products."),
            ("version", facts.index_version, "Version of the index; grows with every write."),
            (
                "update_timestamp_seconds",
                0.0 if updated is None else updated.timestamp(),
                "Time of the last write, in seconds since 1970; 0 for never.",
            ),
        ):
            yield GaugeMetricFamily(f"fashion_index_{name}", help, value=value)


_collector = _IndexCollector()
REGISTRY.register(_collector)


def index_metrics(index: Callable[[], ReadableIndex], update_time: UpdateTime) -> AbstractContextManager[None]:
    """Tells about the index that is live, and when its catalogue was written last, for as long as the context lasts."""
    return _collector.telling(index, update_time)
