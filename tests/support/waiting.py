"""Waits for conditions that become true a moment later."""

import time
from collections.abc import Callable

from fashion.v1 import search_pb2
from tests.support.running import Caller


def eventually(holds: Callable[[], bool], why: str = "it never became true", timeout_s: float = 60) -> None:
    """Calls `holds` until it returns True.

    Raises:
        AssertionError: with `why`, once the time is over.
    """
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, why
        time.sleep(0.02)


def found_with_candidates(caller: Caller, **request: object) -> search_pb2.FindSimilarResponse:
    """Asks until the classifier has taken over the candidates that search has published."""
    found = search_pb2.FindSimilarResponse()

    def followed() -> bool:
        found.CopyFrom(caller.find(**request))
        published = caller.index().candidates_version
        return bool(published) and found.classification.candidates_version == published

    eventually(followed, "the classifier did not follow the candidates")
    return found
