"""Runs the gateway on a port of its own: it listens at once, becomes ready, and drains."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, cast

import structlog
import uvicorn

from services.clients.search_calls import SearchCalls
from services.concurrency.bounds import Bound
from services.gateway.access.access import Access
from services.gateway.app import gateway_app
from services.gateway.backend import Backend
from services.gateway.connection import BoundedProtocol, ConnectionLimits
from services.gateway.settings import GatewaySettings
from services.gateway.thumbnails import Thumbnails
from services.serving.run import ServeError, listening_socket

_log = structlog.stdlib.get_logger(__name__)

_POLL_S: Final = 0.02


class Gateway:
    """A gateway that listens."""

    def __init__(self, backend: Backend, server: "_Server", host: str, port: int) -> None:
        self._backend = backend
        self._server = server
        self.host = host
        self.port = port

    def ready(self, search: SearchCalls) -> None:
        """Answers requests with `search` from now on."""
        self._backend.ready(search)
        _log.info("gateway is ready", port=self.port)

    def drain(self) -> None:
        """Answers /readyz with 503 from now on; other requests are still answered."""
        self._backend.drain()

    async def stopped(self) -> None:
        """Accepts no more connections, and waits for requests in flight."""
        self.drain()
        self._server.should_exit = True
        await self._server.ended.wait()


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings, *, default_host: str, grace_s: float, map_file: Path | None = None
) -> AsyncIterator[Gateway]:
    """Runs the gateway for as long as the context lasts; drains when it is left.

    Args:
        settings: settings of the gateway.
        default_host: address to listen on for settings that name none.
        grace_s: maximum time for requests in flight after it stops, in seconds.
        map_file: file of the map of the catalogue for settings that name none.

    Yields:
        The gateway, which answers requests with 503 until `Gateway.ready`.

    Raises:
        ServeError: the port cannot be had.
    """
    host = settings.host or default_host
    async with AsyncExitStack() as resources:
        listening = resources.enter_context(listening_socket(host, settings.port, "GATEWAY"))
        backend = Backend(settings.deadline_s)
        thumbnails = Thumbnails(
            lambda product_id: backend.ask(lambda search: search.get_photograph(product_id)),
            settings.thumbnail_cache_bytes,
            timeout_s=settings.thumbnail_timeout_s,
            decode_bytes=settings.decode_bytes,
        )
        resources.callback(thumbnails.close)
        app = gateway_app(settings, backend, Access.of(settings, host), thumbnails, settings.map or map_file)
        limits = ConnectionLimits(
            Bound(
                "connections",
                total=settings.max_connections,
                per_holder=settings.max_connections_per_address,
            ),
            header_timeout_s=settings.header_timeout_s,
            progress_timeout_s=settings.progress_timeout_s,
        )
        server = _Server(
            uvicorn.Config(
                app,
                http=cast(type[asyncio.Protocol], functools.partial(BoundedProtocol, limits)),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                # Never trust X-Forwarded-For: the caller is the peer address.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(grace_s)),
            )
        )
        port = int(listening.getsockname()[1])
        gateway = Gateway(backend, server, host, port)
        serving = asyncio.create_task(server.serve([listening]))
        try:
            while not server.started and not serving.done():
                await asyncio.sleep(_POLL_S)
            if serving.done():
                serving.result()
                raise ServeError("the HTTP server has stopped right after its start")
            _log.info("listening for HTTP", host=host, port=port)
            yield gateway
        finally:
            await gateway.stopped()
            await serving


class _Server(uvicorn.Server):
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

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield
