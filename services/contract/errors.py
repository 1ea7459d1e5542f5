"""The error categories that domain code raises, free of any transport.

    FashionError
    ├── InvalidInput        the caller sent something wrong                    INVALID_ARGUMENT
    ├── Unauthenticated     the caller has no valid key, token or certificate  UNAUTHENTICATED
    ├── Forbidden           the caller's key or token does not allow the call  PERMISSION_DENIED
    ├── NotFound            what was named does not exist                      NOT_FOUND
    ├── AlreadyExists       what the caller wanted to create exists            ALREADY_EXISTS
    ├── FailedPrecondition  the state of the service does not allow the call   FAILED_PRECONDITION
    │   └── ModelMismatch   an embedding of another model version              FAILED_PRECONDITION
    ├── Unsupported         the served model cannot do what was asked for      UNIMPLEMENTED
    ├── Overloaded          a queue is full or writes collide; try again later RESOURCE_EXHAUSTED
    │   └── QuotaExceeded   the caller's key has used up its share             RESOURCE_EXHAUSTED
    ├── DeadlineExceeded    the caller's deadline passed before the work did   DEADLINE_EXCEEDED
    ├── DataLoss            what was stored is damaged or gone                 DATA_LOSS
    └── Unavailable
        ├── NotReady        this service cannot answer yet                     UNAVAILABLE
        └── Upstream        a service or store that this one needs is down     UNAVAILABLE

The one table from categories to gRPC status codes is in `services.serving.status`.
"""

from collections.abc import Mapping
from typing import Final

# Whose the reasons are, where an operator has set no name: that of the distribution, which no other product has.
ERROR_DOMAIN: Final = "fashion-recommender"
# What callers learn of an error without a category.
INTERNAL_REASON: Final = "INTERNAL"
INTERNAL_MESSAGE: Final = "An internal error occurred; the server's log tells more under this request id."


class FashionError(Exception):
    """An error with a text for people and a reason for programs.

    Attributes:
        message: one sentence that names what was wrong, safe to show to the caller.
        reason: UPPER_SNAKE_CASE, stable; becomes `google.rpc.ErrorInfo.reason`.
        metadata: further facts, such as the field's name; becomes `google.rpc.ErrorInfo.metadata`.
    """

    def __init__(self, message: str, *, reason: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})


class InvalidInput(FashionError):
    """The caller sent something wrong; sending it again will not help."""


class Unauthenticated(FashionError):
    """The caller has no valid key, token or certificate."""


class Forbidden(FashionError):
    """The caller's key, token or certificate does not allow this call."""


class NotFound(FashionError):
    """What the caller named does not exist."""


class AlreadyExists(FashionError):
    """What the caller wanted to create exists already."""


class FailedPrecondition(FashionError):
    """The state of the service does not allow the call; something else has to be done first."""


class ModelMismatch(FailedPrecondition):
    """An embedding carries another model version than the one that is served."""


class Unsupported(FashionError):
    """The served model, or an older service, cannot do what the caller asked for."""


class Overloaded(FashionError):
    """A bounded queue is full, or other writes are in the way; the same call may succeed a little later."""


class QuotaExceeded(Overloaded):
    """The caller's key has used up its share.

    Attributes:
        retry_after_s: when the same call is allowed, in seconds.
    """

    def __init__(
        self, message: str, *, reason: str, metadata: Mapping[str, str] | None = None, retry_after_s: float = 1.0
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(FashionError):
    """The caller's deadline passed before the work was done."""


class DataLoss(FashionError):
    """What was stored is damaged or gone; sending it again mends it."""


class Unavailable(FashionError):
    """The call cannot be answered now, through no fault of the caller."""


class NotReady(Unavailable):
    """This service has not loaded what it needs to answer."""


class Upstream(Unavailable):
    """A service or store that this one depends on did not answer."""
