"""Mixed load for a long time: nothing that a process holds may grow once the first minutes are over."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import httpx
import numpy as np

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.deployment import Deployment, Usage, deployed
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.hard_pictures import encoded
from offline.benchmark.machine import Machine
from offline.drawn.catalogue import catalogue_specs, draw_upload
from offline.report.plots import new_figure, save_figure

Say = Callable[[str], None]

_PRODUCTS: Final = 240
_PHOTOGRAPHS: Final = 24
_USERS: Final = 200
_COLOURS: Final = ("Blue", "Red", "Yellow", "Black", "Green")
_SAMPLE_S: Final = 5.0
_TIMEOUT_S: Final = 30.0
# So long things may settle, and so long are the spans that are compared.
_SETTLE_S: Final = 300.0
# What allocators and the machine's other work move about.
_MEMORY_SLACK_MIB: Final = 8.0
_MEMORY_SLACK_SHARE: Final = 0.03
_COUNT_SLACK: Final = 2
# What a busy machine may answer.
_BUSY: Final = ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "503", "504", "ReadTimeout")


@dataclass(frozen=True, slots=True)
class Sample:
    """What all processes held at one time.

    Attributes:
        at_s: since the begin of the load, in seconds.
        usage: by the name of the process.
    """

    at_s: float
    usage: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Growth:
    """What one process held after it had settled, and at the end.

    Attributes:
        resident_mib: median memory of the two spans, in MiB.
        threads: highest number in the two spans.
        files: highest number of open files and sockets in the two spans.
    """

    resident_mib: tuple[float, float]
    threads: tuple[int, int]
    files: tuple[int, int]

    def problems(self) -> list[str]:
        """Names what has grown; nothing where nothing has."""
        before, after = self.resident_mib
        slack = max(_MEMORY_SLACK_MIB, _MEMORY_SLACK_SHARE * before)
        grown = [f"memory from {before:.0f} to {after:.0f} MiB"] if after > before + slack else []
        for name, (first, last) in (("threads", self.threads), ("files", self.files)):
            if last > first + _COUNT_SLACK:
                grown.append(f"{name} from {first} to {last}")
        return grown


def growth(samples: Sequence[Sample]) -> dict[str, Growth]:
    """Compares the span after the first minutes with the last one, for each process.

    Args:
        samples: at least four, ascending in time.
    """
    seconds = samples[-1].at_s
    settle_s = min(_SETTLE_S, seconds / 4)
    span_s = min(_SETTLE_S, (seconds - settle_s) / 3)
    first = [each.usage for each in samples if settle_s <= each.at_s <= settle_s + span_s]
    last = [each.usage for each in samples if each.at_s >= seconds - span_s]

    def compared(name: str) -> Growth:
        def both(of: Callable[[Sequence[Usage]], Any]) -> tuple[Any, Any]:
            return of([usage[name] for usage in first]), of([usage[name] for usage in last])

        return Growth(
            both(lambda usages: float(np.median([each.resident_mib for each in usages]))),
            both(lambda usages: max(each.threads for each in usages)),
            both(lambda usages: max(each.files for each in usages)),
        )

    return {name: compared(name) for name in samples[0].usage}


def soak(
    minutes: float, seed: int, say: Say = lambda text: None, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Runs all services under mixed load.

    Args:
        minutes: how long.
        seed: of all that is random.
        say: takes a line now and then.
        environment: further settings of all services.

    Returns:
        The figures; `problems` is empty where nothing has grown and nothing has failed.
    """
    # A busy machine must not look like a fault.
    patient = {"SERVER_QUERY_DEADLINE_S": "30", "GATEWAY_DEADLINE_S": "30", **(environment or {})}
    slow = {
        "SEARCH_EMBEDDER_TIMEOUT_S": "30",
        "SEARCH_CLASSIFIER_TIMEOUT_S": "30",
        "SEARCH_PREFERENCES_TIMEOUT_S": "30",
    }
    with TemporaryDirectory() as folder, deployed(Path(folder), environment=patient, search=slow) as deployment:
        say(f"{len(deployment.parts())} services and a Redis serve; {minutes:g} minutes of load begin")
        return asyncio.run(_Load(deployment, seed, say).run(minutes * 60))


