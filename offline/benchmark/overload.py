"""Overload: more photographs at once than may wait, and how the rest are refused."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from services.serving.status import retry_delay_s

# More than any queue of ours holds by default, but fewer than the thousand waiting calls at which gRPC itself cancels
# some, without a reason from any server.
BURSTS: Final = (128, 256, 512)
# Longer than any queue, so that no deadline hides a refusal.
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Overload:
    """The outcome of a burst.

    Attributes:
        sent: photographs at once.
        answered: calls with an answer.
        refused: calls with an error of any status.
        hinted: refused calls with RESOURCE_EXHAUSTED and a `google.rpc.RetryInfo`.
        codes: refused calls by status.
        refusal_p50_ms: median time until a refusal, in ms; None without refusals.
        retry_s: the shortest pause that a refusal named, in seconds; None without one.
    """

    sent: int
    answered: int
    refused: int
    hinted: int
    codes: dict[str, int]
    refusal_p50_ms: float | None
    retry_s: float | None

    @property
    def hinted_share(self) -> float | None:
        """The share of the refusals that say when to try again; None without refusals."""
        return self.hinted / self.refused if self.refused else None


async def overload(target: str, contents: tuple[bytes, ...], bursts: tuple[int, ...] = BURSTS) -> Overload:
    """Sends bursts, each larger than the one before, until something is refused.

    Args:
        target: the address of the search service.
        contents: files of photographs.
        bursts: calls per burst.

    Returns:
        The outcome of the last burst.
    """
    async with grpc.aio.insecure_channel(target) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for count in bursts:
            outcome = await _burst(stub, contents, count)
            if outcome.refused:
                break
    return outcome


async def _burst(stub: "search_pb2_grpc.SearchServiceAsyncStub", contents: tuple[bytes, ...], count: int) -> Overload:
    codes: Counter[str] = Counter()
    waits: list[float] = []
    hints: list[float] = []

    async def ask(content: bytes) -> None:
        request = search_pb2.FindSimilarRequest(image=types_pb2.Image(content=content), top_k=10)
        began = time.perf_counter()
        try:
            await stub.FindSimilar(request, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            codes[error.code().name] += 1
            waits.append((time.perf_counter() - began) * 1000)
            delay = retry_delay_s(error.trailing_metadata() or ())
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and delay is not None:
                hints.append(delay)

    await asyncio.gather(*(ask(contents[at % len(contents)]) for at in range(count)))
    return Overload(
        sent=count,
        answered=count - len(waits),
        refused=len(waits),
        hinted=len(hints),
        codes=dict(codes),
        refusal_p50_ms=float(np.median(waits)) if waits else None,
        retry_s=min(hints, default=None),
    )
