"""Stores photographs as they were uploaded, by the hash of their content."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
# The folder of unfinished files; its name is longer than the two digits of the other folders.
_INCOMING = "incoming"
# Files that are synchronised at the same time.
_MAX_SYNCHRONISING = 16


class PhotographDamaged(Exception):
    """A stored photograph was changed, by the disk or by a person."""


@dataclass(frozen=True, slots=True)
class StoredPhotograph:
    """A photograph as it was uploaded.

    Attributes:
        content: the encoded file, byte for byte.
        media_type: "image/jpeg", "image/png" or "image/webp".
        sha256: of `content`, 64 lower-case hexadecimal digits.
    """

    content: bytes
    media_type: str
    sha256: str


class PhotographStore:
    """Photographs in `directory/ab/cdef…`, by SHA-256; only `Catalogue`, which knows their use, writes here."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / _INCOMING
        self._incoming.mkdir(parents=True, exist_ok=True)

    def read(self, sha256: str) -> StoredPhotograph | None:
        """Returns a photograph, or None if there is none.

        Raises:
            PhotographDamaged: the content does not match the hash, or is no JPEG, PNG or WebP file.
        """
        try:
            content = self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        media_type = _media_type(content)
        if media_type is None or hashlib.sha256(content).hexdigest() != sha256:
            raise PhotographDamaged(
                f"The photograph {sha256} is not what was uploaded; delete its products and send them again."
            )
        return StoredPhotograph(content, media_type, sha256)

    def put(self, contents: Sequence[bytes]) -> tuple[str, ...]:
        """Stores photographs; they are on disk when it returns. An intact one is not written again.

        Returns:
            The SHA-256 per photograph.

        Raises:
            OSError: they could not be written.
        """
        hashes = tuple(hashlib.sha256(content).hexdigest() for content in contents)
        missing = {
            sha256: content for sha256, content in zip(hashes, contents, strict=True) if not self._has(sha256, content)
        }
        if not missing:
            return hashes
        # A file gets its name once its content is on disk, and is durable once its folder is synchronised too. Files
        # that are synchronised at the same time share one commit of the file system.
        with ThreadPoolExecutor(min(_MAX_SYNCHRONISING, len(missing)), thread_name_prefix="photographs") as threads:
            list(threads.map(self._write_incoming, missing.keys(), missing.values()))
            folders: set[Path] = set()
            for sha256 in missing:
                path = self._path(sha256)
                if not path.parent.exists():
                    path.parent.mkdir()
                    folders.add(self._directory)
                (self._incoming / sha256).replace(path)
                folders.add(path.parent)
            list(threads.map(_synchronise, folders))
        return hashes

    def remove(self, sha256s: Iterable[str]) -> None:
        """Removes photographs; a missing one is no error.

        Raises:
            OSError: a photograph could not be removed.
        """
        for sha256 in sha256s:
            self._path(sha256).unlink(missing_ok=True)

    def sweep(self, referenced: frozenset[str]) -> int:
        """Removes what a crash left behind: unfinished files, and photographs that no product refers to.

        Files with other names are left alone.

        Returns:
            The number of removed files.

        Raises:
            OSError: a file could not be removed.
        """
        orphans = [path for path in self._incoming.iterdir() if _SHA256.fullmatch(path.name)]
        for folder in self._directory.iterdir():
            if folder.is_dir() and folder != self._incoming:
                for path in folder.iterdir():
                    sha256 = folder.name + path.name
                    if _SHA256.fullmatch(sha256) and sha256 not in referenced:
                        orphans.append(path)
        for path in orphans:
            path.unlink()
        return len(orphans)

    def _write_incoming(self, sha256: str, content: bytes) -> None:
        path = self._incoming / sha256
        path.write_bytes(content)
        _synchronise(path)

    def _path(self, sha256: str) -> Path:
        return self._directory / sha256[:2] / sha256[2:]

    def _has(self, sha256: str, content: bytes) -> bool:
        try:
            return self._path(sha256).read_bytes() == content
        except FileNotFoundError:
            return False


def _media_type(content: bytes) -> str | None:
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
