"""Mutated feeds, bundles and backups are read with every row counted, or refused with a sentence."""

from offline.benchmark.hostile_files.run import files


def test_two_hundred_mutated_files_are_read_or_refused_and_nothing_is_executed() -> None:
    figures = files(200, 1)
    assert figures["problems"] == []
    assert set(figures["outcomes"]) == {"feed", "mapping", "data set", "bundle", "backup"}
    assert all(len(counted) > 1 for counted in figures["outcomes"].values())
