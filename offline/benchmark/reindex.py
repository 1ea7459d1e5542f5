"""A change of the model under load: what queries notice of it, second by second."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import numpy as np

from fashion.v1 import reindex_pb2, reindex_pb2_grpc, search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.altered_bundles import altered_bundle
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.hard_pictures import encoded
from offline.benchmark.load import arrivals
from offline.benchmark.machine import Machine
from offline.benchmark.processes import running
from offline.drawn.catalogue import catalogue_specs, draw_upload
from offline.report.plots import BLUE, GREEN, ORANGE, new_figure, save_figure
from services.contract.errors import DeadlineExceeded, FailedPrecondition

Say = Callable[[str], None]

MAX_SLOWDOWN: Final = 1.5
_PICTURES: Final = 480
_PHOTOGRAPHS: Final = 24
_ROWS: Final = 100
_TIMEOUT_S: Final = 30.0
_WINDOW_S: Final = 10.0
_POLL_S: Final = 0.25
_LONGEST_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Query:
    """A query: when it was to be sent, in seconds; how long it took, in ms; the model that answered, "" for none."""

    at_s: float
    ms: float
    model_version: str


def reindex(
    products: int,
    rate: float,
    rest_s: float,
    seed: int,
    say: Say = lambda text: None,
    *,
    bundle: Path = Path("models/fashion-resnet50"),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Changes the model of a stack of its own while photographs and products are asked for.

    Args:
        products: of the drawn catalogue, in [100, 5000].
        rate: queries per second, half of them photographs.
        rest_s: how long queries are measured alone, before and after, in seconds.
        seed: of all that is random.
        say: takes a line now and then.
        bundle: the live one. The next one has the same weights and another name.
        environment: further settings of the stack.

    Returns:
        The figures; `problems` is empty where no query failed, each was of one model, and the percentile stayed within
        1.5 times.
    """
    with TemporaryDirectory() as folder:
        other = Path(folder) / "next"
        version = altered_bundle(bundle, other)
        settings = {
            "SEARCH_DATA_DIR": str(Path(folder) / "data"),
            "EMBEDDER_BUNDLE": str(bundle.absolute()),
            "GATEWAY_ENABLED": "false",
            "SERVER_HOST": "127.0.0.1",
            "SERVER_QUERY_DEADLINE_S": "30",
            **(environment or {}),
        }
        with running("services.stack", settings, Path(folder) / "stack.log") as server:
            return asyncio.run(_Change(server.target, str(other), version, rate, rest_s, seed, say).run(products))


