"""`fashion ingest` of tables of growing size: its memory stays, and each row has an outcome by name."""

from pathlib import Path

import pytest

from offline.benchmark.tables import KINDS, ingest_table, running_sink

SMALL, LARGE = 1_000, 12_000
# Rows in memory took 25 MiB more for the larger table. Caches fill up, and allocators keep some: 3 MiB.
SLACK_MIB = 12


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_table_takes_no_more_memory(kind: str, tmp_path: Path) -> None:
    with running_sink(tmp_path / "sink.log") as server:
        small, large = (ingest_table(kind, count, server, tmp_path) for count in (SMALL, LARGE))
    assert small["problems"] == large["problems"] == []
    assert large["mib"] < small["mib"] + SLACK_MIB
