"""What surrounds every HTTP request: its id, its log line, limits, the headers of answers, and the caller's leaving."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.concurrency.background import in_background
from services.contract.errors import FashionError, Overloaded
from services.gateway.schema.problems import PayloadTooLarge, problem_response
from services.serving.telemetry import accepted_request_id, request_id_bound

_log = structlog.stdlib.get_logger(__name__)

PROBES: Final = frozenset({"/healthz", "/readyz"})
# What surrounds a photograph in a form: its other fields and their boundaries.
FORM_OVERHEAD_BYTES: Final = 64 * 1024

_REQUEST_ID: Final = "X-Request-ID"
# Pages run what this origin serves, and nothing else; photographs that a shopper chooses are shown from memory.
_PAGE_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_ESCAPED: Final = re.compile("%(?:2[Ff]|25)")
# Of a body that is refused.
_MAX_DISCARDED_BYTES: Final = 128 * 1024 * 1024
_MAX_DISCARDING_S: Final = 5.0
# What nginx logs for a caller that has gone.
_CLIENT_GONE: Final = 499


class Edge:
    """The outermost layer but for CORS."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_concurrent: int) -> None:
        """Takes what answers, the longest body that is accepted, and how many requests may be under way."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_concurrent = max_concurrent
        self._concurrent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = accepted_request_id(Headers(scope=scope).get(_REQUEST_ID))
        exchange = _Exchange(scope, receive, send, request_id, self._max_body_bytes)
        started = time.perf_counter()
        with request_id_bound(request_id):
            try:
                with self._counted(scope["path"]):
                    exchange.check_announced_length()
                    await exchange.run(self._app)
            except FashionError as error:
                await exchange.fail(error)
            except Exception as error:
                _log.error("request failed unexpectedly", exc_info=error)
                await exchange.fail(error)
            finally:
                log = _log.debug if scope["path"] in PROBES else _log.info
                log(
                    "request",
                    method=scope["method"],
                    # The pattern, such as /v1/users/{user_id}/…: whose data it was is nobody's business in a log.
                    route=exchange.route,
                    status=exchange.status,
                    duration_ms=round((time.perf_counter() - started) * 1000, 1),
                )

    @contextmanager
    def _counted(self, path: str) -> Iterator[None]:
        if self._concurrent >= self._max_concurrent and path not in PROBES:
            raise Overloaded("The gateway has too much to do; try again a little later.", reason="TOO_MANY_REQUESTS")
        self._concurrent += 1
        try:
            yield
        finally:
            self._concurrent -= 1


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str, max_body_bytes: int) -> None:
        self._original = scope
        self._head = scope["method"] == "HEAD"
        self._scope: Scope = {
            **scope,
            # Whoever answers GET answers HEAD, without the body.
            "method": "GET" if self._head else scope["method"],
            "path": path_with_kept_slashes(scope),
            "state": {**scope.get("state", {}), "request_id": request_id},
        }
        self._receive_raw = receive
        self._send_raw = send
        self._request_id = request_id
        self._max_body_bytes = max_body_bytes
        # One message ahead of whoever reads it: a slow reader slows the sender down.
        self._messages: asyncio.Queue[Message | PayloadTooLarge] = asyncio.Queue(1)
        self._answered = False
        self._complete = False
        self._gone = False
        self.status = _CLIENT_GONE

    @property
    def route(self) -> str:
        """The pattern that the path has matched, or "" where it has matched none."""
        return str(getattr(self._scope.get("route"), "path", ""))

    def check_announced_length(self) -> None:
        """Refuses a body that says itself that it is too long.

        Raises:
            PayloadTooLarge: BODY_TOO_LARGE.
        """
        announced = Headers(scope=self._scope).get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > self._max_body_bytes:
            raise self._too_large()

    async def run(self, app: ASGIApp) -> None:
        """Has the request answered; what works on it is cancelled once the caller has gone."""
        task = asyncio.current_task()
        assert task is not None
        # Whoever goes on reading must be the only one: `_listen` is gone when this returns.
        async with in_background(self._listen(task)):
            try:
                await app(self._scope, self._receive, self._send)
            except asyncio.CancelledError:
                if self._gone and task.uncancel() == 0:
                    return
                if task.cancelling():
                    raise
                # Something that the request waited for was cancelled, not the request.
                raise RuntimeError("what the request waited for was cancelled") from None

    async def fail(self, error: BaseException) -> None:
        """Answers with a problem, unless an answer is under way."""
        if self._answered or self._gone:
            return
        response = problem_response(error, self._request_id)
        if isinstance(error, PayloadTooLarge):
            await self._send(
                {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
            )
            await self._send({"type": "http.response.body", "body": response.body, "more_body": True})
            await self._discard_rest()
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await response(self._scope, self._receive, self._send)

    async def _discard_rest(self) -> None:
        """Lets the caller finish sending for a while: many read no answer before, and a closed connection eats it."""
        left = _MAX_DISCARDED_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_MAX_DISCARDING_S):
                while left > 0:
                    message = await self._receive_raw()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
                    left -= len(message.get("body", b""))

    async def _listen(self, task: "asyncio.Task[object]") -> None:
        received = 0
        while True:
            message = await self._receive_raw()
            if message["type"] == "http.disconnect":
                # The server says so after the whole answer too.
                if self._complete:
                    return
                self._gone = True
                task.cancel()
                return
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                await self._messages.put(self._too_large())
                return
            await self._messages.put(message)

    async def _receive(self) -> Message:
        message = await self._messages.get()
        if isinstance(message, PayloadTooLarge):
            raise message
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._answered = True
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
            if self._head:
                message = {**message, "body": b""}
        await self._send_raw(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers[_REQUEST_ID] = self._request_id
        page = headers.get("content-type", "").startswith("text/html")
        # What a browser has kept takes on the headers of a 304, which does not say whether that was a page.
        if self.status != HTTPStatus.NOT_MODIFIED:
            headers["Content-Security-Policy"] = _PAGE_POLICY if page else _DATA_POLICY
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        if page:
            headers["Permissions-Policy"] = "camera=(self), geolocation=(), microphone=()"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
        # Pictures and the element are for other sites' pages; CORS says who may read the rest.
        private = self._original["path"].startswith("/storefront/")
        headers["Cross-Origin-Resource-Policy"] = "same-origin" if private else "cross-origin"
        headers.setdefault("Cache-Control", "no-store")

    def _too_large(self) -> PayloadTooLarge:
        limit = self._max_body_bytes - FORM_OVERHEAD_BYTES
        return PayloadTooLarge(
            f"The request's body is too long: at most {limit} bytes of photograph are accepted.",
            reason="BODY_TOO_LARGE",
            metadata={"max_image_bytes": str(limit)},
        )


def path_with_kept_slashes(scope: Scope) -> str:
    """Returns the path with its slashes in place: one inside of a product's id stays "%2F", and "%" stays "%25"."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    text = raw.split(b"?", 1)[0].decode("ascii", errors="replace")
    if not _ESCAPED.search(text):
        return str(scope["path"])
    return "/".join(unquote(part).replace("%", "%25").replace("/", "%2F") for part in text.split("/"))


def path_value(text: str) -> str:
    """Returns what a part of a path stands for, once the path was taken apart."""
    return text.replace("%2F", "/").replace("%25", "%")
