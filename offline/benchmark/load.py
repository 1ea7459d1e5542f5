"""Photographs per second that a deployment answers in time, at random arrivals that wait for nobody."""

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
    """The outcome at one offered rate.

    Attributes:
        offered: queries per second that should arrive.
        answered: queries per second with an answer.
        refused: the share of queries that were refused or failed.
        p50_ms: median time from the planned arrival to the answer, in ms.
        p99_ms: its 99th percentile.
        p999_ms: its 99.9th percentile.
    """

    offered: float
    answered: float
    refused: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


def arrivals(rate: float, seconds: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Returns the arrivals of a Poisson process, in seconds from its start, ascending.

    Args:
        rate: mean arrivals per second.
        seconds: the duration.
        random: draws the arrivals.
    """
    count = random.poisson(rate * seconds)
    return np.sort(random.uniform(0.0, seconds, count))


async def offer(target: str, contents: tuple[bytes, ...], rate: float, seconds: float, seed: int) -> LoadPoint:
    """Sends photographs at the times of a Poisson process, without waiting for answers.

    Latency counts from the planned time, so that a sender that falls behind hides nothing (Tene, "How not to measure
    latency").
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
    """Returns the highest offered rate with no refusal and 99 of 100 answers within `LIMIT_MS`; 0 for none."""
    in_time = [point.offered for point in points if point.p99_ms <= LIMIT_MS and point.refused == 0.0]
    return max(in_time, default=0.0)
