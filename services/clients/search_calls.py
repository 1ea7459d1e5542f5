"""The calls of search in the messages of the protos, over gRPC or in the same process."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from fashion.v1 import search_pb2, types_pb2

Response = TypeVar("Response", bound=Message)


class SearchCalls(ABC):
    """The everyday calls of search; subclasses decide how a call is made.

    Each method raises the errors of its RPC, as categories (`services.contract.errors`).
    """

    def __init__(self, methods: Any) -> None:
        """Takes an object with one method per RPC: a stub or a servicer."""
        self._methods = methods

    @abstractmethod
    async def serving(self) -> bool:
        """Tells whether search answers now."""

    @abstractmethod
    async def dislikes_known(self) -> bool:
        """Tells whether the disliked colours can be read now."""

    @abstractmethod
    async def _query(self, method: Callable[..., Awaitable[Response]], request: Message) -> Response:
        """Calls one of the methods that read."""

    async def _write(
        self, method: Callable[..., Awaitable[Response]], request: Message, *, repeatable: bool = True
    ) -> Response:
        """Calls one of the methods that write; one that is not repeatable is called once, answered or not."""
        return await self._query(method, request)

    async def find_similar(self, request: search_pb2.FindSimilarRequest) -> search_pb2.FindSimilarResponse:
        """Finds the most similar products."""
        return await self._query(self._methods.FindSimilar, request)

    async def detect_garments(self, image: types_pb2.Image) -> search_pb2.DetectGarmentsResponse:
        """Finds the garments in a photograph."""
        return await self._query(self._methods.DetectGarments, search_pb2.DetectGarmentsRequest(image=image))

    async def get_product(self, product_id: str, *, include_embedding: bool = False) -> search_pb2.GetProductResponse:
        """Returns one product; NotFound where there is none."""
        request = search_pb2.GetProductRequest(product_id=product_id, include_embedding=include_embedding)
        return await self._query(self._methods.GetProduct, request)

    async def get_photograph(self, product_id: str, index: int = 0) -> search_pb2.GetPhotographResponse:
        """Returns a photograph of a product as uploaded, the first by default; NotFound where there is none."""
        request = search_pb2.GetPhotographRequest(product_id=product_id, index=index)
        return await self._query(self._methods.GetPhotograph, request)

    async def list_products(
        self,
        only: search_pb2.Filter | None = None,
        *,
        order: search_pb2.ProductOrder = search_pb2.PRODUCT_ORDER_ID,
        page_size: int = 50,
        page_token: str = "",
    ) -> search_pb2.ListProductsResponse:
        """Returns a page of products in an order; `page_token` is "" for the first."""
        request = search_pb2.ListProductsRequest(filter=only, order=order, page_size=page_size, page_token=page_token)
        return await self._query(self._methods.ListProducts, request)

    async def update_products(
        self, updates: Sequence[search_pb2.ProductUpdate], fields: Sequence[str] | None = None
    ) -> search_pb2.UpdateProductsResponse:
        """Changes some fields of up to 500 products that are known; each row has a status.

        Args:
            updates: the products' ids and new values; a mask of a row goes before `fields`.
            fields: the fields that change; None for those that have a value in the row.
        """
        mask = None if fields is None else FieldMask(paths=fields)
        request = search_pb2.UpdateProductsRequest(updates=updates, update_mask=mask)
        return await self._write(self._methods.UpdateProducts, request)

    async def add_photograph(
        self, product_id: str, image: types_pb2.Image, index: int | None = None
    ) -> search_pb2.AddPhotographResponse:
        """Adds a photograph to a product that is known, as the last one by default."""
        request = search_pb2.AddPhotographRequest(product_id=product_id, image=image, index=index)
        return await self._write(self._methods.AddPhotograph, request)

    async def remove_photograph(
        self, product_id: str, index: int | None = None, *, sha256: str | None = None
    ) -> search_pb2.RemovePhotographResponse:
        """Removes a photograph of a product by its place, or all photographs of a file by its SHA-256."""
        request = search_pb2.RemovePhotographRequest(product_id=product_id, index=index, sha256=sha256)
        # After the first call, another photograph has the place.
        return await self._write(self._methods.RemovePhotograph, request, repeatable=index is None)

    async def list_facets(self, only: search_pb2.Filter | None = None) -> search_pb2.ListFacetsResponse:
        """Counts products by the values of their attributes."""
        return await self._query(self._methods.ListFacets, search_pb2.ListFacetsRequest(filter=only))

    async def get_index(self) -> search_pb2.GetIndexResponse:
        """Returns facts about the index."""
        return await self._query(self._methods.GetIndex, search_pb2.GetIndexRequest())

    async def add_disliked_colours(
        self, user_id: str, colours: Sequence[str], *, exact: bool = False
    ) -> search_pb2.AddDislikedColoursResponse:
        """Stores colours that a user dislikes; with `exact`, without their families."""
        disliked = [search_pb2.DislikedColour(colour=colour, exact=exact) for colour in colours]
        request = search_pb2.AddDislikedColoursRequest(user_id=user_id, colours=disliked)
        return await self._query(self._methods.AddDislikedColours, request)

    async def remove_disliked_colours(
        self, user_id: str, colours: Sequence[str]
    ) -> search_pb2.RemoveDislikedColoursResponse:
        """Removes colours from those that a user dislikes."""
        request = search_pb2.RemoveDislikedColoursRequest(user_id=user_id, colours=colours)
        return await self._query(self._methods.RemoveDislikedColours, request)

    async def list_disliked_colours(self, user_id: str) -> search_pb2.ListDislikedColoursResponse:
        """Lists the colours that a user dislikes."""
        request = search_pb2.ListDislikedColoursRequest(user_id=user_id)
        return await self._query(self._methods.ListDislikedColours, request)

    async def forget_user(self, user_id: str) -> search_pb2.ForgetUserResponse:
        """Erases all data of a user."""
        return await self._query(self._methods.ForgetUser, search_pb2.ForgetUserRequest(user_id=user_id))
