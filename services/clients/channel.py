"""Calls another service: balanced over its replicas, within the caller's deadline, errors back as categories."""

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from services.clients.renewable import RenewableChannel
from services.clients.settings import callers_have_settings
from services.clients.tries import Tries
from services.concurrency import deadline, spans
from services.concurrency.breaker import Unanswered
from services.contract.errors import FashionError, Forbidden, Unauthenticated, Upstream
from services.serving.loopback import channel_options
from services.serving.request_id import REQUEST_ID_KEY, current_request_id

if TYPE_CHECKING:
    from services.clients.watch import CallWatch

_Response = TypeVar("_Response")

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024

# Probes and reflection.
_QUIET_PREFIX: Final = "grpc."

# Targets with a scheme are used as they are: dns:///host:port, ipv4:1.2.3.4:1,5.6.7.8:1, unix:/path.
_SCHEMES: Final = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:")


def open_channel(
    target: str, *, health_service: str | None = None, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> RenewableChannel:
    """Opens a channel that balances calls over all addresses of a target.

    Calls go to replicas that report SERVING, so not to one that still loads or already drains. A replica that fails
    four of five calls gets none for some seconds. gRPC itself makes no call again, as `Tries` does. Names are resolved
    again when a connection is lost. The servers' max_connection_age makes that happen now and then, so that new
    replicas are found. On loopback, proxies are not used. Each call sends the key of the settings (`ClientSettings`),
    where there is one, over TLS where they name an authority.

    Args:
        target: "host:port", or a gRPC target such as "dns:///host:port" or "ipv4:10.0.0.1:50051,10.0.0.2:50051".
        health_service: full name of the gRPC service whose health is watched; None to watch none.
        max_message_bytes: maximum size of a message, in both directions.

    Returns:
        The channel, which connects with its first call. The caller closes it.
    """
    config: dict[str, Any] = {
        "loadBalancingConfig": [
            {
                "outlier_detection_experimental": {
                    # A replica that hangs keeps its connection, so only its calls tell. Refused calls count as failed,
                    # and callers may be to blame for these: half of the replicas stay in any case.
                    "interval": "1s",
                    "baseEjectionTime": "5s",
                    "maxEjectionTime": "30s",
                    "maxEjectionPercent": 50,
                    "failurePercentageEjection": {"threshold": 80, "minimumHosts": 2, "requestVolume": 5},
                    "childPolicy": [{"round_robin": {}}],
                }
            }
        ],
    }
    if health_service is not None:
        config["healthCheckConfig"] = {"serviceName": health_service}
    options: list[tuple[str, Any]] = [
        *channel_options(target),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.service_config", json.dumps(config)),
        # A name server must not replace this configuration.
        ("grpc.service_config_disable_resolution", 1),
        # A new channel means new connections.
        ("grpc.use_local_subchannel_pool", 1),
        # An idle connection that is dead without a sign is given up within ten seconds; servers take a ping in five. A
        # busy one has no pings, as whatever is sent puts them off: `Tries` has it renewed.
        ("grpc.keepalive_time_ms", 6_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        ("grpc.http2.max_pings_without_data", 0),
        # Reconnect to a restarted service within seconds.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    ]
    address = target if target.startswith(_SCHEMES) else f"dns:///{target}"
    tracer = spans.tracer()
    interceptors = None if tracer is None else [_Tracing(tracer, target)]

    def opened(credentials: grpc.ChannelCredentials | None, own: list[tuple[str, Any]]) -> grpc.aio.Channel:
        if credentials is None:
            return grpc.aio.insecure_channel(address, options=[*options, *own], interceptors=interceptors)
        return grpc.aio.secure_channel(address, credentials, options=[*options, *own], interceptors=interceptors)

    if not callers_have_settings():
        return RenewableChannel(lambda _: opened(None, []))
    # The settings take long to import, and a command line that needs no key does without them.
    from services.clients.identity import identified

    return identified(opened)


class _Tracing(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives each call a span, and names the trace to the service that is called; only where traces are on."""

    def __init__(self, tracer: spans.Tracer, target: str) -> None:
        self._tracer = tracer
        address, _, port = target.rpartition("/")[2].rpartition(":")
        self._address, self._port = address if port.isdecimal() else target, int(port) if port.isdecimal() else None

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Makes a call in a span; see grpc.aio."""
        method: str | bytes = client_call_details.method
        name = (method.decode() if isinstance(method, bytes) else method).lstrip("/")
        if name.startswith(_QUIET_PREFIX):
            return await continuation(client_call_details, request)
        with self._tracer.called(name, self._address, self._port) as (headers, end):
            metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()), *headers.items())
            details = grpc.aio.ClientCallDetails(
                client_call_details.method,
                client_call_details.timeout,
                metadata,
                client_call_details.credentials,
                client_call_details.wait_for_ready,
            )
            call = await continuation(details, request)
            code = "CANCELLED"
            try:
                code = (await call.code()).name
            finally:
                end(code, "")
            return call


async def send(method: Callable[..., Awaitable[_Response]], request: object, *, timeout_s: float) -> _Response:
    """Makes a call with the request id and what is left of the caller's deadline.

    Args:
        method: of a stub on an `open_channel`.
        request: its message.
        timeout_s: maximum wait, in seconds, unless the caller's deadline is nearer.

    Raises:
        DeadlineExceeded: the caller's deadline passed.
        grpc.aio.AioRpcError: the call ended with any other error.
    """
    remaining_s = deadline.remaining_s()
    if remaining_s is not None and remaining_s <= 0:
        raise deadline.exceeded()
    callers_deadline = remaining_s is not None and remaining_s <= timeout_s
    request_id = current_request_id()
    metadata = ((REQUEST_ID_KEY, request_id),) if request_id is not None else ()
    try:
        return await method(request, timeout=remaining_s if callers_deadline else timeout_s, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        if callers_deadline and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise deadline.exceeded() from error
        raise


def error_of(error: grpc.aio.AioRpcError) -> FashionError | None:
    """Returns the category of a failed call; None for codes that our services never answer on purpose."""
    # Only a call that fails needs the messages of Google's details.
    from services.serving.status import error_from

    return error_from(error.code(), error.details() or "", error.trailing_metadata() or ())


class Remote:
    """A service that another one depends on: its failures are `Upstream` errors, its refusals stay refusals."""

    def __init__(
        self,
        name: str,
        unavailable_reason: str,
        *,
        try_s: float,
        watch: "CallWatch | None" = None,
        renew: Callable[[], None] | None = None,
    ) -> None:
        """Describes a service.

        Args:
            name: the name in error texts, such as "embedder".
            unavailable_reason: the reason of its failures, such as "EMBEDDER_UNAVAILABLE".
            try_s: wait after which a call counts as slow, in seconds.
            watch: told what happens to calls; None for nobody.
            renew: replaces the connections; None where that is not possible.
        """
        self._name = name
        self.unavailable_reason = unavailable_reason
        self._try_s = try_s
        self._tries = Tries(patience_s=try_s, watch=watch, renew=renew)

    async def call(
        self,
        method: Callable[..., Awaitable[_Response]],
        request: object,
        *,
        timeout_s: float,
        ask_another: bool = False,
    ) -> _Response:
        """Makes a call, and makes it again where that may help.

        Args:
            method: of a stub on an `open_channel`.
            request: its message.
            timeout_s: maximum wait, in seconds, for all tries together, unless the caller's deadline is nearer.
            ask_another: whether another replica is asked too where one is slow.

        Raises:
            FashionError: what the service answered, as its category.
            DeadlineExceeded: the caller's deadline passed.
            Upstream: the service does not answer in time, or answers with an undocumented error.
        """

        async def attempt(left_s: float) -> _Response:
            return await send(method, request, timeout_s=left_s)

        try:
            return await self._tries.make(attempt, timeout_s=timeout_s, slow_s=self._try_s if ask_another else None)
        except Unanswered:
            raise self._unavailable(f"The {self._name} has not answered the last calls.") from None
        except grpc.aio.AioRpcError as error:
            raise self._category(error) from error

    def _category(self, error: grpc.aio.AioRpcError) -> FashionError:
        code, known = error.code(), error_of(error)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._unavailable(f"The {self._name} has not answered in time.")
        if known is None:
            return self._unavailable(f"The {self._name} failed with {code.name}.")
        if isinstance(known, (Unauthenticated, Forbidden)):
            # A fault of this service's own key, of which its caller knows nothing.
            return self._unavailable(f"The {self._name} refuses this service ({known.reason}): look at its key.")
        if isinstance(known, Upstream):
            if known.reason == code.name:
                # Needed here alone, and commands import this.
                import structlog

                # The text is gRPC's own, and names addresses.
                log = structlog.stdlib.get_logger(__name__)
                log.warning("a service does not answer", service=self._name, why=known.message)
                return self._unavailable(f"The {self._name} does not answer.")
            return self._unavailable(f"The {self._name} is unavailable: {known.message}")
        return known

    def _unavailable(self, message: str) -> Upstream:
        return Upstream(message, reason=self.unavailable_reason)


def renewal(channel: grpc.aio.Channel) -> Callable[[], None] | None:
    """Returns what replaces the connections of a channel; None for one that is not of `open_channel`."""
    return channel.renew if isinstance(channel, RenewableChannel) else None
