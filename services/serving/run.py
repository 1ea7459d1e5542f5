"""Runs gRPC services in this process: start-up, readiness, and the drain on SIGTERM."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from services.concurrency import memory
from services.concurrency.background import in_background
from services.serving import quick_start
from services.serving.exposure import check_exposure
from services.serving.guard import Guard
from services.serving.health import Health
from services.serving.layers import Admission, layers
from services.serving.reception import Reception
from services.serving.registry import GrpcService, Registry
from services.serving.settings import ServerSettings, SettingsError
from services.serving.tls import grpc_credentials
from services.serving.tracing import end_tracing

_log = structlog.stdlib.get_logger(__name__)

EXIT_FAILED: Final = 1
EXIT_BAD_SETTINGS: Final = 2

_HEALTH_NAME: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# Beyond this multiple of max_concurrent_calls gRPC itself refuses, without a reason.
_FLOOD_FACTOR: Final = 16
# The calls that wait for their message, and the streams that watch health, are fewer than that together, so that both
# leave room for calls.
_WAITING_FACTOR: Final = 4
_WATCHING_FACTOR: Final = 8
_BACKLOG: Final = 256
# How long a thread may keep the interpreter while another waits for it, in seconds. A query takes turns with a write of
# many rows about ten times, and waits so long each time; Python's own 0.005 makes that 50 ms.
_SWITCH_INTERVAL_S: Final = 0.0005
# Time for answers to leave once no call is under way.
_ANSWERS_LEAVE_S: Final = 1.0


class ServeError(Exception):
    """The process cannot go on; the text is one line for the operator."""


def listening_socket(host: str, port: int, variables: str) -> socket.socket:
    """Opens a TCP socket that listens.

    Args:
        host: IPv4 or IPv6 address, or a name.
        port: 0 for a free one.
        variables: how the names of the variables that set the address begin, such as "SERVER".

    Raises:
        ServeError: the address cannot be had; the text names the variable to set.
    """
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    # With TCP named, asyncio disables Nagle's algorithm. Otherwise each answer waits 40 ms for the caller's ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bare, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ServeError(_why_not_bound(error, host, port, variables)) from error
    return listener


def _why_not_bound(error: OSError, host: str, port: int, variables: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken: end what listens there, or set {variables}_PORT to another one."
    if error.errno == errno.EACCES:
        return f"Port {port} of {host} needs more rights: set {variables}_PORT to one above 1023."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"No address of this machine is {host}: set {variables}_HOST to one, such as 127.0.0.1."
    return f"Cannot listen on {host}:{port} ({error.strerror}): set {variables}_HOST and {variables}_PORT."


class Server:
    """A server that listens; each of its services answers once it is ready.

    Attributes:
        port: of gRPC.
        admin_port: for operators; None where there is none.
    """

    def __init__(self, health: Health, registry: Registry, port: int) -> None:
        self._health = health
        self._registry = registry
        self._stopped = asyncio.Event()
        self._before_drain: list[Callable[[], None]] = []
        self._failure: str | None = None
        self.port = port
        self.admin_port: int | None = None

    async def ready(self, service: GrpcService, servicer: object) -> None:
        """Gives a service its servicer, and reports SERVING from now on."""
        self._registry.put(service, servicer)
        await self._health.serving(service.name)
        _log.info("service is ready", service=service.name)

    async def part(self, name: str, serving: bool) -> None:
        """Reports whether a part works that services can do without: under its own name, not in that of the whole."""
        await self._health.part(name, serving)

    async def failed(self, service: GrpcService, why: str) -> None:
        """Reports NOT_SERVING from now on, so that balancers and probes avoid this service."""
        _log.critical("service has failed", service=service.name, why=why)
        await self._health.not_serving(service.name)

    @asynccontextmanager
    async def watched(
        self, service: GrpcService, died: Callable[[], Awaitable[None]], *, why: str, stop: bool
    ) -> AsyncIterator[None]:
        """Reports NOT_SERVING once a part of the service has died.

        Args:
            service: the service that needs the part.
            died: returns when the part has died.
            why: the reason, for the log.
            stop: whether the whole server then drains.
        """

        async def watch() -> None:
            await died()
            await self.failed(service, why)
            if stop:
                self.stop(why)

        async with in_background(watch()):
            yield

    def stop(self, failure: str | None = None) -> None:
        """Begins the drain, as SIGTERM does; `serve` raises the failure, where there is one."""
        self._failure = self._failure or failure
        self._stopped.set()

    def before_drain(self, callback: Callable[[], None]) -> None:
        """Adds a callback for the begin of the drain, before this server reports NOT_SERVING."""
        self._before_drain.append(callback)

    def drain(self) -> None:
        """Calls the callbacks of `before_drain`."""
        for callback in self._before_drain:
            callback()

    async def stopped(self) -> None:
        """Waits until `stop` is called.

        Raises:
            ServeError: it was called with a failure.
        """
        await self._stopped.wait()
        if self._failure is not None:
            raise ServeError(self._failure)


Start: TypeAlias = Callable[[Server, AsyncExitStack], Awaitable[None]]


@asynccontextmanager
async def running(
    settings: ServerSettings, services: Sequence[GrpcService], start: Start, *, default_port: int
) -> AsyncIterator[Server]:
    """Runs services on one port for as long as the context lasts; drains when it is left.

    The server listens at once. Until a service is ready it is NOT_SERVING, and its calls are answered UNAVAILABLE.

    Args:
        settings: settings of the server.
        services: all services of the port.
        start: builds the parts (load, warm up) and calls `server.ready(service, servicer)` for each service. It puts
            what has to be closed on the given exit stack, which is unwound after the drain.
        default_port: port for settings that name none.

    Yields:
        The server, with `start` done.

    Raises:
        ServeError: the port cannot be had.
        SettingsError: other machines would be let in unasked, or a file of keys or certificates is bad.
    """
    check_exposure(settings, settings.host, "SERVER_HOST")
    credentials = grpc_credentials(settings)
    port = default_port if settings.port is None else settings.port
    # gRPC itself would write a line about it, for its own developers.
    listening_socket(settings.host, port, "SERVER").close()
    health = Health(
        [service.name for service in services], max_watching=_WATCHING_FACTOR * settings.max_concurrent_calls
    )
    admission = Admission(settings.max_concurrent_calls)
    registry = Registry(
        services,
        layers(
            query_deadline_s=settings.query_deadline_s,
            write_deadline_s=settings.write_deadline_s,
            writes={f"/{service.name}/{rpc}" for service in services for rpc in service.writes},
            admission=admission,
            guard=Guard.of(settings),
            reception=Reception(
                max_waiting=_WAITING_FACTOR * settings.max_concurrent_calls,
                max_slow=max(1, settings.max_unfinished_bytes // settings.max_message_bytes),
                timeout_s=settings.message_timeout_s,
            ),
            error_domain=settings.error_domain,
        ),
    )
    registry.add(partial(health_pb2_grpc.add_HealthServicer_to_server, health))
    if settings.reflection:
        names = [*(service.name for service in services), _HEALTH_NAME, reflection.SERVICE_NAME]
        reflecting = reflection.aio.ReflectionServicer(names)
        registry.add(partial(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, reflecting))
    grpc_server = grpc.aio.server(
        handlers=[registry],
        options=server_options(settings),
        # We refuse with a reason, but a flood of calls would still swamp us.
        maximum_concurrent_rpcs=_FLOOD_FACTOR * settings.max_concurrent_calls,
    )
    address = settings.address(default_port)
    try:
        if credentials is None:
            port = grpc_server.add_insecure_port(address)
        else:
            port = grpc_server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ServeError(f"Cannot listen on {address}: set SERVER_HOST and SERVER_PORT to a free address.") from error
    async with AsyncExitStack() as resources:
        resources.callback(_log.info, "stopped")
        # At the end, in this order: health turns, the calls in flight end, the parts are closed.
        await grpc_server.start()
        # Where the start fails. After its end, it does nothing.
        resources.push_async_callback(grpc_server.stop, None)
        server = Server(health, registry, port)
        if settings.admin_port is not None:
            # Without the port, nothing of HTTP is imported.
            from services.serving.admin import running_admin

            server.admin_port = await resources.enter_async_context(running_admin(settings, health.ready))
        try:
            _log.info("listening", host=settings.host, port=port, tls=credentials is not None)
            await start(server, resources)
            yield server
        finally:
            _log.info("draining", grace_s=settings.grace_s)
            server.drain()
            await health.drain()
            # Balancers need time to see NOT_SERVING before new calls are refused.
            await asyncio.sleep(settings.drain_delay_s)
            await _stop(grpc_server, admission, settings.grace_s)


async def _stop(server: grpc.aio.Server, admission: Admission, grace_s: float) -> None:
    """Refuses new calls, and waits for those under way.

    Rarely, gRPC neither begins nor refuses a call that arrives just now. Its caller, and the end of the server, would
    wait for all of the grace. So what is left is cancelled once no call has been under way for a while.
    """
    stopping = asyncio.create_task(server.stop(grace_s))
    idle = False
    while not stopping.done():
        await asyncio.wait({stopping}, timeout=_ANSWERS_LEAVE_S)
        if idle and not admission.under_way:
            await server.stop(None)
        idle = not admission.under_way
    await stopping


async def serve(settings: ServerSettings, services: Sequence[GrpcService], start: Start, *, default_port: int) -> None:
    """Runs services until SIGTERM, SIGINT or `Server.stop`, then drains; a second signal ends the process at once.

    Args:
        settings: settings of the server.
        services: all services of the port.
        start: see `running`. A signal cancels it.
        default_port: port for settings that name none.

    Raises:
        ServeError: the port cannot be had, start-up failed, or the server was stopped because of a failure.
    """
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()

    def on_signal(number: int) -> None:
        _log.info("signal received", signal=signal.Signals(number).name)
        signalled.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal, each)
    body = asyncio.create_task(_serve_until_stopped(settings, services, start, default_port))
    waiting = asyncio.create_task(signalled.wait())
    try:
        await asyncio.wait({body, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        # Cancelling a body that still runs makes it drain; one that has ended ignores it.
        body.cancel()
        await asyncio.wait({body})
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
    if not body.cancelled():
        body.result()


def run_process(name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    """Runs a service as this process and exits: 0 after a drain, 2 for bad settings, 1 for another failure.

    Args:
        name: name of the service, for the line that says what went wrong.
        main: reads the settings and serves.
    """
    # What a service writes, such as the catalogue, is for its user alone.
    os.umask(0o077)
    quick_start.imported()
    memory.share_arenas()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        run_loop(main())
    except SettingsError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_BAD_SETTINGS)
    except ServeError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_FAILED)
    sys.exit(0)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Runs a server's coroutine to its end, as `asyncio.run` does, on the fastest event loop."""
    try:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(main)
    finally:
        end_tracing()


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Returns what makes the fastest event loop; None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        # uvloop does not support Windows.
        return None
    return uvloop.new_event_loop


def server_options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Returns gRPC's options for a server."""
    options = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Otherwise two servers on one port would silently share its calls.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", int(settings.keepalive_time_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout_s * 1000)),
        # By default gRPC cuts off callers that keep idle connections alive.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
    if settings.max_connection_age_s is not None:
        options.append(("grpc.max_connection_age_ms", int(settings.max_connection_age_s * 1000)))
        options.append(("grpc.max_connection_age_grace_ms", int(settings.grace_s * 1000)))
    return options


async def _serve_until_stopped(
    settings: ServerSettings, services: Sequence[GrpcService], start: Start, default_port: int
) -> None:
    async def started(server: Server, resources: AsyncExitStack) -> None:
        try:
            await start(server, resources)
        except (ServeError, SettingsError):
            raise
        except Exception as error:
            # Operators want to know what is wrong, not where in the code it was noticed.
            _log.debug("start-up failed", exc_info=True)
            raise ServeError(f"cannot start: {_one_line(error)}") from error
        quick_start.serving()
        # 100 MiB with a catalogue of 40,000 products.
        await asyncio.to_thread(memory.give_back)

    async with running(settings, services, started, default_port=default_port) as server:
        await server.stopped()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
