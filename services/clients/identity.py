"""A channel that proves who calls: it sends a key, and speaks TLS with certificates that are read again."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import grpc

from services.serving.guard import API_KEY_HEADER
from services.serving.settings import ClientSettings, read_settings
from services.serving.tls import TlsFiles, read_files
from services.serving.watched import Watched

# Calls under way when certificates change may end on the channel before.
_GRACE_S: Final = 300.0

_Open = Callable[["grpc.ChannelCredentials | None", "list[tuple[str, Any]]"], grpc.aio.Channel]


def identified(open_channel: _Open) -> grpc.aio.Channel:
    """Opens a channel as the settings of this process say; a plain one where they say nothing.

    Args:
        open_channel: opens a channel with given credentials and options; called again when certificates change.

    Raises:
        SettingsError: a setting is bad, or names files that cannot be read.
    """
    settings = read_settings(ClientSettings)
    key = _key(settings)
    credentials = _credentials(settings)
    if key is None and credentials is None:
        return open_channel(None, [])
    name = settings.tls_server_name
    options = [] if name is None else [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
    return _IdentifiedChannel(lambda with_these: open_channel(with_these, options), credentials, key)


def _key(settings: ClientSettings) -> Callable[[], str] | None:
    file = settings.api_key_file
    if file is not None:
        watched = Watched([file], lambda: _read_key(file), variable="CLIENT_API_KEY_FILE")
        return lambda: watched.value
    secret = settings.api_key.get_secret_value()
    return (lambda: secret) if secret else None


def _read_key(file: Path) -> str:
    key = file.read_text(encoding="ascii").strip()
    if not key.isprintable() or not key:
        raise ValueError(f"{file} holds no key")
    return key


def _credentials(settings: ClientSettings) -> "Watched[grpc.ChannelCredentials] | None":
    if settings.tls_ca_file is None:
        return None
    files = TlsFiles(settings.tls_certificate_file, settings.tls_key_file, settings.tls_ca_file)

    def read() -> grpc.ChannelCredentials:
        _, (certificate, key, ca) = read_files(files, "client")
        return grpc.ssl_channel_credentials(ca, key, certificate)

    variables = "CLIENT_TLS_CA_FILE, CLIENT_TLS_CERTIFICATE_FILE, CLIENT_TLS_KEY_FILE"
    return Watched(files.given(), read, variable=variables)


class _IdentifiedChannel(grpc.aio.Channel):
    """Sends calls over a channel, and over a new one once certificates have changed."""

    def __init__(
        self,
        open_channel: "Callable[[grpc.ChannelCredentials | None], grpc.aio.Channel]",
        credentials: "Watched[grpc.ChannelCredentials] | None",
        key: Callable[[], str] | None,
    ) -> None:
        self._open = open_channel
        self._credentials = credentials
        self._key = key
        self._used = None if credentials is None else credentials.value
        self._channel = open_channel(self._used)
        self._closing: set[asyncio.Task[None]] = set()

    def _current(self) -> grpc.aio.Channel:
        credentials = None if self._credentials is None else self._credentials.value
        if credentials is not self._used:
            former, self._used, self._channel = self._channel, credentials, self._open(credentials)
            closing = asyncio.get_running_loop().create_task(former.close(_GRACE_S))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._channel

    def _method(self, kind: str, *path: Any, **serializers: Any) -> Callable[..., Any]:
        known: tuple[grpc.aio.Channel, Any] | None = None

        def call(request: Any, *, metadata: Any = None, **options: Any) -> Any:
            nonlocal known
            channel = self._current()
            if known is None or known[0] is not channel:
                known = channel, getattr(channel, kind)(*path, **serializers)
            if self._key is not None:
                metadata = (*(metadata or ()), (API_KEY_HEADER, self._key()))
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
