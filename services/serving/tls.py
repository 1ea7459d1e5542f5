"""TLS of servers: certificates and keys from files, read again when they change, for the connections from then on."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
import structlog

from services.serving.expiry import note_expiry
from services.serving.settings import ServerSettings, SettingsError
from services.serving.watched import Watched

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

_VARIABLES = "SERVER_TLS_CERTIFICATE_FILE, SERVER_TLS_KEY_FILE, SERVER_TLS_CLIENT_CA_FILE"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM.

    Attributes:
        certificate: own certificate, with its chain.
        key: its private key.
        ca: certificates of the authorities that may sign those of the other side.
    """

    certificate: Path | None
    key: Path | None
    ca: Path | None

    def given(self) -> Sequence[Path]:
        """Returns those that there are."""
        return [file for file in (self.certificate, self.key, self.ca) if file is not None]

    def contents(self) -> Sequence[bytes | None]:
        """Reads them, in the order of the attributes."""
        return [None if file is None else file.read_bytes() for file in (self.certificate, self.key, self.ca)]


def grpc_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """Returns what a gRPC server proves itself with; None for a server without TLS.

    Where the settings name an authority of callers, a caller without a certificate of it gets no connection.

    Raises:
        SettingsError: the files cannot be read, or do not belong together.
    """

    def configuration(_: ssl.SSLContext, contents: Sequence[bytes | None]) -> grpc.ServerCertificateConfiguration:
        certificate, key, client_ca = contents
        return grpc.ssl_server_certificate_configuration([(key or b"", certificate or b"")], client_ca)

    watched = _watched(settings, settings.tls_client_ca_file, configuration)
    if watched is None:
        return None
    used = watched.value

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        latest = watched.value
        if latest is used:
            return None
        used = latest
        return latest

    # The stubs of grpc forget that it may say that nothing has changed.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], changed)
    return grpc.dynamic_ssl_server_credentials(
        used, fetch, require_client_authentication=settings.tls_client_ca_file is not None
    )


def http_context(settings: ServerSettings, client_ca: Path | None) -> ssl.SSLContext | None:
    """Returns the context of an HTTP server; None for a server without TLS.

    Args:
        settings: name the certificate and its key.
        client_ca: authorities that may sign callers' certificates; None to ask for none.

    Raises:
        SettingsError: the files cannot be read, or do not belong together.
    """
    if client_ca is not None and settings.tls_certificate_file is None:
        raise SettingsError(
            "GATEWAY_TLS_CLIENT_CA_FILE: SERVER_TLS_CERTIFICATE_FILE should be set too, for callers to send theirs"
        )
    watched = _watched(settings, client_ca, lambda context, _: context)
    return None if watched is None else _Latest.of(watched)


def certificate_names(peer: Any) -> tuple[str, ...]:
    """Returns the names in the certificate of a caller, as Python's `ssl` describes it; none without one."""
    return tuple(name for kind, name in (peer or {}).get("subjectAltName", ()) if kind in {"DNS", "URI"})


def read_files(files: TlsFiles, use: str) -> tuple[ssl.SSLContext, Sequence[bytes | None]]:
    """Reads certificates and keys, and checks that they belong together.

    Python says what is wrong with them. gRPC would let every handshake fail.

    Args:
        files: the files.
        use: what the certificate is for, "server" or "client".

    Returns:
        A server's context with them, and the contents of certificate, key and authorities; None for absent ones.

    Raises:
        OSError: they cannot be read, or are bad.
        ValueError: they change while they are read.
    """
    contents = files.contents()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    if files.certificate is not None:
        # Without a password, one that is needed would be asked for at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    if files.ca is not None:
        context.load_verify_locations(files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if contents != files.contents():
        raise ValueError("the files change while they are read")
    end = note_expiry(use, contents[0])
    if end is not None and end <= datetime.now(UTC):
        _log.warning("a certificate has ended, so that nobody accepts it", use=use, ended=end.isoformat())
    return context, contents


def _watched(
    settings: ServerSettings, client_ca: Path | None, make: Callable[[ssl.SSLContext, Sequence[bytes | None]], T]
) -> Watched[T] | None:
    if settings.tls_certificate_file is None:
        return None
    files = TlsFiles(settings.tls_certificate_file, settings.tls_key_file, client_ca)
    return Watched(files.given(), lambda: make(*read_files(files, "server")), variable=_VARIABLES, use="server")


class _Latest(ssl.SSLContext):
    """A context that begins each connection with the latest certificates."""

    _watched: Watched[ssl.SSLContext]

    @classmethod
    def of(cls, watched: Watched[ssl.SSLContext]) -> "_Latest":
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context._watched = watched
        return context

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        """Begins a connection; event loops call nothing else."""
        return self._watched.value.wrap_bio(*given, **named)
