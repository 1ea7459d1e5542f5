"""The middleware around every HTTP request: id, log line, limits, headers, and callers that leave."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlencode

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.concurrency import spans
from services.concurrency.background import in_background
from services.concurrency.bounds import Bound
from services.concurrency.metrics import SECONDS, exemplar
from services.contract.errors import FashionError, InvalidInput, Overloaded
from services.gateway.schema.parameters import ListParameters, PhotographParameters
from services.gateway.schema.problems import PayloadTooLarge, RequestTimeout, problem_response
from services.serving.request_id import accepted_request_id, request_id_bound

_log = structlog.stdlib.get_logger(__name__)

_REQUESTS: Final = Counter(
    "fashion_http_requests", "Requests by method, route and status.", ("method", "route", "status")
)
_REQUEST_SECONDS: Final = Histogram(
    "fashion_http_request_seconds",
    "Time from a request's headers to the end of its answer.",
    ("route",),
    buckets=SECONDS,
)

_METHODS: Final = frozenset(HTTPMethod)
_METHODS_WITH_BODY: Final = frozenset({HTTPMethod.POST, HTTPMethod.PUT, HTTPMethod.PATCH})

PROBES: Final = frozenset({"/healthz", "/readyz"})
# Maximum size of a form besides its photograph: other fields and boundaries.
FORM_OVERHEAD_BYTES: Final = 64 * 1024

# Answers are sent in parts of this size; a smaller one does not count as held.
_PART_BYTES: Final = 64 * 1024

_REQUEST_ID: Final = "X-Request-ID"
# Pages run only what this origin serves. A photograph that a shopper chooses is a blob: or data: URL.
_PAGE_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_ESCAPED: Final = re.compile("%(?:2[Ff]|25)")
# A name, an IPv4 or an IPv6 address, and a port (RFC 9110, section 7.2). Some local names have underscores.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
_MAX_HOST_CHARACTERS: Final = 260
_MAX_PORT: Final = 65_535
# Neither the user nor parameters that nobody knows, which may hold secrets.
_LOGGED_PARAMETERS: Final = (
    PhotographParameters.model_fields.keys() | ListParameters.model_fields.keys() | {"width"}
) - {"user_id", "page_token"}
_MAX_LOGGED_CHARACTERS: Final = 1000
# Limits of reading a refused body.
_MAX_DISCARDED_BYTES: Final = 128 * 1024 * 1024
_MAX_DISCARDING_S: Final = 5.0
# The status that nginx logs for a caller that has gone.
_CLIENT_GONE: Final = 499


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """The limits of requests and answers.

    Attributes:
        max_body_bytes: maximum size of a body.
        max_concurrent: maximum requests that are worked on; those whose body is arriving do not count.
        progress_timeout_s: maximum time in which nothing of a body arrives, in seconds.
        uploads: requests whose body is arriving.
        held_bytes: bodies and answers that are held.
    """

    max_body_bytes: int
    max_concurrent: int
    progress_timeout_s: float
    uploads: Bound
    held_bytes: Bound


class Edge:
    """The outermost middleware except CORS."""

    def __init__(self, app: ASGIApp, limits: EdgeLimits) -> None:
        """Takes the application, and the limits."""
        self._app = app
        self._limits = limits
        self._slots = _Slots(limits.max_concurrent)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        tracer = spans.tracer()
        if tracer is None or scope["path"] in PROBES:
            await self._exchange(scope, receive, send, headers, None)
            return
        with tracer.request(scope["method"], scope["scheme"], headers) as end:
            await self._exchange(scope, receive, send, headers, end)

    async def _exchange(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, end: spans.RequestEnd | None
    ) -> None:
        request_id = accepted_request_id(headers.get(_REQUEST_ID))
        exchange = _Exchange(scope, receive, send, request_id, self._limits, self._slots)
        started = time.perf_counter()
        with request_id_bound(request_id):
            try:
                exchange.check_host()
                exchange.check_announced_length()
                exchange.admit()
                await exchange.run(self._app)
            except FashionError as error:
                await exchange.fail(error)
            except Exception as error:
                _log.error("request failed unexpectedly", exc_info=error)
                await exchange.fail(error)
            finally:
                exchange.leave()
                duration_s = time.perf_counter() - started
                if end is not None:
                    end(exchange.route, exchange.status)
                _REQUESTS.labels(_method(scope["method"]), exchange.route, exchange.status).inc()
                _REQUEST_SECONDS.labels(exchange.route).observe(duration_s, exemplar(request_id))
                log = _log.debug if scope["path"] in PROBES else _log.info
                log(
                    "request",
                    method=scope["method"],
                    # The pattern, such as /v1/users/{user_id}/…, keeps user ids out of the log.
                    route=exchange.route,
                    **exchange.question(),
                    status=exchange.status,
                    duration_ms=round(duration_s * 1000, 1),
                )


def _method(sent: str) -> str:
    """Returns a method for a metric, in which strangers must not make up names."""
    return sent if sent in _METHODS else "OTHER"


class _Slots:
    """The requests that are worked on."""

    def __init__(self, total: int) -> None:
        self._free = total

    def take(self) -> None:
        if self._free <= 0:
            raise _too_much()
        self._free -= 1

    def give_back(self) -> None:
        self._free += 1


def _too_much() -> Overloaded:
    return Overloaded("The gateway has too much to do; try again a little later.", reason="TOO_MANY_REQUESTS")


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, limits: EdgeLimits, slots: _Slots
    ) -> None:
        self._original = scope
        self._head = scope["method"] == "HEAD"
        self._scope: Scope = {
            **scope,
            # Routes for GET answer HEAD; the body is dropped.
            "method": "GET" if self._head else scope["method"],
            "path": path_with_kept_slashes(scope),
            "state": {**scope.get("state", {}), "request_id": request_id},
        }
        self._receive_raw = receive
        self._send_raw = send
        self._request_id = request_id
        self._limits = limits
        self._slots = slots
        headers = Headers(scope=scope)
        self._has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        # Others are answered without a look at what comes as a body.
        self._waits_for_body = self._has_body and scope["method"] in _METHODS_WITH_BODY
        self._holder = scope["client"][0] if scope.get("client") else ""
        self._worked_on = self._uploading = False
        self._held_bytes = 0
        # The begin of an answer waits until it is known that there is room for its body.
        self._start: Message | None = None
        # One message ahead of the reader, so that a slow reader slows down the sender.
        self._messages: asyncio.Queue[Message | FashionError] = asyncio.Queue(1)
        self._answered = False
        self._complete = False
        self._gone = False
        self.status = _CLIENT_GONE

    @property
    def route(self) -> str:
        """The route pattern of the path; "" without one."""
        return str(getattr(self._scope.get("route"), "path", ""))

    def question(self) -> dict[str, str]:
        """Returns what was asked, for the log: the product, and the parameters that name no user."""
        # Routes set the state where parameters stand in the body.
        query: Mapping[str, object] = self._scope["state"].get("parameters") or parse_qs(
            self._scope["query_string"].decode("ascii", errors="replace")[: 4 * _MAX_LOGGED_CHARACTERS]
        )
        path_parameters = self._scope.get("path_params", {})
        product = path_value(path_parameters.get("product_id", "")) or query.get("product_id", "")
        # An invalid value may be a user in the wrong place.
        names = _LOGGED_PARAMETERS - self._scope["state"].get("invalid", frozenset())
        logged = {name: values for name, values in query.items() if name in names}
        fields = {"product": str(product), "query": urlencode(logged, doseq=True, safe=",", quote_via=quote)}
        return {name: text[:_MAX_LOGGED_CHARACTERS] for name, text in fields.items() if text}

    def check_host(self) -> None:
        """Refuses a header Host that names none, which nothing behind this needs to expect.

        Raises:
            InvalidInput: HOST_INVALID.
        """
        host = Headers(scope=self._scope).get("host")
        if host is None:
            # HTTP/1.0 needs none.
            return
        parts = _HOST.fullmatch(host) if len(host) <= _MAX_HOST_CHARACTERS else None
        if parts is None or int(parts[1] or 0) > _MAX_PORT:
            raise InvalidInput(
                "The header Host is no name or address with an optional port; send the one that this gateway has.",
                reason="HOST_INVALID",
                metadata={"field": "Host"},
            )

    def check_announced_length(self) -> None:
        """Refuses a body whose Content-Length is too long.

        Raises:
            PayloadTooLarge: BODY_TOO_LARGE.
        """
        announced = Headers(scope=self._scope).get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > self._limits.max_body_bytes:
            raise self._too_large()

    def admit(self) -> None:
        """Admits the request: to be worked on, or to send its body first.

        Raises:
            Overloaded: TOO_MANY_REQUESTS.
        """
        if self._original["path"] in PROBES:
            return
        if self._waits_for_body:
            if not self._limits.uploads.take(self._holder):
                raise _too_much()
            self._uploading = True
        else:
            self._slots.take()
            self._worked_on = True

    def leave(self) -> None:
        """Gives back all that the request holds."""
        self._end_upload()
        if self._worked_on:
            self._slots.give_back()
        self._limits.held_bytes.give_back(self._holder, self._held_bytes)
        self._worked_on, self._held_bytes = False, 0

    def _end_upload(self) -> None:
        if self._uploading:
            self._limits.uploads.give_back(self._holder)
            self._uploading = False

    def _hold(self, count: int) -> None:
        """Counts bytes that are held until the answer is sent.

        Raises:
            Overloaded: TOO_MANY_REQUESTS; they are too many.
        """
        if not self._limits.held_bytes.take(self._holder, count):
            raise _too_much()
        self._held_bytes += count

    async def run(self, app: ASGIApp) -> None:
        """Answers the request; cancels the work if the caller leaves."""
        task = asyncio.current_task()
        assert task is not None
        # When this returns, `_listen` has ended, so that others may read the rest of the body.
        async with in_background(self._listen(task)):
            try:
                await app(self._scope, self._receive, self._send)
            except asyncio.CancelledError:
                if self._gone and task.uncancel() == 0:
                    return
                if task.cancelling():
                    raise
                # Something that the request awaited was cancelled, not the request.
                raise RuntimeError("something that the request awaited was cancelled") from None

    async def fail(self, error: BaseException) -> None:
        """Answers with a problem document, unless an answer is under way."""
        if self._answered or self._gone:
            return
        response = problem_response(error, self._request_id)
        if self._has_body and isinstance(error, Overloaded):
            # The rest of the body is not read.
            response.headers["Connection"] = "close"
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
        """Reads the rest of the body for a while: many callers read an answer only after sending."""
        left = _MAX_DISCARDED_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_MAX_DISCARDING_S):
                while left > 0:
                    message = await self._receive_raw()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
                    left -= len(message.get("body", b""))

    async def _listen(self, task: "asyncio.Task[object]") -> None:
        received, more = 0, True
        while True:
            try:
                # Without a body, the first message comes at once.
                async with asyncio.timeout(self._limits.progress_timeout_s if more else None):
                    message = await self._receive_raw()
                if message["type"] == "http.disconnect":
                    # The server also sends this after a complete answer.
                    if not self._complete:
                        self._gone = True
                        task.cancel()
                    return
                more = message.get("more_body", False)
                count = len(message.get("body", b""))
                received += count
                if received > self._limits.max_body_bytes:
                    raise self._too_large()
                self._hold(count)
                if not more and self._uploading:
                    self._end_upload()
                    self._slots.take()
                    self._worked_on = True
            except TimeoutError:
                seconds = self._limits.progress_timeout_s
                await self._messages.put(
                    RequestTimeout(f"Nothing of the body has arrived for {seconds:g} s.", reason="UPLOAD_TIMEOUT")
                )
                return
            except FashionError as error:
                await self._messages.put(error)
                return
            await self._messages.put(message)

    async def _receive(self) -> Message:
        message = await self._messages.get()
        if isinstance(message, FashionError):
            raise message
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
            self._start = message
            return
        if message["type"] != "http.response.body" or self._complete:
            return
        body: bytes = message.get("body", b"") if not self._head else b""
        start, self._start = self._start, None
        last = not message.get("more_body", False)
        if len(body) > _PART_BYTES:
            try:
                self._hold(len(body))
            except Overloaded as error:
                if start is None:
                    raise
                response = problem_response(error, self._request_id)
                start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
                self.status = response.status_code
                self._add_headers(MutableHeaders(scope=start))
                body, last = bytes(response.body), True
        if start is not None:
            self._answered = True
            await self._send_raw(start)
        self._complete = last
        # In parts, so that the server holds no more than a part for a caller that does not read.
        view = memoryview(body)
        for begin in range(0, max(1, len(view)), _PART_BYTES):
            part = bytes(view[begin : begin + _PART_BYTES])
            more = not last or begin + _PART_BYTES < len(view)
            await self._send_raw({"type": "http.response.body", "body": part, "more_body": more})

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers[_REQUEST_ID] = self._request_id
        page = headers.get("content-type", "").startswith("text/html")
        # A browser applies the headers of a 304 to its cached answer, which may be a page or not.
        if self.status != HTTPStatus.NOT_MODIFIED:
            headers["Content-Security-Policy"] = _PAGE_POLICY if page else _DATA_POLICY
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        if page:
            headers["Permissions-Policy"] = "camera=(self), geolocation=(), microphone=()"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
        # Pages of other sites may embed pictures and the element; CORS decides who may read the rest.
        private = self._original["path"].startswith("/storefront/")
        headers["Cross-Origin-Resource-Policy"] = "same-origin" if private else "cross-origin"
        headers.setdefault("Cache-Control", "no-store")

    def _too_large(self) -> PayloadTooLarge:
        limit = self._limits.max_body_bytes - FORM_OVERHEAD_BYTES
        return PayloadTooLarge(
            f"The request's body is too long; send a photograph of at most {limit} bytes.",
            reason="BODY_TOO_LARGE",
            metadata={"max_image_bytes": str(limit)},
        )


def path_with_kept_slashes(scope: Scope) -> str:
    """Returns the decoded path, in which "%2F" and "%25" stay encoded, because ids may contain slashes."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    text = raw.split(b"?", 1)[0].decode("ascii", errors="replace")
    if not _ESCAPED.search(text):
        return str(scope["path"])
    return "/".join(unquote(part).replace("%", "%25").replace("/", "%2F") for part in text.split("/"))


def path_value(text: str) -> str:
    """Decodes a parameter of such a path."""
    return text.replace("%2F", "/").replace("%25", "%")