class _Change:
    """A stack, its queries, and the change."""

    def __init__(self, target: str, bundle: str, version: str, rate: float, rest_s: float, seed: int, say: Say) -> None:
        self._target, self._bundle, self._version = target, bundle, version
        self._rate, self._rest_s, self._seed, self._say = rate, rest_s, seed, say
        self._queries: list[Query] = []
        self._failed: list[str] = []
        self._events: dict[str, float] = {}
        self._began = 0.0

    async def run(self, products: int) -> dict[str, Any]:
        machine = Machine.this()
        specs = catalogue_specs(self._seed, _PICTURES)
        photographs = [encoded(draw_upload(each), "JPEG") for each in specs[:: len(specs) // _PHOTOGRAPHS]]
        async with grpc.aio.insecure_channel(self._target) as channel:
            search, operator = search_pb2_grpc.SearchServiceStub(channel), reindex_pb2_grpc.ReindexServiceStub(channel)
            rows = drawn_rows(self._seed, products, pictures=_PICTURES)
            for start in range(0, len(rows), _ROWS):
                await search.UpsertProducts(
                    search_pb2.UpsertProductsRequest(rows=rows[start : start + _ROWS]), timeout=300
                )
            self._say(f"{products:,} products; {self._rate:g} queries a second begin")
            self._began = time.monotonic()
            asking = asyncio.create_task(self._ask(search, photographs, products))
            try:
                await asyncio.sleep(self._rest_s)
                state = await self._change(operator)
                await asyncio.sleep(self._rest_s)
                begun = time.monotonic()
                await operator.RollbackGeneration(reindex_pb2.RollbackGenerationRequest(), timeout=_TIMEOUT_S)
                rollback_s = time.monotonic() - begun
                self._event("rolled back")
                await asyncio.sleep(5.0)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        return self._figures(machine, products, state, rollback_s)

    async def _change(self, operator: "reindex_pb2_grpc.ReindexServiceAsyncStub") -> reindex_pb2.Reindex:
        self._event("begun")
        await operator.StartReindex(reindex_pb2.StartReindexRequest(bundle=self._bundle), timeout=_TIMEOUT_S)
        while True:
            response = await operator.GetReindex(reindex_pb2.GetReindexRequest(), timeout=_TIMEOUT_S)
            state = response.reindex
            if "loaded" not in self._events and state.embedded_count:
                self._event("loaded")
            if "embedded" not in self._events and state.embedded_count and not state.missing_count:
                self._event("embedded")
            if state.live.model_version == self._version:
                self._event("switched")
                return state
            if state.other.status == reindex_pb2.GENERATION_STATUS_REFUSED:
                raise FailedPrecondition(
                    f"The gate has not passed: {' '.join(state.comparison.reasons)}", reason="GATE_NOT_PASSED"
                )
            if time.monotonic() - self._began > _LONGEST_S:
                raise DeadlineExceeded(
                    f"The model is not changed after {_LONGEST_S:.0f} s: {state.trouble or 'it is still building.'}",
                    reason="DEADLINE_EXCEEDED",
                )
            await asyncio.sleep(_POLL_S)

    def _event(self, name: str) -> None:
        self._events[name] = round(time.monotonic() - self._began, 2)
        self._say(f"{self._events[name]:.1f} s: {name}")

    async def _ask(
        self, search: "search_pb2_grpc.SearchServiceAsyncStub", photographs: Sequence[bytes], products: int
    ) -> None:
        random = np.random.default_rng(self._seed)
        sent: set[asyncio.Task[None]] = set()
        try:
            for at_s in arrivals(self._rate, _LONGEST_S, random).tolist():
                await asyncio.sleep(max(0.0, self._began + at_s - time.monotonic()))
                if random.random() < 0.5:
                    content = photographs[int(random.integers(len(photographs)))]
                    request = search_pb2.FindSimilarRequest(image=types_pb2.Image(content=content))
                else:
                    request = search_pb2.FindSimilarRequest(product_id=f"p{random.integers(products)}")
                task = asyncio.create_task(self._query(search, request, at_s))
                sent.add(task)
                task.add_done_callback(sent.discard)
        finally:
            await asyncio.gather(*sent, return_exceptions=True)

    async def _query(
        self, search: "search_pb2_grpc.SearchServiceAsyncStub", request: search_pb2.FindSimilarRequest, at_s: float
    ) -> None:
        version = ""
        try:
            answer = await search.FindSimilar(request, timeout=_TIMEOUT_S)
            version = answer.applied.model_version
            classified = answer.classification.model_version
            count, wanted = len(answer.products), min(10, answer.applied.eligible_count)
            if count != wanted or (classified and classified != version):
                self._failed.append(f"{count} of {wanted} products of {version}, classified by {classified}")
        except grpc.aio.AioRpcError as error:
            self._failed.append(f"{error.code().name}: {error.details()}")
        # From when it was to be sent, so that a sender that falls behind hides nothing.
        self._queries.append(Query(at_s, 1000 * (time.monotonic() - self._began - at_s), version))

    def _figures(
        self, machine: Machine, products: int, state: reindex_pb2.Reindex, rollback_s: float
    ) -> dict[str, Any]:
        begun, switched = self._events["begun"], self._events["switched"]
        spans = {
            "before": (min(2.0, begun / 4), begun),
            "during": (begun, switched),
            "after": (switched, self._events["rolled back"]),
        }
        p99 = {name: percentile(self._queries, *span) for name, span in spans.items()}
        slowdown = p99["during"] / p99["before"]
        limit_ms = MAX_SLOWDOWN * p99["before"]
        # Queries beyond the limit, between two events.
        late = {
            f"{start} to {end}": [each.ms > limit_ms for each in self._queries if from_s <= each.at_s < to_s]
            for (start, from_s), (end, to_s) in pairwise(self._events.items())
        }
        problems = [*dict.fromkeys(self._failed)][:20]
        # NaN, of no queries at all, is no answer either.
        if not slowdown <= MAX_SLOWDOWN:
            problems.append(f"The 99th percentile grew {slowdown:.2f} times; at most {MAX_SLOWDOWN:g} is allowed.")
        windows = np.arange(0.0, max(each.at_s for each in self._queries), _WINDOW_S / 2)
        return {
            "machine": asdict(machine),
            "products": products,
            "rate": self._rate,
            "queries": len(self._queries),
            "failed": len(self._failed),
            "events_s": self._events,
            "p50_ms": {name: round(percentile(self._queries, *span, share=0.5), 2) for name, span in spans.items()},
            "p99_ms": {name: round(value, 2) for name, value in p99.items()},
            "slowdown": round(slowdown, 2),
            "late": {name: [sum(each), len(each)] for name, each in late.items()},
            "rollback_s": round(rollback_s, 3),
            "embedded_per_s": round(state.embedded_count / max(self._events.get("embedded", switched) - begun, 0.1), 1),
            "overlap": round(state.comparison.overlap, 4),
            "window_s": [round(float(each) + _WINDOW_S / 2, 1) for each in windows],
            "window_p99_ms": [round(percentile(self._queries, each, each + _WINDOW_S), 2) for each in windows],
            "problems": problems,
            "seconds": round(time.monotonic() - self._began),
        }


def percentile(queries: Sequence[Query], start_s: float, end_s: float, share: float = 0.99) -> float:
    """Returns a percentile of the queries that were to be sent within a time, in ms; NaN without any."""
    times = [each.ms for each in queries if start_s <= each.at_s < end_s]
    return float(np.quantile(times, share)) if times else float("nan")


def draw_reindex(figures: Mapping[str, Any], file: Path) -> Path:
    """Draws the 99th percentile over time.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(8.0, 3.6)
    axes = figure.add_subplot()
    axes.plot(figures["window_s"], figures["window_p99_ms"], color=BLUE, label=f"99th percentile of {_WINDOW_S:.0f} s")
    before = figures["p99_ms"]["before"]
    axes.axhline(before, color=GREEN, linewidth=0.8, label="before")
    axes.axhline(MAX_SLOWDOWN * before, color=ORANGE, linewidth=0.8, label=f"{MAX_SLOWDOWN:g} times")
    top = 1.15 * max(*(each for each in figures["window_p99_ms"] if each == each), MAX_SLOWDOWN * before)
    for number, (name, at_s) in enumerate(figures["events_s"].items()):
        axes.axvline(at_s, color="black", linewidth=0.8, linestyle=":")
        # A name in the last tenth would leave the picture on the right.
        side, offset = ("right", -3) if at_s > 0.9 * figures["window_s"][-1] else ("left", 3)
        # Events may follow at once: names take turns in two rows.
        place = offset, -3 - 10 * (number % 2)
        axes.annotate(name, (at_s, top), xytext=place, textcoords="offset points", ha=side, va="top", fontsize=8)
    axes.set_ylim(0, top)
    axes.set_xlabel(f"seconds; {figures['products']:,} products, {figures['rate']:g} queries a second")
    axes.set_ylabel("ms")
    axes.legend(loc="lower right", fontsize=8)
    return save_figure(figure, file)
