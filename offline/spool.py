"""Sequences and mappings on disk, for what has a part per row of a source: their memory does not grow with them."""

import heapq
import json
import os
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryFile, gettempdir
from typing import IO, TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from services.contract.errors import Overloaded

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_T = TypeVar("_T")

# Items that are written and read together.
_CHUNK: Final = 64
# Items that are sorted in memory.
_RUN: Final = 4096
_CACHE_KIB: Final = 2048
_MAX_BYTES_IN_MEMORY: Final = 8 << 20


@contextmanager
def room(folder: Path | None = None) -> Iterator[None]:
    """Describes temporary files that cannot be written; None for those in the folder for them.

    Raises:
        Overloaded: TEMPORARY_FILES_FULL.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise Overloaded(
            f"Cannot write temporary files in {folder or gettempdir()}: {error}. Free some of the disk, or set TMPDIR "
            "to another folder.",
            reason="TEMPORARY_FILES_FULL",
        ) from error


class _TemporaryFile(SpooledTemporaryFile[bytes]):
    def write(self, content: "ReadableBuffer") -> int:
        with room():
            return super().write(content)


def temporary_file() -> IO[bytes]:
    """Returns a file without a name, which is in memory while it is small; Overloaded where it cannot be written."""
    # It goes with its last reader.
    return _TemporaryFile(_MAX_BYTES_IN_MEMORY)


@dataclass(frozen=True, slots=True)
class Form(Generic[_T]):
    """How items are written: as what Python has built in, so that reading them makes no object of any other kind.

    Attributes:
        plain: makes built-in values of an item, such as a tuple of texts and numbers.
        made: makes an item of them.
    """

    plain: Callable[[_T], Any]
    made: Callable[[Any], _T]


def form_of(kind: type[_T]) -> Form[_T]:
    """Returns the form of a data class whose attributes are built-in values."""
    return Form(attrgetter(*(field.name for field in fields(kind))), lambda values: kind(*values))  # type: ignore[arg-type]


class Spool(Sequence[_T]):
    """Items in the order in which they were added. A slice is a view. Several threads may read while one adds.

    The items lie in a temporary file (`TMPDIR`), which has no name; what is shorter than a chunk stays in memory.
    """

    def __init__(self, items: Iterable[_T] = (), form: Form[_T] | None = None) -> None:
        """Takes the first items, and how items are written; None for built-in values."""
        self._chunks: _Chunks[_T] = _Chunks(form)
        self._form = form
        self._view: range | None = None
        for item in items:
            self.append(item)

    def append(self, item: _T) -> None:
        """Adds an item.

        Raises:
            Overloaded: TEMPORARY_FILES_FULL.
        """
        assert self._view is None, "a view takes no items"
        self._chunks.append(item)

    def in_order(self, key: Callable[[_T], Any]) -> Iterator[_T]:
        """Yields the items by a key, ascending; those of one key as they were added."""
        if all(before <= after for before, after in pairwise(map(key, self))):
            return iter(self)
        # Runs that are sorted in memory, merged.
        items, runs = iter(self), Spool[_T](form=self._form)
        while run := sorted(islice(items, _RUN), key=key):
            for item in run:
                runs.append(item)
        return heapq.merge(*(runs[start : start + _RUN] for start in range(0, len(runs), _RUN)), key=key)

    @property
    def _places(self) -> range:
        return range(len(self._chunks)) if self._view is None else self._view

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> _T: ...

    @overload
    def __getitem__(self, place: slice) -> "Spool[_T]": ...

    def __getitem__(self, place: int | slice) -> "_T | Spool[_T]":
        if isinstance(place, int):
            number, offset = divmod(self._places[place], _CHUNK)
            return self._chunks.recent(number)[offset]
        part: Spool[_T] = Spool()
        part._chunks, part._view = self._chunks, self._places[place]
        return part

    def __iter__(self) -> Iterator[_T]:
        loaded, chunk = -1, []
        for place in self._places:
            number, offset = divmod(place, _CHUNK)
            if number != loaded:
                loaded, chunk = number, self._chunks.read(number)
            yield chunk[offset]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(own == its for own, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Spool({list(self[:3])}{', …' if len(self) > 3 else ''})"


class _Chunks(Generic[_T]):
    """Items in a file, in chunks of the same number; the last chunk is in memory until it is full."""

    def __init__(self, form: Form[_T] | None) -> None:
        self._form = form
        self._file: IO[bytes] | None = None
        self._ends = array("Q", [0])
        self._last: list[_T] = []
        self._count = 0
        self._recent: tuple[int, list[_T]] = (-1, [])

    def __len__(self) -> int:
        return self._count

    def append(self, item: _T) -> None:
        self._last.append(item)
        if len(self._last) == _CHUNK:
            with room():
                self._flush()
        self._count += 1

    def _flush(self) -> None:
        if self._file is None:
            # It goes with its last reader.
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115
        plain = self._last if self._form is None else list(map(self._form.plain, self._last))
        content = memoryview(_written(plain))
        at = self._ends[-1]
        while content:
            written = os.pwrite(self._file.fileno(), content, at)
            at, content = at + written, content[written:]
        self._ends.append(at)
        # A reader may still hold the old list.
        self._last = []

    def read(self, number: int) -> list[_T]:
        if self._file is None or number >= len(self._ends) - 1:
            return self._last
        at, end = self._ends[number], self._ends[number + 1]
        items: list[Any] = _read(os.pread(self._file.fileno(), end - at, at))
        return items if self._form is None else list(map(self._form.made, items))

    def recent(self, number: int) -> list[_T]:
        """Reads a chunk, or returns the one that was read last."""
        loaded, chunk = self._recent
        if loaded != number or number >= len(self._ends) - 1:
            chunk = self.read(number)
            self._recent = (number, chunk)
        return chunk


class Shelf(Mapping[str, _T]):
    """Built-in values by text, in a temporary database that goes with it. Several threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # An empty name makes a private database, which is written to `TMPDIR` once it outgrows its cache.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE shelf (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def __setitem__(self, key: str, value: _T) -> None:
        content = _written(value)
        with self._lock, room():
            self._database.execute("INSERT OR REPLACE INTO shelf VALUES (?, ?)", (_blob(key), content))

    def __getitem__(self, key: str) -> _T:
        with self._lock:
            found = self._database.execute("SELECT value FROM shelf WHERE key = ?", (_blob(key),)).fetchone()
        if found is None:
            raise KeyError(key)
        value: _T = _read(found[0])
        return value

    def setdefault(self, key: str, value: _T) -> _T:
        """Returns the value of a key; sets it first where there is none."""
        if key not in self:
            self[key] = value
            return value
        return self[key]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        with self._lock:
            return self._database.execute("SELECT 1 FROM shelf WHERE key = ?", (_blob(key),)).fetchone() is not None

    def __len__(self) -> int:
        with self._lock:
            count: int = self._database.execute("SELECT COUNT(*) FROM shelf").fetchone()[0]
        return count

    def __iter__(self) -> Iterator[str]:
        last: bytes | None = None
        while True:
            with self._lock:
                page = self._database.execute(
                    "SELECT key FROM shelf WHERE ?1 IS NULL OR key > ?1 ORDER BY key LIMIT ?2", (last, _RUN)
                ).fetchall()
            for (key,) in page:
                yield key.decode("utf-8", "surrogatepass")
            if len(page) < _RUN:
                return
            last = page[-1][0]


