"""Processes that are measured: their ports, and what is said of one that does not start."""

from pathlib import Path

import pytest

from offline.benchmark.processes import free_port, running
from services.contract.errors import NotReady


def test_no_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(3000)]
    assert len({*ports}) == 3000 and 20_000 <= min(ports) <= max(ports) < 32_000


def test_a_server_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    settings = {"EMBEDDER_RUNTIME": "nonsense"}
    with (
        pytest.raises(NotReady, match=r'ended at once\. Its log .+ ends with ".*EMBEDDER_RUNTIME.*"\.$'),
        running("services.embedder", settings, tmp_path / "embedder.log"),
    ):
        pytest.fail("it serves")
