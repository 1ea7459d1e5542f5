"""The files of a data set: a folder or a zip, with the data set at its top or one folder down."""

import io
import os
import re
import stat
import struct
import threading
import unicodedata
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from services.contract.errors import InvalidInput

STYLES_FILE = "styles.csv"
PHOTOGRAPHS_FOLDER = "images"
# Holds a folder per product with photographs after the first, such as "further/1163/1.jpg".
FURTHER_FOLDER = "further"
# Of a product with several photographs, the first suffix in this order counts.
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".avif")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# The bit of a zip's member that says that its name is UTF-8.
_UTF8_FLAG = 0x800
# An entry of a zip's directory begins with these bytes, and has so many before its name.
_ENTRY_MARK = b"PK\x01\x02"
_ENTRY_BYTES = 46

# Tables pack to a tenth or so. What unpacks to more than this multiple, beyond a first part, was made to fill memories.
_MAX_UNPACKED = 200
_FIRST_UNPACKED_BYTES = 16 << 20

_Root = TypeVar("_Root", Path, PurePosixPath)


def max_unpacked(packed_bytes: int) -> int:
    """Returns how many bytes a packed file may unpack to."""
    return max(_FIRST_UNPACKED_BYTES, _MAX_UNPACKED * packed_bytes)


def composed(name: str) -> str:
    """Returns a name in composed characters (NFC): macOS decomposes the names of files, tables rarely do."""
    return unicodedata.normalize("NFC", name)


def readable(name: str) -> str:
    """Returns a name of the file system as text that can be shown and sent; what is not UTF-8 is read by cp1252."""
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class DatasetFiles(Protocol):
    """The files of one data set, named relative to its root; several threads may read at once."""

    def photographs(self) -> Iterable[str]:
        """Returns the names of all files beside the photographs and of these, such as "images/1163.jpg"."""
        ...

    def further(self) -> Iterable[str]:
        """Returns the names of all files beside the photographs after the first, such as "further/1163/1.jpg"."""
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
        try:
            candidates = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
        except OSError as error:
            raise _unreadable(folder, error) from error
        # Path.is_file raises an error where a folder may not be entered.
        roots = [candidate for candidate in candidates if os.path.isfile(candidate / STYLES_FILE)]  # noqa: PTH113
        self._root = _only_root(str(folder), roots[:1] if roots and roots[0] == folder else roots)
        if not (self._root / PHOTOGRAPHS_FOLDER).is_dir():
            raise _no_photographs(str(folder))
        # Name as text -> name on the disk, which need not be text.
        self._photographs: dict[str, str] = {}
        try:
            with os.scandir(self._root / PHOTOGRAPHS_FOLDER) as entries:
                names = sorted(entry.name for entry in entries if _is_photograph(entry))
        except OSError as error:
            raise _unreadable(self._root / PHOTOGRAPHS_FOLDER, error) from error
        for name in names:
            self._photographs.setdefault(f"{PHOTOGRAPHS_FOLDER}/{readable(name)}", f"{PHOTOGRAPHS_FOLDER}/{name}")

    def photographs(self) -> Iterable[str]:
        """Returns the names of what lies in the folder of photographs, relative to the root."""
        return self._photographs

    def further(self) -> Iterable[str]:
        """Returns the names of what lies in the folder of further photographs, relative to the root."""
        return [path.relative_to(self._root).as_posix() for path in self._root.glob(f"{FURTHER_FOLDER}/*/*")]

    def holds(self, name: str) -> bool:
        """Tells whether there is a file of this name."""
        return (self._root / name).is_file()

    def read(self, name: str, limit: int) -> bytes:
        """Returns a whole file; raises InvalidInput where `DatasetFiles` says so."""
        path = self._root / self._photographs.get(name, name)
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
        if len(content) > limit:
            raise _too_large(readable(str(path)), limit)
        return content

    def close(self) -> None:
        """Does nothing: nothing is open."""


