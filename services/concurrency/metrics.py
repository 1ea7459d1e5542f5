"""What the metrics share. Each stands beside the code that it counts; docs/metrics.md lists them all."""

from typing import Final

from services.concurrency import spans

# Upper bounds of times, in seconds: 1 ms to 10 s, in steps of about 2.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# OpenMetrics allows 128 characters for the names and values of an exemplar together.
_MAX_EXEMPLAR_CHARACTERS: Final = 128


def exemplar(request_id: str) -> dict[str, str] | None:
    """Returns the labels that lead from a bucket to one request: to its trace where there is one, and to its log lines.

    Args:
        request_id: of the request; one that is too long is left out.
    """
    ids = spans.ids()
    labels = {} if ids is None else {"trace_id": ids[0]}
    with_request = labels | {"request_id": request_id}
    short = sum(len(name) + len(value) for name, value in with_request.items()) <= _MAX_EXEMPLAR_CHARACTERS
    return (with_request if short else labels) or None
