"""Stores photographs as they were uploaded, by the hash of their content.

A photograph is never unlinked because a database, which may be damaged, does not know it: it moves to a quarantine.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from services.bundle.durable import make_folder, synchronise
from services.contract.errors import DataLoss

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
# The folders of unfinished files, and of those that no product refers to at a start, by date. Their names are longer
# than the two digits of the other folders.
_INCOMING = "incoming"
_QUARANTINE = "quarantine"
# Files that are synchronised at the same time.
_MAX_SYNCHRONISING = 16


class PhotographDamaged(DataLoss):
    """A stored photograph was changed, by the disk or by a person, or is gone."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="PHOTOGRAPH_DAMAGED")


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: files moved to the quarantine, and missing ones that were put back from there."""

    quarantined: int
    restored: int


@dataclass(frozen=True, slots=True)
class StoredPhotograph:
    """A photograph as it was uploaded.

    Attributes:
        content: the encoded file, byte for byte.
        media_type: "image/jpeg", "image/png", "image/webp" or "image/avif".
        sha256: of `content`, 64 lower-case hexadecimal digits.
    """

    content: bytes
    media_type: str
    sha256: str


def photograph_path(directory: Path, sha256: str) -> Path:
    """Returns where a store in a directory keeps a photograph."""
    return directory / sha256[:2] / sha256[2:]


class PhotographStore:
    """Photographs in `directory/ab/cdef…`, by SHA-256; only `Catalogue`, which knows their use, writes here."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / _INCOMING
        self._quarantine = directory / _QUARANTINE
        make_folder(self._incoming)

    def read(self, sha256: str) -> StoredPhotograph | None:
        """Returns a photograph, or None if there is none.

        Raises:
            PhotographDamaged: the content does not match the hash, or is no JPEG, PNG, WebP or AVIF file.
        """
        try:
            content = self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        media_type = _media_type(content)
        if media_type is None or hashlib.sha256(content).hexdigest() != sha256:
            raise PhotographDamaged(
                f"The stored photograph {sha256} is not what was uploaded; send its products again, with it."
            )
        return StoredPhotograph(content, media_type, sha256)

    def put(self, contents: Sequence[bytes]) -> tuple[str, ...]:
        """Stores photographs; they are on disk when it returns. An intact one is not written again.

        Returns:
            The SHA-256 of each photograph that was written, because its file was damaged or not there; none twice.

        Raises:
            OSError: they could not be written.
        """
        by_sha256 = {hashlib.sha256(content).hexdigest(): content for content in contents}
        missing = {sha256: content for sha256, content in by_sha256.items() if not self._has(sha256, content)}
        if not missing:
            return ()
        # A file gets its name once its content is on disk, and is durable once its folder is synchronised too. Files
        # that are synchronised at the same time share one commit of the file system.
        placed: list[Path] = []
        try:
            with ThreadPoolExecutor(min(_MAX_SYNCHRONISING, len(missing)), thread_name_prefix="photographs") as threads:
                list(threads.map(self._write_incoming, missing.keys(), missing.values()))
                folders: set[Path] = set()
                for sha256 in missing:
                    path = self._path(sha256)
                    if not path.parent.exists():
                        path.parent.mkdir()
                        folders.add(self._directory)
                    existed = path.exists()
                    (self._incoming / sha256).replace(path)
                    if not existed:
                        placed.append(path)
                    folders.add(path.parent)
                list(threads.map(synchronise, folders))
        except OSError:
            # On a full disk, what nobody refers to would take the room that is left.
            for path in (*placed, *(self._incoming / sha256 for sha256 in missing)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        return tuple(missing)

    def remove(self, sha256s: Iterable[str]) -> None:
        """Removes photographs; a missing one is no error.

        Raises:
            OSError: a photograph could not be removed.
        """
        for sha256 in sha256s:
            self._path(sha256).unlink(missing_ok=True)

    def __bool__(self) -> bool:
        """Tells whether there is any photograph, besides those in the quarantine."""
        return next(self._all(), None) is not None

    def sweep(self, referenced: frozenset[str], today: date) -> Swept:
        """Removes unfinished files of a crash, and moves photographs that nothing refers to into the quarantine.

        What is referred to and missing is put back from the quarantine. Files with other names are left alone.

        Raises:
            OSError: a file could not be moved.
        """
        for path in self._incoming.iterdir():
            if _SHA256.fullmatch(path.name):
                path.unlink()
        there = frozenset(self._all())
        orphans = there - referenced
        folder = self._quarantine / today.isoformat()
        if orphans:
            folder.mkdir(parents=True, exist_ok=True)
        for sha256 in orphans:
            self._path(sha256).replace(folder / sha256)
        restored = 0
        if self._quarantine.is_dir() and (missing := referenced - there):
            for path in self._quarantine.glob("*/*"):
                if path.name in missing and not (place := self._path(path.name)).exists():
                    place.parent.mkdir(exist_ok=True)
                    path.replace(place)
                    restored += 1
        return Swept(len(orphans), restored)

    def _all(self) -> Iterator[str]:
        """Yields the hash of each photograph in its place."""
        for folder in self._directory.iterdir():
            if len(folder.name) == 2 and folder.is_dir():
                # A start looks at all of them; paths would take three times as long.
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if _SHA256.fullmatch(sha256 := folder.name + entry.name):
                            yield sha256

    def _write_incoming(self, sha256: str, content: bytes) -> None:
        path = self._incoming / sha256
        path.write_bytes(content)
        synchronise(path)

    def _path(self, sha256: str) -> Path:
        return photograph_path(self._directory, sha256)

    def _has(self, sha256: str, content: bytes) -> bool:
        try:
            return self._path(sha256).read_bytes() == content
        except OSError:
            # A file that cannot be read is replaced, like one that is gone.
            return False


def _media_type(content: bytes) -> str | None:
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    # Of the files that consist of such boxes, the embedder takes AVIF alone.
    if content[4:8] == b"ftyp":
        return "image/avif"
    return None