def _blob(key: str) -> bytes:
    # JSON can spell halves of characters.
    return key.encode("utf-8", "surrogatepass")


# What is written as it is. A tuple is an array of JSON; objects say what else a value is.
_ATOMS: Final = frozenset({str, int, float, bool, type(None)})


def _written(value: object) -> bytes:
    """Returns a built-in value as JSON, which makes nothing else when it is read.

    Raises:
        TypeError: the value is of another kind, or holds one.
    """
    return json.dumps(_plain(value), separators=(",", ":")).encode()


def _read(content: bytes) -> Any:
    return _made(json.loads(content))


def _plain(value: object) -> object:
    if type(value) in _ATOMS:
        return value
    if type(value) is tuple:
        return [_plain(each) for each in value]
    if type(value) is list:
        return {"list": [_plain(each) for each in value]}
    if type(value) is bytes:
        return {"bytes": value.decode("latin-1")}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _plain(each) for key, each in value.items()}}
    raise TypeError(f"{value!r} is no built-in value")


def _made(value: Any) -> Any:
    if type(value) is list:
        return tuple([_made(each) for each in value])
    if type(value) is not dict:
        return value
    if "list" in value:
        return [_made(each) for each in value["list"]]
    if "bytes" in value:
        return value["bytes"].encode("latin-1")
    return {key: _made(each) for key, each in value["dict"].items()}
