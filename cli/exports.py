"""What the exports read from the search service: pages of products, their similar ones, their photographs."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from fashion.v1 import search_pb2, types_pb2
from offline.dataset.cells import cell_of
from offline.similar_lists import SimilarList
from services.contract.attributes import STORED, Kind
from services.contract.errors import DeadlineExceeded, ModelMismatch, NotFound, Overloaded, Unavailable
from services.search.catalogue.products import Price
from services.serving.conversion import gender_from_proto

if TYPE_CHECKING:
    from services.clients.search import SearchClient

_PAGE_SIZE = 500
_ATTEMPTS = 8
_FIRST_DELAY_S = 0.25
_MAX_DELAY_S = 10.0

Value = TypeVar("Value")
Result = TypeVar("Result")


async def pages(client: "SearchClient") -> AsyncIterator[search_pb2.ListProductsResponse]:
    """Yields all products of the catalogue by id, up to 500 at once."""
    token = ""
    while True:
        page = await again(lambda: client.list_products(page_size=_PAGE_SIZE, page_token=token))  # noqa: B023
        yield page
        token = page.next_page_token
        if not token:
            return


async def similar_list(
    client: "SearchClient", product_id: str, top_k: int, *, include_out_of_stock: bool = False
) -> SimilarList | None:
    """Returns what FindSimilar answers for a product.

    Returns:
        None where there is no answer: the product was deleted meanwhile, or its embedding is of another model.
    """
    request = search_pb2.FindSimilarRequest(
        product_id=product_id, top_k=top_k, include_out_of_stock=include_out_of_stock
    )
    try:
        answer = await again(lambda: client.find_similar(request))
    except (NotFound, ModelMismatch):
        return None
    return SimilarList(product_id, tuple((each.product.id, each.similarity) for each in answer.products))


async def photograph(client: "SearchClient", product: types_pb2.Product) -> search_pb2.GetPhotographResponse | None:
    """Returns the photograph of a product; None where there is none."""
    if product.photograph_absent:
        return None
    try:
        return await again(lambda: client.get_photograph(product.id))
    except NotFound:
        return None


def product_cells(product: types_pb2.Product) -> dict[str, str]:
    """Returns a product as the cells of a table: a text by field; without those that are unknown."""
    cells = {"id": product.id}
    for attribute in STORED:
        name = attribute.name
        value = getattr(product, name)
        if attribute.kind is Kind.GENDER:
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


async def again(call: Callable[[], Awaitable[Result]]) -> Result:
    """Makes a call, and repeats it with growing pauses while the server is overloaded or unavailable."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return await call()
        except (Overloaded, Unavailable, DeadlineExceeded):
            delay_s = min(_FIRST_DELAY_S * 2**attempt, _MAX_DELAY_S)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
    return await call()
