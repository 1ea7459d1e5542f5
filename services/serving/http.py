"""An HTTP server that leaves signals and logs to the process it runs in."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn

_POLL_S: Final = 0.02


class HttpServer(uvicorn.Server):
    """A server that handles no signals, and has an event for its end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until `should_exit`."""
        try:
            await super().serve(sockets)
        finally:
            self.ended.set()

    async def stopped(self) -> None:
        """Accepts no more connections, and waits for requests in flight."""
        self.should_exit = True
        await self.ended.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


@asynccontextmanager
async def serving_http(server: HttpServer, listening: socket.socket) -> AsyncIterator[None]:
    """Serves for as long as the context lasts; at its end waits for requests in flight.

    Raises:
        RuntimeError: the server has stopped right after its start.
    """
    serving = asyncio.create_task(server.serve([listening]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(_POLL_S)
        if serving.done():
            serving.result()
            raise RuntimeError("the HTTP server has stopped right after its start")
        yield
    finally:
        await server.stopped()
        await serving
