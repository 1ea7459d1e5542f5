"""What surrounds every call of a server: request id, access log, errors as statuses, who may call, the deadline.

Only unary calls are surrounded, as all of fashion.v1 are; streams pass, once it is known who calls. A method is
surrounded once, when it is registered. Interceptors of gRPC would be asked anew for each call.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
import structlog
from prometheus_client import Counter, Gauge, Histogram

from services.concurrency import deadline, spans
from services.concurrency.metrics import SECONDS, exemplar
from services.contract.errors import (
    INTERNAL_REASON,
    FashionError,
    Forbidden,
    Overloaded,
    QuotaExceeded,
    Unauthenticated,
)
from services.contract.scopes import RPCS, Rule, Scope
from services.serving.guard import API_KEY_HEADER, Caller, Guard, audit_refusal, audit_write
from services.serving.layer import Context, Handler, Layer
from services.serving.quotas import Cost
from services.serving.reception import Receiving, Reception, parsed
from services.serving.request_id import REQUEST_ID_KEY, accepted_request_id, request_id_bound
from services.serving.status import code_of, error_info, shown, status_of

_log = structlog.stdlib.get_logger(__name__)

# Probes call every few seconds: log them for debugging only.
_QUIET_PREFIX: Final = "/grpc."
# Probes and balancers have no key.
_HEALTH_PREFIX: Final = "/grpc.health.v1.Health/"
_ADMIN_ALONE: Final = Rule(Scope.ADMIN)
# The fields of a batch.
_ROWS: Final = ("rows", "updates", "product_ids")

_CALLS: Final = Counter("fashion_grpc_calls", "Calls by method and status code.", ("method", "code"))
_CALL_SECONDS: Final = Histogram(
    "fashion_grpc_call_seconds", "Time from a call's arrival to its answer.", ("method",), buckets=SECONDS
)
_CALLS_UNDER_WAY: Final = Gauge("fashion_grpc_calls_under_way", "Calls that are worked on, without probes.")

_Behaviour: TypeAlias = "Callable[[Any, Context], Awaitable[Any]]"


def layers(
    *,
    query_deadline_s: float,
    write_deadline_s: float,
    writes: Collection[str],
    admission: "Admission",
    guard: Guard,
    reception: Reception,
    error_domain: str,
) -> Sequence[Layer]:
    """Returns what is around the methods of a server, the innermost first.

    Args:
        query_deadline_s: default deadline of a query, in seconds.
        write_deadline_s: default deadline of a write, in seconds.
        writes: full names of the methods that write, such as "/fashion.v1.SearchService/UpsertProducts".
        admission: limits the calls under way.
        guard: knows who may call.
        reception: receives the messages of calls.
        error_domain: domain of ErrorInfo.
    """
    tracer = spans.tracer()
    return (
        Deadlines(query_deadline_s, write_deadline_s, writes),
        admission,
        Access(guard, reception, error_domain),
        Errors(error_domain),
        Telemetry(),
        *(() if tracer is None else (Tracing(tracer),)),
        Receiving(reception),
    )


class Tracing(Layer):
    """Gives each call a span, in the trace that its caller names; only where traces are on."""

    def __init__(self, tracer: spans.Tracer) -> None:
        self._tracer = tracer

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method."""
        if method.startswith(_QUIET_PREFIX):
            return handler
        behaviour, name = cast(_Behaviour, handler.unary_unary), method.lstrip("/")

        async def traced(request: Any, context: Context) -> Any:
            sent = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
            with self._tracer.served(name, sent) as end:
                code, reason = "CANCELLED", ""
                try:
                    response = await behaviour(request, context)
                    code = "OK"
                    return response
                except grpc.aio.AbortError:
                    code = context.code().name
                    if (info := error_info(context.trailing_metadata())) is not None:
                        reason = info.reason
                    raise
                finally:
                    end(code, reason)

        return _with_behaviour(handler, traced)


