"""Faults of every dependency under load: what callers see, how long they wait, and how soon all is well again."""

import asyncio
import os
import signal
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
import redis

from fashion.v1 import search_pb2, search_pb2_grpc
from offline.benchmark.deployment import Deployment, Part, Usage, deployed
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.machine import Machine
from services.serving.status import error_info

Say = Callable[[str], None]

MAX_RECOVERY_S: Final = 10.0
_A_SECOND: Final = 40.0
_PRODUCTS: Final = 40
_TIMEOUT_S: Final = 20.0
# After it, so long must all be well.
_CALM_S: Final = 2.0
_SLOW_S: Final = 3.0
# What a process may hold more afterwards: caches that fill, and connections that pools keep for the next rush.
_MEMORY_SLACK_MIB: Final = 16.0
_COUNT_SLACK: Final = {"threads": 4, "files": 48}
_NORMAL: Final = "answered"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and how it ends.

    Attributes:
        begin: lets it happen.
        end: ends it; it is over when this returns.
    """

    begin: Callable[[], object]
    end: Callable[[], object]


@dataclass(slots=True)
class Outcome:
    """What the queries of one kind came to.

    Attributes:
        seen: what callers saw during the fault, with its share of the queries.
        times_ms: how long they waited for that.
        last_bad_s: begin of the last query after the fault that was not answered as ever, in seconds since its end.
    """

    seen: Counter[str] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    last_bad_s: float = 0.0


def faults(deployment: Deployment) -> dict[str, Fault]:
    """Returns all faults, by their names."""

    def part_faults(name: str, part: Part) -> dict[str, Fault]:
        return {
            f"{name} killed": Fault(lambda: part.stop(signal.SIGKILL), part.start),
            f"{name} hung": Fault(lambda: os.kill(part.pid, signal.SIGSTOP), lambda: os.kill(part.pid, signal.SIGCONT)),
        }

    def network_faults(name: str) -> dict[str, Fault]:
        proxy = deployment.proxies[name]
        return {
            f"{name} slow": Fault(lambda: proxy.slow(_SLOW_S), lambda: proxy.slow(0)),
            f"{name} partitioned": Fault(proxy.part, proxy.join),
        }

    def redis_call(*command: str) -> None:
        with redis.Redis.from_url(deployment.redis.url) as client:
            client.execute_command(*command)

    server_pid = deployment.redis.server_pid
    found = {
        # Its guard starts it again.
        "redis killed": Fault(lambda: os.kill(deployment.redis.server_pid, signal.SIGKILL), lambda: None),
        "redis hung": Fault(lambda: os.kill(server_pid, signal.SIGSTOP), lambda: os.kill(server_pid, signal.SIGCONT)),
        "redis full": Fault(
            lambda: redis_call("CONFIG", "SET", "maxmemory", "1"), lambda: redis_call("CONFIG", "SET", "maxmemory", "0")
        ),
        **network_faults("redis"),
    }
    services = {"embedder": deployment.embedders[0], "classifier": deployment.classifier, "search": deployment.search}
    for name, part in services.items():
        found |= part_faults(name, part) | network_faults(name)
    # Last, as another process of Redis comes of it.
    found["redis killed"] = found.pop("redis killed")
    return found


def run_faults(
    fault_s: float,
    seed: int,
    say: Say = lambda text: None,
    *,
    only: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Lets each fault happen in turn, under load.

    Args:
        fault_s: how long each lasts, in seconds.
        seed: of the catalogue.
        say: takes a line for each.
        only: names of the faults; all where there are none.
        environment: further settings of all services.

    Returns:
        The figures; `problems` is empty where each ended within ten seconds and left nothing behind.
    """
    with (
        TemporaryDirectory() as folder,
        deployed(Path(folder), environment=environment, behind_proxies=True) as deployment,
    ):
        return asyncio.run(_Faults(deployment, seed, say).run(fault_s, only))


