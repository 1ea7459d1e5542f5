"""Where a data set's files lie: a folder or a zip, its root at the top or one folder down."""

import os
import stat
import threading
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from services.contract.errors import InvalidInput

STYLES_FILE = "styles.csv"
PHOTOGRAPHS_FOLDER = "images"
# In this order: where a product has several photographs, the first kind found is its photograph.
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_Root = TypeVar("_Root", Path, PurePosixPath)


class DatasetFiles(Protocol):
    """The files of one data set, with names relative to its root; reading is safe from several threads."""

    def photographs(self) -> Iterable[str]:
        """Names of all photographs, such as "images/1163.jpg"."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """A whole file.

        Raises:
            InvalidInput: it cannot be read or is larger than `limit` bytes.
        """
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


class FolderFiles:
    """A data set in a folder."""

    def __init__(self, folder: Path) -> None:
        candidates = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
        found = [candidate for candidate in candidates if (candidate / STYLES_FILE).is_file()]
        self._root = _only_root(str(folder), found[:1] if found and found[0] == folder else found)
        if not (self._root / PHOTOGRAPHS_FOLDER).is_dir():
            raise _no_photographs(str(folder))

    def photographs(self) -> Iterable[str]:
        """Names of all photographs, relative to the root."""
        with os.scandir(self._root / PHOTOGRAPHS_FOLDER) as entries:
            names = [f"{PHOTOGRAPHS_FOLDER}/{entry.name}" for entry in entries if entry.is_file()]
        return [name for name in names if _is_photograph(name)]

    def read(self, name: str, limit: int) -> bytes:
        """A whole file; InvalidInput if it cannot be read or is larger than `limit` bytes."""
        path = self._root / name
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}", reason="DATASET_FILE_UNREADABLE") from error
        if len(content) > limit:
            raise _too_large(str(path), limit)
        return content

    def close(self) -> None:
        """Nothing is held open."""


class ZipFiles:
    """A data set in a zip; read where it is, never unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InvalidInput(f"{path}: not a readable zip: {error}", reason="DATASET_ZIP_BROKEN") from error
        try:
            self._members = {info.filename: info for info in self._zip.infolist() if _is_safe(path, info)}
            found = [
                PurePosixPath(name).parent
                for name in self._members
                if PurePosixPath(name).name == STYLES_FILE and len(PurePosixPath(name).parts) <= 2
            ]
            found = [root for root in found if root.name != "__MACOSX"]
            found.sort(key=str)
            top = PurePosixPath(".")
            self._root = _only_root(str(path), [top] if top in found else found)
            folder = self._root / PHOTOGRAPHS_FOLDER
            self._photographs = [
                f"{PHOTOGRAPHS_FOLDER}/{PurePosixPath(name).name}"
                for name in self._members
                if PurePosixPath(name).parent == folder and not name.endswith("/") and _is_photograph(name)
            ]
            if not any(PurePosixPath(name).is_relative_to(folder) for name in self._members):
                raise _no_photographs(str(path))
        except BaseException:
            self._zip.close()
            raise

    def photographs(self) -> Iterable[str]:
        """Names of all photographs, relative to the root."""
        return self._photographs

    def read(self, name: str, limit: int) -> bytes:
        """A whole file; InvalidInput if it cannot be read or is larger than `limit` bytes."""
        info = self._members[str(self._root / name)]
        if info.file_size > limit:
            raise _too_large(f"{self._path}: {name}", limit)
        try:
            # ZipFile counts its open members without a lock of its own.
            with self._lock:
                return self._zip.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, zlib.error) as error:
            raise InvalidInput(f"{self._path}: {name}: {error}", reason="DATASET_FILE_UNREADABLE") from error

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()


def _is_photograph(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in PHOTOGRAPH_SUFFIXES and not path.name.startswith(".")


def _is_safe(path: Path, info: zipfile.ZipInfo) -> bool:
    """Refuses a zip that reaches outside itself: no tool made it by mistake, and someone may unpack it later.

    Raises:
        InvalidInput: an absolute name, one with "..", a link or an encrypted member.
    """
    name = PurePosixPath(info.filename.replace("\\", "/"))
    complaint = None
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        complaint = "leads outside the zip"
    elif stat.S_ISLNK(info.external_attr >> 16):
        complaint = "is a link"
    elif info.flag_bits & 0x1:
        complaint = "is encrypted"
    if complaint:
        raise InvalidInput(f"{path}: unsafe zip: {info.filename!r} {complaint}", reason="DATASET_ZIP_UNSAFE")
    return True


def _only_root(path: str, found: list[_Root]) -> _Root:
    if not found:
        raise InvalidInput(f"{path}: no {STYLES_FILE}, at its root or one folder down", reason="DATASET_STYLES_MISSING")
    if len(found) > 1:
        where = ", ".join(str(root) for root in found)
        raise InvalidInput(f"{path}: several data sets, name one: {where}", reason="DATASET_AMBIGUOUS")
    return found[0]


def _no_photographs(path: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: no folder {PHOTOGRAPHS_FOLDER}/ beside {STYLES_FILE}", reason="DATASET_PHOTOGRAPHS_MISSING"
    )


def _too_large(name: str, limit: int) -> InvalidInput:
    return InvalidInput(f"{name}: larger than {limit} bytes", reason="DATASET_FILE_TOO_LARGE")
