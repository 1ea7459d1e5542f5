"""Tells browsers which other origins may read answers (CORS): an allow-list for the API, also for errors."""

from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.settings import ANY_ORIGIN

# Paths that any page may load, such as the element.
PUBLIC_PREFIX: Final = "/elements/"
# Paths that no other origin may read, even an allowed one: tokens.
PRIVATE_PREFIX: Final = "/storefront/"

_METHODS: Final = "GET, HEAD, POST, PUT, DELETE"
_REQUEST_HEADERS: Final = "Authorization, Api-Key, Content-Type, If-None-Match, Traceparent, Tracestate, X-Request-ID"
_EXPOSED: Final = "ETag, Retry-After, X-Request-ID"
_PREFLIGHT_MAX_AGE_S: Final = 7200


class Cors:
    """Answers preflights, and adds to each answer the origin that may read it."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        """Takes the application, and the allowed origins."""
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = self._allowed(scope["path"], origin)
        if scope["method"] == "OPTIONS" and origin is not None and "access-control-request-method" in headers:
            await _preflight(allowed, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                # Also without an origin: a proxy must not serve that answer to a page with one.
                answer.add_vary_header("Origin")
                if allowed is not None:
                    answer["Access-Control-Allow-Origin"] = allowed
                    answer["Access-Control-Expose-Headers"] = _EXPOSED
            await send(message)

        await self._app(scope, receive, marked)

    def _allowed(self, path: str, origin: str | None) -> str | None:
        if path.startswith(PRIVATE_PREFIX):
            return None
        if path.startswith(PUBLIC_PREFIX) or ANY_ORIGIN in self._origins:
            return ANY_ORIGIN
        return origin if origin in self._origins else None


async def _preflight(allowed: str | None, send: Send) -> None:
    headers = MutableHeaders(
        {"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers", "Content-Length": "0"}
    )
    if allowed is not None:
        headers["Access-Control-Allow-Origin"] = allowed
        headers["Access-Control-Allow-Methods"] = _METHODS
        headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
        headers["Access-Control-Max-Age"] = str(_PREFLIGHT_MAX_AGE_S)
    # Without the headers above the browser does not send the request.
    await send({"type": "http.response.start", "status": 204 if allowed is not None else 403, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b""})
