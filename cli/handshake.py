"""Tries a TLS handshake and tells what hinders it: gRPC and HTTP clients only say that there is no connection."""

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

_TIMEOUT_S: Final = 5.0

# Numbers of OpenSSL, X509_V_ERR_…: the `ssl` module has no names for them.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_MISNAMED: Final = frozenset({62, 64})

# An empty SETTINGS frame: nine bytes of header, of type 4.
_HTTP2_OPENING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


class Trouble(Enum):
    """What hinders a connection."""

    UNKNOWN_HOST = auto()
    NOTHING_LISTENS = auto()
    SILENT = auto()
    SPEAKS_TLS = auto()
    SPEAKS_NO_TLS = auto()
    OTHER_AUTHORITY = auto()
    OTHER_NAME = auto()
    EXPIRED = auto()
    NOT_YET_VALID = auto()
    WANTS_CERTIFICATE = auto()
    REFUSES_CERTIFICATE = auto()


@dataclass(frozen=True, slots=True)
class Handshake:
    """How a handshake went.

    Attributes:
        trouble: what hinders it; None where it succeeds.
        end: when the certificate of the other side ends; None without TLS or where the handshake fails.
    """

    trouble: Trouble | None = None
    end: datetime | None = None


def try_handshake(
    address: tuple[str, int], context: ssl.SSLContext | None, *, name: str, protocol: str, proves: bool
) -> Handshake:
    """Opens a connection as a client would, and closes it.

    Args:
        address: host and port.
        context: whom the other side is compared with, and what proves this side; None for calls without TLS.
        name: the name that the other side's certificate has to have.
        protocol: "h2" or "http/1.1", for ALPN.
        proves: whether the context has a certificate of this side.
    """
    try:
        socket.create_connection(address, _TIMEOUT_S).close()
    except (socket.gaierror, UnicodeError):
        return Handshake(Trouble.UNKNOWN_HOST)
    except OSError:
        return Handshake(Trouble.NOTHING_LISTENS)
    try:
        encrypted = _speaks_tls(address, name, protocol)
        if context is None or not encrypted:
            if encrypted == (context is not None):
                return Handshake()
            return Handshake(Trouble.SPEAKS_TLS if encrypted else Trouble.SPEAKS_NO_TLS)
        context.set_alpn_protocols([protocol])
        with (
            socket.create_connection(address, _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            shown = connection.getpeercert() or {}
            # In TLS 1.3 a server looks at the caller's certificate after the caller's handshake has ended.
            connection.sendall(_opening(protocol, name))
            accepted = bool(connection.recv(1))
    except TimeoutError:
        return Handshake(Trouble.SILENT)
    except ssl.SSLCertVerificationError as error:
        return Handshake(_trouble(error.verify_code))
    except OSError:
        accepted = False
    if not accepted:
        return Handshake(Trouble.REFUSES_CERTIFICATE if proves else Trouble.WANTS_CERTIFICATE)
    return Handshake(end=datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC))


def _speaks_tls(address: tuple[str, int], name: str, protocol: str) -> bool:
    """Tells whether the other side speaks TLS, whoever it is.

    Raises:
        TimeoutError: it says nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    try:
        with socket.create_connection(address, _TIMEOUT_S) as plain, context.wrap_socket(plain, server_hostname=name):
            return True
    except TimeoutError:
        raise
    except ssl.SSLError as error:
        # Only a side that speaks TLS refuses by an alert.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _trouble(verify_code: int) -> Trouble:
    if verify_code in _MISNAMED:
        return Trouble.OTHER_NAME
    return {_EXPIRED: Trouble.EXPIRED, _NOT_YET_VALID: Trouble.NOT_YET_VALID}.get(verify_code, Trouble.OTHER_AUTHORITY)


def _opening(protocol: str, name: str) -> bytes:
    """Returns what makes a server answer."""
    if protocol == "h2":
        return _HTTP2_OPENING
    return f"GET /healthz HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode("ascii", errors="replace")
