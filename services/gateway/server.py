"""Runs the gateway on a port of its own: it listens at once, becomes ready, and drains."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import structlog
import uvicorn

from services.clients.search_calls import SearchCalls
from services.concurrency.bounds import Bound
from services.gateway.access.access import Access
from services.gateway.app import gateway_app
from services.gateway.backend import Backend
from services.gateway.connection import BoundedProtocol, ConnectionLimits
from services.gateway.listener import Listener, Place, Places
from services.gateway.settings import GatewaySettings
from services.gateway.thumbnails import Thumbnails
from services.serving.exposure import check_exposure
from services.serving.guard import Guard
from services.serving.http import HttpServer, http_config, serving_http
from services.serving.run import listening_socket
from services.serving.settings import ServerSettings
from services.serving.tls import http_context

_log = structlog.stdlib.get_logger(__name__)


class BoundedServer(HttpServer):
    """A server whose connections have limits."""

    def __init__(self, config: uvicorn.Config, limits: ConnectionLimits) -> None:
        super().__init__(config)
        self._limits = limits

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts connections of sockets that listen."""
        self.servers = [
            cast(
                asyncio.Server,
                Listener(each, self._limits.places, self._protocol, self.config.ssl, self._limits.header_timeout_s),
            )
            for each in sockets or ()
        ]
        self.started = True

    def _protocol(self, place: Place) -> BoundedProtocol:
        return BoundedProtocol(
            self._limits,
            place,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )


class Gateway:
    """A gateway that listens."""

    def __init__(self, backend: Backend, server: HttpServer, host: str, port: int, scheme: str) -> None:
        self._backend = backend
        self._server = server
        self.host = host
        self.port = port
        self.scheme = scheme

    async def is_ready(self) -> bool:
        """Tells whether requests are answered now, as /readyz does."""
        return (await self._backend.health()).status == "ok"

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
        await self._server.stopped()


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings, server_settings: ServerSettings, *, map_file: Path | None = None
) -> AsyncIterator[Gateway]:
    """Runs the gateway for as long as the context lasts; drains when it is left.

    Args:
        settings: settings of the gateway.
        server_settings: the address where `settings` name none, the keys of callers, and the time for requests in
            flight after it stops.
        map_file: file of the map of the catalogue for settings that name none.

    Yields:
        The gateway, which answers requests with 503 until `Gateway.ready`.

    Raises:
        ServeError: the port cannot be had.
        SettingsError: other machines would be let in unasked, or a file of keys or certificates is bad.
    """
    host = settings.host or server_settings.host
    check_exposure(server_settings, host, "SERVER_HOST" if settings.host is None else "GATEWAY_HOST")
    tls = http_context(server_settings, settings.tls_client_ca_file)
    async with AsyncExitStack() as resources:
        listening = resources.enter_context(listening_socket(host, settings.port, "GATEWAY"))
        backend = Backend(settings.deadline_s)

        async def photograph_count(product_id: str) -> int:
            answer = await backend.ask(lambda search: search.get_product(product_id))
            return answer.product.photograph_count

        thumbnails = Thumbnails(
            lambda product_id, index: backend.ask(lambda search: search.get_photograph(product_id, index)),
            photograph_count,
            settings.thumbnail_cache_bytes,
            timeout_s=settings.thumbnail_timeout_s,
            decode_bytes=settings.decode_bytes,
        )
        resources.callback(thumbnails.close)
        access = Access.of(settings, host)
        guard = Guard.of(server_settings, access.tokens)
        if guard.keys_needed and settings.storefront and not settings.public_read:
            _log.warning("browsers have no key: the storefront shows nothing", variable="GATEWAY_PUBLIC_READ")
        app = gateway_app(settings, backend, access, guard, thumbnails, settings.map or map_file)
        bound = Bound("connections", total=settings.max_connections, per_holder=settings.max_connections_per_address)
        limits = ConnectionLimits(Places(bound), settings.header_timeout_s, settings.progress_timeout_s)
        config = http_config(
            app, grace_s=server_settings.grace_s, tls=tls, http="h11", timeout_keep_alive=settings.keep_alive_s
        )
        server = BoundedServer(config, limits)
        port = int(listening.getsockname()[1])
        gateway = Gateway(backend, server, host, port, "http" if tls is None else "https")
        async with serving_http(server, listening):
            _log.info("listening for HTTP", host=host, port=port, tls=tls is not None)
            try:
                yield gateway
            finally:
                gateway.drain()
