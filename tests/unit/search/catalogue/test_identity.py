"""What tells catalogues apart that write to one place outside of their data directories."""

import shutil
from pathlib import Path

from offline.backup import back_up, restore
from services.search.catalogue import identity
from services.search.catalogue.store import Catalogue


def _identity(directory: Path) -> str:
    with Catalogue(directory) as catalogue:
        return catalogue.identity


def test_a_catalogue_its_copy_and_its_restored_backup_are_one(tmp_path: Path) -> None:
    first = _identity(tmp_path / "a")
    assert len(first) == 32
    assert _identity(tmp_path / "a") == first
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    back_up(tmp_path / "a", tmp_path / "backup.zip")
    restore(tmp_path / "backup.zip", tmp_path / "restored")
    assert {_identity(tmp_path / name) for name in ("copy", "restored")} == {first}
    assert _identity(tmp_path / "b") != first


def test_a_directory_and_a_backup_of_before_get_an_identity_at_the_next_start(tmp_path: Path) -> None:
    first = _identity(tmp_path / "a")
    (tmp_path / "a" / identity.FILE).unlink()
    back_up(tmp_path / "a", tmp_path / "backup.zip")
    restore(tmp_path / "backup.zip", tmp_path / "restored")
    again = {_identity(tmp_path / name) for name in ("a", "restored")}
    assert len(again) == 2 and first not in again


def test_a_file_that_a_power_cut_has_emptied_is_made_anew(tmp_path: Path) -> None:
    _identity(tmp_path / "a")
    (tmp_path / "a" / identity.FILE).write_text("")
    assert len(_identity(tmp_path / "a")) == 32
