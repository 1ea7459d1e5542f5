"""Turns traces on, where the standard variables of OpenTelemetry say where they go, and off again."""

import threading
from typing import Final

import structlog

from services.concurrency import spans
from services.serving.settings import SettingsError, TracingSettings, read_settings

_log = structlog.stdlib.get_logger(__name__)

# A collector that does not answer must not hold up the end of a process.
_MAX_FLUSH_S: Final = 3.0


def configure_tracing(service: str) -> None:
    """Sends the traces of this process where OTEL_… variables say; without them, does and imports nothing.

    Args:
        service: name of this process in traces where OTEL_SERVICE_NAME gives none, such as "fashion-search".

    Raises:
        SettingsError: a variable is bad, or the packages of the extra `traces` are missing.
    """
    settings = read_settings(TracingSettings)
    exporters = settings.exporters()
    if not exporters:
        return
    try:
        # Only traces need it, and it takes memory and time to import.
        from services.serving.traces import Traces
    except ImportError as error:
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER: traces need packages that are missing ({error.name}); install the extra `traces`, "
            'as by pip install "fashion-recommender[traces]"'
        ) from error
    spans.use(Traces(service, settings))
    _log.info("traces are on", exporters=exporters)


def end_tracing() -> None:
    """Sends the spans that are left, for at most some seconds, and turns traces off."""
    tracer = spans.tracer()
    spans.use(None)
    shut_down = getattr(tracer, "shut_down", None)
    if shut_down is not None:
        # The SDK itself would wait for half a minute.
        flushing = threading.Thread(target=shut_down, name="traces", daemon=True)
        flushing.start()
        flushing.join(_MAX_FLUSH_S)
