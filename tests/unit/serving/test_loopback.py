"""Calls to this machine use no proxy; calls to others use the one that the environment names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from services.clients.channel import open_channel
from services.clients.probe import probe
from services.clients.search import SearchClient
from services.serving.loopback import channel_options
from services.serving.registry import GrpcService
from services.serving.run import Server, running
from services.serving.settings import ServerSettings


def add_nothing(servicer: object, server: grpc.aio.Server) -> None:
    pass


SEARCH = GrpcService("fashion.v1.SearchService", "SEARCH_NOT_READY", add_nothing)


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    async def start(server: Server, resources: AsyncExitStack) -> None:
        await server.ready(SEARCH, object())

    async with running(ServerSettings(host="127.0.0.1", port=0), [SEARCH], start, default_port=1) as server:
        yield server.port


@pytest.fixture(params=["http_proxy", "https_proxy", "grpc_proxy"])
def dead_proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(request.param, "http://127.0.0.1:9")


@pytest.mark.usefixtures("dead_proxy")
@pytest.mark.parametrize("target", ["localhost:{}", "127.0.0.1:{}", "dns:///LocalHost:{}", "ipv4:127.0.0.1:{}"])
async def test_a_call_to_this_machine_uses_no_proxy(target: str) -> None:
    async with serving() as port, SearchClient.connect(target.format(port)) as client:
        assert await client.serving(timeout_s=10)
        assert await probe(target.format(port)) == "SERVING"


async def test_a_call_to_another_machine_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not asked.done():
            asked.set_result(await reader.readline())
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        async with open_channel("shop.example:50050") as channel:
            channel.get_state(try_to_connect=True)
            assert await asyncio.wait_for(asked, 10) == b"CONNECT shop.example:50050 HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("target", "here"),
    [
        ("localhost", True),
        ("shop.localhost:1", True),
        ("127.8.0.1:1", True),
        ("[::1]:1", True),
        ("ipv6:[::1]:1", True),
        ("ipv6:%5B::1%5D:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("0.0.0.0:1", True),
        ("dns://8.8.8.8/localhost:1", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", True),
        ("ipv4:127.0.0.1:1,10.0.0.2:2", False),
        ("dns:///embedder:50051", False),
        ("dns://127.0.0.1/embedder:50051", False),
        ("10.0.0.1:1", False),
        ("localhost.shop.example:1", False),
        ("mylocalhost:1", False),
        ("unix:/run/fashion.sock", False),
        ("xds:///fashion", False),
    ],
)
def test_the_targets_on_this_machine(target: str, here: bool) -> None:
    assert bool(channel_options(target)) is here
