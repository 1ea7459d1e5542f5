"""Backup and restore: a stack that is written to, destroyed and brought back is what it was."""

import hashlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from socket import AF_UNIX, socket

import pytest
import yaml
from typer.testing import CliRunner

from cli.commands.backup import restore_app, verify_app
from fashion.v1 import search_pb2
from offline.backup import back_up, restore, verify
from services.contract.errors import DataLoss, FashionError, InvalidInput, Overloaded
from services.search.catalogue.photographs import photograph_path
from services.search.catalogue.references import referenced_photographs
from services.search.catalogue.store import DATABASE_FILE, Catalogue
from services.search.indexes.snapshot_file import FILE as SNAPSHOT
from tests.support.gateways import shop
from tests.support.kubernetes import KUBERNETES
from tests.support.small_shop import rows

FORMER = Path(__file__).parents[1] / "fixtures" / "data-dir-v1" / "data"


def test_a_shop_that_is_destroyed_comes_back_whole(tmp_path: Path) -> None:
    data, backup, restored = tmp_path / "data", tmp_path / "backup.zip", tmp_path / "restored"
    sent = rows()
    first, later = sent[: len(sent) // 2], sent[len(sent) // 2 :]
    with shop(data) as before:
        before.grpc.upsert(first)
        before.grpc.dislike("ada", "Blue")
        written: list[int] = []
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                before.grpc.upsert(later[len(written) % len(later) :][:1])
                written.append(1)

        writing = threading.Thread(target=write)
        writing.start()
        try:
            contents = back_up(data, backup)
        finally:
            stop.set()
            writing.join()
        assert written and contents.damage == () and contents.users == 1
        assert len(first) <= contents.products <= len(sent)
        before.grpc.upsert(sent)
        nearest = before.grpc.find(product_id=first[0].product.id, top_k=3).products
    shutil.rmtree(data)
    # It names users.
    assert backup.stat().st_mode & 0o077 == 0
    assert restore(backup, restored) == contents
    assert verify(restored).products == contents.products and verify(restored).damage == ()
    with shop(restored) as after:
        asked = search_pb2.ListDislikedColoursRequest(user_id="ada")
        assert [each.colour for each in after.grpc.search.ListDislikedColours(asked).colours] == ["Blue"]
        for row in first:
            product_id = row.product.id
            kept = after.grpc.search.GetPhotograph(search_pb2.GetPhotographRequest(product_id=product_id))
            assert kept.content == row.image.content
            product = after.grpc.search.GetProduct(search_pb2.GetProductRequest(product_id=product_id)).product
            assert (product.name, product.base_colour) == (row.product.name, row.product.base_colour)
        after.grpc.upsert(sent)
        found = after.grpc.find(product_id=first[0].product.id, top_k=3).products
        assert [each.product.id for each in found[:1]] == [each.product.id for each in nearest[:1]]


@pytest.mark.parametrize("name", ["shop#1 50% off?", "d" * 150], ids=["of a URL", "long"])
def test_the_dislikes_of_a_running_shop_are_found_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    with shop(data) as running:
        running.grpc.upsert(rows()[:1])
        running.grpc.dislike("ada", "Blue")
        assert back_up(data, tmp_path / "running.zip").users == 1
    assert back_up(data, tmp_path / "stopped.zip").users == 1
    # As one that was killed with all its processes leaves it.
    with socket(AF_UNIX) as gone, chdir(data / "redis"):
        Path("redis.sock").unlink(missing_ok=True)
        gone.bind("redis.sock")
    assert back_up(data, tmp_path / "killed.zip").users == 1


@pytest.fixture
def backed_up(tmp_path: Path) -> tuple[Path, Path]:
    data, backup = tmp_path / "data", tmp_path / "backup.zip"
    with shop(data) as running:
        running.grpc.upsert(rows()[:6])
    # Derived from the catalogue: no backup takes it, and nothing that checks a directory minds what is in it.
    (data / SNAPSHOT).write_bytes(b"no snapshot")
    back_up(data, backup)
    return data, backup


def test_a_backup_has_no_snapshot_of_the_index(backed_up: tuple[Path, Path], tmp_path: Path) -> None:
    data, backup = backed_up
    with zipfile.ZipFile(backup) as archive:
        assert SNAPSHOT not in archive.namelist() and "catalogue.sqlite3" in archive.namelist()
    restore(backup, tmp_path / "restored")
    assert not (tmp_path / "restored" / SNAPSHOT).exists()
    assert verify(data).damage == ()


def test_damage_is_named_and_a_damaged_backup_restores_nothing(backed_up: tuple[Path, Path], tmp_path: Path) -> None:
    data, backup = backed_up
    assert verify(data).damage == () and verify(backup).damage == ()
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(backup) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.startswith("photographs/"):
                content, victim = content[:-1] + bytes([content[-1] ^ 1]), name.rpartition("/")[2]
            target.writestr(name, content)
    assert any(victim in line for line in verify(broken).damage)
    with pytest.raises(DataLoss, match="Nothing was restored"):
        restore(broken, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()

    photograph_path(data / "photographs", victim).unlink()
    with sqlite3.connect(data / DATABASE_FILE) as database:
        database.execute("UPDATE products SET sub_category = sub_category || 'x' WHERE id = ?", (rows()[0].product.id,))
    damage = verify(data).damage
    assert any(victim in line and "gone" in line for line in damage)
    assert any(rows()[0].product.id in line for line in damage)
    # A backup of what is damaged has the rest, says so, and comes back as it was.
    partial = back_up(data, tmp_path / "partial.zip")
    assert len(partial.damage) == 2 and partial.products == 6
    assert restore(tmp_path / "partial.zip", tmp_path / "as-it-was").products == 6


def test_a_photograph_that_was_gone_when_it_was_backed_up_stops_no_restore(
    backed_up: tuple[Path, Path], tmp_path: Path
) -> None:
    data, _ = backed_up
    victim = next((data / "photographs").glob("??/*"))
    victim.unlink()
    # As a folder where a file should be, which fails otherwise than a missing one.
    victim.mkdir()
    backup = tmp_path / "partial.zip"
    contents = back_up(data, backup)
    assert len(contents.damage) == 1 and contents.photographs == 5
    assert restore(backup, tmp_path / "restored") == contents == verify(backup)


def test_a_new_volume_is_restored_into(backed_up: tuple[Path, Path], tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "lost+found").mkdir(parents=True)
    # As a restore that was killed leaves it.
    (volume / ".restoring" / "photographs").mkdir(parents=True)
    place = volume.stat().st_ino
    # Nothing can be made beside it.
    tmp_path.chmod(0o500)
    try:
        contents = restore(backed_up[1], volume)
    finally:
        tmp_path.chmod(0o700)
    assert volume.stat().st_ino == place
    assert sorted(each.name for each in volume.iterdir()) == [
        "catalogue.id", "catalogue.sqlite3", "lost+found", "photographs"
    ]  # fmt: skip
    assert verify(volume).products == contents.products and verify(volume).damage == ()
    assert {file.stat().st_mode & 0o077 for file in volume.rglob("*") if file.is_file()} == {0}
    with pytest.raises(InvalidInput, match="not empty"):
        restore(backed_up[1], volume)


def test_nothing_is_overwritten_and_no_other_file_is_taken(backed_up: tuple[Path, Path], tmp_path: Path) -> None:
    data, backup = backed_up
    with pytest.raises(InvalidInput, match="is not empty"):
        restore(backup, data)
    text = tmp_path / "text.zip"
    text.write_text("no zip")
    with pytest.raises(InvalidInput, match="no backup"):
        verify(text)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("backup.json", json.dumps({"format": 99}))
    with pytest.raises(InvalidInput, match="format is 99"):
        restore(other, tmp_path / "restored")


def _repacked(backup: Path, target: Path, changes: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(backup) as source, zipfile.ZipFile(target, "w", packing) as written:
        for name in source.namelist():
            written.writestr(name, changes.get(name, source.read(name)))
    return target


def test_a_backup_that_somebody_has_packed_or_changed_is_refused_with_the_reason(
    backed_up: tuple[Path, Path], tmp_path: Path
) -> None:
    _, backup = backed_up
    with pytest.raises(InvalidInput, match=r"read: backup\.json is packed or encrypted\."):
        verify(_repacked(backup, tmp_path / "packed.zip", {}, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(backup) as archive:
        manifest = json.loads(archive.read("backup.json"))
    for change in (
        {"damage": "a text"},
        {"damage": [1]},
        {"products": "6"},
        {"users": True},
        {"database_sha256": None},
    ):
        changed = {"backup.json": json.dumps({**manifest, **change}).encode()}
        with pytest.raises(InvalidInput, match="something else than counts and sentences"):
            verify(_repacked(backup, tmp_path / "changed.zip", changed))


def test_a_photograph_that_was_damaged_before_and_cannot_be_read_now_stops_no_restore(
    backed_up: tuple[Path, Path], tmp_path: Path
) -> None:
    data, _ = backed_up
    victim = next((data / "photographs").glob("??/*"))
    victim.write_bytes(b"something else")
    backup = tmp_path / "partial.zip"
    contents = back_up(data, backup)
    assert len(contents.damage) == 1
    broken = tmp_path / "broken.zip"
    broken.write_bytes(backup.read_bytes().replace(b"something else", b"something more"))
    assert restore(broken, tmp_path / "restored") == contents
    assert verify(tmp_path / "restored").damage[0].endswith("is gone or cannot be read.")


def test_a_backup_of_a_former_version_is_restored_and_brought_up_to_date(tmp_path: Path) -> None:
    former = tmp_path / "former"
    shutil.copytree(FORMER, former)
    # As `fashion backup` of that version would have written it: a copy of its database and photographs.
    current = tmp_path / "current"
    shutil.copytree(FORMER, current)
    with Catalogue(current) as catalogue:
        products = len(catalogue)
    backup = tmp_path / "backup.zip"
    back_up(current, backup)
    old = tmp_path / "old.zip"
    with zipfile.ZipFile(backup) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == DATABASE_FILE:
                content = (former / DATABASE_FILE).read_bytes()
            if name == "backup.json":
                manifest = json.loads(content)
                manifest["database_sha256"] = hashlib.sha256((former / DATABASE_FILE).read_bytes()).hexdigest()
                content = json.dumps(manifest).encode()
            target.writestr(name, content)
    restored = tmp_path / "restored"
    assert restore(old, restored).products == products
    with Catalogue(restored) as catalogue:
        assert len(catalogue) == products and not catalogue.damaged
    told = CliRunner().invoke(verify_app, [str(restored), "--json"])
    assert told.exit_code == 0 and json.loads(told.stdout)["products"] == products
    next((restored / "photographs").glob("??/*")).unlink()
    told = CliRunner().invoke(verify_app, [str(restored), "--json"])
    assert told.exit_code == 1 and "gone" in json.loads(told.stdout)["damage"][0]


def test_the_jobs_of_kubernetes_make_a_backup_and_restore_it(backed_up: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = backed_up
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "fashion").write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
    (commands / "fashion").chmod(0o700)
    (tmp_path / "volume").mkdir()

    def run(name: str, data_dir: Path, code: int = 0) -> str:
        job = yaml.safe_load((KUBERNETES / "backup" / f"{name}.yaml").read_text())["spec"]["jobTemplate"]["spec"]
        (container,) = job["template"]["spec"]["containers"]
        (script,) = container["args"]
        places = {"/backup/": f"{tmp_path / 'volume'}/", "--data-dir /data\n": f"--data-dir {data_dir}\n"}
        for place, here in places.items():
            assert place in script
            script = script.replace(place, here)
        environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
        ended = subprocess.run(
            [*container["command"], script], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == code, ended.stderr
        return ended.stdout + ended.stderr

    volume = tmp_path / "volume"
    for night in (1, 2):
        assert "6 products, 6 photographs" in run("backup", data)
        assert {each.name for each in volume.iterdir()} == {"backup.zip", *(["former.zip"] if night == 2 else [])}
    # Search has begun an empty catalogue, since its volume was lost.
    with Catalogue(tmp_path / "lost"):
        pass
    assert "backup.zip stays as it is" in run("backup", tmp_path / "lost", code=1)
    assert "6 products, 6 photographs" in run("restore", tmp_path / "restored")
    assert verify(tmp_path / "restored").damage == ()
    # Nor does a damaged one replace it.
    next((tmp_path / "restored" / "photographs").glob("??/*")).unlink()
    run("backup", tmp_path / "restored", code=1)
    assert verify(volume / "backup.zip").damage == verify(volume / "former.zip").damage == ()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond some bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("what", ["a folder", "a link to itself", "no file of ours"])
def test_a_backup_that_cannot_be_opened_is_not_called_a_damaged_one(tmp_path: Path, what: str) -> None:
    backup = tmp_path / "backup.zip"
    if what == "a folder":
        backup.mkdir()
    elif what == "a link to itself":
        backup.symlink_to(backup)
    else:
        backup.touch(0o000)
        if os.access(backup, os.R_OK):
            pytest.skip("this user reads every file")
    with pytest.raises(InvalidInput, match=rf"^Cannot read {backup}: ") as refused:
        restore(backup, tmp_path / "restored")
    assert refused.value.reason == "FILE_UNREADABLE"
    assert not (tmp_path / "restored").exists()


def test_a_backup_is_unpacked_where_it_is_and_where_it_is_restored(
    backed_up: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In containers, temporary files are in memory, and the database of a large shop is not.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    _, backup = backed_up
    there = {*tmp_path.iterdir()}
    contents = verify(backup)
    assert contents.damage == () and {*tmp_path.iterdir()} == there
    assert restore(backup, tmp_path / "restored") == contents


def test_a_backup_in_a_folder_without_room_is_unpacked_among_temporary_files(backed_up: tuple[Path, Path]) -> None:
    with backed_up[1].open("rb") as opened:
        # No file can be made in this folder.
        backup = Path(f"/dev/fd/{opened.fileno()}")
        assert verify(backup).damage == ()
        with files_of_at_most(4096), pytest.raises(Overloaded) as refused:
            verify(backup)
    assert refused.value.reason == "TEMPORARY_FILES_FULL" and tempfile.gettempdir() in str(refused.value)


def test_a_restore_without_room_names_its_folder_and_leaves_nothing(
    backed_up: tuple[Path, Path], tmp_path: Path
) -> None:
    restored = tmp_path / "restored"
    with files_of_at_most(4096):
        told = CliRunner().invoke(restore_app, [str(backed_up[1]), "--data-dir", str(restored)])
    assert isinstance(told.exception, FashionError) and told.exception.reason == "FILE_UNWRITABLE"
    assert str(told.exception).startswith(f"Cannot write {restored}: ")
    assert not restored.exists()


def test_a_large_catalogue_is_swept_and_checked_without_temporary_files(tmp_path: Path) -> None:
    # More than what SQLite sorts in memory.
    count = 40_000
    with Catalogue(tmp_path):
        pass
    with sqlite3.connect(tmp_path / DATABASE_FILE) as database:
        described = database.execute("PRAGMA table_info(products)").fetchall()
        needed = {name: 0 if kind == "INTEGER" else "" for _, name, kind, not_null, *_ in described if not_null}
        row = needed | {"embedding": b"", "model_version": "m"}
        hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]
        database.executemany(
            f"INSERT INTO products ({', '.join(row)}, photograph_sha256) VALUES ({', '.join('?' * (len(row) + 1))})",
            ([*(row | {"id": str(number)}).values(), sha256] for number, sha256 in enumerate(hashes)),
        )
    with files_of_at_most(1 << 20):
        with sqlite3.connect(tmp_path / DATABASE_FILE) as database:
            assert referenced_photographs(database) == {*hashes}
        assert verify(tmp_path).photographs == count
