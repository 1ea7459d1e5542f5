"""Steps and ids cost next to nothing without traces, and belong to the current trace with them."""

from collections.abc import Iterator

import pytest
from opentelemetry.trace import get_current_span

from services.concurrency import spans
from services.concurrency.metrics import exemplar
from services.serving.settings import TracingSettings
from services.serving.traces import Traces

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LONG = ",".join(f"vendor{number}=" + "x" * 200 for number in range(9))
CALLER = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


@pytest.fixture
def traces() -> Iterator[Traces]:
    """Traces whose spans go nowhere."""
    tracer = Traces("fashion-test", TracingSettings(traces_exporter="none"))
    spans.use(tracer)
    yield tracer
    spans.use(None)
    tracer.shut_down()


def test_without_traces_there_is_no_span_and_no_id() -> None:
    with spans.step("search.embed") as first, spans.step("search.search") as second:
        assert first is None and second is None
        assert spans.ids() is None and not get_current_span().is_recording()


def test_a_step_without_a_trace_begins_none(traces: Traces) -> None:
    with spans.step("embedder.decode"), traces.stored("PING", "redis", 6379):
        assert spans.ids() is None


def test_a_step_belongs_to_the_trace_of_the_caller(traces: Traces) -> None:
    with traces.served("fashion.v1.SearchService/FindSimilar", CALLER) as end:
        own = spans.ids()
        assert own is not None and own[0] == TRACE
        with spans.step("search.embed"):
            inner = spans.ids()
            assert inner is not None and inner[0] == TRACE and inner[1] != own[1]
        with traces.called("fashion.v1.EmbedderService/Embed", "embedder", 50051) as (metadata, _):
            current = spans.ids()
            assert current is not None
            assert metadata["traceparent"] == f"00-{TRACE}-{current[1]}-01"
        end("OK", "")
    assert spans.ids() is None


@pytest.mark.parametrize(
    "sent", ["", "00-zz", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"99{CALLER['traceparent'][2:]}-x" * 99]
)
def test_what_is_no_traceparent_begins_a_trace(traces: Traces, sent: str) -> None:
    with traces.request("GET", "http", {"traceparent": sent}) as end:
        ids = spans.ids()
        assert ids is not None and ids[0] not in {TRACE, "0" * 32}
        end("/v1/products", 200)


@pytest.mark.parametrize(("state", "kept"), [("shop=1", "shop=1"), ("a=" + "x" * 200, "a=" + "x" * 200), (LONG, None)])
def test_a_state_goes_along_and_baggage_does_not(traces: Traces, state: str, kept: str | None) -> None:
    sent = CALLER | {"tracestate": state, "baggage": "user=ada"}
    with (
        traces.request("GET", "http", sent),
        traces.called("fashion.v1.SearchService/FindSimilar", "search", 50053) as (metadata, _),
    ):
        assert metadata.get("tracestate") == kept
        assert "baggage" not in metadata


@pytest.mark.parametrize(("length", "kept"), [(1, True), (110, True), (111, False), (128, False)])
def test_an_exemplar_stays_within_what_openmetrics_allows(length: int, kept: bool) -> None:
    assert exemplar("x" * length) == ({"request_id": "x" * length} if kept else None)


def test_an_exemplar_leads_to_the_trace(traces: Traces) -> None:
    with traces.request("GET", "http", CALLER):
        assert exemplar("order-7") == {"trace_id": TRACE, "request_id": "order-7"}
        assert exemplar("x" * 100) == {"trace_id": TRACE}
