"""The client of the search service: calls with deadline and request id, errors as categories."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from fashion.v1 import search_pb2, search_pb2_grpc
from services.clients.channel import error_of, open_channel, renewal, send
from services.clients.search_calls import Response, SearchCalls
from services.clients.tries import Tries
from services.concurrency.breaker import Unanswered
from services.contract.errors import FashionError, NotReady, Upstream

if TYPE_CHECKING:
    from services.clients.watch import CallWatch

SERVICE_NAME: Final = search_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name

_HEALTH_POLL_S = 0.2
_PATIENCE_S = 1.0
# What gRPC says of certificates and of the names in them.
_TLS_FAILURES: Final = ("handshake failed", "Verification Check failed")


@dataclass(frozen=True, slots=True)
class SearchTimeouts:
    """Maximum time of a call, in seconds, unless the caller's deadline is nearer.

    Attributes:
        query_s: time of a read; more than the server's own 2 s, because people prefer waiting to a refusal.
        write_s: time of a write, which may have to wait until other photographs are embedded.
    """

    query_s: float = 20.0
    write_s: float = 300.0


class SearchClient(SearchCalls):
    """A client of one search service, in the messages of the protos; an asynchronous context manager."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        target: str,
        timeouts: SearchTimeouts | None = None,
        watch: "CallWatch | None" = None,
    ) -> None:
        """Makes a client on a channel, which `close` closes.

        Args:
            channel: channel to the service.
            target: name of the service in error texts.
            timeouts: maximum time of calls.
            watch: told what happens to calls; None for nobody.
        """
        super().__init__(search_pb2_grpc.SearchServiceStub(channel))
        self._channel = channel
        self._target = target
        self._timeouts = timeouts or SearchTimeouts()
        self._tries = Tries(patience_s=_PATIENCE_S, watch=watch, renew=renewal(channel))

    @classmethod
    def connect(cls, target: str, timeouts: SearchTimeouts | None = None) -> Self:
        """Makes a client of the service at `target`, such as "localhost:50050"; it connects with the first call."""
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

    async def upsert_products(
        self, rows: Sequence[search_pb2.ProductRow], fields: Sequence[str] | None = None
    ) -> search_pb2.UpsertProductsResponse:
        """Creates or replaces up to 500 products; each row has a status.

        Args:
            rows: the products.
            fields: the fields that are replaced in products that are known; None for all.

        Raises:
            FashionError: as SearchService.UpsertProducts documents.
        """
        mask = None if fields is None else FieldMask(paths=fields)
        request = search_pb2.UpsertProductsRequest(rows=rows, update_mask=mask)
        return await self._write(self._methods.UpsertProducts, request)

    async def delete_products(self, product_ids: Sequence[str]) -> search_pb2.DeleteProductsResponse:
        """Deletes up to 500 products; each has a status.

        Raises:
            FashionError: as SearchService.DeleteProducts documents.
        """
        request = search_pb2.DeleteProductsRequest(product_ids=product_ids)
        return await self._write(self._methods.DeleteProducts, request)

    async def batch_find_similar(
        self, product_ids: Sequence[str], options: search_pb2.FindSimilarRequest | None = None
    ) -> search_pb2.BatchFindSimilarResponse:
        """Finds similar products for each of up to 500 products; each has a status.

        Raises:
            FashionError: as SearchService.BatchFindSimilar documents.
        """
        request = search_pb2.BatchFindSimilarRequest(product_ids=product_ids, options=options)
        response: search_pb2.BatchFindSimilarResponse
        response = await self._send(self._methods.BatchFindSimilar, request, self._timeouts.write_s)
        return response

    async def pass_on(self, rpc: str, request: Message, *, writes: bool) -> Any:
        """Makes the call of an RPC, such as "GetIndex", with a message that somebody else has sent.

        Raises:
            FashionError: as the RPC documents; Upstream: SEARCH_UNAVAILABLE.
        """
        method = getattr(self._methods, rpc)
        if not writes:
            return await self._query(method, request)
        return await self._write(method, request, repeatable=rpc != "RemovePhotograph")

    async def serving(self, timeout_s: float = 1.0) -> bool:
        """Tells whether the service answers in time that it is ready."""
        try:
            return await self._says_serving(timeout_s, wait_for_ready=False)
        except grpc.aio.AioRpcError:
            return False

    async def dislikes_known(self, timeout_s: float = 1.0) -> bool:
        """Tells whether the service says in time that it can read the disliked colours."""
        try:
            return await self._says_serving(timeout_s, wait_for_ready=False, name=f"{SERVICE_NAME}.DislikedColours")
        except grpc.aio.AioRpcError as error:
            # A search of an earlier version does not know the name.
            return error.code() is grpc.StatusCode.NOT_FOUND

    async def wait_until_serving(self, timeout_s: float) -> None:
        """Waits until the service says that it is ready.

        Raises:
            NotReady: the service is not ready within `timeout_s`.
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
        raise NotReady(f"Search at {self._target} is not ready after {timeout_s:.0f} s.", reason="SEARCH_NOT_READY")

    async def _says_serving(self, timeout_s: float, *, wait_for_ready: bool, name: str = SERVICE_NAME) -> bool:
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        stub: Any = health_pb2_grpc.HealthStub(self._channel)  # type: ignore[no-untyped-call,unused-ignore]
        request = health_pb2.HealthCheckRequest(service=name)
        answer = await stub.Check(request, timeout=timeout_s, wait_for_ready=wait_for_ready)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _query(self, method: Callable[..., Awaitable[Response]], request: Message) -> Response:
        return await self._send(method, request, self._timeouts.query_s)

    async def _write(
        self, method: Callable[..., Awaitable[Response]], request: Message, *, repeatable: bool = True
    ) -> Response:
        return await self._send(method, request, self._timeouts.write_s, repeatable=repeatable)

    async def _send(
        self,
        method: Callable[..., Awaitable[Response]],
        request: Message,
        timeout_s: float,
        *,
        repeatable: bool = True,
    ) -> Response:
        async def attempt(left_s: float) -> Response:
            return await send(method, request, timeout_s=left_s)

        try:
            return await self._tries.make(attempt, timeout_s=timeout_s, repeatable=repeatable)
        except Unanswered:
            message = f"Search at {self._target} has not answered the last calls."
            raise Upstream(message, reason="SEARCH_UNAVAILABLE") from None
        except grpc.aio.AioRpcError as error:
            raise _category(error, self._target) from error


def _category(error: grpc.aio.AioRpcError, target: str) -> FashionError:
    code, details, known = error.code(), error.details() or "", error_of(error)
    if known is not None and known.reason != grpc.StatusCode.UNAVAILABLE.name:
        return known
    if code is grpc.StatusCode.UNAVAILABLE:
        # gRPC's own text lists addresses and attempts; callers want the name that they gave.
        what = (
            f"The TLS handshake with {target} fails: one side does not accept the other's certificate."
            if any(text in details for text in _TLS_FAILURES)
            else f"Nothing answers at {target}."
        )
        return Upstream(what, reason="SEARCH_UNAVAILABLE", metadata={"details": details})
    return FashionError(details or f"The call ended with {code.name}.", reason=code.name)
