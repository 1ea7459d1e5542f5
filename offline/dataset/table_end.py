"""The end of a table of delimited text: whether its last row is whole."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Final

from offline.dataset.table import MAX_LINES_PER_ROW, Record

# Why a row is none, as its finding says it.
CUT_OFF: Final = "the table is cut off within this row"
_TAIL_BYTES: Final = 1 << 16


class TableEnd:
    """Watches for the row within which a table is cut off.

    Attributes:
        cut_lines: the lines of that row, as far as each was read as a row; known once all rows are read.
    """

    def __init__(self, file: IO[bytes], width: int) -> None:
        """Takes the file of the table, and how many columns its header has."""
        self.cut_lines: tuple[int, ...] = ()
        self._file = file
        self._width = width
        self._counts: Counter[int] = Counter()

    def watched(self, records: Iterable[Record]) -> Iterator[Record]:
        """Passes rows on; what is not whole has a fault, and no last cell, which may be half a value."""
        # The last row, or one whose quote is never closed with the lines behind it, which may be its last cell.
        held: list[Record] = []
        for record in records:
            self._counts[len(record.cells)] += 1
            within = held and held[0].has_open_quote and len(record.cells) < self._width
            if held and (not within or len(held) >= MAX_LINES_PER_ROW):
                yield from held
                held = []
            held.append(record)
        if held and self._is_cut(held):
            self.cut_lines = tuple(record.line for record in held)
            held = [replace(record, cells=record.cells[:-1], fault=CUT_OFF) for record in held]
        yield from held

    @property
    def note(self) -> str:
        """What a report says of a table that is cut off."""
        return f"the table seems cut off: its last row, line {self.cut_lines[0]}, is not whole"

    def _is_cut(self, held: Sequence[Record]) -> bool:
        if held[0].has_open_quote and self._is_short(held[0]):
            return True
        return not _ends_in_a_line_end(self._file) and (held[0].has_open_quote or self._is_short(held[-1]))

    def _is_short(self, record: Record) -> bool:
        """Tells whether a row has fewer cells than most of the others, or than the header of a table without others."""
        own = len(record.cells)
        others = self._counts - Counter({own: 1})
        return own < (others.most_common(1)[0][0] if others else self._width)


def _ends_in_a_line_end(file: IO[bytes]) -> bool:
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - _TAIL_BYTES))
    return file.read().rstrip(b"\x00").endswith((b"\n", b"\r"))
