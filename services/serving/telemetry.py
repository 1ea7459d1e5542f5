"""Structured logs."""

import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog

from services.concurrency import spans
from services.serving.request_id import current_request_id

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


class RotatingOutput(logging.handlers.RotatingFileHandler):
    """Logs to a file that is standard output and standard error too, so that whatever a process writes is rotated."""

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        """Opens the file.

        Args:
            path: of the newest file; older ones have `.1`, `.2` and so on behind it.
            max_bytes: maximum size of a file, but for a line that is longer.
            files: how many files are kept, the newest included; at least 2.
        """
        super().__init__(path, maxBytes=max_bytes, backupCount=files - 1, encoding="utf-8")

    def doRollover(self) -> None:  # noqa: N802 - overrides
        """Begins a new file."""
        super().doRollover()
        if self.stream is not None:
            for descriptor in (1, 2):
                os.dup2(self.stream.fileno(), descriptor)


def configure_logging(
    level: LogLevel, log_format: LogFormat, *, stream: TextIO | None = None, handler: logging.Handler | None = None
) -> None:
    """Sends all logs of the process, including those of libraries, to one place, one line per event.

    Args:
        level: the lowest level to log.
        log_format: "json" for machines, "console" for people.
        stream: where to log to; standard error where not given.
        handler: where to log to instead of a stream.
    """
    shared: list[Any] = [
        _with_ids,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        rendering: list[Any] = [
            _with_severity,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        # By default it would show local variables: users, keys and photographs.
        rendering = [
            structlog.dev.ConsoleRenderer(
                colors=(stream or sys.stderr).isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    handler = handler or logging.StreamHandler(stream or sys.stderr)
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


def _with_ids(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if (request_id := current_request_id()) is not None:
        event.setdefault("request_id", request_id)
    if (ids := spans.ids()) is not None:
        event["trace_id"], event["span_id"] = ids
    return event


def _with_severity(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    # The name that collectors look for; `level` has been in the log since the first version.
    event["severity"] = str(event.get("level", "info")).upper()
    return event
