"""The catalogue of a shop's day: products in batches, queries whose answers are judged, and what a shop writes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from random import Random
from types import MappingProxyType
from typing import Any, Final

import grpc
import httpx
from google.protobuf.field_mask_pb2 import FieldMask

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.batch_states import Batch, Judge, State
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.hard_pictures import encoded
from offline.drawn.catalogue import catalogue_specs, draw_upload

# Products that are written together.
BATCH: Final = 20
PRICES, FEED, DELETES, DISLIKES, UPLOADS = "prices", "a feed", "deletes", "dislikes", "photographs"
_PICTURES_PER_UPLOAD: Final = 12
_TIMEOUT_S: Final = 30.0
# How often a write looks for a batch that no other write has.
_LOOK_S: Final = 0.01
# Queries of each kind in a hundred.
_MIXTURE: Final = MappingProxyType({"product": 35, "photograph": 25, "batch": 25, "HTTP": 15})
# Of those that a query may ask for, the newest ones: older ones are long gone.
_RECENT: Final = 80


class Shop:
    """A catalogue that is written in batches; within `connected`, what shoppers ask and the shop writes.

    Attributes:
        judge: what was wrong with answers.
        size: products of the catalogue, which stays as large.
    """

    def __init__(self, target: str, url: str, products: int, seed: int, pictures: int = 480) -> None:
        """Draws the pictures.

        Args:
            target: search, "host:port".
            url: the gateway's.
            products: how many there are; rounded down to whole batches.
            seed: of all that is random.
            pictures: how many different ones they have at most, at least 20.
        """
        self._target, self._url = target, url
        self._random = Random(seed)
        self.size = products - products % BATCH
        self._rows = drawn_rows(seed, pictures)
        specs = catalogue_specs(seed, pictures)[::_PICTURES_PER_UPLOAD]
        self._photographs = [encoded(draw_upload(spec), "JPEG") for spec in specs]
        self.judge = Judge()
        self._batches: dict[int, Batch] = {}
        self._prices = self._shoppers = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connects to the services, and writes the catalogue where it is not there yet."""
        # The shop's writes have a connection of their own, as its other programs have.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", 64 << 20)]
        async with (
            grpc.aio.insecure_channel(self._target, options=options) as channel,
            grpc.aio.insecure_channel(self._target, options=options) as writing,
            httpx.AsyncClient(base_url=self._url, timeout=_TIMEOUT_S) as http,
        ):
            self._search: Any = search_pb2_grpc.SearchServiceStub(channel)
            self._writes: Any = search_pb2_grpc.SearchServiceStub(writing)
            self._http = http
            while len(self._batches) < self.size // BATCH:
                await self._add()
            yield

    @property
    def kinds(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The writes, by kind; each may raise grpc.aio.AioRpcError or httpx.HTTPError."""
        return {
            PRICES: self._reprice,
            FEED: self._feed,
            DELETES: self._delete_and_add,
            DISLIKES: self._dislike,
            UPLOADS: self._upload,
        }

    # Queries.

    async def query(self) -> None:
        """Sends one query of any kind, and judges its answer.

        Raises:
            grpc.aio.AioRpcError, httpx.HTTPError: it was not answered.
        """
        (kind,) = self._random.choices([*_MIXTURE], [*_MIXTURE.values()])
        batch, whole = self._random.choice([*self._known()]), None
        product_id, sent_s = self._random.choice(batch.product_ids), time.monotonic()
        try:
            if kind == "HTTP":
                shown = await self._similar_over_http(product_id)
            elif kind == "photograph":
                shown = await self._similar(image=self._photograph())
            elif kind == "product":
                shown = await self._similar(product_id=product_id, user_id=f"user-{self._random.randrange(50)}")
            else:
                others = [each for each in self._batches.values() if each is not batch]
                # Rather one that is being written.
                whole = self._random.choice([each for each in others if each.held] or others[-_RECENT:])
                range_ = search_pb2.NumberRange(min=whole.number, max=whole.number)
                own = search_pb2.Filter(attributes={"batch": search_pb2.AttributeFilter(number=range_)})
                shown = await self._similar(product_id=product_id, filter=own, top_k=BATCH + 1)
        except KeyError:
            # The product that was asked with is not there.
            if all(state.known for state in batch.possible(sent_s, time.monotonic())):
                self.judge.fault("a product is missing", product_id)
        else:
            self.judge.judge(self._batches, shown, sent_s, time.monotonic(), whole)

    async def _similar(self, **request: Any) -> dict[str, int]:
        """Returns the prices of similar products by id; raises KeyError where the query's product is not there."""
        try:
            answer = await self._search.FindSimilar(search_pb2.FindSimilarRequest(**request), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise KeyError from None
            raise
        return {each.product.id: each.product.price.units for each in answer.products}

    async def _similar_over_http(self, product_id: str) -> dict[str, int]:
        answer = await self._http.get(f"/v1/products/{product_id}/similar?limit=8")
        if answer.status_code == 404:
            raise KeyError
        answer.raise_for_status()
        products = [each["product"] for each in answer.json()["products"]]
        return {each["id"]: int(Decimal(each["price"]["amount"])) for each in products}

    def _known(self) -> Iterator[Batch]:
        return (each for each in self._batches.values() if each.states[-1].known)

    def _photograph(self) -> types_pb2.Image:
        return types_pb2.Image(content=self._random.choice(self._photographs))

    # Writes.

    @asynccontextmanager
    async def _held(self, count: int) -> AsyncIterator[list[Batch]]:
        """Keeps other writes from some batches, once one of them is free."""
        while not (free := [each for each in self._known() if not each.held]):
            await asyncio.sleep(_LOOK_S)
        batches = self._random.sample(free, min(count, len(free)))
        for batch in batches:
            batch.held = True
        try:
            yield batches
        finally:
            for batch in batches:
                batch.held = False

    @contextmanager
    def _state(self, batches: Sequence[Batch], price: int | None, *, known: bool = True) -> Iterator[None]:
        """Notes that a write is sent, and at the end that it is acknowledged."""
        states = [State(price, known, time.monotonic()) for _ in batches]
        for batch, state in zip(batches, states, strict=True):
            batch.states.append(state)
        yield
        for state in states:
            state.acknowledged_s = time.monotonic()

    def _next_price(self) -> int:
        self._prices += 1
        return self._prices

    async def _reprice(self) -> None:
        """Changes the prices of some batches in one write; now and then they are sold out before."""
        async with self._held(self._random.randint(1, 3)) as batches:
            if self._random.random() < 0.2:
                await self._update(batches, None)
            await self._update(batches, self._next_price())

    async def _update(self, batches: Sequence[Batch], price: int | None) -> None:
        new = types_pb2.Price(currency_code="EUR", units=price or self._next_price())
        request = search_pb2.UpdateProductsRequest(
            updates=[
                search_pb2.ProductUpdate(product=types_pb2.Product(id=each, price=new, in_stock=price is not None))
                for batch in batches
                for each in batch.product_ids
            ],
            update_mask=FieldMask(paths=["price", "in_stock"]),
        )
        with self._state(batches, price):
            self._check(await self._writes.UpdateProducts(request, timeout=_TIMEOUT_S))

    def _check(self, response: Any) -> None:
        for result in response.results:
            if result.status.code:
                self.judge.fault("a row is refused", f"{result.product_id}: {result.status.message}")

    async def _add(self) -> None:
        """Adds a batch of new products, with photographs."""
        batch, price = Batch(len(self._batches), BATCH), self._next_price()
        batch.held = True
        rows = []
        for product_id, row in zip(batch.product_ids, self._random.sample(self._rows, BATCH), strict=True):
            new = search_pb2.ProductRow()
            new.CopyFrom(row)
            new.product.id = product_id
            new.product.price.CopyFrom(types_pb2.Price(currency_code="EUR", units=price))
            new.product.attributes["batch"].number = batch.number
            rows.append(new)
        self._batches[batch.number] = batch
        with self._state([batch], price):
            self._check(await self._writes.UpsertProducts(search_pb2.UpsertProductsRequest(rows=rows), timeout=120))
        batch.held = False

    async def _delete(self, batch: Batch) -> None:
        """Deletes a batch, and looks for it on every way."""
        product_id = self._random.choice(batch.product_ids)
        path = f"/v1/products/{product_id}"
        # Whatever keeps copies has one now.
        await self._http.get(f"{path}/image?width=240")
        with self._state([batch], None, known=False):
            request = search_pb2.DeleteProductsRequest(product_ids=batch.product_ids)
            self._check(await self._writes.DeleteProducts(request, timeout=_TIMEOUT_S))
        for way in (path, f"{path}/image?width=240", f"{path}/similar"):
            if (await self._http.get(way)).status_code != 404:
                self.judge.fault("a deleted product over HTTP", way)
        for call in (
            self._search.GetProduct(search_pb2.GetProductRequest(product_id=product_id), timeout=_TIMEOUT_S),
            self._search.FindSimilar(search_pb2.FindSimilarRequest(product_id=product_id), timeout=_TIMEOUT_S),
        ):
            try:
                await call
                self.judge.fault("a deleted product over gRPC", product_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise

    async def _feed(self) -> None:
        """Takes new products in, and withdraws as many."""
        await self._add()
        async with self._held(1) as batches:
            await self._delete(batches[0])

    async def _delete_and_add(self) -> None:
        async with self._held(1) as batches:
            await self._delete(batches[0])
        await self._add()

    async def _dislike(self) -> None:
        """A shopper dislikes a colour of an answer, and sees it no more."""
        self._shoppers += 1
        user = f"shopper-{self._shoppers}"
        async with self._held(1) as batches:
            product_id = self._random.choice(batches[0].product_ids)
            request = search_pb2.FindSimilarRequest(product_id=product_id, user_id=user)
            answer = await self._writes.FindSimilar(request, timeout=_TIMEOUT_S)
            colour = next((each.product.base_colour for each in answer.products), "Blue")
            disliked = [search_pb2.DislikedColour(colour=colour)]
            add = search_pb2.AddDislikedColoursRequest(user_id=user, colours=disliked)
            await self._writes.AddDislikedColours(add, timeout=_TIMEOUT_S)
            answer = await self._writes.FindSimilar(request, timeout=_TIMEOUT_S)
        if colour in {each.product.base_colour for each in answer.products}:
            self.judge.fault("a disliked colour in an answer", colour)
        await self._writes.ForgetUser(search_pb2.ForgetUserRequest(user_id=user), timeout=_TIMEOUT_S)

    async def _upload(self) -> None:
        """A product gets another photograph, and loses it again."""
        async with self._held(1) as batches:
            product_id = self._random.choice(batches[0].product_ids)
            add = search_pb2.AddPhotographRequest(product_id=product_id, image=self._photograph())
            remove = search_pb2.RemovePhotographRequest(product_id=product_id, index=1)
            for write, count in ((self._writes.AddPhotograph(add, timeout=_TIMEOUT_S), 2), (None, 1)):
                await (write or self._writes.RemovePhotograph(remove, timeout=_TIMEOUT_S))
                request = search_pb2.GetProductRequest(product_id=product_id)
                product = (await self._writes.GetProduct(request, timeout=_TIMEOUT_S)).product
                if product.photograph_count != count:
                    self.judge.fault("a photograph that is written is not there", product_id)
