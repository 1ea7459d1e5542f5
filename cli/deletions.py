"""Deletes products of the catalogue, as many as you like."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from cli.connection import MAX_CALL_ROWS

if TYPE_CHECKING:
    from fashion.v1 import search_pb2
    from services.clients.search import SearchClient


async def deletions(
    client: "SearchClient", product_ids: Sequence[str]
) -> AsyncIterator["search_pb2.DeleteProductsResponse"]:
    """Deletes products in calls that the server takes; yields each answer before the next call.

    Raises:
        FashionError: the server refused a call, or does not answer. What was yielded before has happened.
    """
    for start in range(0, len(product_ids), MAX_CALL_ROWS):
        yield await client.delete_products(list(product_ids[start : start + MAX_CALL_ROWS]))
