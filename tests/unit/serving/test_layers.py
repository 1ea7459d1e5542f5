"""Streams are for callers who may call; a kind of method that nothing checks cannot be registered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.serving.guard import Guard
from services.serving.layer import Context, Handler
from services.serving.layers import Access
from services.serving.reception import Receiving, Reception
from services.serving.registry import Registry
from tests.support.access import write_keys
from tests.support.embedders import server_settings


async def _count(_: object, context: Context) -> AsyncIterator[bytes]:
    for number in range(3):
        yield bytes([number])


def _access(guard: Guard) -> Access:
    return Access(guard, Reception(max_waiting=10, max_slow=10, timeout_s=20), "shop.example")


@asynccontextmanager
async def _served(guard: Guard, handler: Handler) -> AsyncIterator[grpc.aio.Channel]:
    reception = Reception(max_waiting=10, max_slow=10, timeout_s=20)
    registry = Registry([], [Access(guard, reception, "shop.example"), Receiving(reception)])
    registry.add_registered_method_handlers("shop.v1.Shop", {"Watch": handler})
    server = grpc.aio.server(handlers=[registry])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


@pytest.mark.parametrize("requests", ["one", "many"])
async def test_a_stream_that_no_scope_names_is_for_administrators_alone(tmp_path: Path, requests: str) -> None:
    secrets = write_keys(tmp_path / "keys.json", admin="admin", write="write")
    guard = Guard.of(server_settings(keys_file=tmp_path / "keys.json"))
    wrap: Any = grpc.unary_stream_rpc_method_handler if requests == "one" else grpc.stream_stream_rpc_method_handler
    async with _served(guard, wrap(_count)) as channel:

        async def responses(secret: str | None) -> list[bytes]:
            metadata = () if secret is None else (("api-key", secret),)
            kinds: Any = {"one": (channel.unary_stream, b""), "many": (channel.stream_stream, iter([b""]))}
            stream, request = kinds[requests]
            return [each async for each in stream("/shop.v1.Shop/Watch")(request, metadata=metadata)]

        assert await responses(secrets["admin"]) == [b"\0", b"\1", b"\2"]
        for secret, code in (
            (None, grpc.StatusCode.UNAUTHENTICATED),
            (secrets["revoked"], grpc.StatusCode.UNAUTHENTICATED),
            (secrets["write"], grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await responses(secret)
            assert caught.value.code() is code


def test_a_stream_of_requests_with_one_response_cannot_be_registered() -> None:
    registry = Registry([], [_access(Guard.of(server_settings()))])
    handler: Any = grpc.stream_unary_rpc_method_handler(_count)
    with pytest.raises(NotImplementedError, match="open to everybody"):
        registry.add_registered_method_handlers("shop.v1.Shop", {"Watch": handler})
