"""An HTTP server that leaves signals and logs to the process it runs in."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn

_POLL_S: Final = 0.02


def http_config(app: Any, *, grace_s: float, tls: ssl.SSLContext | None = None, **given: Any) -> uvicorn.Config:
    """Returns what all servers here have in common: no log of their own, and trust in nobody's headers.

    Args:
        app: an ASGI application.
        grace_s: maximum time for requests in flight after the server stops, in seconds; at least a second is given.
        tls: context of the server; None for one without TLS.
        given: what else uvicorn is told.
    """
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        # Never trust X-Forwarded-For: the caller is the peer address.
        proxy_headers=False,
        server_header=False,
        ssl_context_factory=None if tls is None else lambda *_: tls,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        **given,
    )


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
