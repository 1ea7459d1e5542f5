"""Sends more photographs at once than may wait, and looks at how those that find no place are refused."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from services.serving.status import retry_delay_s

# More than any queue of ours holds by default, and less than the thousand waiting calls at which gRPC itself begins to
# cancel some, which no server can give a reason for.
BURSTS: Final = (128, 256, 512)
# Long enough that a deadline never speaks before the queue does.
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Overload:
    """What became of a burst.

    Attributes:
        sent: photographs at once.
        answered: how many were.
        refused: how many were not, whatever the status.
        hinted: of those, how many with RESOURCE_EXHAUSTED and a `google.rpc.RetryInfo`.
        codes: how many ended with each other status than OK.
        refusal_p50_ms: median time until a refusal; None where there was none.
        retry_s: the shortest wait that was asked for, in seconds; None where there was none.
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
        """Share of the refusals that say when to try again; None where nothing was refused."""
        return self.hinted / self.refused if self.refused else None


async def overload(target: str, contents: tuple[bytes, ...], bursts: tuple[int, ...] = BURSTS) -> Overload:
    """Sends bursts, each larger than the one before, until something is refused.

    Args:
        target: of the search service.
        contents: files of photographs.
        bursts: how many at once.

    Returns:
        What became of the last burst.
    """
    async with grpc.aio.insecure_channel(target) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for count in bursts:
            found = await _burst(stub, contents, count)
            if found.refused:
                break
    return found


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
