"""Measures what traces cost: `python -m offline.benchmark.tracing [BEFORE [ROUNDS]]`.

Stacks that differ in their traces alone answer the same queries in turns: without, twice, with all of them sent to a
collector, and with one of twenty kept. BEFORE is the folder of another version, such as one without traces, which takes
part too. The runtime is the fake one and the queries name products, so that nothing else takes time.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.processes import free_port, running
from offline.benchmark.timing import interleaved, ratio

_ROUNDS: Final = 101
_CALLS: Final = 20
_PRODUCTS: Final = 500
_SHIRT: Final = types_pb2.Product(master_category="Apparel", sub_category="Topwear", article_type="Shirts")
_STACK: Final = {"EMBEDDER_RUNTIME": "fake", "GATEWAY_ENABLED": "false", "REDIS_URL": ""}
_SINK: Final = """
import grpc, sys
from concurrent.futures import ThreadPoolExecutor
server = grpc.server(ThreadPoolExecutor(2))
taking = {"Export": grpc.unary_unary_rpc_method_handler(lambda content, context: b"")}
name = "opentelemetry.proto.collector.trace.v1.TraceService"
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, taking),))
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
"""


@contextlib.contextmanager
def _sink() -> Iterator[str]:
    """Runs a collector that throws everything away, and yields its URL."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _SINK, str(port)])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(20)


def _fill(channel: grpc.Channel) -> None:
    model = embedder_pb2_grpc.EmbedderServiceStub(channel).GetModel(embedder_pb2.GetModelRequest()).model
    directions = np.random.default_rng(0).normal(size=(_PRODUCTS, 2048)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = [
        search_pb2.ProductRow(
            product=_SHIRT,
            embedding=types_pb2.Embedding(values=direction, model_version=model.model_version),
        )
        for direction in directions
    ]
    for number, row in enumerate(rows):
        row.product.id = str(number)
    answer = search_pb2_grpc.SearchServiceStub(channel).UpsertProducts(search_pb2.UpsertProductsRequest(rows=rows))
    assert {each.outcome for each in answer.results} == {search_pb2.UPSERT_OUTCOME_CREATED}, answer.results[0]


def _query(channel: grpc.Channel) -> Callable[[], object]:
    stub, number = search_pb2_grpc.SearchServiceStub(channel), 0

    def work() -> object:
        nonlocal number
        number += 1
        request = search_pb2.FindSimilarRequest(product_id=str(number % _PRODUCTS), top_k=10, user_id="benchmark")
        return stub.FindSimilar(request, timeout=20)

    return work


def main() -> None:
    """Prints for each stack the median, its ratio to the one without traces, and the same of the processor's time.

    On a busy machine the processor's time says more.
    """
    before = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 and sys.argv[1] else None
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else _ROUNDS
    with contextlib.ExitStack() as resources:
        folder, url = Path(resources.enter_context(tempfile.TemporaryDirectory())), resources.enter_context(_sink())
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        rare = on | {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"}
        stacks: dict[str, tuple[dict[str, str], Path | None]] = {
            "off": ({}, None),
            "off again": ({}, None),
            "on": (on, None),
            "on, one of twenty": (rare, None),
        }
        if before is not None:
            stacks["before"] = {}, before
        workloads, servers = {}, {}
        for name, (settings, code) in stacks.items():
            own = _STACK | {"SEARCH_DATA_DIR": str(folder / name)} | settings
            stack = resources.enter_context(running("services.stack", own, folder / "log", folder=code))
            servers[name] = stack
            options = [("grpc.max_send_message_length", 64 << 20)]
            channel = resources.enter_context(grpc.insecure_channel(stack.target, options=options))
            _fill(channel)
            workloads[name] = _query(channel)
        begin_s = {name: server.processor_s() for name, server in servers.items()}
        series = interleaved(workloads, rounds, _CALLS)
        calls = (rounds + 1) * _CALLS
        taken_ms = {name: (server.processor_s() - begin_s[name]) / calls * 1000 for name, server in servers.items()}
    for name, times in series.items():
        against = ratio(times, (series["off"], 1.0))
        print(  # noqa: T201
            f"{name:20} {times.median:.3f} ms   {against.median:.3f} ({against.low:.3f} to {against.high:.3f})   "
            f"processor {taken_ms[name]:.3f} ms   {taken_ms[name] / taken_ms['off']:.3f}"
        )


if __name__ == "__main__":
    main()
