"""Tells Prometheus how large and how fresh the index is, whenever it asks."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.search.catalogue.store import Catalogue
from services.search.indexes.base import Index


class _IndexCollector(Collector):
    def __init__(self, index: Index, catalogue: Catalogue) -> None:
        self._index = index
        self._catalogue = catalogue

    def describe(self) -> Iterable[Metric]:
        """Names nothing, since Prometheus's client would count the products already when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        facts, updated = self._index.facts(), self._catalogue.update_time
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


@contextmanager
def index_metrics(index: Index, catalogue: Catalogue) -> Iterator[None]:
    """Tells about an index and its catalogue for as long as the context lasts."""
    collector = _IndexCollector(index, catalogue)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)
