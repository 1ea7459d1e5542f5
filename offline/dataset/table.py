"""A table of delimited text, as spreadsheets and shops export it: its encoding, its delimiter, its rows with lines."""

import codecs
import csv
import io
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final

from offline.spool import temporary_file
from services.contract.errors import InvalidInput

DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# A quote that stays open for this many lines is a character.
MAX_LINES_PER_ROW: Final = 10_000
# Lines are read in vain behind quotes that are never closed: at most this many times those of the table and of the
# longest row together. Otherwise a table of such quotes would take the square of its length.
_MAX_IN_VAIN: Final = 20
# Of what is read into memory whole: each row and each value takes many times its bytes.
MAX_ROWS: Final = 5_000_000
MAX_VALUES: Final = 50_000_000
# A line, and a row over several lines, take memory; the table does not.
MAX_LINE_BYTES: Final = 16 << 20
_MAX_ROW_BYTES: Final = 64 << 20
_PART_BYTES: Final = 1 << 20

_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8"),
    # Before UTF-16, whose mark begins this one.
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_FALLBACK: Final = "cp1252"
_READ_BY_FALLBACK: Final = f"bytes that are not UTF-8: read by {_FALLBACK} (Windows)"
_OPEN_QUOTE: Final = "a quote is never closed: taken as a character"
_UNENDED_QUOTE: Final = "a quote is never closed: read as well as possible"
_ODD_QUOTE: Final = "a quote stands amid a cell that begins with one: read as well as possible"
# A carriage return within a line. The reader refuses it; a vertical tab is a control character like it.
_LONE_RETURN: Final = re.compile(r"\r(?!\n|\Z)")