class Telemetry(Layer):
    """Gives each call a request id, returns it in the trailing metadata, and logs one line per call."""

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method."""
        behaviour = cast(_Behaviour, handler.unary_unary)
        quiet = method.startswith(_QUIET_PREFIX)
        seconds = _CALL_SECONDS.labels(method)
        # Bound once: making a logger takes a quarter of the time of a line.
        bound = _log.bind()
        log, log_failure = (bound.debug, bound.debug) if quiet else (bound.info, bound.warning)

        async def logged(request: Any, context: Context) -> Any:
            request_id = accepted_request_id(_sent_request_id(context))
            context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
            started = time.perf_counter()
            code = "CANCELLED"
            line = functools.partial(log, "call", method=method, code="CANCELLED")
            with request_id_bound(request_id):
                try:
                    response = await behaviour(request, context)
                    code = "OK"
                    line = functools.partial(line, code=code)
                    return response
                except grpc.aio.AbortError:
                    code = context.code().name
                    line = functools.partial(log_failure, "call", method=method, code=code)
                    if (info := error_info(context.trailing_metadata())) is not None:
                        line = functools.partial(line, reason=info.reason)
                    raise
                finally:
                    duration_s = time.perf_counter() - started
                    seconds.observe(duration_s, exemplar(request_id))
                    _CALLS.labels(method, code).inc()
                    duration_ms = round(duration_s * 1000, 1)
                    # Send the answer before writing the line.
                    asyncio.get_running_loop().call_soon(functools.partial(line, duration_ms=duration_ms))

        return _with_behaviour(handler, logged)


class Errors(Layer):
    """Ends each call that fails with the status of its error; the only place where that happens."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method."""
        behaviour = cast(_Behaviour, handler.unary_unary)

        async def mapped(request: Any, context: Context) -> Any:
            try:
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # The caller has gone, its deadline has passed, or the server stops: gRPC sets the status.
                    raise
                # Something that the call awaited was cancelled. gRPC would never answer the caller.
                return await _abort(context, error, self._domain)
            except Exception as error:
                return await _abort(context, error, self._domain)

        return _with_behaviour(handler, mapped)


