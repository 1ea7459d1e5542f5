"""Benchmarks: their arithmetic, their page, and one tiny run of each part; never how fast anything is."""

import asyncio
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.main import run
from offline.benchmark import peers
from offline.benchmark.hard_pictures import encoded, noise
from offline.benchmark.load import LoadPoint, arrivals, sustained
from offline.benchmark.overload import overload
from offline.benchmark.page import page, target_rows
from offline.benchmark.parts import PARTS
from offline.benchmark.plots import draw_plots
from offline.benchmark.starts import AFTER_KILL, WITH
from offline.benchmark.subject import WHOLE_WITHOUT_HEADS, measure_subject
from offline.benchmark.timing import Series, interleaved, ratio
from offline.benchmark.trace import TracedStep, medians
from services.bundle.reader import Bundle
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.runtimes.openvino import OpenvinoEncoder
from tests.support.random_resnet import HEIGHT, WIDTH


def test_workloads_take_turns_and_the_warm_up_does_not_count() -> None:
    called: list[str] = []
    series = interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=3, calls=2)
    assert called == ["a", "a", "b", "b"] * 4
    assert [len(one.rounds) for one in series.values()] == [3, 3]


def test_the_ways_to_look_at_a_photograph_are_measured_in_every_round() -> None:
    content = encoded(noise(60, 80))
    series = measure_subject(FakeEncoder(dimension=8), FakeEncoder(dimension=8), [content] * 3, rounds=2)

    assert set(series) == {WHOLE_WITHOUT_HEADS, "whole", "auto"}
    assert all(len(each.rounds) == 2 and min(each.rounds) > 0 for each in series.values())


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


