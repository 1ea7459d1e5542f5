"""The rows of a source that become products, and what is done about the others."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from offline.dataset.files import composed
from offline.dataset.report import DatasetReport, DroppedError, Finding
from offline.dataset.row import FIELDS, ROW_FORM, Row
from offline.spool import Shelf, Spool, form_of
from services.contract.errors import Overloaded


class Admission:
    """The rows of a source that become products, and what is done about the others.

    Attributes:
        rows: the products.
        lines: the place of each in the source, by id.
        named: the ids of all rows, faulty ones too, composed.
        findings: the faults so far.
        reasons: dropped rows by reason.
    """

    def __init__(self) -> None:
        self.rows = Spool(form=ROW_FORM)
        self.lines: Shelf[int] = Shelf()
        self.named: Shelf[None] = Shelf()
        self.findings = Spool(form=form_of(Finding))
        self.reasons: Counter[str] = Counter()
        self._filled: Counter[str] = Counter()
        self._read = self._repaired = 0

    def admit(self, line: int, repairs: list[str], identify: Callable[[], str], read: Callable[[str], Row]) -> None:
        """Takes a row in, or notes why it cannot become a product.

        Args:
            line: its place in the source.
            repairs: what was repaired; `identify` and `read` add to it.
            identify: returns its id; raises DroppedError where there is none that can be used.
            read: reads the row of this id; raises DroppedError where it cannot become a product.
        """
        self._read += 1
        product_id = ""
        try:
            product_id = identify()
            row = read(product_id)
            if row.id in self.lines:
                raise DroppedError(row.id, "duplicate id", f"duplicate id {row.id}: the first row with it is kept")
        except DroppedError as dropped:
            self._drop(line, dropped.id or product_id, dropped.category, str(dropped))
            return
        except Overloaded:
            raise
        except Exception as error:
            # No row ends the reading of the others, whatever is odd about it.
            self._drop(line, product_id, "unreadable", f"unreadable: {type(error).__name__}: {error}")
            return
        self.named[composed(row.id)] = None
        self.rows.append(row)
        self.lines[row.id] = line
        self._filled.update(name for name in FIELDS if getattr(row, name) is not None)
        if repairs:
            self._repaired += 1
            self.findings.append(Finding(line, row.id, "repaired", "; ".join(repairs)))

    def fills(self, field: str) -> bool:
        """Tells whether any product has a value of a field."""
        return self._filled[field] > 0

    def report(self, *, fields: Iterable[tuple[str, str]], **facts: Any) -> DatasetReport:
        """Returns the report.

        Args:
            fields: the fields of a row that the source has, each with the column that the report names.
            facts: the attributes of the report that do not follow from the rows.
        """
        missing = {column: len(self.rows) - self._filled[field] for field, column in fields}
        return DatasetReport(
            rows_kept=len(self.rows),
            rows_repaired=self._repaired,
            rows_dropped=self._read - len(self.rows),
            missing={column: count for column, count in missing.items() if count},
            dropped_reasons=dict(self.reasons),
            **{"rows_read": self._read, "findings": self.findings, **facts},
        )

    def _drop(self, line: int, product_id: str, category: str, reason: str) -> None:
        if product_id:
            self.named[composed(product_id)] = None
        self.reasons[category] += 1
        self.findings.append(Finding(line, product_id, "dropped", reason))