# The reader's own limit is 131,072 characters, for the whole process. A table is limited as a file.
csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table.

    Attributes:
        line: the line of the file at which it begins, from 1.
        cells: its cells as they stand; they need not be as many as the header's.
        repairs: what was odd about its bytes or quotes, and how it was read; sentences for people.
        fault: why it is no row, whatever its cells hold; empty for a sound one.
    """

    line: int
    cells: Sequence[str]
    repairs: tuple[str, ...]
    fault: str = ""

    @property
    def has_open_quote(self) -> bool:
        """Whether a quote of the row is never closed."""
        return not {_OPEN_QUOTE, _UNENDED_QUOTE}.isdisjoint(self.repairs)


class Table:
    """A table of delimited text with a header; blank lines are passed over.

    It is read as RFC 4180 says. A cell between quotes may hold line breaks and have any length. Where that fails, a
    backslash may escape a quote. Where that fails too, the row is one line, so that a stray quote costs no other row.

    Attributes:
        header: the names of the columns, without white space around them; empty for an empty table.
        delimiter: what stands between cells, a key of `DELIMITERS`.
        encoding: "utf-8", "utf-16-le", …; lines of a table in UTF-8 that are not UTF-8 are read by cp1252.
        lines_by_fallback: how many lines were read by cp1252 so far.
    """

    def __init__(self, file: IO[bytes], columns: Collection[str] = ()) -> None:
        """Reads the header.

        Args:
            file: the table, to be read from its first byte; it has to stay open while rows are read.
            columns: names that are looked for in the header, to tell the delimiter.

        Raises:
            InvalidInput: DATASET_FILE_TOO_LARGE, TABLE_UNREADABLE; also where rows are read.
        """
        self.encoding, file = _in_utf8(file)
        self._lines = _Lines(*_with_line_feeds(file))
        self.delimiter = self._find_delimiter({_column_key(column) for column in columns})
        self._readers = tuple(
            csv.reader(self._lines, delimiter=self.delimiter, escapechar=escape, strict=True) for escape in (None, "\\")
        )
        self._width = 0
        self._in_vain = 0
        first = next(self._records(), None)
        self.header = () if first is None else tuple(cell.strip() for cell in first.cells)
        self._width = len(self.header)

    @property
    def line_count(self) -> int:
        """How many lines it has."""
        return len(self._lines)

    @property
    def lines_by_fallback(self) -> int:
        """How many lines were read by cp1252 so far."""
        return self._lines.forgotten_by_fallback + len(self._lines.by_fallback)

    def positions(self, columns: Collection[str]) -> dict[str, int]:
        """Returns the place of some columns in the header, letter case aside; the first one where a name stands twice.

        Args:
            columns: the names.

        Returns:
            The place from 0 by name, of those that the header has.
        """
        exact = {name: place for place, name in reversed(list(enumerate(self.header)))}
        alike = {_column_key(name): place for place, name in reversed(list(enumerate(self.header)))}
        places = {column: exact.get(column, alike.get(_column_key(column))) for column in columns}
        return {column: place for column, place in places.items() if place is not None}

    def __iter__(self) -> Iterator[Record]:
        """Yields the rows below the header, once."""
        return self._records()

    def _find_delimiter(self, columns: Collection[str]) -> str:
        """Returns the delimiter that splits the header into the most columns that are looked for, then into the most.

        The first line may name it: "sep=;", as Excel writes and reads it.
        """
        for line in self._lines:
            if not line.strip():
                continue
            named = re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n"), re.IGNORECASE)
            if named and named[1] in DELIMITERS:
                return named[1]
            self._lines.at -= 1
            break

        def fit(delimiter: str) -> tuple[int, int]:
            cells = next(csv.reader([line], delimiter=delimiter), [])
            return sum(_column_key(cell) in columns for cell in cells), len(cells)

        return max(DELIMITERS, key=fit) if self._lines.at < len(self._lines) else ","

    def _records(self) -> Iterator[Record]:
        while self._lines.at < len(self._lines):
            first = self._lines.at
            self._lines.forget(first)
            cells, repairs = self._read(first)
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            if not self._lines.by_fallback.isdisjoint(range(first, self._lines.at)):
                repairs = (_READ_BY_FALLBACK, *repairs)
            yield Record(first + 1, cells, repairs)

    def _read(self, first: int) -> tuple[Sequence[str], tuple[str, ...]]:
        """Reads the row that begins at a line, and leaves `at` behind it."""
        for reader in self._readers:
            self._lines.begin(first)
            try:
                cells = next(reader)
            except (csv.Error, StopIteration):
                self._count_in_vain(self._lines.at - first)
                continue
            if self._lines.at == first + 1 or self._holds_one_row(first, cells):
                return cells, ()
            self._count_in_vain(self._lines.at - first)
        self._lines.begin(first)
        return self._one_line(next(self._lines))

    def _count_in_vain(self, lines: int) -> None:
        self._in_vain += lines
        if self._in_vain > _MAX_IN_VAIN * (len(self._lines) + MAX_LINES_PER_ROW):
            raise InvalidInput(
                f"The quotes of the table are not sound: too many are never closed, up to line {self._lines.at:,}. "
                'Double each " within a cell.',
                reason="TABLE_UNREADABLE",
            )

    def _holds_one_row(self, first: int, cells: Sequence[str]) -> bool:
        """Tells whether a row over several lines is one, rather than several that a stray quote ties together."""
        if self._width < 3:
            return True
        lines = self._lines.text(first, self._lines.at)
        in_first_line = lines[0].count(self.delimiter) + 1
        if in_first_line < self._width:
            return True
        if in_first_line == self._width != len(cells):
            return False
        return not all(_looks_like_a_row(line, self.delimiter, self._width) for line in lines[1:])

    def _one_line(self, line: str) -> tuple[Sequence[str], tuple[str, ...]]:
        """Reads a line whose quotes are not sound."""
        line = line.rstrip("\r\n")
        plain = line.split(self.delimiter)
        if line.count('"') == 1:
            return plain, (_OPEN_QUOTE,)
        lenient = next(csv.reader([line], delimiter=self.delimiter))
        chosen = plain if len(plain) == self._width != len(lenient) else lenient
        return chosen, (_UNENDED_QUOTE if line.count('"') % 2 else _ODD_QUOTE,)


def require_few(what: str, count: int, most: int) -> None:
    """Refuses a file with more rows or values than the memory is for.

    Raises:
        InvalidInput: DATASET_FILE_TOO_LARGE.
    """
    if count > most:
        raise InvalidInput(
            f"The file has more than {most:,} {what}, the most that are read. Split it into several.",
            reason="DATASET_FILE_TOO_LARGE",
        )


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text without their ends: what else Unicode calls a line end may stand within a value."""
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]


