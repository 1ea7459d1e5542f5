"""Services and Redis hang or are cut off under load: few callers wait, and all is well again within ten seconds."""

import pytest

from offline.benchmark.deployment import Usage
from offline.benchmark.faults import MAX_RECOVERY_S, left_behind, run_faults

FAKE = {"EMBEDDER_RUNTIME": "fake", "CLASSIFIER_BUNDLE": "imagenet"}
CHOSEN = ("redis partitioned", "redis full", "embedder partitioned", "classifier hung")


def test_what_goes_wrong_is_said_and_over_within_ten_seconds() -> None:
    figures = run_faults(2.5, 0, only=CHOSEN, environment=FAKE)
    assert figures["problems"] == []
    assert set(figures["faults"]) == set(CHOSEN)
    seen = {
        name: {kind: set(each["answers"]) for kind, each in one["seen"].items()}
        for name, one in figures["faults"].items()
    }
    unknown = "answered, PREFERENCES_UNAVAILABLE"
    for kind in ("photograph", "product"):
        assert unknown in seen["redis partitioned"][kind]
        # A full Redis still answers what it knows.
        assert seen["redis full"][kind] == {"answered"}
    for name in ("redis partitioned", "redis full"):
        assert "UNAVAILABLE PREFERENCES_UNAVAILABLE" in seen[name]["dislike"]
    assert "UNAVAILABLE EMBEDDER_UNAVAILABLE" in seen["embedder partitioned"]["photograph"]
    assert seen["embedder partitioned"]["product"] == {"answered"}
    assert "answered, CLASSIFIER_UNAVAILABLE" in seen["classifier hung"]["photograph"]
    assert all(each["recovery_s"] < MAX_RECOVERY_S for each in figures["faults"].values())
    # Nobody else waits for Redis's half second: one call at a time does.
    assert figures["faults"]["redis partitioned"]["seen"]["product"]["p50_ms"] < 400


@pytest.mark.parametrize(
    ("after", "named"),
    [
        (Usage(100.0, 10, 30), ""),
        (Usage(110.0, 12, 60), ""),
        (Usage(140.0, 10, 30), "40 MiB"),
        (Usage(100.0, 20, 30), "20 threads"),
        (Usage(100.0, 10, 99), "99 files"),
    ],
)
def test_what_isleft_behind_is_found(after: Usage, named: str) -> None:
    assert named in " ".join(left_behind("search", Usage(100.0, 10, 30), after))
    assert bool(named) == bool(left_behind("search", Usage(100.0, 10, 30), after))
