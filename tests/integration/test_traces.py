"""Traces as a real collector gets them: one tree over all processes, the conventions' names, and nothing when off."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv._incubating.attributes import rpc_attributes
from opentelemetry.semconv.attributes import (
    db_attributes,
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)

from fashion.v1 import search_pb2, types_pb2
from tests.support.collector import Collector, Received, collector
from tests.support.gateways import KEY, bearer
from tests.support.processes import ROOT, Services, free_port, gateway_service, run_to_end, services, wait_until_ready
from tests.support.running import Caller, calling
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually, found_with_candidates

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SHIRT = "men-tshirts-blue-0"
FIND = "fashion.v1.SearchService/FindSimilar"
CONVENTIONS = {
    value
    for module in (rpc_attributes, db_attributes, error_attributes, http_attributes, server_attributes, url_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}


def traceparent(trace_id: str, *, sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{PARENT}-0{int(sampled)}"}


@dataclass
class Traced:
    """Four processes whose spans go to a collector."""

    collector: Collector
    services: Services
    grpc: Caller
    http: httpx.Client

    def trace(self, trace_id: str, count: int) -> list[Received]:
        """Waits until a trace has at least so many spans, its root, and the parent of each."""

        def complete() -> bool:
            spans = self.collector.spans(trace_id)
            parents = {each.parent_id for each in spans}
            # A step ends before its call, so that it may come by an earlier message.
            return len(spans) >= count and PARENT in parents and parents <= {PARENT, *(each.id for each in spans)}

        eventually(complete, f"trace {trace_id} has too few spans", 20)
        return self.collector.spans(trace_id)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, redis_of_the_session: object) -> Iterator[Traced]:
    directory = tmp_path_factory.mktemp("traced")
    url: str = redis_of_the_session.url  # type: ignore[attr-defined]
    with collector() as received:
        everywhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.grpc_url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with services(directory, url, everywhere) as running, calling(running.search.target) as caller:
            caller.upsert(rows())
            found_with_candidates(caller, image=types_pb2.Image(content=photograph("Women Dresses", "Red", 1)), top_k=1)
            gateway, address = gateway_service(directory, running.search.target, GATEWAY_TOKEN_KEY=KEY, **everywhere)
            gateway.start()
            try:
                wait_until_ready(address)
                with httpx.Client(base_url=address, timeout=30) as http:
                    yield Traced(received, running, caller, http)
            finally:
                assert gateway.terminate() == 0, gateway.output()


def names(spans: list[Received]) -> set[tuple[str, str]]:
    return {(each.service, each.span.name) for each in spans}


def one(spans: list[Received], name: str, kind: "Span.SpanKind.ValueType") -> Received:
    (span,) = [each for each in spans if each.span.name == name and each.span.kind == kind]
    return span


def test_a_photograph_leaves_one_tree_over_four_processes_and_redis(traced: Traced) -> None:
    answer = traced.http.post(
        "/v1/similar",
        files={"image": photograph("Women Dresses", "Red", 12)},
        data={"limit": "3", "user_id": "ada"},
        headers=bearer("ada") | traceparent(TRACE),
    )
    assert answer.status_code == 200, answer.text
    spans = traced.trace(TRACE, 14)
    embed, classify = "fashion.v1.EmbedderService/Embed", "fashion.v1.ClassifierService/Classify"
    assert names(spans) == {
        ("fashion-gateway", "POST /v1/similar"),
        ("fashion-gateway", FIND),
        ("fashion-search", FIND),
        ("fashion-search", "search.read_dislikes"),
        ("fashion-search", "HGETALL"),
        ("fashion-search", "search.embed"),
        ("fashion-search", embed),
        ("fashion-embedder", embed),
        ("fashion-embedder", "embedder.decode"),
        ("fashion-embedder", "embedder.inference"),
        ("fashion-search", "search.classify"),
        ("fashion-search", classify),
        ("fashion-classifier", classify),
        ("fashion-search", "search.search"),
    }
    by_id = {each.id: each for each in spans}
    for each in spans:
        if each.parent_id == PARENT:
            assert each.span.name == "POST /v1/similar"
            continue
        parent = by_id[each.parent_id].span
        assert parent.start_time_unix_nano <= each.span.start_time_unix_nano
    # A server's span is a child of its caller's.
    for service, method in (("fashion-search", FIND), ("fashion-embedder", embed), ("fashion-classifier", classify)):
        served = one([each for each in spans if each.service == service], method, Span.SPAN_KIND_SERVER)
        assert by_id[served.parent_id] == one(spans, method, Span.SPAN_KIND_CLIENT)
    assert by_id[one(spans, "HGETALL", Span.SPAN_KIND_CLIENT).parent_id].span.name == "search.read_dislikes"


def test_spans_have_the_names_of_the_conventions(traced: Traced) -> None:
    trace_id = "1" * 32
    traced.http.get(f"/v1/products/{SHIRT}/similar?user_id=ada", headers=bearer("ada") | traceparent(trace_id))
    spans = traced.trace(trace_id, 6)
    request = one(spans, "GET /v1/products/{product_id}/similar", Span.SPAN_KIND_SERVER)
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/products/{product_id}/similar",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    rpc = {"rpc.system.name": "grpc", "rpc.method": FIND, "rpc.response.status_code": "OK"}
    assert one(spans, FIND, Span.SPAN_KIND_SERVER).attributes == rpc
    where = {"server.address": "127.0.0.1", "server.port": traced.services.search.port}
    assert one(spans, FIND, Span.SPAN_KIND_CLIENT).attributes == rpc | where
    redis = one(spans, "HGETALL", Span.SPAN_KIND_CLIENT).attributes
    assert redis.pop("server.address").endswith("redis.sock")
    assert redis == {"db.system.name": "redis", "db.operation.name": "HGETALL"}
    used = {name for each in traced.collector.spans() for name in each.attributes}
    assert {name for name in used if not name.startswith("fashion.")} <= CONVENTIONS
    for resource in traced.collector.resources():
        assert resource["service.namespace"] == "fashion" and resource["service.version"]
        assert resource["telemetry.sdk.language"] == "python"


def test_refusals_and_failures_are_told_apart(traced: Traced) -> None:
    missing, failing = "2" * 32, "3" * 32
    traced.http.get("/v1/products/nobody/similar", headers=traceparent(missing))
    spans = traced.trace(missing, 4)
    served = one(spans, FIND, Span.SPAN_KIND_SERVER)
    assert served.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert served.attributes["fashion.reason"] == "PRODUCT_NOT_FOUND"
    assert served.span.status.code == Status.STATUS_CODE_UNSET
    assert one(spans, "GET /v1/products/{product_id}/similar", Span.SPAN_KIND_SERVER).span.status.code == 0
    assert one(spans, "search.search", Span.SPAN_KIND_INTERNAL).span.status.code == Status.STATUS_CODE_UNSET
    assert one(spans, FIND, Span.SPAN_KIND_CLIENT).attributes["error.type"] == "NOT_FOUND"
    traced.services.embedder.kill()
    try:
        traced.http.post(
            "/v1/similar", files={"image": photograph("Women Dresses", "Red", 3)}, headers=traceparent(failing)
        )
        spans = traced.trace(failing, 5)
    finally:
        traced.services.embedder.start()
        traced.services.embedder.wait_until_serving()
    request = one(spans, "POST /v1/similar", Span.SPAN_KIND_SERVER)
    assert (request.attributes["error.type"], request.span.status.code) == ("503", Status.STATUS_CODE_ERROR)
    # gRPC has called again by itself: each try is a span of the server.
    tries = [each for each in spans if each.span.name == FIND and each.span.kind == Span.SPAN_KIND_SERVER]
    assert {each.attributes["fashion.reason"] for each in tries} == {"EMBEDDER_UNAVAILABLE"}
    assert {each.span.status.code for each in tries} == {Status.STATUS_CODE_ERROR}
    # No text of an error, which may hold what a caller sent.
    assert not any(each.span.events or each.span.status.message for each in traced.collector.spans())


def test_callers_over_grpc_name_the_trace_and_whether_it_is_kept(traced: Traced) -> None:
    kept, dropped = "5" * 32, "6" * 32
    for trace_id, sampled in ((dropped, False), (kept, True)):
        metadata = tuple(traceparent(trace_id, sampled=sampled).items())
        request = search_pb2.FindSimilarRequest(product_id=SHIRT)
        traced.grpc.search.FindSimilar(request, timeout=20, metadata=metadata)
    assert traced.trace(kept, 2)[0].span.name == FIND
    assert traced.collector.spans(dropped) == []
    # The log names both.
    eventually(lambda: f'"trace_id": "{dropped}"' in traced.services.search.output(), "the log does not name the trace")


def test_probes_and_background_work_leave_no_spans(traced: Traced) -> None:
    traced.http.get("/readyz")
    traced.http.get("/v1/products", headers=traceparent("7" * 32))
    traced.trace("7" * 32, 2)
    known = {each.span.name for each in traced.collector.spans()}
    assert not any("readyz" in name or "grpc.health" in name or name in {"PING", "HGET"} for name in known), known


def test_it_speaks_http_with_the_operators_names_and_headers(tmp_path: Path) -> None:
    with collector() as received:
        gateway, url = gateway_service(
            tmp_path,
            f"127.0.0.1:{free_port()}",
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.http_url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20of-the-collector",
            OTEL_SERVICE_NAME="shop-recommender",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
        gateway.start()
        eventually(lambda: "listening for HTTP" in gateway.output())
        assert httpx.get(f"{url}/v1/products").status_code == 503
        # What waits to be sent is sent at the end.
        assert gateway.terminate() == 0, gateway.output()
        (span, *_) = received.spans()
        assert (span.service, span.span.name) == ("shop-recommender", "GET /v1/products")
        assert received.resources()[0]["deployment.environment.name"] == "test"
        assert received.headers[0]["authorization"] == "Bearer of-the-collector"


def test_a_collector_that_is_gone_holds_up_neither_answers_nor_the_end(tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    gateway, url = gateway_service(tmp_path, f"127.0.0.1:{free_port()}", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    gateway.start()
    eventually(lambda: "listening for HTTP" in gateway.output())
    assert httpx.get(f"{url}/v1/products").status_code == 503
    assert gateway.terminate() == 0, gateway.output()
    assert "Traceback" not in gateway.output()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
    ],
)
def test_bad_variables_end_the_start_with_their_name(variable: str, value: str) -> None:
    status, output = run_to_end("services.embedder", **{variable: value, "EMBEDDER_RUNTIME": "fake"})
    assert status == 2 and f"embedder: {variable}: " in output, output


@pytest.mark.parametrize("service", ["embedder", "classifier", "search", "gateway", "stack"])
def test_without_traces_nothing_is_imported_for_them(service: str) -> None:
    script = (
        f"import sys, services.{service}.__main__; from services.concurrency import spans; "
        "from services.serving.tracing import configure_tracing; configure_tracing('x'); print(spans.tracer()); "
        "parts = ('opentelemetry', 'services.serving.traces'); "
        # What may not be imported has a name without a module.
        "print(*(name for name, module in sys.modules.items() if module and name.startswith(parts)))"
    )
    tracer, imported = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True).splitlines()
    assert tracer == "None"
    # FastAPI imports the API whatever it is told, and redis-py the SDK's metrics where they are installed.
    assert service != "embedder" or imported == ""
    ours = ("services.serving.traces", "opentelemetry.sdk.trace", "opentelemetry.exporter")
    assert not any(name.startswith(ours) for name in imported.split())
