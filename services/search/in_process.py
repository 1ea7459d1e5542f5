"""Search as a caller in the same process sees it: the messages of the protos, and no network."""

from collections.abc import Sequence
from typing import Any, Final

from fashion.v1 import search_pb2
from services.search.servicer import SearchServicer

# None of the methods below asks who calls.
_NO_CONTEXT: Final[Any] = None


class InProcessSearch:
    """Fulfils what `services.clients.search.SearchClient` does for a caller; deadline and request id are the caller's.

    Errors are those of the RPCs, as categories.
    """

    def __init__(self, servicer: SearchServicer) -> None:
        """Takes what unpacks, calls and packs over gRPC too."""
        self._servicer = servicer

    async def serving(self) -> bool:
        """Tells whether it answers now: always, once it is there."""
        return True

    async def find_similar(self, request: search_pb2.FindSimilarRequest) -> search_pb2.FindSimilarResponse:
        """Finds the most similar products."""
        return await self._servicer.FindSimilar(request, _NO_CONTEXT)

    async def get_product(self, product_id: str) -> search_pb2.GetProductResponse:
        """Returns one product."""
        return await self._servicer.GetProduct(search_pb2.GetProductRequest(product_id=product_id), _NO_CONTEXT)

    async def photograph(self, product_id: str) -> search_pb2.GetPhotographResponse:
        """Returns the photograph of a product as it was uploaded."""
        return await self._servicer.GetPhotograph(search_pb2.GetPhotographRequest(product_id=product_id), _NO_CONTEXT)

    async def list_products(
        self, only: search_pb2.Filter | None = None, *, page_size: int = 50, page_token: str = ""
    ) -> search_pb2.ListProductsResponse:
        """Returns a page of products in the order of their ids."""
        request = search_pb2.ListProductsRequest(filter=only, page_size=page_size, page_token=page_token)
        return await self._servicer.ListProducts(request, _NO_CONTEXT)

    async def list_facets(self, only: search_pb2.Filter | None = None) -> search_pb2.ListFacetsResponse:
        """Counts products by the values of their attributes."""
        return await self._servicer.ListFacets(search_pb2.ListFacetsRequest(filter=only), _NO_CONTEXT)

    async def add_disliked_colours(
        self, user_id: str, colours: Sequence[str], *, exact: bool = False
    ) -> search_pb2.AddDislikedColoursResponse:
        """Remembers colours that a user dislikes; with `exact`, without their families."""
        disliked = [search_pb2.DislikedColour(colour=colour, exact=exact) for colour in colours]
        request = search_pb2.AddDislikedColoursRequest(user_id=user_id, colours=disliked)
        return await self._servicer.AddDislikedColours(request, _NO_CONTEXT)

    async def remove_disliked_colours(
        self, user_id: str, colours: Sequence[str]
    ) -> search_pb2.RemoveDislikedColoursResponse:
        """Forgets that a user dislikes some colours."""
        request = search_pb2.RemoveDislikedColoursRequest(user_id=user_id, colours=colours)
        return await self._servicer.RemoveDislikedColours(request, _NO_CONTEXT)

    async def list_disliked_colours(self, user_id: str) -> search_pb2.ListDislikedColoursResponse:
        """Lists the colours that a user dislikes."""
        request = search_pb2.ListDislikedColoursRequest(user_id=user_id)
        return await self._servicer.ListDislikedColours(request, _NO_CONTEXT)

    async def forget_user(self, user_id: str) -> search_pb2.ForgetUserResponse:
        """Erases all that is kept about a user."""
        return await self._servicer.ForgetUser(search_pb2.ForgetUserRequest(user_id=user_id), _NO_CONTEXT)
