"""A channel whose connections can be replaced while calls go on."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Self

import grpc

# Calls under way on the channel before may end there.
_GRACE_S: Final = 300.0
# That of `services.serving.guard`, which takes long to import.
_API_KEY_HEADER: Final = "api-key"


class RenewableChannel(grpc.aio.Channel):
    """Sends calls over a channel, and over a new one once certificates have changed, or where it leads nowhere."""

    def __init__(
        self,
        open_channel: "Callable[[grpc.ChannelCredentials | None], grpc.aio.Channel]",
        credentials: "Callable[[], grpc.ChannelCredentials] | None" = None,
        key: Callable[[], str] | None = None,
    ) -> None:
        """Opens the first channel.

        Args:
            open_channel: opens a channel that shares no connection with others.
            credentials: the latest ones; None for a channel without TLS.
            key: the latest key to send; None for none.
        """
        self._open = open_channel
        self._credentials = credentials
        self._key = key
        self._used = None if credentials is None else credentials()
        self._channel = open_channel(self._used)
        self._closing: set[asyncio.Task[None]] = set()

    def _current(self) -> grpc.aio.Channel:
        credentials = None if self._credentials is None else self._credentials()
        if credentials is not self._used:
            self._used = credentials
            self.renew()
        return self._channel

    def renew(self) -> None:
        """Opens new connections for the calls from now on; those under way may end on the former ones."""
        former, self._channel = self._channel, self._open(self._used)
        closing = asyncio.get_running_loop().create_task(former.close(_GRACE_S))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _method(self, kind: str, *path: Any, **serializers: Any) -> Callable[..., Any]:
        known: tuple[grpc.aio.Channel, Any] | None = None

        def call(request: Any, *, metadata: Any = None, **options: Any) -> Any:
            nonlocal known
            channel = self._current()
            if known is None or known[0] is not channel:
                known = channel, getattr(channel, kind)(*path, **serializers)
            if self._key is not None:
                metadata = (*(metadata or ()), (_API_KEY_HEADER, self._key()))
            return known[1](request, metadata=metadata, **options)

        return call

    def unary_unary(self, *path: Any, **serializers: Any) -> Any:
        """Returns a method; see grpc.aio.Channel."""
        return self._method("unary_unary", *path, **serializers)

    def unary_stream(self, *path: Any, **serializers: Any) -> Any:
        """Returns a method; see grpc.aio.Channel."""
        return self._method("unary_stream", *path, **serializers)

    def stream_unary(self, *path: Any, **serializers: Any) -> Any:
        """Returns a method; see grpc.aio.Channel."""
        return self._method("stream_unary", *path, **serializers)

    def stream_stream(self, *path: Any, **serializers: Any) -> Any:
        """Returns a method; see grpc.aio.Channel."""
        return self._method("stream_stream", *path, **serializers)

    async def close(self, grace: float | None = None) -> None:
        """Closes the connections."""
        for closing in self._closing:
            closing.cancel()
        await self._channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Returns the state; see grpc.aio.Channel."""
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits for another state; see grpc.aio.Channel."""
        await self._current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits for a connection; see grpc.aio.Channel."""
        await self._current().channel_ready()
