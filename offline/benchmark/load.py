"""How many photographs a second a deployment answers in time: arrivals by chance, whether it keeps up or not."""

import asyncio
import time
from dataclasses import dataclass

import grpc
import numpy as np
from numpy.typing import NDArray

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2

LIMIT_MS = 50.0


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """What happened at one offered rate.

    Attributes:
        offered: queries a second that were meant to arrive.
        answered: queries a second that were answered.
        refused: share that was refused or failed.
        p50_ms: median time from the intended arrival to the answer.
        p99_ms: of 99 of 100.
        p999_ms: of 999 of 1,000.
    """

    offered: float
    answered: float
    refused: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


def arrivals(rate: float, seconds: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Times of arrival of a Poisson process: seconds from its begin, ascending.

    Args:
        rate: mean arrivals a second.
        seconds: how long it goes on.
        random: where chance comes from.
    """
    count = random.poisson(rate * seconds)
    return np.sort(random.uniform(0.0, seconds, count))


async def offer(target: str, contents: tuple[bytes, ...], rate: float, seconds: float, seed: int) -> LoadPoint:
    """Sends photographs at the times of a Poisson process, without waiting for answers.

    Latency counts from when a query was meant to be sent: a sender that falls behind hides nothing (Tene, "How not to
    measure latency").
    """
    plan = arrivals(rate, seconds, np.random.default_rng(seed))
    times: list[float] = []
    failed = 0
    async with grpc.aio.insecure_channel(target) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        await stub.GetIndex(search_pb2.GetIndexRequest(), timeout=20)
        begin = time.perf_counter()

        async def ask(at: float, content: bytes) -> None:
            nonlocal failed
            await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
            request = search_pb2.FindSimilarRequest(image=types_pb2.Image(content=content), top_k=10)
            try:
                await stub.FindSimilar(request, timeout=20)
            except grpc.aio.AioRpcError:
                failed += 1
            else:
                times.append((time.perf_counter() - begin - at) * 1000)

        await asyncio.gather(*(ask(float(at), contents[i % len(contents)]) for i, at in enumerate(plan)))
        spent = time.perf_counter() - begin
    p50, p99, p999 = np.percentile(times, [50, 99, 99.9]) if times else (np.inf, np.inf, np.inf)
    return LoadPoint(rate, len(times) / spent, failed / max(1, len(plan)), float(p50), float(p99), float(p999))


def sustained(points: list[LoadPoint]) -> float:
    """The highest offered rate that was answered in time: none refused, 99 of 100 within `LIMIT_MS`; 0 for none."""
    kept = [point.offered for point in points if point.p99_ms <= LIMIT_MS and point.refused == 0.0]
    return max(kept, default=0.0)
