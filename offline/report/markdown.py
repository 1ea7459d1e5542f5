"""Tables of reports, and their Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Attributes:
        heading: the names of the columns.
        rows: one cell per column.
        numbers: the columns that hold numbers, which are aligned right.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: range = range(0)

    def markdown(self) -> list[str]:
        """Returns the lines of the table in Markdown."""
        marks = ["---:" if at in self.numbers else "---" for at in range(len(self.heading))]
        return [f"| {' | '.join(cells)} |" for cells in (self.heading, marks, *self.rows)]

    def without(self, name: str) -> Self:
        """Returns the same table without one column that stands left of all numbers."""
        at = list(self.heading).index(name)
        heading, *rows = ([*cells[:at], *cells[at + 1 :]] for cells in (self.heading, *self.rows))
        return type(self)(heading, rows, range(self.numbers.start - 1, self.numbers.stop - 1))


def percent(share: float | None) -> str:
    """Returns a share in per cent with one decimal; "-" for none."""
    return "-" if share is None else f"{share * 100:.1f}"
