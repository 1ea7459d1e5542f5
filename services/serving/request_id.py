"""The request id that connects the log lines of one call across services."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

REQUEST_ID_KEY: Final = "x-request-id"

# Request ids that callers may send: bounded, and harmless in any log or header.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def accepted_request_id(sent: str | bytes | None) -> str:
    """Returns the caller's request id if it is valid (1 to 128 of A-Z a-z 0-9 . _ : / + = @ -), else a new one."""
    if isinstance(sent, str) and _REQUEST_ID.fullmatch(sent):
        return sent
    return os.urandom(16).hex()


@contextmanager
def request_id_bound(request_id: str) -> Iterator[None]:
    """Adds the request id to every log line inside, and to every call of another service."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def current_request_id() -> str | None:
    """Returns the id of the current request; None outside of any."""
    return _current.get()
