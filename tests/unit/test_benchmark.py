"""Benchmarks: their arithmetic, their page, and one tiny run of each part; never how fast anything is."""

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import pytest

from cli.main import run
from offline.benchmark import peers
from offline.benchmark.load import LoadPoint, arrivals, sustained
from offline.benchmark.page import page, target_rows
from offline.benchmark.run import PARTS
from offline.benchmark.timing import Series, interleaved, ratio
from services.bundle import Bundle
from services.embedder.runtimes.openvino import OpenvinoEncoder
from tests.unit.random_resnet import HEIGHT, WIDTH


def test_workloads_take_turns_and_the_warm_up_does_not_count() -> None:
    called: list[str] = []
    series = interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=3, calls=2)
    assert called == ["a", "a", "b", "b"] * 4
    assert [len(one.rounds) for one in series.values()] == [3, 3]


def test_a_ratio_is_formed_round_by_round() -> None:
    found = ratio(Series((10.0, 40.0, 30.0)), (Series((4.0, 8.0, 6.0)), 1), (Series((1.0, 2.0, 2.0)), 3))
    assert found.median == pytest.approx(30 / 12)
    assert (found.low, found.high) == (pytest.approx(10 / 7), pytest.approx(40 / 14))
    assert Series((3.0, 1.0, 2.0)).median == 2.0


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(200.0, 50.0, np.random.default_rng(1))
    assert (np.diff(times) >= 0).all() and times[0] >= 0 and times[-1] <= 50
    assert len(times) == pytest.approx(10_000, rel=0.05)
    gaps = np.diff(times)
    # Exponential: as wide as they are long.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


def test_a_rate_counts_only_where_all_were_answered_in_time() -> None:
    def point(offered: float, p99: float, refused: float = 0.0) -> LoadPoint:
        return LoadPoint(offered, offered, refused, 1.0, p99, p99)

    assert sustained([point(10, 20), point(20, 49), point(30, 51)]) == 20
    assert sustained([point(10, 20), point(20, 30, refused=0.01)]) == 10
    assert sustained([]) == 0.0


def test_latency_counts_from_when_a_query_was_meant_to_be_sent() -> None:
    import grpc

    from fashion.v1 import search_pb2, search_pb2_grpc
    from offline.benchmark.load import offer

    class Slow(search_pb2_grpc.SearchServiceServicer):
        """Answers one at a time, 50 ms each."""

        def __init__(self) -> None:
            self.turn = asyncio.Lock()

        async def FindSimilar(self, request, context):  # noqa: N802
            async with self.turn:
                await asyncio.sleep(0.05)
            return search_pb2.FindSimilarResponse()

        async def GetIndex(self, request, context):  # noqa: N802
            return search_pb2.GetIndexResponse()

    async def measured() -> LoadPoint:
        server = grpc.aio.server()
        search_pb2_grpc.add_SearchServiceServicer_to_server(Slow(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await offer(f"127.0.0.1:{port}", (b"x",), rate=60.0, seconds=1.0, seed=1)
        finally:
            await server.stop(0)

    found = asyncio.run(measured())
    # Sixty are meant to arrive in a second and twenty can be answered: the last wait some two seconds.
    assert found.p99_ms > 1000
    assert found.p50_ms > 300
    assert found.refused == 0.0


def fixture() -> dict[str, dict[str, object]]:
    machine = {"processor": "A processor", "processors": 2, "flags": ["avx2"], "load": 0.1}
    common = {"machine": machine, "products": 1000}
    return {
        "start": {
            **common,
            "seconds": 6.0,
            "resident_mib": 500.0,
            "resident_after_queries_mib": 600.0,
            "starts": [6.0],
        },
        "precision": {
            **common,
            "medians_ms": {},
            "throughput": {"median": 2.5, "low": 2.0, "high": 3.0},
            "one": {"median": 2.5, "low": 2.0, "high": 3.0},
        },
    }


def test_the_page_shows_what_was_reached_and_what_was_missed() -> None:
    rows = {row[0]: row for row in target_rows(fixture())}
    assert rows["start to SERVING, warm cache"][1:5] == ("at most 5 s", "6.00 s", "-", "missed")
    assert rows["resident memory after queries"][4] == "reached"
    assert rows["bfloat16 / float32, throughput"][2:5] == ("2.50", "2.00–3.00", "reached")
    text = page(fixture(), "fashion bench all shop.zip", "## Why\n\nBecause.")
    assert "fashion bench all shop.zip" in text and "Because." in text and "missed" in text


@pytest.mark.timeout(600)
def test_every_part_runs_on_a_few_drawn_products(tmp_path: Path) -> None:
    from offline.drawn import draw_catalogue

    draw_catalogue(tmp_path / "shop", seed=5, products=40)
    few = ["--rounds", "1", "--calls", "1", "--load-s", "0.3"]
    where = ["--output", str(tmp_path / "performance"), "--work", str(tmp_path / "work")]
    os.environ.pop("EMBEDDER_RUNTIME", None)
    parts = [part for part in PARTS if part != "peers"]
    for part in parts:
        assert run(["bench", part, str(tmp_path / "shop"), *few, *where]) == 0
    figures = {part: json.loads((tmp_path / "performance" / f"{part}.json").read_text()) for part in parts}
    assert figures["ingest"]["rows_a_second"] > 0
    assert figures["start"]["resident_mib"] > 50
    assert set(figures["latency"]["three processes"]) == {
        "floor",
        "echo",
        "three processes, photograph",
        "three processes, product",
    }
    assert figures["load"]["points"][0]["offered"] > 0
    assert figures["precision"]["cosine_min"] >= 0.999
    assert "What we meant to reach" in (tmp_path / "performance.md").read_text()
    # A second ingest would measure something else.
    assert run(["bench", "ingest", str(tmp_path / "shop"), *few, *where]) == 2


def test_the_peers_network_is_the_same_network(bundle: Bundle) -> None:
    pytest.importorskip("onnx", reason="requirements-bench.lock is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="requirements-bench.lock is not installed")
    session = onnxruntime.InferenceSession(peers.onnx_model(bundle), providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(1).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    (found,) = session.run(None, {"pixels": batch})
    ours = OpenvinoEncoder.from_bundle(bundle, precision="float32").encode(batch)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), ours, atol=1e-4)
