"""Mixed load for a long time: nothing that a process holds may grow once the first minutes are over."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import httpx

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.deployment import PATIENT, Deployment, deployed
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.growth import Sample, growth_figures, memory_text, watch
from offline.benchmark.hard_pictures import encoded
from offline.benchmark.machine import Machine
from offline.drawn.catalogue import catalogue_specs, draw_upload

Say = Callable[[str], None]

_PRODUCTS: Final = 240
_PHOTOGRAPHS: Final = 24
_USERS: Final = 200
_COLOURS: Final = ("Blue", "Red", "Yellow", "Black", "Green")
_TIMEOUT_S: Final = 30.0
# What a busy machine may answer.
_BUSY: Final = ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "503", "504", "ReadTimeout")


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
    patient = {**PATIENT, **(environment or {})}
    with TemporaryDirectory() as folder, deployed(Path(folder), environment=patient) as deployment:
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
                samples = await watch(self._deployment.usage, seconds, self._tell)
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return self._figures(machine, samples, seconds)

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

    def _tell(self, sample: Sample) -> None:
        done = f"{self.done.total():,} done, {self.failed.total()} failed"
        self._say(f"{sample.at_s / 60:.0f} min, {done}, {memory_text(sample)}")

    def _figures(self, machine: Machine, samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
        held = growth_figures(samples)
        problems = [*held.pop("grown")]
        problems += [f"{count} x {what}" for what, count in self.failed.items() if not what.endswith(_BUSY)]
        return {
            "minutes": round(seconds / 60, 1),
            "load_at_begin": machine.load,
            "load_at_end": Machine.this().load,
            "processors": machine.processors,
            "operations": dict(self.done),
            "failed": dict(self.failed),
            **held,
            "problems": problems,
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
