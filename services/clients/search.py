"""Speaks to the search service: calls with deadlines and a request id, and errors back as categories."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fashion.v1 import search_pb2, search_pb2_grpc
from services.clients.channel import open_channel
from services.serving import deadline
from services.serving.errors import FashionError, NotReady, Upstream
from services.serving.status import error_from
from services.serving.telemetry import REQUEST_ID_KEY, current_request_id

# What UpsertProducts tells in its trailing metadata: milliseconds in which embeddings were awaited.
EMBEDDING_MS_KEY: Final = "x-embedding-ms"
SERVICE_NAME: Final = search_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name

_HEALTH_POLL_S = 0.2

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class SearchTimeouts:
    """How long a call may take, in seconds; a nearer deadline of the work at hand goes before.

    Attributes:
        query_s: for a read; more than the server's own 2 s, because people would rather wait than be turned away.
        write_s: for a write; many photographs may be waiting to be embedded before these.
    """

    query_s: float = 20.0
    write_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Upserted:
    """An answer of UpsertProducts, and the seconds in which embeddings were awaited; None where unknown."""

    response: search_pb2.UpsertProductsResponse
    embedding_s: float | None


class SearchClient:
    """A client of one search service; an asynchronous context manager. Requests and answers are those of the protos."""

    def __init__(self, channel: grpc.aio.Channel, target: str, timeouts: SearchTimeouts | None = None) -> None:
        """Wraps a channel, which `close` closes.

        Args:
            channel: to the service.
            target: how people name it, for errors.
            timeouts: how long calls may take.
        """
        self._channel = channel
        self._target = target
        self._timeouts = timeouts or SearchTimeouts()
        self._stub = search_pb2_grpc.SearchServiceStub(channel)

    @classmethod
    def connect(cls, target: str, timeouts: SearchTimeouts | None = None) -> Self:
        """Makes a client of the service at `target`, such as "localhost:50050"; connects with the first call."""
        return cls(open_channel(target), target, timeouts)

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def find_similar(self, request: search_pb2.FindSimilarRequest) -> search_pb2.FindSimilarResponse:
        """Finds the most similar products.

        Raises:
            FashionError: as SearchService.FindSimilar documents.
        """
        return await self._query(self._stub.FindSimilar, request)

    async def upsert_products(self, rows: Sequence[search_pb2.ProductRow]) -> Upserted:
        """Creates or replaces up to 500 products; what is wrong with a row stands in its status.

        Raises:
            FashionError: as SearchService.UpsertProducts documents.
        """
        request = search_pb2.UpsertProductsRequest(rows=rows)
        response, trailing = await self._send(self._stub.UpsertProducts, request, self._timeouts.write_s)
        awaited = dict(trailing).get(EMBEDDING_MS_KEY)
        return Upserted(response, None if awaited is None else float(awaited) / 1000)

    async def delete_products(self, product_ids: Sequence[str]) -> search_pb2.DeleteProductsResponse:
        """Deletes up to 500 products; one that is not there has a status that says so.

        Raises:
            FashionError: as SearchService.DeleteProducts documents.
        """
        request = search_pb2.DeleteProductsRequest(product_ids=product_ids)
        response, _ = await self._send(self._stub.DeleteProducts, request, self._timeouts.write_s)
        return response

    async def get_product(self, product_id: str, *, include_embedding: bool = False) -> search_pb2.GetProductResponse:
        """Returns one product.

        Raises:
            NotFound: there is no such product.
            FashionError: as SearchService.GetProduct documents.
        """
        request = search_pb2.GetProductRequest(product_id=product_id, include_embedding=include_embedding)
        return await self._query(self._stub.GetProduct, request)

    async def photograph(self, product_id: str) -> search_pb2.GetPhotographResponse:
        """Returns the photograph of a product as it was uploaded.

        Raises:
            NotFound: there is no such product, or it has no photograph.
            FashionError: as SearchService.GetPhotograph documents.
        """
        return await self._query(
            self._stub.GetPhotograph,
            search_pb2.GetPhotographRequest(product_id=product_id),
        )

    async def list_products(
        self, only: search_pb2.Filter | None = None, *, page_size: int = 50, page_token: str = ""
    ) -> search_pb2.ListProductsResponse:
        """Returns a page of products in the order of their ids; `page_token` is "" for the first.

        Raises:
            FashionError: as SearchService.ListProducts documents.
        """
        request = search_pb2.ListProductsRequest(filter=only, page_size=page_size, page_token=page_token)
        return await self._query(self._stub.ListProducts, request)

    async def list_facets(self, only: search_pb2.Filter | None = None) -> search_pb2.ListFacetsResponse:
        """Counts products by the values of their attributes.

        Raises:
            FashionError: as SearchService.ListFacets documents.
        """
        return await self._query(self._stub.ListFacets, search_pb2.ListFacetsRequest(filter=only))

    async def add_disliked_colours(
        self, user_id: str, colours: Sequence[str], *, exact: bool = False
    ) -> search_pb2.AddDislikedColoursResponse:
        """Remembers colours that a user dislikes; with `exact`, without their families.

        Raises:
            FashionError: as SearchService.AddDislikedColours documents.
        """
        disliked = [search_pb2.DislikedColour(colour=colour, exact=exact) for colour in colours]
        request = search_pb2.AddDislikedColoursRequest(user_id=user_id, colours=disliked)
        return await self._query(self._stub.AddDislikedColours, request)

    async def remove_disliked_colours(
        self, user_id: str, colours: Sequence[str]
    ) -> search_pb2.RemoveDislikedColoursResponse:
        """Forgets that a user dislikes some colours.

        Raises:
            FashionError: as SearchService.RemoveDislikedColours documents.
        """
        request = search_pb2.RemoveDislikedColoursRequest(user_id=user_id, colours=colours)
        return await self._query(self._stub.RemoveDislikedColours, request)

    async def list_disliked_colours(self, user_id: str) -> search_pb2.ListDislikedColoursResponse:
        """Lists the colours that a user dislikes.

        Raises:
            FashionError: as SearchService.ListDislikedColours documents.
        """
        request = search_pb2.ListDislikedColoursRequest(user_id=user_id)
        return await self._query(self._stub.ListDislikedColours, request)

    async def forget_user(self, user_id: str) -> search_pb2.ForgetUserResponse:
        """Erases all that is kept about a user.

        Raises:
            FashionError: as SearchService.ForgetUser documents.
        """
        return await self._query(self._stub.ForgetUser, search_pb2.ForgetUserRequest(user_id=user_id))

    async def index(self) -> search_pb2.GetIndexResponse:
        """Returns facts about the index.

        Raises:
            FashionError: the service does not answer.
        """
        return await self._query(self._stub.GetIndex, search_pb2.GetIndexRequest())

    async def serving(self, timeout_s: float = 1.0) -> bool:
        """Tells whether the service says now that it is ready; what does not answer in time is not."""
        try:
            return await self._says_serving(timeout_s, wait_for_ready=False)
        except grpc.aio.AioRpcError:
            return False

    async def wait_until_serving(self, timeout_s: float) -> None:
        """Waits until the service says that it is ready.

        Raises:
            NotReady: it did not within `timeout_s`.
        """
        end = time.monotonic() + timeout_s
        while (left_s := end - time.monotonic()) > 0:
            try:
                if await self._says_serving(left_s, wait_for_ready=True):
                    return
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise _category(error, self._target) from error
            await asyncio.sleep(_HEALTH_POLL_S)
        raise NotReady(f"{self._target} is not ready after {timeout_s:.0f} s", reason="SEARCH_NOT_READY")

    async def _says_serving(self, timeout_s: float, *, wait_for_ready: bool) -> bool:
        stub: Any = health_pb2_grpc.HealthStub(self._channel)  # type: ignore[no-untyped-call,unused-ignore]
        request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        answer = await stub.Check(request, timeout=timeout_s, wait_for_ready=wait_for_ready)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _query(
        self, method: "Callable[..., grpc.aio.UnaryUnaryCall[Any, Response]]", request: Message
    ) -> Response:
        response, _ = await self._send(method, request, self._timeouts.query_s)
        return response

    async def _send(
        self, method: "Callable[..., grpc.aio.UnaryUnaryCall[Any, Response]]", request: Message, timeout_s: float
    ) -> tuple[Response, Sequence[tuple[str, str | bytes]]]:
        left_s = deadline.remaining_s()
        call = method(
            request,
            timeout=timeout_s if left_s is None else min(timeout_s, left_s),
            metadata=((REQUEST_ID_KEY, current_request_id() or uuid.uuid4().hex),),
        )
        try:
            response = await call
            return response, tuple(await call.trailing_metadata() or ())
        except grpc.aio.AioRpcError as error:
            raise _category(error, self._target) from error


def _category(error: grpc.aio.AioRpcError, target: str) -> FashionError:
    trailing = tuple((str(key), value) for key, value in (error.trailing_metadata() or ()))
    details = error.details() or ""
    known = error_from(error.code(), details, trailing)
    if known is not None and known.reason != grpc.StatusCode.UNAVAILABLE.name:
        return known
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        # gRPC's own text names addresses and attempts; the caller knows a name and wants to know what to do.
        return Upstream(f"nothing answers at {target}", reason="SEARCH_UNAVAILABLE", metadata={"details": details})
    return FashionError(details or f"the call ended with {error.code().name}", reason=error.code().name)
