"""The one table between error categories and gRPC statuses, in both directions."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from services.contract.errors import (
    ERROR_DOMAIN,
    INTERNAL_MESSAGE,
    INTERNAL_REASON,
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FashionError,
    Forbidden,
    InvalidInput,
    ModelMismatch,
    NotFound,
    NotReady,
    Overloaded,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
    Unsupported,
    Upstream,
)

_Detail = TypeVar("_Detail", bound=Message)

DETAILS_KEY: Final = "grpc-status-details-bin"
QUOTA_REASON: Final = "QUOTA_EXCEEDED"

# Delay before an overloaded service may be called again: about the time of a few photographs.
RETRY_DELAY_S: Final = 0.5

# Tells gRPC's own retries not to make a call again. Each service has made its calls of others again already: callers
# that did the same would multiply the calls of what is down.
_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")

# gRPC refuses headers of more than 8 KiB. The message travels twice: percent-encoded (3 bytes per byte at most) in
# grpc-message, and as base64 in the details. The metadata is in the details alone. These limits stay below 8 KiB.
_MAX_MESSAGE_BYTES: Final = 1000
_MAX_METADATA_BYTES: Final = 200
_MAX_METADATA_ENTRIES: Final = 8

CODES: Final[Mapping[type[FashionError], grpc.StatusCode]] = MappingProxyType(
    {
        InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
        Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        Forbidden: grpc.StatusCode.PERMISSION_DENIED,
        NotFound: grpc.StatusCode.NOT_FOUND,
        AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
        ModelMismatch: grpc.StatusCode.FAILED_PRECONDITION,
        Unsupported: grpc.StatusCode.UNIMPLEMENTED,
        Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
        QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
        DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
        DataLoss: grpc.StatusCode.DATA_LOSS,
        Unavailable: grpc.StatusCode.UNAVAILABLE,
        NotReady: grpc.StatusCode.UNAVAILABLE,
        Upstream: grpc.StatusCode.UNAVAILABLE,
    }
)

# The inverse; what fails a precondition is mostly the model. To a caller, UNAVAILABLE is a failure of a service that it
# depends on, and a quota is a kind of overload.
_CATEGORIES: Final[Mapping[grpc.StatusCode, type[FashionError]]] = MappingProxyType(
    {
        **{code: category for category, code in CODES.items() if code is not grpc.StatusCode.UNAVAILABLE},
        grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
        grpc.StatusCode.UNAVAILABLE: Upstream,
    }
)


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """What an RPC ends with: the code, a sentence, and the details in binary trailing metadata."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def code_of(error: BaseException) -> grpc.StatusCode:
    """Returns the status code of an error: its category's, or INTERNAL."""
    for category in type(error).__mro__:
        if category in CODES:
            return CODES[category]
    return grpc.StatusCode.INTERNAL


def shown(error: BaseException) -> tuple[int, str, str]:
    """Returns the part of an error that a caller may see: code number, reason and message."""
    code = code_of(error)
    if isinstance(error, FashionError) and code is not grpc.StatusCode.INTERNAL:
        return code_number(code), error.reason, _bounded(error.message, _MAX_MESSAGE_BYTES)
    return code_number(grpc.StatusCode.INTERNAL), INTERNAL_REASON, INTERNAL_MESSAGE


def code_number(code: grpc.StatusCode) -> int:
    """Returns the number of a code in `google.rpc.Code`."""
    number, _ = code.value
    return int(number)


def status_of(error: BaseException, domain: str = ERROR_DOMAIN) -> RpcStatus:
    """Describes an error to the caller, with ErrorInfo, and with RetryInfo where a retry may help.

    Args:
        error: what happened.
        domain: of the ErrorInfo, which says whose reasons these are.
    """
    code = code_of(error)
    number, reason, message = shown(error)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain)
    if isinstance(error, FashionError) and code is not grpc.StatusCode.INTERNAL:
        for key, value in list(error.metadata.items())[:_MAX_METADATA_ENTRIES]:
            info.metadata[_bounded(key, 64)] = _bounded(value, _MAX_METADATA_BYTES)
    details = [_packed(info)]
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        delay = duration_pb2.Duration()
        delay_s = error.retry_after_s if isinstance(error, QuotaExceeded) else RETRY_DELAY_S
        delay.FromMilliseconds(math.ceil(delay_s * 1000))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    status = status_pb2.Status(code=number, message=message, details=details)
    pushback = (_NO_RETRY,) if isinstance(error, Upstream) else ()
    return RpcStatus(code, message, ((DETAILS_KEY, status.SerializeToString()), *pushback))


def category_of(code: int) -> type[FashionError] | None:
    """Returns the category of a code number; None for OK and for codes without a category."""
    return next((category for known, category in _CATEGORIES.items() if code_number(known) == code), None)


def error_info(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> error_details_pb2.ErrorInfo | None:
    """Returns the ErrorInfo that one of our services sent, of whatever domain; None without one that is readable."""
    return next(_details(trailing_metadata, error_details_pb2.ErrorInfo), None)


def retry_delay_s(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Returns the delay before a retry that a service asks for, in seconds; None where it asks for none."""
    retries = _details(trailing_metadata, error_details_pb2.RetryInfo)
    return next((retry.retry_delay.ToNanoseconds() / 1e9 for retry in retries if retry.HasField("retry_delay")), None)


def _details(trailing_metadata: Iterable[tuple[str, str | bytes]], kind: type[_Detail]) -> Iterator[_Detail]:
    """Yields the details of one kind, up to the first that is unreadable."""
    for key, value in trailing_metadata:
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            for packed in status_pb2.Status.FromString(value).details:
                detail = kind()
                if packed.Unpack(detail):
                    yield detail
        except DecodeError:
            # Details of somebody else, such as a proxy.
            return


def error_from(
    code: grpc.StatusCode, message: str, trailing_metadata: Iterable[tuple[str, str | bytes]]
) -> FashionError | None:
    """Turns the status of another service's answer back into a category.

    Args:
        code: the status code.
        message: the status message.
        trailing_metadata: the trailing metadata of the call.

    Returns:
        The error; None for codes that our services never answer on purpose (INTERNAL, CANCELLED, UNKNOWN, …).
    """
    metadata = tuple(trailing_metadata)
    info = error_info(metadata)
    if info is None and code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted_in_transport(message)
    category = _CATEGORIES.get(code)
    if category is None:
        return None
    if info is None:
        return category(message, reason=code.name)
    if info.reason == QUOTA_REASON:
        delay_s = retry_delay_s(metadata) or RETRY_DELAY_S
        return QuotaExceeded(message, reason=info.reason, metadata=dict(info.metadata), retry_after_s=delay_s)
    return category(message, reason=info.reason, metadata=dict(info.metadata))


def _exhausted_in_transport(message: str) -> FashionError:
    # gRPC itself refuses large messages, without details: "CLIENT: Sent message larger than max (…)" before sending,
    # "SERVER: Received message larger than max (…)" on arrival.
    if "larger than max" in message:
        return InvalidInput(f"The message is too large ({message}); send a smaller one.", reason="MESSAGE_TOO_LARGE")
    return Overloaded(
        f"The service takes no more calls now ({message}); try again a little later.", reason="QUEUE_FULL"
    )


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _bounded(text: str, max_bytes: int) -> str:
    encoded = text.encode("utf-8", errors="replace")
    if len(encoded) <= max_bytes:
        return encoded.decode("utf-8")
    return encoded[: max_bytes - len("…".encode())].decode("utf-8", errors="ignore") + "…"
