"""Tells Prometheus how large and how fresh the index is, whenever it asks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from services.concurrency.metrics import CurrentMetrics
from services.search.indexes.base import ReadableIndex

# Returns when the newest write was committed; None for never, and where that is not known.
UpdateTime = Callable[[], datetime | None]

_current = CurrentMetrics()


def index_metrics(index: Callable[[], ReadableIndex], update_time: UpdateTime) -> AbstractContextManager[None]:
    """Tells about the index that is live, and when its catalogue was written last, for as long as the context lasts."""

    def metrics() -> Iterator[Metric]:
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

    return _current.of(metrics)
