"""How many searches a second several processes answer together from one Milvus: `fashion bench milvus`."""

import multiprocessing
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import Any, Final

import numpy as np

from offline.benchmark.milvus_check import product
from services.contract.errors import Upstream
from services.contract.values import Gender
from services.search.filters.filter import Filter, LabelFilter
from services.search.indexes.base import Eligibility, Index, IndexedProduct, ReadableIndex
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.milvus.follower import MilvusFollower
from services.search.indexes.milvus.index import MilvusIndex
from services.search.indexes.milvus.reader import STALENESS_S
from services.search.indexes.milvus.settings import MilvusSettings
from services.search.indexes.milvus.store import MilvusStore

DIMENSION: Final = 2048
_BATCH: Final = 500
_TYPES: Final = 40
_TOP_K: Final = 10
_WRITES: Final = 20
_VISIBLE_WITHIN_S: Final = 60.0
_SCOPES: Final = ("one derived type", "filtered inventory", "whole inventory")

# Of a process of a pool: where it waits for the others.
_barrier: Barrier | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What processes answered together.

    Attributes:
        index: "milvus" or "faiss".
        scope: what was searched.
        processes: how many asked, each in a closed loop.
        per_second: answers a second of all of them.
        p50_ms: median time of an answer, in milliseconds.
        p99_ms: 99th percentile.
        load: the machine's load when it ended.
    """

    index: str
    scope: str
    processes: int
    per_second: float
    p50_ms: float
    p99_ms: float
    load: float


def milvus_rates(
    settings: MilvusSettings, products: int, seconds: float, processes: Sequence[int], say: Callable[[str], None]
) -> dict[str, Any]:
    """Fills a collection of its own, asks it with several numbers of processes, and deletes it.

    Args:
        settings: where Milvus is.
        products: how many to write, with random embeddings of 2,048 floats in 40 derived types.
        seconds: how long to ask, per figure.
        processes: the numbers of processes.
        say: is told each figure.
    """
    settings = replace(settings, collection=f"check_{secrets.token_hex(6)}")
    store = MilvusStore(settings, DIMENSION, "rate")
    rows = _rows(products)
    index, local = MilvusIndex(store, "rate"), FaissIndex(DIMENSION)
    rates: list[Rate] = []
    figures: dict[str, Any] = {"products": products, "cores": os.cpu_count()}
    try:
        begun = time.monotonic()
        index.load((rows[start : start + _BATCH] for start in range(0, products, _BATCH)), 1)
        figures["first_load_s"] = round(time.monotonic() - begun, 1)
        begun = time.monotonic()
        index.load((rows[start : start + _BATCH] for start in range(0, products, _BATCH)), 1)
        figures["load_again_s"] = round(time.monotonic() - begun, 1)
        figures["write_ms"] = _write_ms(index, rows)
        local.load([rows], 1)
        # Until then, searches wait for the latest writes.
        time.sleep(STALENESS_S + 1)
        figures |= _replica_ms(index, settings)
        say(f"visible at a replica after {figures['visible_ms']} ms, a search takes {figures['consistency_ms']} ms")
        for rate in _rates(settings, local, processes, seconds):
            say(_text(rate))
            rates.append(rate)
    finally:
        store.drop()
        index.close()
    return figures | {"rates": [asdict(each) for each in rates]}


def _rates(settings: MilvusSettings, local: FaissIndex, processes: Sequence[int], seconds: float) -> Iterator[Rate]:
    for scope in _SCOPES:
        yield _rate("faiss", scope, 1, _times_of(local, scope, seconds), seconds)
    for count in processes:
        for scope, times in _together(settings, count, seconds).items():
            yield _rate("milvus", scope, count, times, seconds)


def _replica_ms(index: MilvusIndex, settings: MilvusSettings) -> dict[str, dict[str, float]]:
    """Returns when a write is visible at a replica, and how long its searches take, in milliseconds."""
    follower = MilvusFollower(MilvusStore(settings, DIMENSION, "rate"))
    strong = MilvusFollower(MilvusStore(settings, DIMENSION, "rate"), staleness_s=0.0)
    try:
        follower.begin()
        strong.begin()
        waits: list[float] = []
        for turn in range(_WRITES):
            new = IndexedProduct(product(f"new{turn}", article_type="T0"), _query(turn).astype(np.float16))
            index.apply([new], (), 3)
            begun = time.perf_counter()
            while follower.product(new.product.id) is None:
                if time.perf_counter() - begun > _VISIBLE_WITHIN_S:
                    raise Upstream(
                        f"A write is not visible at a replica within {_VISIBLE_WITHIN_S:.0f} s.",
                        reason="INDEX_UNAVAILABLE",
                    )
                time.sleep(0.002)
            waits.append(1e3 * (time.perf_counter() - begun))
            # So that writes come at any time between two looks.
            time.sleep(0.05 * (turn % 10))
        time.sleep(STALENESS_S + 1)
        consistency: dict[str, float] = {}
        for name, reader in (("bounded", follower), ("strong", strong)):
            times = _times_of(reader, _SCOPES[0], 3.0)
            consistency[name] = round(1e3 * float(np.median(times)), 1)
    finally:
        follower.close()
        strong.close()
    visible = {"p50": float(round(np.median(waits))), "slowest": float(round(max(waits)))}
    return {"visible_ms": visible, "consistency_ms": consistency}


def _rows(products: int) -> list[IndexedProduct]:
    dice = np.random.default_rng(1)
    centres = dice.normal(size=(_TYPES, DIMENSION)).astype(np.float32)
    found: list[IndexedProduct] = []
    for number in range(products):
        vector = centres[number % _TYPES] + dice.normal(size=DIMENSION).astype(np.float32)
        vector /= np.linalg.norm(vector)
        found.append(
            IndexedProduct(
                product(
                    f"{number:07}",
                    gender=Gender.MEN,
                    article_type=f"T{number % _TYPES}",
                    brand=f"B{number % 100}",
                    base_colour="Blue",
                ),
                vector.astype(np.float16),
            )
        )
    return found


def _write_ms(index: Index, rows: Sequence[IndexedProduct]) -> dict[str, float]:
    """Returns the median time of a write of one product and of 100, each new and changed, in milliseconds."""
    figures: dict[str, float] = {}
    for count in (1, 100):
        for name in ("whole", "attributes"):
            times: list[float] = []
            for turn in range(5):
                some = rows[turn * count : (turn + 1) * count]
                begun = time.perf_counter()
                if name == "whole":
                    index.apply(some, (), 2)
                else:
                    index.apply((), (), 2, [each.product for each in some])
                times.append(1e3 * (time.perf_counter() - begun))
            figures[f"{name}_{count}"] = round(float(np.median(times)), 1)
    return figures


def _eligibility(scope: str, turn: int) -> Eligibility:
    match scope:
        case "one derived type":
            return Eligibility(frozenset({f"Men T{turn % _TYPES}"}))
        case "filtered inventory":
            return Eligibility(filter=Filter(brand=LabelFilter((f"B{turn % 100}",))))
    return Eligibility()


def _times_of(index: ReadableIndex, scope: str, seconds: float) -> list[float]:
    """Asks for a time in a closed loop; returns the times of the answers, in seconds."""
    queries = [_query(seed) for seed in range(64)]
    index.search(queries[0], _TOP_K, _eligibility(scope, 0))
    end = time.perf_counter() + seconds
    times: list[float] = []
    while (begun := time.perf_counter()) < end:
        answer = index.search(queries[len(times) % 64], _TOP_K, _eligibility(scope, len(times)))
        assert len(answer.hits) == _TOP_K, "Every answer is full."
        times.append(time.perf_counter() - begun)
    return times


def _query(seed: int) -> Any:
    vector = np.random.default_rng(1000 + seed).normal(size=DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


def _rate(index: str, scope: str, processes: int, times: Sequence[float], seconds: float) -> Rate:
    p50, p99 = (1e3 * float(np.quantile(times, quantile)) for quantile in (0.5, 0.99))
    load = os.getloadavg()[0]
    return Rate(index, scope, processes, round(len(times) / seconds, 1), round(p50, 1), round(p99, 1), round(load, 1))


def _together(settings: MilvusSettings, count: int, seconds: float) -> dict[str, list[float]]:
    """Returns the times of the answers of all processes, by scope."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _meet_at, (context.Barrier(count),)) as pool:
        asking = [pool.submit(_follow, settings, seconds) for _ in range(count)]
    errors = [error for each in asking if (error := each.exception()) is not None]
    if errors:
        # One that fails breaks the barrier for the others.
        raise min(errors, key=lambda error: isinstance(error, BrokenBarrierError))
    return {scope: [took for each in asking for took in each.result()[scope]] for scope in _SCOPES}


def _meet_at(barrier: Barrier) -> None:
    """Takes where the processes of a pool wait for one another."""
    global _barrier
    _barrier = barrier


def _follow(settings: MilvusSettings, seconds: float) -> dict[str, list[float]]:
    """Runs in a process of its own; returns the times of its answers by scope, in seconds."""
    assert _barrier is not None
    follower = MilvusFollower(MilvusStore(settings, DIMENSION, "rate"))
    try:
        follower.begin()
        # Until then, searches wait for the latest writes.
        time.sleep(STALENESS_S + 1)
        times: dict[str, list[float]] = {}
        for scope in _SCOPES:
            _barrier.wait()
            times[scope] = _times_of(follower, scope, seconds)
        return times
    except BaseException:
        _barrier.abort()
        raise
    finally:
        follower.close()


def _text(rate: Rate) -> str:
    return (
        f"{rate.index}, {rate.scope}, processes: {rate.processes}: {rate.per_second} a second, "
        f"p50 {rate.p50_ms} ms, p99 {rate.p99_ms} ms (load {rate.load})"
    )
