"""Tables of reports, and the Markdown of their pages."""

import textwrap
from collections.abc import Iterable, Sequence
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


def flowing(paragraph: str) -> str:
    """Returns a paragraph without its line breaks, which `page_text` sets anew once figures stand in it."""
    return " ".join(paragraph.split())


def page_text(lines: Iterable[str]) -> str:
    """Joins the lines of a page, and wraps prose at 120 characters; tables, pictures and code stay."""
    wrapped: list[str] = []
    in_code = False
    for line in "\n".join(lines).splitlines():
        in_code ^= line.startswith("```")
        if in_code or line.startswith(("|", "![", "```")):
            wrapped.append(line)
        else:
            wrapped += textwrap.wrap(line, 120, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(wrapped).rstrip() + "\n"
