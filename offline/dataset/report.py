"""What became of the rows of a source: which were repaired, dropped or left out, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from offline.report.document import document_parts

FindingKind = Literal["repaired", "dropped", "left out", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a row or a photograph, and what was done about it.

    Attributes:
        line: the row's place in the source, counted from 1 as `DatasetReport.place` says; 0 for a photograph.
        id: the product's id as written; empty where the row has none.
        kind: "repaired", "dropped" and "left out" concern a row; "note" concerns no row.
        reason: one sentence for people.
    """

    line: int
    id: str
    kind: FindingKind
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """The outcome of reading a data set or a feed, with each row that was repaired or dropped.

    Each row that was read is kept, merged, left out or dropped.

    Attributes:
        path: the file, folder or zip, as the caller named it.
        encoding: of the table, such as "utf-8", "cp1252" or "utf-16-le".
        delimiter: what stands between its cells: "comma", "semicolon", "tab" or "vertical bar"; empty for other files.
        rows_read: rows in the table, without blank lines and header.
        rows_kept: rows that became products.
        rows_repaired: rows that became products after a repair.
        rows_dropped: rows that could not become products.
        photographs: photographs in the data set.
        photographs_without_row: photographs that no row names.
        missing: products without a value, by column.
        dropped_reasons: dropped rows by reason, without the row's own values.
        findings: the faults, by line.
        layout: what the source was read as, such as "Kaggle" or "Shopify".
        place: what `Finding.line` counts: "line", "item" or "row".
        products: products as the shop counts them, variants of one together; 0 where it does not say.
        rows_merged: rows that say more of other products, such as a second picture.
        rows_left_out: rows that the shop itself does not offer, such as drafts.
        complete: whether the source has an end: not cut off, and without rows that hide others.
    """

    path: str
    encoding: str
    delimiter: str
    rows_read: int
    rows_kept: int
    rows_repaired: int
    rows_dropped: int
    photographs: int
    photographs_without_row: int
    missing: Mapping[str, int]
    dropped_reasons: Mapping[str, int]
    findings: Sequence[Finding]
    layout: str = "Kaggle"
    place: str = "line"
    products: int = 0
    rows_merged: int = 0
    rows_left_out: int = 0
    complete: bool = True

    def to_json(self) -> str:
        """Returns the report as JSON, with the attributes as keys."""
        return "".join(document_parts(self))


class DroppedError(Exception):
    """A row that cannot become a product; `category` is its reason without the row's own values."""

    def __init__(self, product_id: str, category: str, detail: str | None = None) -> None:
        super().__init__(detail or category)
        self.id = product_id
        self.category = category
