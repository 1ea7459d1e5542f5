"""What the exports read from the search service: pages of products, their similar ones, their photographs."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from cli.answers import rung_name
from cli.connection import MAX_CALL_ROWS
from cli.labels import in_any_case, request_labels
from fashion.v1 import search_pb2, types_pb2
from offline.dataset.cells import cell_of
from offline.similar_lists import RANK_SCORE, RUNG, SimilarHit, SimilarList
from services.contract.attributes import STORED, Kind
from services.contract.errors import DeadlineExceeded, ModelMismatch, NotFound, Overloaded, Unavailable
from services.search.catalogue.products import Price
from services.serving.conversion import gender_from_proto, own_attributes_from_proto, row_error_from_proto

if TYPE_CHECKING:
    from services.clients.search import SearchClient

_ATTEMPTS = 8
_FIRST_DELAY_S = 0.25
_MAX_DELAY_S = 10.0

_FURTHER: Mapping[str, Callable[[search_pb2.SimilarReference], float | str]] = {
    RANK_SCORE: lambda product: product.rank_score,
    RUNG: lambda product: rung_name(product.rung),
}

Value = TypeVar("Value")
Result = TypeVar("Result")


async def pages(client: "SearchClient") -> AsyncIterator[search_pb2.ListProductsResponse]:
    """Yields all products of the catalogue by id, up to 500 at once."""
    token = ""
    while True:
        page = await again(lambda: client.list_products(page_size=MAX_CALL_ROWS, page_token=token))  # noqa: B023
        yield page
        token = page.next_page_token
        if not token:
            return


async def id_batches(client: "SearchClient", size: int) -> AsyncIterator[list[str]]:
    """Yields the ids of all products in order, so many at once."""
    async for page in pages(client):
        ids = [product.id for product in page.products]
        for start in range(0, len(ids), size):
            yield ids[start : start + size]


async def respell_labels(client: "SearchClient", options: search_pb2.FindSimilarRequest) -> None:
    """Respells labels that the server knows in another letter case, in place.

    Raises:
        FashionError: the server refuses the options.
    """
    page = await again(lambda: client.list_products(page_size=1))
    ids = [product.id for product in page.products]
    if ids:
        await in_any_case(lambda: similar_lists(client, ids, options), request_labels(options))


def further_columns(options: search_pb2.FindSimilarRequest) -> list[str]:
    """Returns the further columns that lists of some options have."""
    return [*([RANK_SCORE] if options.boosts else []), *([RUNG] if options.widen else [])]


async def similar_lists(
    client: "SearchClient", product_ids: Sequence[str], options: search_pb2.FindSimilarRequest
) -> list[SimilarList | None]:
    """Returns what FindSimilar answers for each of up to 500 products.

    Returns:
        In their order; None where there is no answer: the product was deleted meanwhile, or its embedding is of another
        model.
    """
    answer = await again(lambda: client.batch_find_similar(product_ids, options))
    lists: list[SimilarList | None] = []
    for each in answer.lists:
        error = row_error_from_proto(each.status)
        if error is not None and not isinstance(error, NotFound | ModelMismatch):
            raise error
        hits = tuple(
            SimilarHit(one.product_id, one.similarity, tuple(_FURTHER[name](one) for name in further_columns(options)))
            for one in each.products
        )
        lists.append(SimilarList(each.product_id, hits) if error is None else None)
    return lists


async def photographs(client: "SearchClient", product: types_pb2.Product) -> list[tuple[str, bytes]]:
    """Returns media type and content of a product's photographs, the first one first; none without a file of that.

    Those that came as embeddings are left out.
    """
    files: list[tuple[str, bytes]] = []
    for index in range(max(product.photograph_count, 1)):
        try:
            answer = await again(lambda: client.get_photograph(product.id, index))  # noqa: B023
        except NotFound:
            if not files:
                break
        else:
            files.append((answer.media_type, answer.content))
    return files


def product_cells(product: types_pb2.Product) -> dict[str, str]:
    """Returns a product as the cells of a table: a text by field; without those that are unknown."""
    cells = {"id": product.id}
    for attribute in STORED:
        name = attribute.name
        value = getattr(product, name)
        if attribute.kind is Kind.OWN:
            if value:
                cells[name] = cell_of(own_attributes_from_proto(value))
        elif attribute.kind is Kind.GENDER:
            gender = gender_from_proto(value)
            if gender is not None:
                cells[name] = gender.value
        elif attribute.required or product.HasField(name):
            match attribute.kind:
                case Kind.PRICE:
                    cells[name] = cell_of(Price(value.currency_code, value.units, value.nanos))
                case _:
                    cells[name] = cell_of(value)
    return cells


async def map_in_order(
    work: Callable[[Value], Awaitable[Result]], values: Sequence[Value], at_once: int
) -> list[Result]:
    """Returns the results of `work` in the order of the values, with this many under way at once."""
    places = asyncio.Semaphore(at_once)

    async def one(value: Value) -> Result:
        async with places:
            return await work(value)

    # The first failure cancels the others.
    tasks = [asyncio.ensure_future(one(value)) for value in values]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def in_turn(
    work: Callable[[Value], Awaitable[Result]], values: AsyncIterator[Value], at_once: int
) -> AsyncIterator[tuple[Value, Result]]:
    """Yields values with the results of `work`, in their order, with this many under way at once."""
    under_way: deque[tuple[Value, asyncio.Future[Result]]] = deque()
    try:
        async for value in values:
            under_way.append((value, asyncio.ensure_future(work(value))))
            if len(under_way) >= at_once:
                first, result = under_way.popleft()
                yield first, await result
        while under_way:
            first, result = under_way.popleft()
            yield first, await result
    finally:
        for _, task in under_way:
            task.cancel()


async def again(call: Callable[[], Awaitable[Result]]) -> Result:
    """Makes a call, and repeats it with growing pauses while the server is overloaded or unavailable."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return await call()
        except (Overloaded, Unavailable, DeadlineExceeded):
            delay_s = min(_FIRST_DELAY_S * 2**attempt, _MAX_DELAY_S)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
    return await call()
