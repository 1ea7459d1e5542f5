"""Tells Prometheus which generations there are, how far the next one is, and what its gate says, whenever it asks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from prometheus_client.core import GaugeMetricFamily, Metric

from services.concurrency.metrics import CurrentMetrics
from services.search.catalogue.generations import Status
from services.search.reindex.reindexer import ReindexState

_PREFIX = "fashion_reindex"
_JUDGED = {Status.READY: 1.0, Status.REFUSED: 0.0}

_current = CurrentMetrics()


def reindex_metrics(state: Callable[[], ReindexState]) -> AbstractContextManager[None]:
    """Tells about the generations of a running search, for as long as the context lasts."""
    return _current.of(lambda: _metrics(state()))


def _metrics(state: ReindexState) -> Iterator[Metric]:
    generations = GaugeMetricFamily(
        f"{_PREFIX}_generation_info", "1, for each generation.", labels=("model_version", "status")
    )
    for record in (state.live, state.other):
        if record is not None:
            generations.add_metric((record.model_version, record.status.value), 1)
    yield generations
    building = state.other is not None and state.other.status is Status.BUILDING
    for name, value, help in (
        ("missing_products", state.missing_count, "Products that the next generation has yet to embed."),
        ("embedded_photographs", state.embedded_count, "Photographs embedded for the other generation."),
        ("failed_products", state.failed_count, "Products with a photograph that the other model cannot embed."),
        ("rest_ratio", state.rest / (1 + state.rest) if building else 0, "Share of the time in which it rests."),
        ("progress_timestamp_seconds", state.moved if building else 0, "Time of its last step; 0 while none is built."),
    ):
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", help, value=value)
    # They are told of even without a value, so that whoever reads /metrics learns what there is.
    gate = GaugeMetricFamily(f"{_PREFIX}_gate_passed", "Whether the gate has passed.", labels=("model_version",))
    overlap = GaugeMetricFamily(f"{_PREFIX}_overlap_ratio", "Share of the ten nearest in common.", labels=())
    agreement = GaugeMetricFamily(
        f"{_PREFIX}_label_agreement_ratio", "Share of the ten nearest of the own type.", labels=("generation",)
    )
    if state.other is not None:
        if (passed := _JUDGED.get(state.other.status)) is not None:
            gate.add_metric((state.other.model_version,), passed)
        if (comparison := state.comparison) is not None:
            overlap.add_metric((), comparison.overlap)
            agreement.add_metric(("live",), comparison.live_label_agreement)
            agreement.add_metric(("next",), comparison.next_label_agreement)
    yield from (gate, overlap, agreement)