class _Faults:
    def __init__(self, deployment: Deployment, seed: int, say: Say) -> None:
        self._deployment, self._say = deployment, say
        self._rows = drawn_rows(seed, _PRODUCTS, width=120)

    async def run(self, fault_s: float, only: Sequence[str]) -> dict[str, Any]:
        began, machine, figures = time.monotonic(), Machine.this(), {}
        async with (
            grpc.aio.insecure_channel(self._deployment.search.target) as channel,
            httpx.AsyncClient(base_url=self._deployment.url, timeout=_TIMEOUT_S) as http,
        ):
            self._stub, self._http = search_pb2_grpc.SearchServiceStub(channel), http
            await self._stub.UpsertProducts(search_pb2.UpsertProductsRequest(rows=self._rows), timeout=60)
            # What belongs to a first query is over before the first fault.
            self._outcomes: dict[str, Outcome] = {}
            await self._load(_CALM_S, lambda: False)
            for name, fault in faults(self._deployment).items():
                if not only or name in only:
                    figures[name] = await self._one(fault, fault_s)
                    self._say(f"{name}: {figures[name]}")
        return {
            "load_at_begin": machine.load,
            "fault_s": fault_s,
            "faults": figures,
            "problems": [f"{name}: {problem}" for name, each in figures.items() for problem in each["problems"]],
            "seconds": round(time.monotonic() - began),
        }

    async def _one(self, fault: Fault, fault_s: float) -> dict[str, Any]:
        self._outcomes, before = {}, self._usage()
        self._ended: float | None = None
        await asyncio.to_thread(fault.begin)
        await self._load(fault_s, lambda: False)
        await asyncio.to_thread(fault.end)
        self._ended = time.monotonic()
        await self._load(MAX_RECOVERY_S + 2 * _CALM_S, self._calm)
        recovery_s = max(each.last_bad_s for each in self._outcomes.values())
        problems = [] if self._calm() else [f"not all is well after {MAX_RECOVERY_S:g} s"]
        for name, usage in self._usage().items():
            problems += left_behind(name, before.get(name), usage)
        return {
            "seen": {
                kind: {
                    "answers": dict(each.seen.most_common()),
                    "p50_ms": round(float(np.median(each.times_ms)), 1),
                    "slowest_ms": round(max(each.times_ms), 1),
                }
                for kind, each in self._outcomes.items()
                if each.times_ms
            },
            "recovery_s": round(recovery_s, 1),
            "problems": problems,
        }

    def _calm(self) -> bool:
        """Tells whether all has been well for a while."""
        if self._ended is None:
            return False
        last_bad_s = max((each.last_bad_s for each in self._outcomes.values()), default=0.0)
        return time.monotonic() - self._ended > last_bad_s + _CALM_S

    def _usage(self) -> dict[str, Usage]:
        names = {"search": self._deployment.search.pid, "gateway": self._deployment.gateways[0].pid}
        return {f"{name} {pid}": Usage.of(pid) for name, pid in names.items()}

    async def _load(self, seconds: float, done: Callable[[], bool]) -> None:
        began, asked, number = time.monotonic(), set[asyncio.Task[None]](), 0
        kinds = {
            "photograph": self._photograph,
            "product": self._product,
            "dislike": self._dislike,
            "HTTP": self._over_http,
        }
        while time.monotonic() - began < seconds and not done():
            kind = list(kinds)[number % len(kinds)]
            asked.add(asyncio.create_task(self._ask(kind, kinds[kind], number)))
            number += 1
            await asyncio.sleep(max(0.0, began + number / _A_SECOND - time.monotonic()))
        await asyncio.gather(*asked)

    async def _ask(self, kind: str, ask: Callable[[int], Any], number: int) -> None:
        began, ended_before = time.monotonic(), self._ended if hasattr(self, "_ended") else None
        try:
            seen = await ask(number)
        except grpc.aio.AioRpcError as error:
            info = error_info(error.trailing_metadata() or ())
            seen = f"{error.code().name} {info.reason if info else ''}".strip()
        except httpx.TransportError as error:
            seen = type(error).__name__
        outcome = self._outcomes.setdefault(kind, Outcome())
        if ended_before is None:
            outcome.seen[seen] += 1
            outcome.times_ms.append((time.monotonic() - began) * 1000)
        elif seen != _NORMAL:
            outcome.last_bad_s = max(outcome.last_bad_s, began - ended_before)

    async def _photograph(self, number: int) -> str:
        image = self._rows[number % _PRODUCTS].image
        return await self._find(search_pb2.FindSimilarRequest(image=image, user_id="ann"))

    async def _product(self, number: int) -> str:
        return await self._find(search_pb2.FindSimilarRequest(product_id=f"p{number % _PRODUCTS}", user_id="ann"))

    async def _find(self, request: search_pb2.FindSimilarRequest) -> str:
        answer = await self._stub.FindSimilar(request, timeout=_TIMEOUT_S)
        names = [search_pb2.DegradedReason.Name(reason) for reason in answer.applied.degraded]
        missing = [name.removeprefix("DEGRADED_REASON_") for name in names if name.endswith("UNAVAILABLE")]
        return f"answered, {' and '.join(missing)}" if missing else _NORMAL

    async def _dislike(self, number: int) -> str:
        colour = search_pb2.DislikedColour(colour="Blue")
        request = search_pb2.AddDislikedColoursRequest(user_id=f"user-{number % 50}", colours=[colour])
        await self._stub.AddDislikedColours(request, timeout=_TIMEOUT_S)
        return _NORMAL

    async def _over_http(self, number: int) -> str:
        answer = await self._http.get(f"/v1/products/p{number % _PRODUCTS}/similar")
        return _NORMAL if answer.status_code == 200 else f"{answer.status_code} {answer.json()['reason']}"


def left_behind(name: str, before: Usage | None, after: Usage) -> list[str]:
    """Names what a process holds more than before; one that was started again holds what it needs."""
    if before is None:
        return []
    left = []
    if after.resident_mib > before.resident_mib + _MEMORY_SLACK_MIB:
        left.append(f"{name} holds {after.resident_mib - before.resident_mib:.0f} MiB more")
    for what, slack in _COUNT_SLACK.items():
        if getattr(after, what) > getattr(before, what) + slack:
            left.append(f"{name} holds {getattr(after, what)} {what}, {getattr(before, what)} before")
    return left
