"""Files that are read again: what fails is told for as long as it fails, and no call is needed to see a change."""

import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.serving.settings import SettingsError
from services.serving.watched import Watched, look_at_all


def failed(use: str) -> float | None:
    return REGISTRY.get_sample_value("fashion_reload_failed", {"use": use})


def number(file: Path, use: str) -> Watched[int]:
    return Watched([file], lambda: int(file.read_text()), variable="A_FILE", use=use, check_s=0)


def test_what_cannot_be_read_again_is_told_until_it_can(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    watched = number(file, "a number")
    assert failed("a number") == 0
    file.write_text("none")
    look_at_all()
    assert failed("a number") == 1 and watched.value == 1
    file.unlink()
    look_at_all()
    assert failed("a number") == 1 and watched.value == 1
    file.write_text("22")
    look_at_all()
    assert failed("a number") == 0 and watched.value == 22
    file.rename(tmp_path / "away")
    look_at_all()
    assert failed("a number") == 1
    # The very file that was read is put back.
    (tmp_path / "away").rename(file)
    look_at_all()
    assert failed("a number") == 0 and watched.value == 22


def test_one_that_fails_among_several_of_a_use_is_told(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for file in files:
        file.write_text("1")
    kept = [number(file, "several") for file in files]
    files[1].write_text("none")
    look_at_all()
    assert failed("several") == 1
    del kept
    assert failed("several") is None


def test_no_metric_names_a_file(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    kept = number(file, "a number")
    assert kept.value == 1
    labels = [sample.labels for family in REGISTRY.collect() for sample in family.samples]
    assert not [each for each in labels if os.fspath(tmp_path) in str(each)]


def test_files_that_cannot_be_read_at_first_are_not_watched(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="A_FILE"):
        number(tmp_path / "nothing", "nothing")
    assert failed("nothing") is None
