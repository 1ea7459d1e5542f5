"""A rolling restart: each service is stopped and started again under load, and no query may fail."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import httpx
import numpy as np

from fashion.v1 import search_pb2, search_pb2_grpc
from offline.benchmark.deployment import Deployment, Part, deployed
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.machine import Machine

Say = Callable[[str], None]

RATE: Final = 50.0
# What docs/api.md shows; a test compares them.
CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "fashion.v1.SearchService"},
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
    "methodConfig": [
        {
            "name": [{}],
            "waitForReady": True,
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        },
        {
            "name": [
                {"service": "fashion.v1.SearchService", "method": "RemovePhotograph"},
                {"service": "fashion.v1.ReindexService"},
            ],
            "waitForReady": True,
        },
    ],
}
OPTIONS: Final = (
    ("grpc.service_config", json.dumps(CONFIG)),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
)
# What docs/http.md says: these pauses, in seconds, before a request is made again.
PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, *[4.0] * 10)
_TIMEOUT_S: Final = 60.0
_HTTP_SHARE: Final = 5
_PRODUCTS: Final = 120
# Between two restarts.
_PAUSE_S: Final = 0.5


@dataclass(slots=True)
class Restarts:
    """What the queries came to.

    Attributes:
        times_ms: of the answered queries, with the end of each, in seconds since the begin.
        degraded: answers that were less than they could be, by reason.
        failed: queries that failed, by what they failed with.
        restarts: name of the service, when its restart began and ended, in seconds since the begin.
    """

    times_ms: list[tuple[float, float]] = field(default_factory=list)
    degraded: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    restarts: list[tuple[str, float, float]] = field(default_factory=list)


def restart(
    rounds: int,
    seed: int,
    say: Say = lambda text: None,
    *,
    environment: Mapping[str, str] | None = None,
    products: int = _PRODUCTS,
    rate: float = RATE,
) -> dict[str, Any]:
    """Restarts each service in turn under load: two embedders, the classifier, search, and two gateways.

    Args:
        rounds: how often each is restarted.
        seed: of the catalogue.
        say: takes a line now and then.
        environment: further settings of all services.
        products: of the catalogue.
        rate: queries a second, a fifth of them over HTTP.

    Returns:
        The figures; `problems` is empty where no query has failed.
    """
    with (
        TemporaryDirectory() as folder,
        deployed(Path(folder), embedders=2, gateways=2, environment=environment) as deployment,
    ):
        return asyncio.run(_Rolling(deployment, seed, products, rate, say).run(rounds))


class _Rolling:
    def __init__(self, deployment: Deployment, seed: int, products: int, rate: float, say: Say) -> None:
        self._deployment, self._rate, self._say = deployment, rate, say
        self._rows = drawn_rows(seed, products)
        self._outcome = Restarts()

    async def run(self, rounds: int) -> dict[str, Any]:
        machine = Machine.this()
        async with (
            grpc.aio.insecure_channel(self._deployment.search.target, options=OPTIONS) as channel,
            httpx.AsyncClient(timeout=_TIMEOUT_S) as http,
        ):
            self._http, self._stub = http, search_pb2_grpc.SearchServiceStub(channel)
            await self._fill()
            self._began = time.monotonic()
            ended = asyncio.Event()
            load = asyncio.create_task(self._load(ended))
            for _ in range(rounds):
                for part in self._deployment.parts():
                    await asyncio.sleep(_PAUSE_S)
                    await self._restart(part)
            await asyncio.sleep(_PAUSE_S)
            ended.set()
            await load
        return self._figures(machine)

    async def _fill(self) -> None:
        for at in range(0, len(self._rows), 40):
            request = search_pb2.UpsertProductsRequest(rows=self._rows[at : at + 40])
            await self._stub.UpsertProducts(request, timeout=60)

    async def _restart(self, part: Part) -> None:
        begin_s = time.monotonic() - self._began
        await asyncio.to_thread(part.stop)
        await asyncio.to_thread(part.start)
        end_s = time.monotonic() - self._began
        self._outcome.restarts.append((part.name, begin_s, end_s))
        self._say(f"{part.name} was away for {end_s - begin_s:.1f} s; failed until now: {self._outcome.failed.total()}")

    async def _load(self, ended: asyncio.Event) -> None:
        asked: set[asyncio.Task[None]] = set()
        number = 0
        while not ended.is_set():
            due = self._began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._ask(number))
            asked.add(task)
            task.add_done_callback(asked.discard)
            number += 1
        await asyncio.gather(*asked)

    async def _ask(self, number: int) -> None:
        began = time.monotonic()
        try:
            degraded = await (self._over_http(number) if number % _HTTP_SHARE == 0 else self._over_grpc(number))
        except grpc.aio.AioRpcError as error:
            self._outcome.failed[f"{error.code().name}: {error.details()}"] += 1
        except (httpx.HTTPStatusError, httpx.TransportError) as error:
            self._outcome.failed[f"HTTP: {error!r}"] += 1
        else:
            self._outcome.degraded.update(degraded)
            now = time.monotonic()
            self._outcome.times_ms.append((now - self._began, (now - began) * 1000))

    async def _over_grpc(self, number: int) -> Sequence[str]:
        if number % 2:
            request = search_pb2.FindSimilarRequest(product_id=f"p{number % len(self._rows)}", top_k=10)
        else:
            request = search_pb2.FindSimilarRequest(image=self._rows[number % len(self._rows)].image, top_k=10)
        answer = await self._stub.FindSimilar(request, timeout=_TIMEOUT_S)
        return [search_pb2.DegradedReason.Name(reason) for reason in answer.applied.degraded]

    async def _over_http(self, number: int) -> Sequence[str]:
        """Asks one gateway, and again another, as docs/http.md says."""
        gateways = self._deployment.gateways
        for again, pause_s in enumerate((*PAUSES_S, None)):
            url = f"http://{gateways[(number + again) % len(gateways)].target}"
            try:
                answer = await self._http.get(f"{url}/v1/products/p{number % len(self._rows)}/similar")
                if answer.status_code not in (502, 503, 504):
                    break
            except httpx.TransportError:
                if pause_s is None:
                    raise
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        answer.raise_for_status()
        reasons: list[str] = answer.json()["applied"]["degraded"]
        return reasons

    def _figures(self, machine: Machine) -> dict[str, Any]:
        outcome = self._outcome
        quiet = [
            time_ms
            for at_s, time_ms in outcome.times_ms
            if not any(begin_s <= at_s <= end_s for _, begin_s, end_s in outcome.restarts)
        ]

        def during(name: str) -> dict[str, float]:
            spans = [(begin_s, end_s) for each, begin_s, end_s in outcome.restarts if each == name]
            times = [ms for at_s, ms in outcome.times_ms for begin_s, end_s in spans if begin_s <= at_s <= end_s + 0.5]
            away_s = float(np.median([end_s - begin_s for begin_s, end_s in spans]))
            return {"away_s": round(away_s, 2), "slowest_ms": round(max(times, default=0.0), 1)}

        return {
            "load_at_begin": machine.load,
            "a_second": self._rate,
            "queries": len(outcome.times_ms) + outcome.failed.total(),
            "failed": outcome.failed.total(),
            "degraded": dict(outcome.degraded),
            "p50_ms": round(float(np.median(quiet)), 1) if quiet else None,
            "restarts": {name: during(name) for name in dict.fromkeys(name for name, *_ in outcome.restarts)},
            "problems": [f"{count} x {what}" for what, count in outcome.failed.items()],
            "seconds": round(time.monotonic() - self._began),
        }
