"""Photographs are stored whole and once, by the hash of their content."""

import errno
import hashlib
from datetime import date
from pathlib import Path

import pytest

from services.search.catalogue.photographs import PhotographDamaged, PhotographStore, Swept

DAY = date(2026, 11, 28)
JPEG = b"\xff\xd8\xff\xe0 a photograph"
PNG = b"\x89PNG\r\n\x1a\n a photograph"
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 a photograph"


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_gives_back_every_byte_and_the_media_type(tmp_path: Path) -> None:
    store = PhotographStore(tmp_path)
    for content, media_type in ((JPEG, "image/jpeg"), (PNG, "image/png"), (WEBP, "image/webp")):
        (sha256,) = store.put([content])
        assert sha256 == hashlib.sha256(content).hexdigest()
        stored = store.read(sha256)
        assert stored is not None
        assert (stored.content, stored.media_type, stored.sha256) == (content, media_type, sha256)


def test_keeps_one_file_of_equal_photographs(tmp_path: Path) -> None:
    store = PhotographStore(tmp_path)
    first, second = store.put([JPEG, PNG, JPEG])
    assert first != second
    assert store.put([JPEG]) == ()
    assert len(files(tmp_path)) == 2
    assert files(tmp_path) == sorted(tmp_path / sha256[:2] / sha256[2:] for sha256 in (first, second))


def test_a_damaged_file_is_an_error_until_the_same_upload_repairs_it(tmp_path: Path) -> None:
    store = PhotographStore(tmp_path)
    (sha256,) = store.put([JPEG])
    files(tmp_path)[0].write_bytes(JPEG[:-1])
    with pytest.raises(PhotographDamaged, match=sha256):
        store.read(sha256)
    assert store.put([JPEG]) == (sha256,)
    stored = store.read(sha256)
    assert stored is not None
    assert stored.content == JPEG


def test_a_file_that_cannot_be_read_is_replaced_by_the_same_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PhotographStore(tmp_path)
    (sha256,) = store.put([JPEG])

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", fail)
        assert store.put([JPEG]) == (sha256,)
    assert store.read(sha256) is not None


def test_a_missing_photograph_is_none_and_may_be_removed(tmp_path: Path) -> None:
    store = PhotographStore(tmp_path)
    sha256 = hashlib.sha256(JPEG).hexdigest()
    assert store.read(sha256) is None
    store.remove([sha256])


def test_sweeps_what_a_crash_left_and_nothing_else(tmp_path: Path) -> None:
    store = PhotographStore(tmp_path)
    kept, orphan = store.put([JPEG, PNG])
    (tmp_path / "incoming" / hashlib.sha256(WEBP).hexdigest()).write_bytes(WEBP[:5])
    (tmp_path / "README").write_text("not ours")
    (tmp_path / "ab").mkdir(exist_ok=True)
    (tmp_path / "ab" / "notes.txt").write_text("not ours")
    assert PhotographStore(tmp_path).sweep(frozenset({kept}), DAY) == Swept(quarantined=1, restored=0)
    assert store.read(kept) is not None
    assert store.read(orphan) is None
    assert (tmp_path / "quarantine" / "2026-11-28" / orphan).read_bytes() == PNG
    assert (tmp_path / "README").exists()
    assert (tmp_path / "ab" / "notes.txt").exists()
    assert not list((tmp_path / "incoming").iterdir())


def test_a_sweep_puts_back_what_is_referred_to_again(tmp_path: Path) -> None:
    store = PhotographStore(tmp_path)
    first, second = store.put([JPEG, PNG])
    assert store.sweep(frozenset(), DAY) == Swept(quarantined=2, restored=0)
    assert store.sweep(frozenset({second}), DAY) == Swept(quarantined=0, restored=1)
    assert store.read(first) is None
    stored = store.read(second)
    assert stored is not None and stored.content == PNG


def test_what_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    store = PhotographStore(tmp_path)
    sha256 = hashlib.sha256(PNG).hexdigest()
    # A file where the folder should be.
    (tmp_path / sha256[:2]).write_bytes(b"")
    with pytest.raises(OSError):
        store.put([JPEG, PNG])
    assert files(tmp_path) == [tmp_path / sha256[:2]]
