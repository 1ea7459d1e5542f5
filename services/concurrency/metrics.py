"""What the metrics share. Each stands beside the code that it counts; docs/metrics.md lists them all."""

from typing import Final

# Upper bounds of times, in seconds: 1 ms to 10 s, in steps of about 2.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# OpenMetrics allows 128 characters for an exemplar's name and value together.
_MAX_EXEMPLAR_CHARACTERS: Final = 128
_EXEMPLAR: Final = "request_id"


def exemplar(request_id: str | None) -> dict[str, str] | None:
    """Returns the labels that lead from a bucket to the log lines of one request; None for an id that is too long."""
    if request_id is None or len(_EXEMPLAR) + len(request_id) > _MAX_EXEMPLAR_CHARACTERS:
        return None
    return {_EXEMPLAR: request_id}
