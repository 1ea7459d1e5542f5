"""Structured logs, and the request id that connects the log lines of one call across services."""

import logging
import logging.config
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, TextIO

import structlog

REQUEST_ID_KEY: Final = "x-request-id"

# Request ids that callers may send: bounded, and harmless in any log or header.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


def accepted_request_id(sent: str | bytes | None) -> str:
    """Returns the caller's request id if it is valid (1 to 128 of A-Z a-z 0-9 . _ : / + = @ -), else a new one."""
    if isinstance(sent, str) and _REQUEST_ID.fullmatch(sent):
        return sent
    return uuid.uuid4().hex


@contextmanager
def request_id_bound(request_id: str) -> Iterator[None]:
    """Adds the request id to every log line inside, and to every call of another service."""
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield


def current_request_id() -> str | None:
    """Returns the id of the current request; None outside of any."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return request_id if isinstance(request_id, str) else None


def configure_logging(level: LogLevel, log_format: LogFormat, *, stream: TextIO | None = None) -> None:
    """Sends all logs of the process, including those of libraries, to one stream, one line per event.

    Args:
        level: the lowest level to log.
        log_format: "json" for machines, "console" for people.
        stream: where to log to; standard error where not given.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        rendering: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        rendering = [structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries log warnings and errors only.
    root.setLevel(max(logging.getLevelName(level.upper()), logging.WARNING))
    for ours in ("services", "cli", "offline"):
        logging.getLogger(ours).setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