class Access(Layer):
    """Refuses callers who may not call, before their message is received, and counts calls against quotas.

    A method that the table of scopes lacks is for administrators alone.
    """

    def __init__(self, guard: Guard, reception: Reception, domain: str) -> None:
        self._guard = guard
        self._reception = reception
        self._domain = domain

    def surround_stream(self, method: str, handler: Handler) -> Handler:
        """Surrounds a stream of responses.

        Raises:
            NotImplementedError: the method answers a stream of requests once; no service has one.
        """
        if not handler.response_streaming:
            raise NotImplementedError(f"{method} would be open to everybody")
        if method.startswith(_HEALTH_PREFIX):
            return handler
        behaviour, rule = cast(Any, handler.stream_stream or handler.unary_stream), _rule(method)

        async def checked(requests: Any, context: Context) -> Any:
            try:
                self._guard.check(self._caller(context), rule)
            except FashionError as error:
                await _abort(context, error, self._domain)
            async for response in behaviour(requests, context):
                yield response

        wrap = grpc.stream_stream_rpc_method_handler if handler.stream_stream else grpc.unary_stream_rpc_method_handler
        return wrap(cast(Any, checked), handler.request_deserializer, handler.response_serializer)

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method."""
        behaviour = cast(_Behaviour, handler.unary_unary)
        deserialize = handler.request_deserializer
        open_to_all, rule, name = method.startswith(_HEALTH_PREFIX), _rule(method), method.lstrip("/")

        async def guarded(_: None, context: Context) -> Any:
            if open_to_all:
                return await behaviour(parsed(deserialize, await self._reception.receive(context)), context)
            caller, outcome, rows = Caller(), "CANCELLED", 0
            try:
                caller = self._caller(context)
                self._guard.check(caller, rule)
                request = parsed(deserialize, await self._reception.receive(context))
                if user_id := getattr(request, "user_id", ""):
                    self._guard.check_user(caller, user_id)
                batch = _batch(request)
                rows = len(batch)
                # Looking through a batch takes time, and without a key nothing is counted.
                if caller.key is not None:
                    self._guard.count(caller, Cost(photographs=photograph_count(request, batch), rows=rows))
                response = await behaviour(request, context)
                outcome = "OK"
                return response
            except (Unauthenticated, Forbidden, QuotaExceeded) as error:
                audit_refusal(caller, name, error.reason)
                outcome = ""
                raise
            except Exception as error:
                outcome = code_of(error).name
                raise
            finally:
                # Without keys, the line of the call says the same.
                if outcome and self._guard.keys_needed:
                    audit_write(caller, name, rule, outcome, rows)

        return grpc.unary_unary_rpc_method_handler(guarded, None, handler.response_serializer)

    def _caller(self, context: Context) -> Caller:
        if not self._guard.credentials_count:
            return Caller()
        sent = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        names = context.auth_context().get("x509_subject_alternative_name", ())
        return self._guard.caller(
            sent.get("authorization"), sent.get(API_KEY_HEADER), [name.decode(errors="replace") for name in names]
        )


def _rule(method: str) -> Rule:
    return RPCS.get(method.lstrip("/"), _ADMIN_ALONE)


def _batch(request: Any) -> Sequence[Any]:
    """Returns the rows of a batch; none of another message."""
    return next((getattr(request, name) for name in _ROWS if hasattr(request, name)), ())


def photograph_count(request: Any, batch: Sequence[Any]) -> int:
    """Returns how many photographs a request has, with those of its rows, for the quota of a key."""
    return sum(map(_images, (request, *batch)))


def _images(message: Any) -> int:
    """Returns how many photographs a message has, besides those in its rows."""
    fields = () if getattr(message, "DESCRIPTOR", None) is None else message.DESCRIPTOR.fields_by_name
    lists = sum(len(getattr(message, name)) for name in ("images", "further_images") if name in fields)
    return lists + ("image" in fields and bool(message.HasField("image")))


class Admission(Layer):
    """Refuses calls beyond a limit, and says when to try again, which gRPC's own limit does not.

    Probes are always admitted: a busy server is not a broken one.

    Attributes:
        under_way: how many calls are under way, without probes.
    """

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self.under_way = 0

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method."""
        if method.startswith(_QUIET_PREFIX):
            return handler
        behaviour = cast(_Behaviour, handler.unary_unary)

        async def admitted(request: Any, context: Context) -> Any:
            if self.under_way >= self._max_calls:
                raise Overloaded(
                    f"The server already works on {self._max_calls} calls, its maximum; try again a little later.",
                    reason="QUEUE_FULL",
                )
            self.under_way += 1
            _CALLS_UNDER_WAY.inc()
            try:
                return await behaviour(request, context)
            finally:
                self.under_way -= 1
                _CALLS_UNDER_WAY.dec()

        return _with_behaviour(handler, admitted)


class Deadlines(Layer):
    """Holds each call to its caller's deadline, or to the default where the caller set none."""

    def __init__(self, query_deadline_s: float, write_deadline_s: float, writes: Collection[str]) -> None:
        self._writes = writes
        self._query_deadline_s = query_deadline_s
        self._write_deadline_s = write_deadline_s

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method."""
        behaviour = cast(_Behaviour, handler.unary_unary)
        default_s = self._write_deadline_s if method in self._writes else self._query_deadline_s

        async def limited(request: Any, context: Context) -> Any:
            remaining_s: float | None = context.time_remaining()
            with deadline.at_most(default_s if remaining_s is None else remaining_s):
                async with deadline.enforced():
                    return await behaviour(request, context)

        return _with_behaviour(handler, limited)


async def _abort(context: Context, error: BaseException, domain: str) -> NoReturn:
    _, reason, _ = shown(error)
    if reason == INTERNAL_REASON:
        _log.error("call failed unexpectedly", exc_info=error)
    else:
        # Not its text, which may quote what was sent.
        _log.debug("call refused", reason=reason)
    status = status_of(error, domain)
    # Metadata given to abort replaces what was set before.
    metadata = (*context.trailing_metadata(), *status.trailing_metadata)
    await context.abort(status.code, status.message, metadata)


def _sent_request_id(context: Context) -> str | bytes | None:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY:
            return value
    return None


def _with_behaviour(handler: Handler, behaviour: _Behaviour) -> Handler:
    return grpc.unary_unary_rpc_method_handler(behaviour, handler.request_deserializer, handler.response_serializer)
