"""The table from error categories to HTTP statuses, and problem documents (RFC 9457)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse

from services.contract.errors import (
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
    Overloaded,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from services.gateway.schema.answers import Problem
from services.gateway.schema.faults import fault_of

MEDIA_TYPE: Final = "application/problem+json"
# Seconds after which to repeat a request that may succeed then.
RETRY_AFTER_S: Final = 1.0

_MAX_DETAIL: Final = 1000


class MethodNotAllowed(FashionError):
    """The path does not have this method; "allow" in `metadata` lists those that it has."""


class RequestTimeout(FashionError):
    """The request's body did not arrive in time."""


class PayloadTooLarge(FashionError):
    """The request's body is too long."""


class UnsupportedMediaType(FashionError):
    """The request's body has an unsupported media type."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its HTTP status, the end of its URI, and its title."""

    status: int
    slug: str
    title: str


KINDS: Final[Mapping[type[FashionError], Kind]] = MappingProxyType(
    {
        InvalidInput: Kind(400, "invalid-input", "Invalid input"),
        Unauthenticated: Kind(401, "unauthenticated", "A valid key or token is needed"),
        Forbidden: Kind(403, "forbidden", "Not allowed"),
        NotFound: Kind(404, "not-found", "Not found"),
        MethodNotAllowed: Kind(405, "method-not-allowed", "Method not allowed"),
        RequestTimeout: Kind(408, "request-timeout", "The request took too long to arrive"),
        AlreadyExists: Kind(409, "already-exists", "Already exists"),
        ModelMismatch: Kind(409, "model-mismatch", "Made by another model"),
        FailedPrecondition: Kind(409, "failed-precondition", "Something else has to be done first"),
        PayloadTooLarge: Kind(413, "payload-too-large", "Payload too large"),
        UnsupportedMediaType: Kind(415, "unsupported-media-type", "Unsupported media type"),
        DataLoss: Kind(500, "data-loss", "Stored data is damaged"),
        Unsupported: Kind(501, "unsupported", "Not supported by the model"),
        QuotaExceeded: Kind(429, "quota-exceeded", "The key's share is used up"),
        # Not 429: the calls of all clients together are too many, not those of this one.
        Overloaded: Kind(503, "overloaded", "Too much to do"),
        Unavailable: Kind(503, "unavailable", "Temporarily unavailable"),
        DeadlineExceeded: Kind(504, "deadline-exceeded", "Not answered in time"),
    }
)
INTERNAL: Final = Kind(500, "internal", "Internal error")

# Invalid input over gRPC; for these problems of a photograph HTTP has statuses of its own.
_KINDS_BY_REASON: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "IMAGE_TOO_LARGE": KINDS[PayloadTooLarge],
        "IMAGE_FORMAT_UNSUPPORTED": KINDS[UnsupportedMediaType],
    }
)


def kind_of(error: BaseException) -> Kind:
    """Returns the kind of problem for an error: by its category, otherwise internal."""
    if isinstance(error, InvalidInput) and error.reason in _KINDS_BY_REASON:
        return _KINDS_BY_REASON[error.reason]
    return next((KINDS[category] for category in type(error).__mro__ if category in KINDS), INTERNAL)


def problem_of(error: BaseException, request_id: str) -> Problem:
    """Returns the problem document of an error. One without a category reveals nothing."""
    kind = kind_of(error)
    detail, reason, metadata = INTERNAL_MESSAGE, INTERNAL_REASON, dict[str, str]()
    if isinstance(error, FashionError) and kind is not INTERNAL:
        detail, reason, metadata = _encodable(error.message), error.reason, dict(error.metadata)
    return Problem(
        type=f"urn:fashion:problem:{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail if len(detail) <= _MAX_DETAIL else detail[: _MAX_DETAIL - 1] + "…",
        reason=reason,
        metadata={_encodable(name): _encodable(value) for name, value in metadata.items()},
        request_id=request_id,
    )


def problem_response(error: BaseException, request_id: str) -> JSONResponse:
    """Returns the response to a failed request."""
    problem = problem_of(error, request_id)
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    if isinstance(error, Unauthenticated):
        code = "" if error.reason in {"TOKEN_MISSING", "KEY_MISSING"} else ', error="invalid_token"'
        headers["WWW-Authenticate"] = f'Bearer realm="fashion"{code}'
    elif isinstance(error, Forbidden):
        headers["WWW-Authenticate"] = 'Bearer realm="fashion", error="insufficient_scope"'
    elif isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.metadata["allow"]
    elif isinstance(error, (PayloadTooLarge, RequestTimeout)):
        # The rest of the body is not read.
        headers["Connection"] = "close"
    elif isinstance(error, QuotaExceeded):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    elif problem.status == KINDS[Unavailable].status:
        headers["Retry-After"] = str(math.ceil(RETRY_AFTER_S))
    return JSONResponse(problem.model_dump(mode="json"), problem.status, headers, MEDIA_TYPE)


class InvalidRequest(InvalidInput):
    """Parameters are invalid.

    Attributes:
        parameters: the names of all of them, and of what stands within them.
    """

    parameters: frozenset[str] = frozenset()


def invalid_request(errors: Sequence[Any]) -> InvalidRequest:
    """Returns the error for a failed validation: one sentence that names the first invalid parameter."""
    field, fault = fault_of(errors)
    invalid = InvalidRequest(
        f'The parameter "{field[:128]}" is wrong: {fault}.',
        reason="REQUEST_INVALID",
        metadata={"field": field[:128], "rule": str(errors[0]["type"])},
    )
    invalid.parameters = frozenset(str(part) for error in errors for part in error["loc"])
    return invalid


def validated(model: type[BaseModel], values: object) -> Any:
    """Validates values that FastAPI did not parse.

    Raises:
        InvalidInput: REQUEST_INVALID.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None


def _encodable(text: str) -> str:
    # JSON allows half of a surrogate pair, which UTF-8 cannot encode.
    return text.encode("utf-8", errors="replace").decode()
