"""The event loop of a server."""

import asyncio
import sys

import pytest

from services.serving.run import run_loop


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