class _ZipDirectory(io.FileIO):
    """A zip whose directory is read even where a name says that it is UTF-8 and is not.

    `zipfile` gives up the whole zip at such a name. Here the name loses the flag, and is read as names without it are.

    Attributes:
        opening: whether the directory is being read; members are never changed.
    """

    opening = True

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads as a file does; `zipfile` reads the whole directory at once."""
        content = super().read() if size is None else super().read(size)
        if not self.opening or not content.startswith(_ENTRY_MARK):
            return content
        entries = bytearray(content)
        at = 0
        while entries.startswith(_ENTRY_MARK, at) and at + _ENTRY_BYTES <= len(entries):
            (flags,) = struct.unpack_from("<H", entries, at + 8)
            name, extra, comment = struct.unpack_from("<3H", entries, at + 28)
            start = at + _ENTRY_BYTES
            try:
                entries[start : start + name].decode("utf-8")
            except UnicodeDecodeError:
                struct.pack_into("<H", entries, at + 8, flags & ~_UTF8_FLAG)
            at = start + name + extra + comment
        return bytes(entries)


class ZipFiles:
    """A data set in a zip, which is never unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._file = _ZipDirectory(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            self._zip = zipfile.ZipFile(self._file)
        except Exception as error:
            self._file.close()
            raise InvalidInput(f"{path} is not a readable zip: {error}.", reason="DATASET_ZIP_BROKEN") from error
        self._file.opening = False
        try:
            self._members = {_member_name(info): info for info in self._zip.infolist() if _is_safe(path, info)}
            names = [PurePosixPath(name) for name in self._members]
            roots = [name.parent for name in names if name.name == STYLES_FILE and len(name.parts) <= 2]
            roots = sorted((root for root in roots if root.name != "__MACOSX"), key=str)
            top = PurePosixPath(".")
            self._root = _only_root(str(path), [top] if top in roots else roots)
            folder = self._root / PHOTOGRAPHS_FOLDER
            self._photographs = [
                f"{PHOTOGRAPHS_FOLDER}/{name.name}"
                for name, info in zip(names, self._members.values(), strict=True)
                if name.parent == folder and not name.name.startswith(".") and not info.is_dir()
            ]
            if not any(name.is_relative_to(folder) for name in names):
                raise _no_photographs(str(path))
        except BaseException:
            self.close()
            raise

    def photographs(self) -> Iterable[str]:
        """Returns the names of what lies in the folder of photographs, relative to the root."""
        return self._photographs

    def further(self) -> Iterable[str]:
        """Returns the names of what lies in the folder of further photographs, relative to the root."""
        folder = self._root / FURTHER_FOLDER
        members = (PurePosixPath(name) for name, info in self._members.items() if not info.is_dir())
        return [str(name.relative_to(self._root)) for name in members if name.parent.parent == folder]

    def holds(self, name: str) -> bool:
        """Tells whether there is a file of this name."""
        return str(self._root / name) in self._members

    def read(self, name: str, limit: int) -> bytes:
        """Returns a whole file; raises InvalidInput where `DatasetFiles` says so."""
        info = self._members[str(self._root / name)]
        if info.file_size > limit:
            raise _too_large(f"{name} in {self._path}", limit)
        if info.file_size > max_unpacked(info.compress_size):
            raise InvalidInput(
                f"The zip {self._path} is unsafe: its file {name!r} unpacks to far more than its size.",
                reason="DATASET_ZIP_UNSAFE",
            )
        try:
            # ZipFile counts its open members without a lock.
            with self._lock:
                return self._zip.read(info)
        except Exception as error:  # each kind of compression has errors of its own
            raise InvalidInput(
                f"Cannot read {name} in {self._path}: {error}.", reason="DATASET_FILE_UNREADABLE"
            ) from error

    def close(self) -> None:
        """Closes the zip."""
        self._zip.close()
        self._file.close()


def _is_photograph(entry: "os.DirEntry[str]") -> bool:
    """Tells whether an entry may be a photograph: a file that is not hidden."""
    try:
        return not entry.name.startswith(".") and entry.is_file()
    except OSError:
        return False


def _member_name(info: zipfile.ZipInfo) -> str:
    """Returns the name of a member as tools meant it: with slashes, without "./", and in UTF-8 where it is.

    PowerShell 5 and old .NET write backslashes; macOS writes UTF-8 without saying so.
    """
    name = info.filename
    if not info.flag_bits & _UTF8_FLAG:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return str(PurePosixPath(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", name.replace("\\", "/"))))


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


def _unreadable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"Cannot read {readable(str(path))}: {error.strerror}.", reason="DATASET_FILE_UNREADABLE")


def _too_large(name: str, limit: int) -> InvalidInput:
    return InvalidInput(
        f"{name} has more than {limit:,} bytes, the most that is read.", reason="DATASET_FILE_TOO_LARGE"
    )
