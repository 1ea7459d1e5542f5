"""The event loop of a server, and the address that it listens on."""

import asyncio
import socket
import sys
from contextlib import AsyncExitStack

import pytest

from services.serving.run import GrpcService, ServeError, Server, listening_socket, run_loop, running
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
        with pytest.raises(ServeError) as refusal:
            async with running(ServerSettings(host=host, port=port), [service()], start_nothing, default_port=1):
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
