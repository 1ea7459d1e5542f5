"""Changes of prices and stock while queries run: the rows acknowledged, and what queries wait for them."""

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from numpy.typing import NDArray

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.latency import Photographs
from offline.benchmark.load import arrivals
from offline.benchmark.processes import ServerProcess

_ROWS: Final = 500
# A little more than the target, so that what is acknowledged within the time reaches it.
_OFFERED_A_SECOND: Final = 5_250.0
_QUERIES_A_SECOND: Final = 30.0
# Full batches that may wait for their answers at once, as with several workers of a shop.
_IN_FLIGHT: Final = 4
_BATCHES: Final = 200
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class UpdateRound:
    """A stretch of queries alone, and one of the same queries beside updates.

    Attributes:
        rows_a_second: rows acknowledged per second.
        processor_ms: processor time of the server that they take beside the queries, in ms per 1,000 rows.
        alone_ms: the time of each query alone, from its planned arrival, in ms: float64, shape (n,).
        beside_ms: the same beside updates.
    """

    rows_a_second: float
    processor_ms: float
    alone_ms: NDArray[np.float64]
    beside_ms: NDArray[np.float64]


@contextmanager
def without_photographs(data: Path) -> Iterator[Path]:
    """Copies a data directory, since updates change it; the photographs are not needed."""
    with tempfile.TemporaryDirectory() as folder:
        left_out = shutil.ignore_patterns("photographs", "redis", "*.lock")
        yield Path(shutil.copytree(data, Path(folder) / "data", ignore=left_out))


async def measure_updates(
    server: ServerProcess, queries: Photographs, rounds: int, seconds: float
) -> list[UpdateRound]:
    """Sends queries at the times of a Poisson process, alternately alone and beside updates.

    Args:
        server: search, in whatever deployment.
        queries: products and photographs, which take turns.
        rounds: how many; one more before them is not counted.
        seconds: the time of each stretch.
    """
    measured: list[UpdateRound] = []
    async with grpc.aio.insecure_channel(server.target) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        # Made before, so that making them takes no processor from the server.
        batches = itertools.cycle(itertools.islice(_batches(await _product_ids(stub)), _BATCHES))
        for seed in range(rounds + 1):
            start = server.processor_s()
            alone = await _ask(stub, queries, seconds, seed)
            middle = server.processor_s()
            async with _updating(stub, batches) as rows:
                began = time.perf_counter()
                beside = await _ask(stub, queries, seconds, seed)
                rate = sum(rows) / (time.perf_counter() - began)
            processor_s = server.processor_s() - 2 * middle + start
            if seed:
                measured.append(UpdateRound(rate, 1e6 * processor_s / sum(rows), alone, beside))
    return measured


def summary(rounds: list[UpdateRound]) -> Mapping[str, object]:
    """Returns the figures of some rounds: times in ms, and the ratios of the 99th percentiles by round."""
    ratios = [float(np.percentile(each.beside_ms, 99) / np.percentile(each.alone_ms, 99)) for each in rounds]
    alone, beside = (np.concatenate([getattr(each, name) for each in rounds]) for name in ("alone_ms", "beside_ms"))
    return {
        "rows_a_second": float(np.median([each.rows_a_second for each in rounds])),
        "processor_ms_a_1000_rows": float(np.median([each.processor_ms for each in rounds])),
        "p99_ratio": {"median": float(np.median(ratios)), "low": min(ratios), "high": max(ratios)},
        "alone_ms": _percentiles(alone),
        "beside_ms": _percentiles(beside),
        "queries_a_second": _QUERIES_A_SECOND,
        "batch": _ROWS,
        "rounds": len(rounds),
    }


def _percentiles(times_ms: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{share}": float(np.percentile(times_ms, share)) for share in (50, 90, 99)}


async def _product_ids(stub: "search_pb2_grpc.SearchServiceAsyncStub") -> list[str]:
    ids: list[str] = []
    token = ""
    while True:
        request = search_pb2.ListProductsRequest(page_size=_ROWS, page_token=token)
        page = await stub.ListProducts(request, timeout=_TIMEOUT_S)
        ids += [product.id for product in page.products]
        token = page.next_page_token
        if not token:
            return ids


def _batches(ids: list[str]) -> Iterator[search_pb2.UpdateProductsRequest]:
    """Yields batches of random products with new prices and stock, without end."""
    random = np.random.default_rng(5)
    while True:
        yield search_pb2.UpdateProductsRequest(
            updates=[
                search_pb2.ProductUpdate(
                    product=types_pb2.Product(
                        id=ids[place],
                        price=types_pb2.Price(currency_code="EUR", units=int(units), nanos=990_000_000),
                        in_stock=bool(in_stock),
                    )
                )
                for place, units, in_stock in zip(
                    random.choice(len(ids), min(_ROWS, len(ids)), replace=False),
                    random.integers(5, 200, _ROWS),
                    random.random(_ROWS) < 0.95,
                    strict=False,
                )
            ],
            update_mask=FieldMask(paths=["price", "in_stock"]),
        )


async def _ask(
    stub: "search_pb2_grpc.SearchServiceAsyncStub", queries: Photographs, seconds: float, seed: int
) -> NDArray[np.float64]:
    plan = arrivals(_QUERIES_A_SECOND, seconds, np.random.default_rng(seed))
    contents, product_ids = queries.contents, queries.product_ids
    begin = time.perf_counter()

    async def ask(number: int, at: float) -> float:
        await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
        if number % 2:
            request = search_pb2.FindSimilarRequest(product_id=product_ids[number % len(product_ids)])
        else:
            image = types_pb2.Image(content=contents[number % len(contents)])
            request = search_pb2.FindSimilarRequest(image=image)
        await stub.FindSimilar(request, timeout=_TIMEOUT_S)
        return (time.perf_counter() - begin - at) * 1000

    return np.array(await asyncio.gather(*(ask(number, float(at)) for number, at in enumerate(plan))))


@asynccontextmanager
async def _updating(
    stub: "search_pb2_grpc.SearchServiceAsyncStub", batches: Iterator[search_pb2.UpdateProductsRequest]
) -> AsyncIterator[list[int]]:
    """Sends batches at an even pace within the context, and yields the rows of those that are acknowledged."""
    acknowledged: list[int] = []
    ended = False

    async def send(number: int, begin: float) -> None:
        pause_s = _IN_FLIGHT * _ROWS / _OFFERED_A_SECOND
        at = begin + number * pause_s / _IN_FLIGHT
        while not ended:
            batch = next(batches)
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            response = await stub.UpdateProducts(batch, timeout=_TIMEOUT_S)
            if any(result.status.code for result in response.results):
                raise RuntimeError(f"rows of the benchmark were refused: {response.results}")
            acknowledged.append(len(response.results))
            at = max(at + pause_s, time.perf_counter() - pause_s)

    senders = asyncio.gather(*(send(number, time.perf_counter()) for number in range(_IN_FLIGHT)))
    try:
        yield acknowledged
    finally:
        ended = True
        await senders
