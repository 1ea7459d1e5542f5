"""The event loop of a server, and the address that it listens on."""

import asyncio
import socket
import sys
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest

from services.serving.registry import GrpcService
from services.serving.run import ServeError, Server, listening_socket, run_loop, running
from services.serving.settings import ServerSettings


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_servers_run_on_uvloop() -> None:
    import uvloop

    seen: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        seen.append(asyncio.get_running_loop())

    run_loop(main())
    assert isinstance(seen[0], uvloop.Loop) and seen[0].is_closed()


def test_what_a_server_raises_comes_out() -> None:
    async def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_loop(main())


def service(name: str = "fashion.v1.SearchService") -> GrpcService:
    return GrpcService(name, "SEARCH_NOT_READY", lambda servicer, server: None)


async def start_nothing(server: Server, resources: AsyncExitStack) -> None:
    raise AssertionError("it began to start on a port that is taken")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
async def test_a_taken_port_is_told_in_one_sentence_that_names_the_variable(
    host: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = ServerSettings(host=host, port=port, allow_plaintext=True, allow_without_keys=True)
        with pytest.raises(ServeError) as refusal:
            async with running(settings, [service()], start_nothing, default_port=1):
                pass
        with pytest.raises(ServeError) as http:
            listening_socket(host, port, "GATEWAY")
    assert str(refusal.value) == (
        f"Port {port} of {host} is taken: end what listens there, or set SERVER_PORT to another one."
    )
    assert "GATEWAY_PORT" in str(http.value)
    # gRPC writes its own lines to standard error.
    assert "E0000" not in (written := capfd.readouterr().err) and ".cc:" not in written


@pytest.mark.parametrize("host", ["198.51.100.7", "nowhere.invalid"])
def test_a_host_that_is_not_this_machine_is_told_with_its_variable(host: str) -> None:
    with pytest.raises(ServeError, match=rf"{host}.*SERVER_HOST"):
        listening_socket(host, 0, "SERVER")


def test_a_port_listens_until_its_socket_is_closed() -> None:
    with listening_socket("[::1]", 0, "SERVER") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServeError, match="taken"):
            listening_socket("::1", port, "SERVER")
    listening_socket("::1", port, "SERVER").close()


async def test_what_no_service_works_on_holds_up_no_end_and_a_slow_call_is_answered() -> None:
    begun = asyncio.Event()

    async def slow(request: bytes, context: object) -> bytes:
        begun.set()
        await asyncio.sleep(3)
        return b"answer"

    def add(servicer: object, server: grpc.aio.Server) -> None:
        server.add_registered_method_handlers("shop.Slow", {"Ask": grpc.unary_unary_rpc_method_handler(slow)})

    service = GrpcService("shop.Slow", "SLOW_NOT_READY", add)

    async def start(server: Server, resources: AsyncExitStack) -> None:
        await server.ready(service, None)

    async with asyncio.timeout(40):
        settings = ServerSettings(host="127.0.0.1", port=0, grace_s=60)
        async with running(settings, [service], start, default_port=1) as server:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            # gRPC waits for this stream as for a call that it has neither begun nor refused.
            stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
            await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await stream.read()
            answer = asyncio.ensure_future(channel.unary_unary("/shop.Slow/Ask")(b"", timeout=30))
            await begun.wait()
        assert await answer == b"answer"
        assert await stream.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        await channel.close()


async def test_a_method_that_a_service_lacks_is_unimplemented_also_before_the_service_is_ready() -> None:
    async def start(server: Server, resources: AsyncExitStack) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for method, code in (("FindSimilar", "UNAVAILABLE"), ("FindAnything", "UNIMPLEMENTED")):
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await channel.unary_unary(f"/fashion.v1.SearchService/{method}")(b"", timeout=30)
                assert refusal.value.code().name == code

    async with running(ServerSettings(host="127.0.0.1", port=0), [service()], start, default_port=1):
        # Each name would be a label of its own.
        assert "FindAnything" not in generate_latest().decode()
