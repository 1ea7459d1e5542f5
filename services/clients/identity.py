"""What proves who calls: a key, and TLS with certificates that are read again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from services.clients.renewable import RenewableChannel
from services.serving.settings import ClientSettings, read_settings
from services.serving.tls import TlsFiles, read_files
from services.serving.watched import Watched

_Open = Callable[["grpc.ChannelCredentials | None", "list[tuple[str, Any]]"], grpc.aio.Channel]


def identified(open_channel: _Open) -> RenewableChannel:
    """Opens a channel as the settings of this process say; a plain one where they say nothing.

    Args:
        open_channel: opens a channel with given credentials and options; called again when certificates change.

    Raises:
        SettingsError: a setting is bad, or names files that cannot be read.
    """
    settings = read_settings(ClientSettings)
    key = _key(settings)
    credentials = _credentials(settings)
    name = settings.tls_server_name
    options = [] if name is None else [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
    current = None if credentials is None else lambda: credentials.value
    return RenewableChannel(lambda with_these: open_channel(with_these, options), current, key)


def _key(settings: ClientSettings) -> Callable[[], str] | None:
    file = settings.api_key_file
    if file is not None:
        watched = Watched([file], lambda: _read_key(file), variable="CLIENT_API_KEY_FILE", use="api key")
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
    return Watched(files.given(), read, variable=variables, use="client")
