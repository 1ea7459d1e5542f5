"""The client of search repeats what does no harm twice, and nothing else."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from fashion.v1 import search_pb2
from services.clients.reindex import ReindexClient
from services.contract.errors import Upstream

Call = Callable[[ReindexClient], Awaitable[Any]]


class LosesFirstAnswers(grpc.GenericRpcHandler):
    """Does what it is asked, and loses the connection before its first answer to each RPC."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        rpc = str(details.method).rpartition("/")[2]

        async def answer(_: bytes, context: Any) -> bytes:
            self.done[rpc] += 1
            if self.done[rpc] == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def servicer() -> AsyncIterator[tuple[LosesFirstAnswers, ReindexClient]]:
    server, servicer = grpc.aio.server(), LosesFirstAnswers()
    server.add_generic_rpc_handlers((servicer,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with ReindexClient.connect(f"127.0.0.1:{port}") as client:
            yield servicer, client
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("rpc", "call"),
    [
        ("RemovePhotograph", lambda client: client.remove_photograph("p", 0)),
        (
            "RemovePhotograph",
            lambda client: client.pass_on("RemovePhotograph", search_pb2.RemovePhotographRequest(), writes=True),
        ),
        ("SwitchGeneration", lambda client: client.switch(force=False)),
        ("RollbackGeneration", lambda client: client.rollback(force=False)),
        ("EndReindex", lambda client: client.end(force=False)),
    ],
)
async def test_what_would_do_more_the_second_time_is_asked_once(
    servicer: tuple[LosesFirstAnswers, ReindexClient], rpc: str, call: Call
) -> None:
    served, client = servicer
    with pytest.raises(Upstream):
        await call(client)
    assert served.done == {rpc: 1}


@pytest.mark.parametrize(
    ("rpc", "call"),
    [
        ("RemovePhotograph", lambda client: client.remove_photograph("p", sha256="0" * 64)),
        ("UpdateProducts", lambda client: client.update_products([])),
        (
            "DeleteProducts",
            lambda client: client.pass_on("DeleteProducts", search_pb2.DeleteProductsRequest(), writes=True),
        ),
        ("GetIndex", lambda client: client.get_index()),
        ("GetReindex", lambda client: client.state()),
    ],
)
async def test_what_does_no_harm_twice_is_asked_again(
    servicer: tuple[LosesFirstAnswers, ReindexClient], rpc: str, call: Call
) -> None:
    served, client = servicer
    await call(client)
    assert served.done == {rpc: 2}
