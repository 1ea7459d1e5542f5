"""When the certificates end that this process proves itself with, as a metric."""

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from prometheus_client import Gauge

_EXPIRY: Final = Gauge(
    "fashion_certificate_expiry_timestamp_seconds",
    "Time at which the certificate that is in use ends, in seconds since 1970.",
    ("use",),
)
_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# Tags of DER.
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
# Where the fields of a certificate have their validity, without the version.
_VALIDITY: Final = 3


def note_expiry(use: str, chain: bytes | None) -> datetime | None:
    """Notes when a certificate ends, and returns it; None where there is none.

    Args:
        use: "server" or "client".
        chain: the certificate, followed by those that sign it (PEM); None where there is none.

    Raises:
        ValueError: it is no certificate.
    """
    if chain is None:
        return None
    end = expiry(chain)
    _EXPIRY.labels(use).set(end.timestamp())
    return end


def expiry(chain: bytes) -> datetime:
    """Returns when the first certificate of a chain ends (RFC 5280, 4.1.2.5).

    Python's `ssl` says it of the other side of a connection alone, and not once it has passed.

    Raises:
        ValueError: it is no certificate.
    """
    block = _BLOCK.search(chain.decode("ascii", errors="replace"))
    if block is None:
        raise ValueError("There is no certificate in PEM.")
    try:
        ((_, certificate),) = _elements(ssl.PEM_cert_to_DER_cert(block.group()))
        _, content = next(_elements(certificate))
        fields = [value for tag, value in _elements(content) if tag != _VERSION]
        _, (tag, end) = _elements(fields[_VALIDITY])
        text = end.decode("ascii")
        if tag == _UTC_TIME:
            text = ("19" if text[:2] >= "50" else "20") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except (ValueError, IndexError, StopIteration):
        raise ValueError("The certificate cannot be read.") from None


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the elements of a DER value, each with its tag."""
    at = 0
    while at < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(content[at : at + size], "big"), at + size
        yield tag, content[at : at + length]
        at += length
