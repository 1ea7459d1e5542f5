"""What the metrics share. Each stands beside the code that it counts; docs/metrics.md lists them all."""

from typing import Final

from services.concurrency import spans

# Upper bounds of times, in seconds: 1 ms to 10 s, in steps of about 2.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# OpenMetrics allows 128 characters for the names and values of an exemplar together.
_MAX_EXEMPLAR_CHARACTERS: Final = 128
_NAMES_CHARACTERS: Final = len("request_id") + len("trace_id")


def exemplar(request_id: str) -> dict[str, str] | None:
    """Returns the labels that lead from a bucket to one request: to its trace where there is one, and to its log lines.

    Args:
        request_id: of the request; one that is too long is left out.
    """
    ids = spans.ids()
    trace_id = "" if ids is None else ids[0]
    labels = {"trace_id": trace_id} if trace_id else {}
    if _NAMES_CHARACTERS + len(trace_id) + len(request_id) <= _MAX_EXEMPLAR_CHARACTERS:
        labels["request_id"] = request_id
    return labels or None
