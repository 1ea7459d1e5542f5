"""Spans of OpenTelemetry, after its conventions for HTTP, RPC and databases; imported only where traces are on.

The maintained instrumentations would put paths, queries and texts of errors into spans, which name users and products.
"""

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextlib import nullcontext as nothing
from http import HTTPMethod
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor, SpanExporter
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Span, SpanKind, StatusCode, format_span_id, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from services.concurrency.spans import CallEnd, RequestEnd
from services.serving.settings import TracingSettings
from services.serving.status import code_of

# Baggage is not passed on: it is whatever a stranger sends.
_W3C: Final = TraceContextTextMapPropagator()
# What W3C asks everybody to pass on at least. gRPC refuses metadata of some KiB.
_MAX_TRACESTATE_CHARACTERS: Final = 512
_PACKAGE: Final = "fashion-recommender"
_METHODS: Final = frozenset(HTTPMethod)
# Codes with which a server says that it has failed, not its caller.
_FAILURES_OF_SERVERS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class Traces:
    """A `services.concurrency.spans.Tracer` that sends spans away in the background."""

    def __init__(self, service: str, settings: TracingSettings) -> None:
        """Starts to send.

        Args:
            service: name of this process where the variables give none.
            settings: where spans go; what they leave out, the SDK reads from the environment itself.
        """
        version = importlib.metadata.version(_PACKAGE)
        own = Resource({"service.name": service, "service.namespace": "fashion", "service.version": version})
        resource = Resource.create(dict(own.merge(OTELResourceDetector().detect()).attributes))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        for name in settings.exporters():
            if name == "console":
                self._provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
            else:
                self._provider.add_span_processor(BatchSpanProcessor(_otlp(settings)))
        # Not the global provider, to which FastAPI would add spans with paths and queries.
        self._tracer = self._provider.get_tracer("fashion", version, schema_url=Schemas.V1_44_0.value)

    def shut_down(self) -> None:
        """Sends what is left, and ends."""
        self._provider.shutdown()

    def step(self, name: str) -> AbstractContextManager[object]:
        """Opens a span for work inside the process, where a trace is under way."""
        return nothing() if self.ids() is None else self._watched(name, SpanKind.INTERNAL, {})

    def stored(self, operation: str, address: str, port: int | None) -> AbstractContextManager[object]:
        """Opens a span for a command of Redis, where a trace is under way."""
        if self.ids() is None:
            return nothing()
        names = {"db.system.name": "redis", "db.operation.name": operation}
        return self._watched(operation, SpanKind.CLIENT, names | _server(address, port))

    @contextmanager
    def request(self, method: str, scheme: str, headers: Mapping[str, str]) -> Iterator[RequestEnd]:
        """Opens the span of an HTTP request, in the trace that its headers name."""
        known = method in _METHODS
        names = {"http.request.method": method if known else "_OTHER", "url.scheme": scheme}
        name = method if known else "HTTP"
        with self._span(name, SpanKind.SERVER, names, _parent(headers)) as span:

            def end(route: str, status: int) -> None:
                if route:
                    span.update_name(f"{name} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    _fail(span, str(status))

            yield end

    @contextmanager
    def served(self, method: str, metadata: Mapping[str, str]) -> Iterator[CallEnd]:
        """Opens the span of a call that this process answers, in the trace that the call's metadata name."""
        with self._span(method, SpanKind.SERVER, _rpc(method), _parent(metadata)) as span:
            yield _call_end(span, lambda code: code in _FAILURES_OF_SERVERS)

    @contextmanager
    def called(self, method: str, address: str, port: int | None) -> Iterator[tuple[Mapping[str, str], CallEnd]]:
        """Opens the span of a call of another service; yields the metadata that lead its trace on, too."""
        with self._span(method, SpanKind.CLIENT, _rpc(method) | _server(address, port)) as span:
            metadata: dict[str, str] = {}
            _W3C.inject(metadata)
            yield metadata, _call_end(span, lambda code: code != "OK")

    def ids(self) -> tuple[str, str] | None:
        """Returns the ids of the current trace and span, in hexadecimal digits; None outside of any."""
        context = get_current_span().get_span_context()
        return (format_trace_id(context.trace_id), format_span_id(context.span_id)) if context.is_valid else None

    def _span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, str | int], parent: Context | None = None
    ) -> AbstractContextManager[Span]:
        # The text of an exception may name a user or a product.
        return self._tracer.start_as_current_span(
            name, parent, kind, dict(attributes), record_exception=False, set_status_on_exception=False
        )

    @contextmanager
    def _watched(self, name: str, kind: SpanKind, attributes: Mapping[str, str | int]) -> Iterator[None]:
        with self._span(name, kind, attributes) as span:
            try:
                yield
            except Exception as error:
                # A refusal is no failure, here as in the spans of calls.
                if code_of(error).name in _FAILURES_OF_SERVERS:
                    _fail(span, type(error).__qualname__)
                raise


def _parent(sent: Mapping[str, str]) -> Context:
    """Returns the trace that a caller names; an empty one for none that can be read."""
    state = sent.get("tracestate", "")
    return _W3C.extract(
        {"traceparent": sent.get("traceparent", "")}
        | ({"tracestate": state} if len(state) <= _MAX_TRACESTATE_CHARACTERS else {}),
        Context(),
    )


def _otlp(settings: TracingSettings) -> SpanExporter:
    # Given here too, because they may come from a file.
    headers = dict(parse_env_headers(settings.headers(), liberal=True))
    # Each brings packages that the other does not need.
    if settings.protocol() == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter(headers=headers)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    return HttpExporter(headers=headers)


def _rpc(method: str) -> dict[str, str | int]:
    return {"rpc.system.name": "grpc", "rpc.method": method}


def _server(address: str, port: int | None) -> dict[str, str | int]:
    where: dict[str, str | int] = {"server.address": address}
    return where if port is None else where | {"server.port": port}


def _call_end(span: Span, failed: Callable[[str], bool]) -> CallEnd:
    def end(code: str, reason: str) -> None:
        span.set_attribute("rpc.response.status_code", code)
        if reason:
            span.set_attribute("fashion.reason", reason)
        if failed(code):
            _fail(span, code)

    return end


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
