"""The processor time of a query in all processes of a stack, beside what decoding, inference, FAISS and gRPC need.

Unlike a latency it is steady on a shared machine, and it is what bounds the queries a second.
"""

import asyncio
import re
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import grpc
import numpy as np
from numpy.typing import NDArray

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.echo import METHOD
from offline.benchmark.latency import Photographs
from offline.benchmark.load import arrivals
from offline.benchmark.processes import ServerProcess, running_echo
from services.embedder.encoder import Encoder
from services.vision import prepare

_TOP_K: Final = 10
# Callers that wait for their answer before they ask again, as many as keep both threads of inference busy.
_SATURATING: Final = 8
_SHARES: Final = (0.2, 0.5, 0.8)
_WARM_UP_S: Final = 2.0
_TIMEOUT_S: Final = 20.0
_INFERENCES: Final = re.compile(r"^fashion_embedder_batch_photographs_(sum|count)(?:\{[^}]*\})? (\S+)", re.MULTILINE)

Ask = Callable[[int], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class CostPoint:
    """What queries of one kind cost under one load.

    Attributes:
        load: "one caller", "20 %" and so on of the saturating rate, or "saturation".
        answered: answers a second.
        failed: queries without an answer.
        processor_ms: processor time of all processes of the stack per answer, user and system, in ms.
        sender_ms: that of this process, which sends the queries.
        p50_ms: median time from the planned arrival to the answer, in ms.
        p99_ms: its 99th percentile.
        batch: photographs per inference; 0 without an inference.
    """

    load: str
    answered: float
    failed: int
    processor_ms: float
    sender_ms: float
    p50_ms: float
    p99_ms: float
    batch: float


def find_photographs(stub: "search_pb2_grpc.SearchServiceAsyncStub", contents: Sequence[bytes]) -> Ask:
    """Returns what asks for the products most similar to one photograph after another."""

    def ask(at: int) -> Awaitable[Any]:
        image = types_pb2.Image(content=contents[at % len(contents)])
        return stub.FindSimilar(search_pb2.FindSimilarRequest(image=image, top_k=_TOP_K), timeout=_TIMEOUT_S)

    return ask


def find_products(stub: "search_pb2_grpc.SearchServiceAsyncStub", product_ids: Sequence[str]) -> Ask:
    """Returns what asks for the products most similar to one product after another, in the whole inventory."""

    def ask(at: int) -> Awaitable[Any]:
        product_id = product_ids[at % len(product_ids)]
        return stub.FindSimilar(search_pb2.FindSimilarRequest(product_id=product_id, top_k=_TOP_K), timeout=_TIMEOUT_S)

    return ask


def send_bytes(channel: grpc.aio.Channel, contents: Sequence[bytes]) -> Ask:
    """Returns what sends bytes to the bare echo."""
    call: Any = channel.unary_unary(METHOD)
    return lambda at: call(contents[at % len(contents)], timeout=_TIMEOUT_S)


async def measure_loads(
    server: ServerProcess, admin_port: int | None, ask: Ask, seconds: float, rate: float | None = None
) -> list[CostPoint]:
    """Measures queries of one kind under each load.

    Args:
        server: the stack, or the bare echo.
        admin_port: where the stack offers its metrics; None for no batches.
        ask: sends the query of a number and waits for its answer.
        seconds: the duration of each load.
        rate: queries a second of which the loads are shares; None for those at saturation.
    """
    # The first calls of each thread are slower.
    await _measured("warm-up", server, admin_port, partial(_in_turn, ask, _SATURATING, min(_WARM_UP_S, seconds)))
    one = await _measured("one caller", server, admin_port, partial(_in_turn, ask, 1, seconds))
    most = await _measured("saturation", server, admin_port, partial(_in_turn, ask, _SATURATING, seconds))
    points = [one]
    for seed, share in enumerate(_SHARES):
        plan = arrivals(share * (rate or most.answered), seconds, np.random.default_rng(seed))
        name = f"{share:.0%} of saturation"
        points.append(await _measured(name, server, admin_port, partial(_at_random, ask, plan)))
    return [*points, most]


@dataclass(frozen=True, slots=True)
class Costs:
    """What a stack and a bare echo of the same bytes cost.

    Attributes:
        stack: the loads of each kind of query.
        echo: the same loads of the echo.
    """

    stack: Mapping[str, Sequence[CostPoint]]
    echo: Mapping[str, Sequence[CostPoint]]

    @property
    def batches(self) -> list[int]:
        """The numbers of photographs per inference that the loads formed."""
        return sorted({round(point.batch) for points in self.stack.values() for point in points if point.batch})

    def figures(self, floors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Returns all figures.

        Args:
            floors: by kind of query, in ms: "FAISS", and of photographs what `floor_ms` returns.
        """
        loads = {}
        for kind, points in self.stack.items():
            steps = floors[kind]
            loads[kind] = {
                point.load: {
                    **asdict(point),
                    "echo_ms": echo.processor_ms,
                    "floor_ms": (bound := _floor_of(steps, point) + echo.processor_ms),
                    "ratio": point.processor_ms / bound,
                }
                for point, echo in zip(points, self.echo[kind], strict=True)
            }
        return {"floors_ms": floors, "loads": loads}


async def measure_costs(
    stack: ServerProcess, admin_port: int, queries: Photographs, seconds: float, say: Callable[[str], None]
) -> Costs:
    """Measures photographs and products under each load; then the bare echo with their bytes.

    After a start from a snapshot, a stack checks all rows of its catalogue, which is no cost of a query. So this waits
    until it rests.

    Args:
        stack: the stack.
        admin_port: where it offers its metrics.
        queries: what is asked for.
        seconds: the duration of each load.
        say: shows each load's cost.
    """
    if not await stack.rested():
        say("  The stack works on without calls, so that the figures will be off.")
    points, echoes, sizes = {}, {}, {}
    sent = {"photograph": queries.contents, "product": tuple(each.encode() for each in queries.product_ids)}
    async with grpc.aio.insecure_channel(stack.target) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for kind, ask in (
            ("photograph", find_photographs(stub, queries.contents)),
            ("product", find_products(stub, queries.product_ids)),
        ):
            sizes[kind] = (await ask(0)).ByteSize()
            points[kind] = await measure_loads(stack, admin_port, ask, seconds)
            for point in points[kind]:
                say(f"  {kind}, {point.load}: {point.processor_ms:.1f} ms at {point.answered:.0f} a second")
    for kind, contents in sent.items():
        with running_echo(sizes[kind]) as server:
            async with grpc.aio.insecure_channel(server.target) as channel:
                rate = points[kind][-1].answered
                echoes[kind] = await measure_loads(server, None, send_bytes(channel, contents), seconds, rate)
    return Costs(points, echoes)


def floor_ms(encoder: Encoder, contents: Sequence[bytes], index: Any, batches: Sequence[int]) -> dict[str, Any]:
    """Measures the processor time of decoding, inference and FAISS per photograph, in this process.

    Args:
        encoder: as it is served.
        contents: files of photographs.
        index: of FAISS, of one derived type.
        batches: the numbers of photographs per inference to measure.

    Returns:
        "decoding" and "FAISS" in ms; "inference" in ms by the number of photographs.
    """
    pixels = np.stack([prepare(content, encoder.frame) for content in contents])
    embeddings = encoder.encode(pixels)

    def inference(size: int) -> float:
        return processor_ms(lambda at: encoder.encode(pixels[at * size : (at + 1) * size]), len(pixels) // size) / size

    return {
        "decoding": processor_ms(lambda at: prepare(contents[at], encoder.frame), len(contents)),
        "inference": {size: inference(size) for size in batches},
        "FAISS": processor_ms(lambda at: index.search(embeddings[at : at + 1], _TOP_K), len(contents)),
    }


def processor_ms(work: Callable[[int], object], count: int) -> float:
    """Returns the processor time of this process for one of some calls, which are numbered, in ms."""
    began = time.process_time()
    for at in range(count):
        work(at)
    return (time.process_time() - began) * 1000 / count


def _floor_of(steps: Mapping[str, Any], point: CostPoint) -> float:
    """Returns decoding, inference in the batches that a load formed, and FAISS, in ms."""
    inferences: Mapping[int, float] = steps.get("inference", {})
    inference = inferences[min(inferences, key=lambda size: abs(size - point.batch))] if inferences else 0.0
    return float(steps.get("decoding", 0.0) + inference + steps["FAISS"])


async def _measured(
    name: str,
    server: ServerProcess,
    admin_port: int | None,
    load: Callable[[list[float]], Awaitable[int]],
) -> CostPoint:
    times: list[float] = []
    before, sender, formed = server.all_processor_s(), time.process_time(), _inferences(admin_port)
    began = time.perf_counter()
    failed = await load(times)
    spent = time.perf_counter() - began
    sender, now = time.process_time() - sender, _inferences(admin_port)
    processor = server.all_processor_s() - before
    count = max(1, len(times))
    p50, p99 = np.percentile(times, [50, 99]) if times else (np.inf, np.inf)
    inferences = now[1] - formed[1]
    batch = (now[0] - formed[0]) / inferences if inferences else 0.0
    return CostPoint(
        name, len(times) / spent, failed, processor * 1000 / count, sender * 1000 / count, float(p50), float(p99), batch
    )


async def _in_turn(ask: Ask, callers: int, seconds: float, times: list[float]) -> int:
    """Asks with some callers, each of whom waits for an answer before asking again; returns how many failed."""
    until, asked, failed = time.perf_counter() + seconds, 0, 0

    async def caller() -> None:
        nonlocal asked, failed
        while (began := time.perf_counter()) < until:
            asked += 1
            try:
                await ask(asked)
            except grpc.aio.AioRpcError:
                failed += 1
            else:
                times.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return failed


async def _at_random(ask: Ask, plan: NDArray[np.float64], times: list[float]) -> int:
    """Asks at planned times, whether or not answers have come; returns how many failed."""
    begin, failed = time.perf_counter(), 0

    async def one(number: int, at: float) -> None:
        nonlocal failed
        try:
            await ask(number)
        except grpc.aio.AioRpcError:
            failed += 1
        else:
            times.append((time.perf_counter() - begin - at) * 1000)

    calls = []
    for number, at in enumerate(plan.tolist()):
        await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
        calls.append(asyncio.create_task(one(number, at)))
    await asyncio.gather(*calls)
    return failed


def _inferences(admin_port: int | None) -> tuple[float, float]:
    """Returns how many photographs and how many inferences there have been."""
    if admin_port is None:
        return 0.0, 0.0
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=_TIMEOUT_S) as answer:
        found = dict(_INFERENCES.findall(answer.read().decode()))
    return float(found.get("sum", 0)), float(found.get("count", 0))
