"""A stack that is killed, or whose power fails, has all that it acknowledged; and the harness finds planted faults."""

import sys

import pytest

from offline.benchmark.crashes.run import kill_repeatedly
from tests.faults.planted import FAULTS

pytestmark = pytest.mark.timeout(400)


def test_thirty_kills_lose_nothing_that_was_acknowledged() -> None:
    figures = kill_repeatedly(30, seed=1)
    assert not figures["lost"]
    assert figures["kills"] == 30
    # The kills came while there was something to lose.
    assert figures["points_reached"] >= 12 and figures["power_cuts"] >= 10
    assert figures["starts_from_a_snapshot"] >= 15 and figures["damaged_snapshots_refused"] >= 2
    assert figures["acknowledged"] > 50 and figures["under_way_and_not_there"] > 5 and figures["compared"] > 100


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    victim = (sys.executable, "-m", "tests.faults.planted", fault)
    figures = kill_repeatedly(12, seed=2, moments=[FAULTS[fault][1]], victim=victim)
    assert figures["lost"], f"{fault} was not found: {figures}"
