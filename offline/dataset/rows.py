"""A data set in Kaggle's layout, `styles.csv` and `images/{id}.jpg`, as dirty as shops export it."""

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal, Self

from offline.dataset.files import (
    PHOTOGRAPH_SUFFIXES,
    PHOTOGRAPHS_FOLDER,
    STYLES_FILE,
    DatasetFiles,
    FolderFiles,
    ZipFiles,
)
from services.contract.errors import InvalidInput, NotFound

# Field of a row -> its column in `styles.csv`.
_COLUMN_OF = {
    "id": "id",
    "gender": "gender",
    "master_category": "masterCategory",
    "sub_category": "subCategory",
    "article_type": "articleType",
    "base_colour": "baseColour",
    "season": "season",
    "year": "year",
    "usage": "usage",
    "name": "productDisplayName",
}
COLUMNS = tuple(_COLUMN_OF.values())
# Columns that Kaggle's data set does not have, each named as its field.
OPTIONAL_COLUMNS = ("brand",)
GENDERS = ("Men", "Women", "Boys", "Girls", "Unisex")
# A zip can announce any size; no table of products and no photograph comes near these.
MAX_STYLES_BYTES = 1 << 30
MAX_PHOTOGRAPH_BYTES = 64 << 20

_REQUIRED = ("gender", "masterCategory", "subCategory", "articleType")
_EMPTY_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null"})
_YEARS = range(1900, 2101)
# A quoted name may hold line breaks; a quote that stays open for this many lines is a character.
_MAX_LINES_PER_ROW = 10


def column_of(columns: Collection[str]) -> dict[str, str]:
    """Returns the fields of a row that a table with these columns fills, each with its column."""
    return _COLUMN_OF | {column: column for column in OPTIONAL_COLUMNS if column in columns}


FindingKind = Literal["repaired", "dropped", "note"]


@dataclass(frozen=True, slots=True)
class Row:
    """A product as the data set describes it; None for what the data set leaves out."""

    id: str
    gender: str
    master_category: str
    sub_category: str
    article_type: str
    base_colour: str | None
    season: str | None
    year: int | None
    usage: str | None
    name: str | None
    brand: str | None = None

    @property
    def derived_type(self) -> str:
        """Gender and article type, such as "Men Tshirts"."""
        return f"{self.gender} {self.article_type}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a row or a photograph, and what was done about it.

    Attributes:
        line: line of `styles.csv` at which the row begins; the header is line 1; 0 for a photograph.
        id: the product's id as written; empty where the row has none.
        kind: "repaired" and "dropped" concern a row; "note" concerns no row.
        reason: one sentence for people.
    """

    line: int
    id: str
    kind: FindingKind
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """The outcome of reading a data set, with each row that was repaired or dropped.

    Attributes:
        path: the folder or zip, as the caller named it.
        rows_read: rows in `styles.csv`, without blank lines and header.
        rows_kept: rows that became products.
        rows_repaired: rows that became products after a repair.
        rows_dropped: rows left out.
        photographs: photographs in the data set.
        photographs_without_row: photographs that no row names.
        missing: products without a value, by column.
        dropped_reasons: dropped rows by reason, without the row's own values.
        findings: the faults, by line.
    """

    path: str
    rows_read: int
    rows_kept: int
    rows_repaired: int
    rows_dropped: int
    photographs: int
    photographs_without_row: int
    missing: Mapping[str, int]
    dropped_reasons: Mapping[str, int]
    findings: tuple[Finding, ...]

    def to_json(self) -> str:
        """Returns the report as JSON, with the attributes as keys."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


