"""The files of a data set: a folder or a zip, with the data set at its top or one folder down."""

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
# Of a product with several photographs, the first suffix in this order counts.
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_Root = TypeVar("_Root", Path, PurePosixPath)


class DatasetFiles(Protocol):
    """The files of one data set, named relative to its root; several threads may read at once."""

    def photographs(self) -> Iterable[str]:
        """Returns the names of all photographs, such as "images/1163.jpg"."""
        ...

    def holds(self, name: str) -> bool:
        """Tells whether there is a file of this name."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """Returns a whole file.

        Raises:
            InvalidInput: the file cannot be read, or has more than `limit` bytes.
        """
        ...

    def close(self) -> None:
        """Closes what is open."""
        ...


class FolderFiles:
    """A data set in a folder."""

    def __init__(self, folder: Path) -> None:
        candidates = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
        roots = [candidate for candidate in candidates if (candidate / STYLES_FILE).is_file()]
        self._root = _only_root(str(folder), roots[:1] if roots and roots[0] == folder else roots)
        if not (self._root / PHOTOGRAPHS_FOLDER).is_dir():
            raise _no_photographs(str(folder))

    def photographs(self) -> Iterable[str]:
        """Returns the names of all photographs, relative to the root."""
        with os.scandir(self._root / PHOTOGRAPHS_FOLDER) as entries:
            names = [f"{PHOTOGRAPHS_FOLDER}/{entry.name}" for entry in entries if entry.is_file()]
        return [name for name in names if _is_photograph(name)]

    def holds(self, name: str) -> bool:
        """Tells whether there is a file of this name."""
        return (self._root / name).is_file()

    def read(self, name: str, limit: int) -> bytes:
        """Returns a whole file; raises InvalidInput where `DatasetFiles` says so."""
        path = self._root / name
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise InvalidInput(f"Cannot read {path}: {error.strerror}.", reason="DATASET_FILE_UNREADABLE") from error
        if len(content) > limit:
            raise _too_large(str(path), limit)
        return content

    def close(self) -> None:
        """Does nothing: nothing is open."""


class ZipFiles:
    """A data set in a zip, which is never unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InvalidInput(f"{path} is not a readable zip: {error}.", reason="DATASET_ZIP_BROKEN") from error
        try:
            self._members = {info.filename: info for info in self._zip.infolist() if _is_safe(path, info)}
            roots = [
                PurePosixPath(name).parent
                for name in self._members
                if PurePosixPath(name).name == STYLES_FILE and len(PurePosixPath(name).parts) <= 2
            ]
            roots = sorted((root for root in roots if root.name != "__MACOSX"), key=str)
            top = PurePosixPath(".")
            self._root = _only_root(str(path), [top] if top in roots else roots)
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
        """Returns the names of all photographs, relative to the root."""
        return self._photographs

    def holds(self, name: str) -> bool:
        """Tells whether there is a file of this name."""
        return str(self._root / name) in self._members

    def read(self, name: str, limit: int) -> bytes:
        """Returns a whole file; raises InvalidInput where `DatasetFiles` says so."""
        info = self._members[str(self._root / name)]
        if info.file_size > limit:
            raise _too_large(f"{name} in {self._path}", limit)
        try:
            # ZipFile counts its open members without a lock.
            with self._lock:
                return self._zip.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, zlib.error) as error:
            raise InvalidInput(
                f"Cannot read {name} in {self._path}: {error}.", reason="DATASET_FILE_UNREADABLE"
            ) from error

    def close(self) -> None:
        """Closes the zip."""
        self._zip.close()


def _is_photograph(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in PHOTOGRAPH_SUFFIXES and not path.name.startswith(".")


def _is_safe(path: Path, info: zipfile.ZipInfo) -> bool:
    """Refuses a zip that reaches outside itself, which somebody may unpack later; otherwise returns True.

    Raises:
        InvalidInput: an absolute name, one with "..", a link or an encrypted member.
    """
    name = PurePosixPath(info.filename.replace("\\", "/"))
    fault = None
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        fault = "leads outside the zip"
    elif stat.S_ISLNK(info.external_attr >> 16):
        fault = "is a link"
    elif info.flag_bits & 0x1:
        fault = "is encrypted"
    if fault:
        raise InvalidInput(
            f"The zip {path} is unsafe: its file {info.filename!r} {fault}.", reason="DATASET_ZIP_UNSAFE"
        )
    return True


def _only_root(path: str, roots: list[_Root]) -> _Root:
    if not roots:
        raise InvalidInput(
            f"{path} has no {STYLES_FILE}, neither at its top nor one folder down.", reason="DATASET_STYLES_MISSING"
        )
    if len(roots) > 1:
        names = ", ".join(str(root) for root in roots)
        raise InvalidInput(f"{path} holds several data sets: name one of {names}.", reason="DATASET_AMBIGUOUS")
    return roots[0]


def _no_photographs(path: str) -> InvalidInput:
    return InvalidInput(
        f"{path} has no folder {PHOTOGRAPHS_FOLDER}/ beside {STYLES_FILE}.", reason="DATASET_PHOTOGRAPHS_MISSING"
    )


def _too_large(name: str, limit: int) -> InvalidInput:
    return InvalidInput(
        f"{name} has more than {limit:,} bytes, the most that is read.", reason="DATASET_FILE_TOO_LARGE"
    )