@pytest.mark.parametrize("hint", [True, False])
def test_a_refusal_counts_as_hinted_only_with_a_time_to_try_again(hint: bool) -> None:
    import grpc

    from fashion.v1 import search_pb2, search_pb2_grpc
    from services.contract.errors import Overloaded
    from services.serving.status import status_of

    class Small(search_pb2_grpc.SearchServiceServicer):
        """Answers three at a time."""

        def __init__(self) -> None:
            self.busy = 0

        async def FindSimilar(self, request, context):  # noqa: N802
            if self.busy >= 3:
                status = status_of(Overloaded("Full.", reason="QUEUE_FULL"))
                await context.abort(status.code, status.message, status.trailing_metadata if hint else ())
            self.busy += 1
            await asyncio.sleep(0.5)
            self.busy -= 1
            return search_pb2.FindSimilarResponse()

    async def measured():
        server = grpc.aio.server()
        search_pb2_grpc.add_SearchServiceServicer_to_server(Small(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await overload(f"127.0.0.1:{port}", (b"x",), bursts=(2, 20, 40))
        finally:
            await server.stop(0)

    found = asyncio.run(measured())
    # Two at once were all answered; at twenty it stops.
    assert (found.sent, found.answered, found.refused) == (20, 3, 17)
    assert found.codes == {"RESOURCE_EXHAUSTED": 17}
    assert (found.hinted, found.hinted_share, found.retry_s) == ((17, 1.0, 0.5) if hint else (0, 0.0, None))


def test_a_trace_is_the_median_of_its_queries_step_by_step() -> None:
    from fashion.v1 import search_pb2

    def answer(total: int, embed_start: int, embed: int, search_start: int) -> search_pb2.FindSimilarResponse:
        response = search_pb2.FindSimilarResponse()
        for step, start, length in (
            (search_pb2.SEARCH_STEP_TOTAL, 0, total),
            (search_pb2.SEARCH_STEP_SEARCH, search_start, 500),
            (search_pb2.SEARCH_STEP_READ_DISLIKES, 10, 200),
            (search_pb2.SEARCH_STEP_EMBED, embed_start, embed),
        ):
            timing = response.explanation.timings.add(step=step)
            timing.start_offset.FromMicroseconds(start)
            timing.duration.FromMicroseconds(length)
        return response

    trace = medians(
        [
            (9.0, answer(8000, 100, 5000, 6000)),
            (7.0, answer(6000, 300, 4000, 5000)),
            (8.0, answer(7000, 200, 9000, 7000)),
        ]
    )
    assert (trace.calls, trace.caller_ms, trace.search_ms) == (3, 8.0, 7.0)
    assert trace.steps == (
        TracedStep("read dislikes", 0.01, 0.2),
        TracedStep("embed", 0.2, 5.0),
        TracedStep("search", 6.0, 0.5),
    )


def fixture() -> dict[str, dict[str, object]]:
    machine = {"processor": "A processor", "processors": 2, "flags": ["avx2"], "load": 0.1}
    common = {"machine": machine, "products": 1000}
    return {
        "start": {
            **common,
            "resident_mib": 500.0,
            "resident_after_queries_mib": 600.0,
            "changes": 1000,
            "imports": {"services.stack": [1.0]},
            "starts": {f"services.stack, {way}": [6.0, 5.0, 2.25] for way in (WITH, AFTER_KILL)},
            "index": {f"services.stack, {way}": [0.5, 0.75, 0.25] for way in (WITH, AFTER_KILL)},
            "processors": {f"services.stack, {way}": [3.5, 3.75, 3.25] for way in (WITH, AFTER_KILL)},
        },
        "precision": {
            **common,
            "medians_ms": {},
            "throughput": {"median": 2.5, "low": 2.0, "high": 3.0},
            "one": {"median": 2.5, "low": 2.0, "high": 3.0},
        },
    }


def drawn_in_colour(path: Path) -> bool:
    with Image.open(path) as image:
        return bool((np.asarray(image.convert("HSV"))[..., 1] > 100).mean() > 0.001)


def test_the_page_shows_what_was_reached_and_what_was_missed() -> None:
    rows = {row[0]: row for row in target_rows(fixture())}
    assert rows["start to SERVING, warm cache"][1:5] == ("at most 2.5 s", "5.00 s", "2.25–6.00", "missed")
    assert rows["resident memory after queries"][4] == "reached"
    assert rows["bfloat16 or int8, whichever serves, / float32, throughput"][2:5] == ("2.50", "2.00–3.00", "reached")
    text = page(fixture(), "fashion bench all shop.zip", "shop/why.md")
    assert "fashion bench all shop.zip" in text and "(shop/why.md)" in text and "missed" in text


def shown() -> dict[str, dict[str, object]]:
    """Figures of the parts that have pictures."""
    figures = fixture()
    common = {key: figures["start"][key] for key in ("machine", "products")}
    point = {"offered": 100.0, "answered": 99.0, "refused": 0.0, "p50_ms": 5.0, "p99_ms": 20.0, "p999_ms": 40.0}
    late = {**point, "offered": 200.0, "refused": 0.1, "p50_ms": 30.0, "p99_ms": 90.0, "p999_ms": 200.0}
    nothing = {**point, "offered": 300.0, "answered": 0.0, "refused": 1.0, "p50_ms": float("inf")}
    flooded = {
        "sent": 128,
        "answered": 64,
        "refused": 64,
        "hinted": 63,
        "codes": {"RESOURCE_EXHAUSTED": 63, "UNAVAILABLE": 1},
        "refusal_p50_ms": 12.0,
        "retry_s": 0.5,
        "hinted_share": 63 / 64,
    }
    trace = {
        "calls": 175,
        "caller_ms": 4.4,
        "search_ms": 3.9,
        "steps": [
            {"step": "read dislikes", "start_ms": 0.1, "ms": 0.4},
            {"step": "embed", "start_ms": 0.2, "ms": 2.9},
            {"step": "search", "start_ms": 3.3, "ms": 0.4},
        ],
    }
    ratio = {"median": 1.2, "low": 1.1, "high": 1.3}
    return {
        "floor": {
            **common,
            "runtime": "openvino",
            "precision": "bfloat16",
            "medians_ms": {"all three": 3.0, "inference": 2.5},
            "spread_ms": {"all three": [2.9, 3.1], "inference": [2.4, 2.6]},
            "type_products": 1500,
            "batch": 32,
            "batched_a_second": 900.0,
        },
        "latency": {
            **common,
            "runtime": "openvino",
            "precision": "bfloat16",
            "one process": {"floor": 3.0, "one process, photograph": 4.2},
            "three processes": {"floor": 3.0, "three processes, photograph": 5.2},
            "ratios": {
                "one process, photograph / (floor + 1 echo)": ratio,
                "three processes, photograph / (floor + 3 echoes)": ratio,
            },
            "waterfall": {"decoding": 0.1, "inference": 2.5, "FAISS, one derived type": 0.2, "together": 4.2},
            "traces": {"one process": trace, "three processes": {**trace, "caller_ms": 5.9, "search_ms": 5.0}},
        },
        "load": {
            **common,
            "offline_a_second": 400.0,
            "ratio": 0.25,
            "points": [point, late, nothing],
            "overload": flooded,
        },
        "peers": {
            **common,
            "medians_ms": {"ours, photograph": 4.0, "ours, product": 2.0, "Milvus Lite, product": 800.0},
            "ratios": {"Milvus Lite, product": ratio},
            "recall_at_10": 1.0,
            "missing": {"the report's method": "No module named 'keras'"},
        },
    }


def test_each_part_that_has_a_picture_is_drawn_and_shown(tmp_path: Path) -> None:
    drawn = draw_plots(shown(), tmp_path / "performance")
    assert set(drawn) == {"load", "latency", "peers"}
    assert all(drawn_in_colour(path) for path in drawn.values())
    text = page(
        shown(), "fashion bench all shop.zip", pictures={name: f"x/{path.name}" for name, path in drawn.items()}
    )
    for name in drawn:
        assert f"](x/{name}.png)" in text
    assert "](" not in page(shown(), "fashion bench all shop.zip")


def test_the_same_figures_give_the_same_pictures(tmp_path: Path) -> None:
    first, second = draw_plots(shown(), tmp_path / "a"), draw_plots(shown(), tmp_path / "b")
    assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in second.values()]


def test_figures_without_what_a_picture_needs_have_none(tmp_path: Path) -> None:
    figures = shown()
    del figures["latency"]["traces"], figures["peers"]
    figures["load"]["points"] = []
    assert draw_plots(figures, tmp_path) == {}
    assert draw_plots(fixture(), tmp_path) == {}


def test_the_page_tells_what_becomes_of_a_burst() -> None:
    figures = shown()
    text = page(figures, "fashion bench all shop.zip")
    assert "63 RESOURCE_EXHAUSTED, 1 UNAVAILABLE" in text
    assert "| reached |" not in next(line for line in text.splitlines() if "RetryInfo / all" in line)
    figures["load"]["overload"] |= {"hinted": 64, "hinted_share": 1.0, "codes": {"RESOURCE_EXHAUSTED": 64}}
    rows = {row[0]: row for row in target_rows(figures)}
    assert next(row for name, row in rows.items() if "RetryInfo" in name)[4] == "reached"
    figures["load"]["overload"] |= {"refused": 0, "hinted": 0, "hinted_share": None, "codes": {}}
    assert not any("RetryInfo" in row[0] for row in target_rows(figures))
    assert "all were answered" in page(figures, "fashion bench all shop.zip")


def test_the_page_shows_the_floor() -> None:
    text = page(shown(), "fashion bench all shop.zip")
    assert "| inference | 2.50 | 2.40–2.60 |" in text and "900 a second" in text


def test_the_page_is_rendered_again_from_figures_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "performance"
    folder.mkdir()
    for part, figures in shown().items():
        (folder / f"{part}.json").write_text(json.dumps(figures))
    report = ["bench", "report", "--output", str(folder)]
    assert run(report) == 0
    assert "(performance/peers.png)" in (tmp_path / "performance.md").read_text()
    # As Python itself does it: an import of what is None fails.
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(report) == 0
    assert "peers.png" not in (tmp_path / "performance.md").read_text()


@pytest.mark.timeout(600)
def test_every_part_runs_on_a_few_drawn_products(tmp_path: Path) -> None:
    from offline.drawn import draw_catalogue

    draw_catalogue(tmp_path / "shop", seed=5, products=40)
    few = ["--rounds", "1", "--calls", "1", "--load-s", "0.3"]
    where = ["--output", str(tmp_path / "performance"), "--work", str(tmp_path / "work")]
    os.environ.pop("EMBEDDER_RUNTIME", None)
    parts = [part for part in PARTS if part != "peers"]
    assert parts[0] == "floor", "it needs no catalogue"
    for part in parts:
        assert run(["bench", part, str(tmp_path / "shop"), *few, *where]) == 0
    figures = {part: json.loads((tmp_path / "performance" / f"{part}.json").read_text()) for part in parts}
    assert figures["ingest"]["rows_a_second"] > 0
    export = figures["export"]
    assert export["exported"] == export["compared"] == export["same"] == 40 and export["rows"] == 40 * 20
    assert figures["start"]["resident_mib"] > 50
    assert all(0 < seconds[0] < 60 for seconds in figures["start"]["starts"].values())
    # These have no index.
    alone = {"services.embedder", "services.classifier"}
    assert figures["start"]["starts"].keys() == figures["start"]["index"].keys() | alone
    assert set(figures["latency"]["three processes"]) == {
        "floor",
        "echo",
        "three processes, photograph",
        "three processes, product",
    }
    assert figures["load"]["points"][0]["offered"] > 0
    assert figures["precision"]["cosine_min"] >= 0.999
    assert set(figures["floor"]["medians_ms"]) == {"all three", "decoding", "inference", "FAISS, one derived type"}
    assert figures["floor"]["batched_a_second"] > 0
    assert list(figures["latency"]["traces"]) == ["one process", "three processes"]
    for trace in figures["latency"]["traces"].values():
        assert {step["step"] for step in trace["steps"]} == {"embed", "classify", "read dislikes", "search"}
        assert trace["caller_ms"] > trace["search_ms"] > max(step["ms"] for step in trace["steps"])
    flooded = figures["load"]["overload"]
    assert flooded["answered"] > 0
    assert flooded["refused"] > 0
    assert flooded["codes"] == {"RESOURCE_EXHAUSTED": flooded["refused"]}
    assert flooded["hinted"] == flooded["refused"]
    for picture in ("load", "latency"):
        assert f"(performance/{picture}.png)" in (tmp_path / "performance.md").read_text()
        with Image.open(tmp_path / "performance" / f"{picture}.png") as image:
            image.verify()
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