class _Load:
    """Operations at random times, each at its own rate, and samples of what the processes hold."""

    def __init__(self, deployment: Deployment, seed: int, say: Say) -> None:
        self._deployment, self._say, self._random = deployment, say, Random(seed)
        self._rows = drawn_rows(seed, _PRODUCTS)
        specs = catalogue_specs(seed, _PRODUCTS)
        self._photographs = [encoded(draw_upload(spec), "JPEG") for spec in specs[:: _PRODUCTS // _PHOTOGRAPHS]]
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.samples: list[Sample] = []

    async def run(self, seconds: float) -> dict[str, Any]:
        """Runs the load for a while, and returns the figures."""
        machine, options = Machine.this(), [("grpc.max_receive_message_length", 32 << 20)]
        async with (
            grpc.aio.insecure_channel(self._deployment.search.target, options=options) as channel,
            httpx.AsyncClient(base_url=self._deployment.url, timeout=_TIMEOUT_S) as http,
        ):
            self._stub: Any = search_pb2_grpc.SearchServiceStub(channel)
            self._http = http
            for at in range(0, len(self._rows), 40):
                await self._upsert(self._rows[at : at + 40])
            self._began = time.monotonic()
            tasks = [
                asyncio.create_task(self._repeat(name, rate, operation, seconds))
                for name, (rate, operation) in self._operations().items()
            ]
            try:
                await self._watch(seconds)
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return self._figures(machine, seconds)

    def _operations(self) -> dict[str, tuple[float, Callable[[], Awaitable[object]]]]:
        """Returns the rate of each operation, a second, and the operation."""
        return {
            "photograph": (2.0, self._photograph),
            "product": (6.0, lambda: self._find(product_id=self._id(), user_id=self._user())),
            "dislike": (1.0, self._dislike),
            "forget a shopper": (0.2, self._forget),
            "upsert": (0.2, lambda: self._upsert(self._random.sample(self._rows, 5))),
            "update prices": (0.5, self._update),
            "delete and write again": (0.1, self._replace),
            "HTTP similar": (2.0, lambda: self._get(f"/v1/products/{self._id()}/similar?limit=8")),
            "HTTP photograph": (0.5, self._post),
            "HTTP thumbnail": (2.0, lambda: self._get(f"/v1/products/{self._id()}/image?width=240")),
            "HTTP catalogue": (0.5, lambda: self._get("/v1/products?page_size=48&words=product")),
            "HTTP facets": (0.5, lambda: self._get("/v1/facets")),
            "HTTP page": (0.3, lambda: self._get("/")),
            "a bad photograph": (0.5, self._bad_photograph),
            "an unknown product": (0.5, lambda: self._get("/v1/products/nobody/similar", 404)),
            "a caller who gives up": (0.5, self._given_up),
        }

    async def _repeat(self, name: str, rate: float, operation: Callable[[], Awaitable[object]], seconds: float) -> None:
        while (left_s := self._began + seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, self._random.expovariate(rate)))
            try:
                await operation()
                self.done[name] += 1
            except grpc.aio.AioRpcError as error:
                self.failed[f"{name}: {error.code().name}"] += 1
            except httpx.HTTPStatusError as error:
                self.failed[f"{name}: {error.response.status_code}"] += 1
            except httpx.TransportError as error:
                self.failed[f"{name}: {type(error).__name__}"] += 1

    async def _watch(self, seconds: float) -> None:
        step_s, told_s = min(_SAMPLE_S, seconds / 40), 0.0
        while (at_s := time.monotonic() - self._began) < seconds:
            self.samples.append(Sample(at_s, self._deployment.usage()))
            if at_s - told_s >= 60:
                told_s = at_s
                held = ", ".join(f"{name} {usage.resident_mib:.0f}" for name, usage in self.samples[-1].usage.items())
                self._say(f"{at_s / 60:.0f} min, {self.done.total():,} done, {self.failed.total()} failed, MiB: {held}")
            await asyncio.sleep(step_s)

    def _figures(self, machine: Machine, seconds: float) -> dict[str, Any]:
        grown = growth(self.samples)
        problems = [f"{name}: {problem}" for name, each in grown.items() for problem in each.problems()]
        problems += [f"{count} x {what}" for what, count in self.failed.items() if not what.endswith(_BUSY)]
        every = max(1, len(self.samples) // 120)
        return {
            "minutes": round(seconds / 60, 1),
            "load_at_begin": machine.load,
            "load_at_end": Machine.this().load,
            "processors": machine.processors,
            "operations": dict(self.done),
            "failed": dict(self.failed),
            "processes": {
                name: {"resident_mib": each.resident_mib, "threads": each.threads, "files": each.files}
                for name, each in grown.items()
            },
            "problems": problems,
            "minute": [round(each.at_s / 60, 2) for each in self.samples[::every]],
            "resident_mib": {
                name: [round(each.usage[name].resident_mib, 1) for each in self.samples[::every]] for name in grown
            },
            "seconds": round(seconds),
        }

    def _id(self) -> str:
        return f"p{self._random.randrange(_PRODUCTS)}"

    def _user(self) -> str:
        return f"user-{self._random.randrange(_USERS)}"

    async def _find(self, **request: Any) -> None:
        try:
            await self._stub.FindSimilar(search_pb2.FindSimilarRequest(top_k=10, **request), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            # A product that is being replaced.
            if error.code() is not grpc.StatusCode.NOT_FOUND or "product_id" not in request:
                raise

    async def _photograph(self) -> None:
        await self._find(image=self._image(), user_id=self._random.choice(["", self._user()]))

    def _image(self) -> types_pb2.Image:
        return types_pb2.Image(content=self._random.choice(self._photographs))

    async def _dislike(self) -> None:
        user, colours = self._user(), self._random.sample(_COLOURS, 2)
        disliked = [search_pb2.DislikedColour(colour=colour) for colour in colours]
        add = search_pb2.AddDislikedColoursRequest(user_id=user, colours=disliked)
        await self._stub.AddDislikedColours(add, timeout=_TIMEOUT_S)
        remove = search_pb2.RemoveDislikedColoursRequest(user_id=user, colours=colours[:1])
        await self._stub.RemoveDislikedColours(remove, timeout=_TIMEOUT_S)

    async def _forget(self) -> None:
        await self._stub.ForgetUser(search_pb2.ForgetUserRequest(user_id=self._user()), timeout=_TIMEOUT_S)

    async def _upsert(self, rows: Sequence[search_pb2.ProductRow]) -> None:
        # Another photograph under the same id, so that something has to be embedded.
        changed = [search_pb2.ProductRow(product=row.product, image=self._image()) for row in rows[::2]]
        await self._stub.UpsertProducts(
            search_pb2.UpsertProductsRequest(rows=[*changed, *rows[1::2]]), timeout=2 * _TIMEOUT_S
        )

    async def _update(self) -> None:
        updates = [
            search_pb2.ProductUpdate(product=types_pb2.Product(id=row.product.id, in_stock=self._random.random() < 0.9))
            for row in self._random.sample(self._rows, 20)
        ]
        await self._stub.UpdateProducts(search_pb2.UpdateProductsRequest(updates=updates), timeout=_TIMEOUT_S)

    async def _replace(self) -> None:
        row = self._random.choice(self._rows)
        delete = search_pb2.DeleteProductsRequest(product_ids=[row.product.id])
        await self._stub.DeleteProducts(delete, timeout=_TIMEOUT_S)
        await self._upsert([row])

    async def _get(self, path: str, expected: int = 200) -> None:
        response = await self._http.get(path)
        # A product that is being replaced has nothing to show.
        if response.status_code not in (expected, 404):
            response.raise_for_status()

    async def _post(self) -> None:
        content = self._random.choice(self._photographs)
        response = await self._http.post("/v1/similar?limit=8", content=content, headers={"Content-Type": "image/jpeg"})
        response.raise_for_status()

    async def _bad_photograph(self) -> None:
        content = self._random.choice(self._photographs)
        image = types_pb2.Image(content=content[: self._random.randrange(len(content) // 2)])
        try:
            await self._find(image=image)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise

    async def _given_up(self) -> None:
        call = self._stub.FindSimilar(search_pb2.FindSimilarRequest(image=self._image()), timeout=_TIMEOUT_S)
        await asyncio.sleep(self._random.random() * 0.02)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call


def draw_soak(figures: Mapping[str, Any], file: Path) -> Path:
    """Draws the memory of each process over time.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(8.0, 4.0)
    axes = figure.add_subplot()
    for name, memory in figures["resident_mib"].items():
        axes.plot(figures["minute"], memory, label=name)
    axes.axvline(min(_SETTLE_S, figures["seconds"] / 4) / 60, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("minutes of mixed load; growth counts from the dotted line on")
    axes.set_ylabel("resident memory, MiB")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center right")
    return save_figure(figure, file)