def parts_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yields what is left of a file in parts."""
    while part := file.read(_PART_BYTES):
        yield part


class _Lines:
    """The lines of a table, for readers that can be set back to any line since the last that was forgotten.

    Attributes:
        at: the place of the next line, from 0.
        by_fallback: places of lines that are not UTF-8, of those that were read and not forgotten.
        forgotten_by_fallback: how many such lines were forgotten.
    """

    def __init__(self, file: IO[bytes], count: int) -> None:
        self._file = file
        self._count = count
        # Lines from the first that was not forgotten.
        self._window: list[bytes] = []
        self._first = 0
        self.at = 0
        self._end = count
        self._taken = 0
        self.by_fallback: set[int] = set()
        self.forgotten_by_fallback = 0

    def __len__(self) -> int:
        return self._count

    def begin(self, first: int) -> None:
        """Sets the readers to the first line of a row, and makes them stop where no row ends."""
        self.at, self._end = first, min(first + MAX_LINES_PER_ROW, self._count)
        self._taken = 0

    def forget(self, before: int) -> None:
        """Gives up the lines before a place."""
        del self._window[: before - self._first]
        self._first = before
        if self.by_fallback:
            old = {place for place in self.by_fallback if place < before}
            self.by_fallback -= old
            self.forgotten_by_fallback += len(old)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.at >= self._end or self._taken > _MAX_ROW_BYTES:
            raise StopIteration
        self.at += 1
        text = self._decoded(self.at - 1)
        self._taken += len(text)
        return text

    def text(self, first: int, end: int) -> list[str]:
        """Returns the lines from one place to before another."""
        return [self._decoded(place) for place in range(first, end)]

    def _decoded(self, place: int) -> str:
        while place >= self._first + len(self._window):
            self._window.append(self._read())
        line = self._window[place - self._first]
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            self.by_fallback.add(place)
            text = line.decode(_FALLBACK, errors="replace")
        return _LONE_RETURN.sub("\x0b", text) if "\r" in text else text

    def _read(self) -> bytes:
        line = self._file.readline(MAX_LINE_BYTES + 1)
        if len(line) > MAX_LINE_BYTES:
            number = self._first + len(self._window) + 1
            raise InvalidInput(
                f"Line {number:,} has more than {MAX_LINE_BYTES:,} bytes, the most that is read.",
                reason="DATASET_FILE_TOO_LARGE",
            )
        return line


def _in_utf8(file: IO[bytes]) -> tuple[str, IO[bytes]]:
    """Returns the encoding of a file, told by its first bytes, and the file in UTF-8 behind its byte order mark."""
    file.seek(0)
    start = file.read(4)
    mark, encoding = next((each for each in _MARKS if start.startswith(each[0])), (b"", _encoding_without_mark(start)))
    file.seek(len(mark))
    if encoding == "utf-8":
        return encoding, file
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    written = temporary_file()
    for part in parts_of(file):
        written.write(decoder.decode(part).encode())
    written.write(decoder.decode(b"", final=True).encode())
    written.seek(0)
    return encoding, written


def _with_line_feeds(file: IO[bytes]) -> tuple[IO[bytes], int]:
    """Returns a file whose lines end in line feeds, and how many lines it has."""
    start = file.tell()
    feeds = returns = pairs = 0
    last = b""
    for part in parts_of(file):
        feeds += part.count(b"\n")
        returns += part.count(b"\r")
        pairs += part.count(b"\r\n") + (last == b"\r" and part.startswith(b"\n"))
        last = part[-1:]
    file.seek(start)
    if returns - pairs <= feeds:
        return file, feeds + (last not in (b"", b"\n"))
    written, held = temporary_file(), b""
    for part in parts_of(file):
        whole = held + part
        # The return may be the first half of an end of line.
        held = b"\r" if whole.endswith(b"\r") else b""
        written.write(whole[: len(whole) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    written.write(b"\n" * len(held))
    written.seek(0)
    return written, feeds - pairs + returns + (last not in (b"\r", b"\n"))


def _encoding_without_mark(start: bytes) -> str:
    """Tells UTF-16 by the zeros beside the first two letters."""
    match [byte == 0 for byte in start[:4]]:
        case [False, True, False, True]:
            return "utf-16-le"
        case [True, False, True, False]:
            return "utf-16-be"
    return "utf-8"


def _column_key(name: str) -> str:
    return name.strip().casefold()


def _looks_like_a_row(line: str, delimiter: str, width: int) -> bool:
    cells = line.split(delimiter)
    return len(cells) == width and bool(cells[0]) and not any(map(str.isspace, cells[0]))
