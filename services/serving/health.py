"""Tells probes and balancers, through grpc.health.v1, which services of this server answer."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SERVING: Final[int] = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final[int] = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

# The name of the server as a whole.
_WHOLE = ""


class _Context(Protocol):
    """What is needed of grpc.aio.ServicerContext."""

    def write(self, message: health_pb2.HealthCheckResponse) -> Awaitable[None]: ...

    def abort(self, code: grpc.StatusCode, details: str) -> Awaitable[Any]: ...


class Health(health_pb2_grpc.HealthServicer):
    """The health of some services, each NOT_SERVING at first; the server as a whole is SERVING when all of them are.

    Unlike grpcio's own servicer it ends the streams of those who watch when the drain begins: left open, they would
    hold up the end of the server for as long as its grace lasts.
    """

    def __init__(self, services: Sequence[str], *, max_watching: int = 2048) -> None:
        """Takes the names of the services, and how many streams may watch at once."""
        self._max_watching = max_watching
        self._watching = 0
        self._serving = dict.fromkeys(services, False)
        self._parts: dict[str, bool] = {}
        self._draining = False
        self._changed = asyncio.Condition()

    async def ready(self) -> bool:
        """Tells whether the server as a whole is SERVING."""
        return self._status(_WHOLE) == _SERVING

    async def serving(self, service: str) -> None:
        """Reports a service as SERVING, unless the drain has begun."""
        await self._set(service, True)

    async def not_serving(self, service: str) -> None:
        """Reports a service as NOT_SERVING."""
        await self._set(service, False)

    async def part(self, name: str, serving: bool) -> None:
        """Reports the state of a part that the server as a whole does not need."""
        async with self._changed:
            self._parts[name] = serving
            self._changed.notify_all()

    async def drain(self) -> None:
        """Reports every service as NOT_SERVING for good, and ends the streams of those who watch."""
        async with self._changed:
            self._draining = True
            self._changed.notify_all()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> health_pb2.HealthCheckResponse:
        """Returns the status of a service now; NOT_FOUND for one that this server does not have."""
        status = self._status(request.service)
        if status == _SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "This server has no such service.")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> None:
        """Sends the status of a service now and after each change, until the drain; RESOURCE_EXHAUSTED for too many."""
        if self._watching >= self._max_watching:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watch the health of this server.")
        self._watching += 1
        try:
            await self._watch(request, context)
        finally:
            self._watching -= 1

    async def _watch(self, request: health_pb2.HealthCheckRequest, context: _Context) -> None:
        sent: int | None = None
        while True:
            status, last = self._status(request.service), self._draining
            if status != sent:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                sent = status
            if last:
                return
            async with self._changed:
                # What changed while the status was being sent has notified nobody.
                await self._changed.wait_for(lambda: self._draining or self._status(request.service) != sent)  # noqa: B023

    async def _set(self, service: str, serving: bool) -> None:
        async with self._changed:
            self._serving[service] = serving
            self._changed.notify_all()

    def _status(self, service: str) -> int:
        if service == _WHOLE:
            serving = all(self._serving.values())
        elif service in self._serving:
            serving = self._serving[service]
        elif service in self._parts:
            serving = self._parts[service]
        else:
            return _SERVICE_UNKNOWN
        return _SERVING if serving and not self._draining else _NOT_SERVING
