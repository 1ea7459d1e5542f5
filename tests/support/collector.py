"""A collector of traces as operators have one: OTLP over gRPC and over HTTP, on sockets."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Received:
    """A span, and the process that sent it."""

    service: str
    span: Span

    @property
    def trace_id(self) -> str:
        """The id of its trace, in hexadecimal digits."""
        return self.span.trace_id.hex()

    @property
    def id(self) -> str:
        """Its own id, in hexadecimal digits."""
        return self.span.span_id.hex()

    @property
    def parent_id(self) -> str:
        """The id of its parent, in hexadecimal digits; "" for a root."""
        return self.span.parent_span_id.hex()

    @property
    def attributes(self) -> dict[str, str | int]:
        """Its attributes."""
        return _plain(self.span.attributes)


@dataclass
class Collector:
    """What has arrived.

    Attributes:
        grpc_url: of OTLP over gRPC.
        http_url: of OTLP over HTTP.
        requests: all messages.
        headers: of all messages, their names in lower case.
    """

    grpc_url: str = ""
    http_url: str = ""
    requests: list[trace_service_pb2.ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def take(self, content: bytes, headers: dict[str, str]) -> None:
        """Takes a message in."""
        self.headers.append(headers)
        self.requests.append(trace_service_pb2.ExportTraceServiceRequest.FromString(content))

    def resources(self) -> list[dict[str, str | int]]:
        """The attributes of the processes that have sent something."""
        return [_plain(each.resource.attributes) for request in self.requests for each in request.resource_spans]

    def spans(self, trace_id: str = "") -> list[Received]:
        """The spans of a trace, or of all, in the order in which they began."""
        received = [
            Received(str(_plain(of_process.resource.attributes)["service.name"]), span)
            for request in self.requests
            for of_process in request.resource_spans
            for of_scope in of_process.scope_spans
            for span in of_scope.spans
        ]
        return sorted(
            (each for each in received if trace_id in ("", each.trace_id)),
            key=lambda each: each.span.start_time_unix_nano,
        )


def _plain(attributes: Sequence[KeyValue]) -> dict[str, str | int]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Runs a collector for as long as the context lasts."""
    received = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces", self.path
            content = self.rfile.read(int(self.headers["content-length"]))
            received.take(content, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = grpc.server(ThreadPoolExecutor(4))
    service = "opentelemetry.proto.collector.trace.v1.TraceService"

    def export(content: bytes, context: grpc.ServicerContext) -> bytes:
        received.take(content, {key: str(value) for key, value in context.invocation_metadata()})
        return b""

    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(export)}),)
    )
    received.grpc_url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.http_url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.05))
    thread.start()
    try:
        yield received
    finally:
        server.stop(None).wait()
        http.shutdown()
        thread.join()
        http.server_close()