class Dataset:
    """Products and their photographs; a context manager. Several threads may read photographs at once."""

    def __init__(
        self,
        files: DatasetFiles,
        rows: tuple[Row, ...],
        report: DatasetReport,
        photograph_names: Mapping[str, str],
    ) -> None:
        self.rows = rows
        self.report = report
        self._files = files
        self._photograph_names = photograph_names

    def photograph_name(self, product_id: str) -> str:
        """Returns the name of a product's photograph in the data set, such as "images/1163.jpg".

        Raises:
            NotFound: the data set has no photograph of this product.
        """
        try:
            return self._photograph_names[product_id]
        except KeyError:
            raise NotFound(
                f"The data set has no photograph of product {product_id!r}.",
                reason="PHOTOGRAPH_NOT_FOUND",
                metadata={"id": product_id},
            ) from None

    def photograph(self, product_id: str) -> bytes:
        """Returns the file of a photograph, unchecked.

        Raises:
            NotFound: the data set has no photograph of this product.
            InvalidInput: the file cannot be read.
        """
        return self._files.read(self.photograph_name(product_id), MAX_PHOTOGRAPH_BYTES)

    def table(self, name: str) -> bytes | None:
        """Returns another table of the data set, unchecked, such as "labels.csv"; None where it has none.

        Raises:
            InvalidInput: the file cannot be read.
        """
        return self._files.read(name, MAX_STYLES_BYTES) if self._files.holds(name) else None

    def close(self) -> None:
        """Closes the zip, if it is one."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_dataset(path: Path) -> Dataset:
    """Opens a data set in Kaggle's layout, in a folder or a zip, at its top or one folder down.

    Args:
        path: the folder or the zip.

    Returns:
        The data set; close it, or use it in a `with` statement.

    Raises:
        InvalidInput: `path` holds no data set, the zip is broken or unsafe, or columns are missing.
    """
    path = Path(path)
    files: DatasetFiles
    if path.is_dir():
        files = FolderFiles(path)
    elif path.is_file():
        files = ZipFiles(path)
    else:
        raise InvalidInput(f"There is no file or folder {path}.", reason="DATASET_NOT_FOUND")
    try:
        photographs, spare = _choose_photographs(files.photographs())
        table = files.read(STYLES_FILE, MAX_STYLES_BYTES)
        rows, report = _read_rows(str(path), table, photographs, spare)
    except BaseException:
        files.close()
        raise
    return Dataset(files, rows, report, photographs)


def _choose_photographs(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Returns one photograph per id, and the names of the other photographs of the same ids."""
    chosen: dict[str, str] = {}
    spare: list[str] = []
    for name in sorted(names, key=lambda n: PHOTOGRAPH_SUFFIXES.index(PurePosixPath(n).suffix.lower())):
        if chosen.setdefault(PurePosixPath(name).stem, name) != name:
            spare.append(name)
    return chosen, spare


def _read_rows(
    path: str, table: bytes, photographs: Mapping[str, str], spare: Iterable[str]
) -> tuple[tuple[Row, ...], DatasetReport]:
    records = _records(table.removeprefix(b"\xef\xbb\xbf").splitlines())
    header = [field.strip() for field in next(records, _Record(1, [], ())).fields]
    absent = [column for column in COLUMNS if column not in header]
    if absent:
        raise InvalidInput(
            f"The first line of {STYLES_FILE} in {path} lacks the columns {', '.join(absent)}; "
            f"it must name {','.join(COLUMNS)}.",
            reason="DATASET_COLUMNS_MISSING",
            metadata={"columns": ",".join(absent)},
        )
    findings: list[Finding] = []
    reasons: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    rows: dict[str, Row] = {}
    named: set[str] = set()
    read = repaired = 0
    for record in records:
        read += 1
        repairs = list(record.repairs)
        try:
            values = _values(header, record.fields, repairs)
            named.add(values["id"] or "")
            row = _row(values, photographs, rows, repairs)
        except _DroppedError as dropped:
            reasons[dropped.category] += 1
            findings.append(Finding(record.line, dropped.id, "dropped", str(dropped)))
            continue
        rows[row.id] = row
        if repairs:
            repaired += 1
            findings.append(Finding(record.line, row.id, "repaired", "; ".join(repairs)))
        missing.update(column for field, column in column_of(header).items() if getattr(row, field) is None)
    orphans = sorted(photographs.keys() - named)
    findings += [Finding(0, orphan, "note", f"no row names {photographs[orphan]}") for orphan in orphans]
    findings += [
        Finding(
            0,
            PurePosixPath(name).stem,
            "note",
            f"{name} is left out: {photographs[PurePosixPath(name).stem]} is used",
        )
        for name in sorted(spare)
    ]
    return tuple(rows.values()), DatasetReport(
        path=path,
        rows_read=read,
        rows_kept=len(rows),
        rows_repaired=repaired,
        rows_dropped=read - len(rows),
        photographs=len(photographs),
        photographs_without_row=len(orphans),
        missing=dict(missing),
        dropped_reasons=dict(reasons),
        findings=tuple(findings),
    )


class _DroppedError(Exception):
    """A row that cannot be a product."""

    def __init__(self, product_id: str | None, category: str, detail: str | None = None) -> None:
        super().__init__(detail or category)
        self.id = product_id or ""
        self.category = category


