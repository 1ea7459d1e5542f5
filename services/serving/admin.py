"""The port for operators: metrics for Prometheus, and probes that cost next to nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import structlog
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers

from services.serving.exposure import check_admin_exposure
from services.serving.http import HttpServer, http_config, serving_http
from services.serving.run import listening_socket
from services.serving.settings import ServerSettings
from services.serving.tls import http_context
from services.serving.watched import look_at_all

_log = structlog.stdlib.get_logger(__name__)

_Scope: TypeAlias = MutableMapping[str, Any]
_App: TypeAlias = Callable[[_Scope, Any, Any], Awaitable[None]]


@asynccontextmanager
async def running_admin(settings: ServerSettings, ready: Callable[[], Awaitable[bool]]) -> AsyncIterator[int | None]:
    """Serves `/metrics`, `/healthz` and `/readyz` for as long as the context lasts, if a port is set for them.

    Args:
        settings: settings of the server.
        ready: whether the process answers calls now.

    Yields:
        The port; None where there is none.

    Raises:
        ServeError: the port cannot be had.
        SettingsError: other machines would reach it without TLS, unasked, or a file of the certificate is bad.
    """
    if settings.admin_port is None:
        yield None
        return
    check_admin_exposure(settings)
    host = settings.admin_host
    tls = http_context(settings, None) if settings.admin_tls else None
    with listening_socket(host, settings.admin_port, "SERVER_ADMIN") as listening:
        server = HttpServer(http_config(_app(ready), grace_s=1, tls=tls))
        port = int(listening.getsockname()[1])
        async with serving_http(server, listening):
            _log.info("listening for operators", host=host, port=port, tls=settings.admin_tls)
            yield port


def _app(ready: Callable[[], Awaitable[bool]]) -> _App:
    async def app(scope: _Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        match scope["path"]:
            case "/metrics":
                encode, content_type = choose_encoder(Headers(scope=scope).get("accept", ""))
                # Counting the index may wait for a write.
                await _answer(send, 200, await asyncio.to_thread(_page, encode), content_type)
            case "/healthz":
                await _answer(send, 200, b"alive\n")
            case "/readyz":
                await _answer(send, *((200, b"ready\n") if await ready() else (503, b"not ready\n")))
            case _:
                await _answer(send, 404, b"There are /metrics, /healthz and /readyz.\n")

    return app


def _page(encode: Callable[[CollectorRegistry], bytes]) -> bytes:
    # Without calls, nothing else would see that a certificate has been renewed.
    look_at_all()
    return encode(REGISTRY)


async def _answer(send: Any, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
    headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