def _values(header: list[str], fields: list[str], repairs: list[str]) -> dict[str, str | None]:
    """Returns a row's values by column, None where empty; joins the fields of a name with unquoted commas."""
    surplus = len(fields) - len(header)
    if surplus < 0:
        product_id = fields[header.index("id")].strip() if header.index("id") < len(fields) else ""
        raise _DroppedError(product_id, "too few fields", f"too few fields: {len(fields)} of {len(header)}")
    if surplus > 0 and not any(field.strip() for field in fields[len(header) :]):
        fields = fields[: len(header)]
        repairs.append(f"{surplus} empty fields too many, cut off")
    elif surplus > 0:
        # Only the name is free text, so only the name can hold commas.
        at = header.index("productDisplayName")
        fields = [*fields[:at], ",".join(fields[at : at + surplus + 1]), *fields[at + surplus + 1 :]]
        repairs.append(f"unquoted comma in the name, {surplus + len(header)} fields: joined again")
    stripped = {column: field.strip() for column, field in zip(header, fields, strict=True)}
    return {column: None if value in _EMPTY_WORDS else value for column, value in stripped.items()}


def _row(
    values: Mapping[str, str | None],
    photographs: Mapping[str, str],
    earlier: Mapping[str, Row],
    repairs: list[str],
) -> Row:
    product_id = values["id"]
    if product_id is None:
        raise _DroppedError(None, "no id")
    if product_id in earlier:
        raise _DroppedError(product_id, "duplicate id", f"duplicate id {product_id}: the first row with it is kept")
    for column in _REQUIRED:
        if values[column] is None:
            raise _DroppedError(product_id, f"no {column}")
    gender = values["gender"]
    if gender not in GENDERS:
        known = ", ".join(GENDERS)
        raise _DroppedError(product_id, "unknown gender", f"unknown gender {gender!r}: not one of {known}")
    if product_id not in photographs:
        raise _DroppedError(product_id, "no photograph", f"no photograph {PHOTOGRAPHS_FOLDER}/{product_id}.jpg")
    fields: dict[str, Any] = {field: values[column] for field, column in column_of(values).items()}
    return Row(**{**fields, "year": _year(values["year"], repairs)})


def _year(text: str | None, repairs: list[str]) -> int | None:
    if text is None:
        return None
    digits = text.removesuffix(".0")  # pandas writes years as floats where some are empty
    if digits.isascii() and digits.isdigit() and int(digits) in _YEARS:
        return int(digits)
    repairs.append(f"unreadable year {text!r}: left out")
    return None


@dataclass(frozen=True, slots=True)
class _Record:
    line: int
    fields: list[str]
    repairs: tuple[str, ...]


def _records(lines: list[bytes]) -> Iterator[_Record]:
    """Yields the rows of the table, header first, without blank lines.

    `csv.reader` over the whole file would lose all rows after a stray quote.
    """
    at = 0
    while at < len(lines):
        first = at
        text, repairs = _decode(lines[at])
        at += 1
        if not text.strip():
            continue
        if '"' not in text:
            yield _Record(first + 1, text.split(","), repairs)
            continue
        joined, joined_repairs, end = text, repairs, at
        while _quote_is_open(joined) and end < min(len(lines), first + _MAX_LINES_PER_ROW):
            more, more_repairs = _decode(lines[end])
            joined, joined_repairs, end = f"{joined}\n{more}", joined_repairs or more_repairs, end + 1
        if _quote_is_open(joined):
            yield _Record(first + 1, text.split(","), (*repairs, "a quote is never closed: taken as a character"))
            continue
        at = end
        # The reader expects each line of a quoted text as a line.
        fields = next(csv.reader(joined.splitlines(keepends=True)))
        yield _Record(first + 1, [" ".join(field.split("\n")) for field in fields], joined_repairs)


def _decode(line: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        return line.decode("utf-8"), ()
    except UnicodeDecodeError:
        return line.decode("utf-8", errors="replace"), ("bytes that are not UTF-8: shown as \N{REPLACEMENT CHARACTER}",)


def _quote_is_open(text: str) -> bool:
    """Tells whether the text ends within a quoted field; a quote counts only where a field begins with it."""
    at = 0
    while True:
        if text.startswith('"', at):
            at = text.find('"', at + 1)
            while at >= 0 and text.startswith('""', at):
                at = text.find('"', at + 2)
            if at < 0:
                return True
        at = text.find(",", at) + 1
        if at == 0:
            return False
