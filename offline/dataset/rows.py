"""A data set in Kaggle's layout, `styles.csv` and `images/{id}.jpg`, as dirty as shops export it."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Final, Literal, Self

from offline.dataset.files import (
    PHOTOGRAPH_SUFFIXES,
    PHOTOGRAPHS_FOLDER,
    STYLES_FILE,
    DatasetFiles,
    FolderFiles,
    ZipFiles,
    composed,
    readable,
)
from offline.dataset.table import DELIMITERS, Record, Table
from services.contract.attributes import BY_NAME, MAX_LABEL_CHARACTERS
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
# Words for a gender in lower-case letters alone, as feeds spell them ("Women's", "male").
_GENDER_OF: Final = {
    word: gender
    for gender, words in {
        "Men": "men man mens mans male males m",
        "Women": "women woman womens womans female females f w ladies",
        "Boys": "boys boy",
        "Girls": "girls girl",
        "Unisex": "unisex",
    }.items()
    for word in words.split()
}
_LINE_BREAKS: Final = re.compile(r"[\r\n]+")
# Control characters, and Unicode's separators of lines and paragraphs, which are white space in a cell.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Invisible characters that tools leave at the ends of cells.
_INVISIBLE: Final = "\ufeff\u200b\u2060"


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
        encoding: of `styles.csv`, such as "utf-8", "cp1252" or "utf-16-le".
        delimiter: what stands between its cells: "comma", "semicolon", "tab" or "vertical bar".
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
        columns: Collection[str] = COLUMNS,
    ) -> None:
        self.rows = rows
        self.report = report
        # The fields of a row that the table has a column for.
        self.fields = tuple(column_of(columns))
        self._files = files
        self._photograph_names = photograph_names

    def photograph_name(self, product_id: str) -> str:
        """Returns the name of a product's photograph in the data set, such as "images/1163.jpg".

        Raises:
            NotFound: the data set has no photograph of this product.
        """
        try:
            return self._photograph_names[composed(product_id)]
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
        photographs = _Photographs(files.photographs())
        table = Table(files.read(STYLES_FILE, MAX_STYLES_BYTES), COLUMNS)
        rows, report, columns = _read_rows(readable(str(path)), table, photographs)
    except BaseException:
        files.close()
        raise
    return Dataset(files, rows, report, photographs.chosen, columns)


class _Photographs:
    """One photograph per id in composed characters, and what else lies beside them.

    Attributes:
        chosen: the name of a photograph by id.
        spare: names of the other photographs of the same ids.
        unread: names of files by id that are no photographs by their suffix.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.chosen: dict[str, str] = {}
        self.spare: list[str] = []
        self.unread: dict[str, str] = {}
        order = {suffix: place for place, suffix in enumerate(PHOTOGRAPH_SUFFIXES)}
        photographs: list[tuple[int, str, str]] = []
        for name in names:
            path = PurePosixPath(name)
            place = order.get(path.suffix.lower())
            if place is None:
                self.unread[composed(path.stem)] = name
            else:
                photographs.append((place, name, composed(path.stem)))
        for _, name, product_id in sorted(photographs):
            if self.chosen.setdefault(product_id, name) != name:
                self.spare.append(name)

    def require(self, product_id: str) -> None:
        """Drops a row without a photograph."""
        key = composed(product_id)
        if key in self.chosen:
            return
        lacking = f"no photograph {PHOTOGRAPHS_FOLDER}/{product_id}.jpg"
        if key in self.unread:
            suffixes = ", ".join(PHOTOGRAPH_SUFFIXES)
            lacking = f"no photograph: the name {self.unread[key]} ends in none of {suffixes}"
        raise _DroppedError(product_id, "no photograph", lacking)

    def notes(self, named: Collection[str]) -> list[Finding]:
        """Returns a finding for each photograph without a use; `named` are the ids of the table, composed."""
        notes = [
            Finding(0, product_id, "note", f"no row names {self.chosen[product_id]}")
            for product_id in sorted(self.chosen.keys() - named)
        ]
        for name in sorted(self.spare):
            product_id = composed(PurePosixPath(name).stem)
            reason = f"{name} is left out: {self.chosen[product_id]} is used"
            notes.append(Finding(0, product_id, "note", reason))
        return notes


def _read_rows(
    path: str, table: Table, photographs: _Photographs
) -> tuple[tuple[Row, ...], DatasetReport, Collection[str]]:
    places = table.positions((*COLUMNS, *OPTIONAL_COLUMNS))
    absent = [column for column in COLUMNS if column not in places]
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
    for record in table:
        read += 1
        repairs = list(record.repairs)
        product_id = ""
        try:
            cells = _fitted(record, table, places, repairs)
            product_id = _written_id(cells[places["id"]])
            named.add(composed(product_id))
            row = _row(product_id, {column: cells[place] for column, place in places.items()}, repairs)
            if product_id in rows:
                detail = f"duplicate id {product_id}: the first row with it is kept"
                raise _DroppedError(product_id, "duplicate id", detail)
            photographs.require(product_id)
        except _DroppedError as dropped:
            reasons[dropped.category] += 1
            findings.append(Finding(record.line, dropped.id, "dropped", str(dropped)))
            continue
        except Exception as error:
            # No row ends the reading of the others, whatever is odd about it.
            reasons["unreadable"] += 1
            why = f"unreadable: {type(error).__name__}: {error}"
            findings.append(Finding(record.line, product_id, "dropped", why))
            continue
        rows[row.id] = row
        if repairs:
            repaired += 1
            findings.append(Finding(record.line, row.id, "repaired", "; ".join(repairs)))
        missing.update(column for field, column in column_of(places).items() if getattr(row, field) is None)
    notes = photographs.notes(named)
    twice = [column for column in places if [each.casefold() for each in table.header].count(column.casefold()) > 1]
    findings += [
        Finding(1, "", "note", f"the column {column} stands more than once: one of them is read") for column in twice
    ]
    return (
        tuple(rows.values()),
        DatasetReport(
            path=path,
            encoding=f"{table.encoding} and cp1252" if table.lines_by_fallback else table.encoding,
            delimiter=DELIMITERS[table.delimiter],
            rows_read=read,
            rows_kept=len(rows),
            rows_repaired=repaired,
            rows_dropped=read - len(rows),
            photographs=len(photographs.chosen),
            photographs_without_row=len(photographs.chosen.keys() - named),
            missing=dict(missing),
            dropped_reasons=dict(reasons),
            findings=(*findings, *notes),
        ),
        tuple(places),
    )


class _DroppedError(Exception):
    """A row that cannot be a product."""

    def __init__(self, product_id: str, category: str, detail: str | None = None) -> None:
        super().__init__(detail or category)
        self.id = product_id
        self.category = category


def _fitted(record: Record, table: Table, places: Mapping[str, int], repairs: list[str]) -> Sequence[str]:
    """Returns as many cells as the header has: trailing ones that lack are empty, a name with commas is joined."""
    cells, width = record.cells, len(table.header)
    surplus = len(cells) - width
    if surplus < 0:
        if any(places[column] >= len(cells) for column in ("id", *_REQUIRED)):
            product_id = cells[places["id"]] if places["id"] < len(cells) else ""
            detail = f"too few fields: {len(cells)} of {width}"
            raise _DroppedError(_written_id(product_id), "too few fields", detail)
        repairs.append(f"{len(cells)} of {width} fields: the others taken as empty")
        return [*cells, *[""] * -surplus]
    if surplus > 0 and not any(cell.strip() for cell in cells[width:]):
        repairs.append(f"{surplus} empty fields too many, cut off")
        return cells[:width]
    if surplus > 0:
        # Only the name is free text, so only the name can hold commas.
        at = places["productDisplayName"]
        repairs.append(f"unquoted {DELIMITERS[table.delimiter]} in the name, {surplus + width} fields: joined again")
        return [*cells[:at], table.delimiter.join(cells[at : at + surplus + 1]), *cells[at + surplus + 1 :]]
    return cells


def _written_id(cell: str) -> str:
    """Returns the id in a cell, without white space and invisible characters around it; empty where there is none."""
    product_id = cell.strip().strip(_INVISIBLE).strip()
    if product_id in _EMPTY_WORDS:
        return ""
    if _CONTROL.search(product_id) or len(product_id) > MAX_LABEL_CHARACTERS:
        shown = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", product_id)[:MAX_LABEL_CHARACTERS]
        detail = f"unusable id: more than {MAX_LABEL_CHARACTERS} characters, or a control character among them"
        raise _DroppedError(shown, "unusable id", detail)
    return product_id


def _row(product_id: str, cells: Mapping[str, str], repairs: list[str]) -> Row:
    if not product_id:
        raise _DroppedError("", "no id")
    fields: dict[str, Any] = {"id": product_id}
    for field, column in column_of(cells).items():
        if field == "id":
            continue
        text = _clean(cells[column], column, repairs)
        fields[field] = None if text in _EMPTY_WORDS else text
        if fields[field] is None and column in _REQUIRED:
            raise _DroppedError(product_id, f"no {column}")
        if field != "year" and len(text) > (limit := BY_NAME[field].max_characters):
            fields[field] = _shortened(product_id, column, text, limit, repairs)
    fields["gender"] = _gender(product_id, cells["gender"], fields["gender"], repairs)
    return Row(**{**fields, "year": _year(fields["year"], repairs)})


def _clean(cell: str, column: str, repairs: list[str]) -> str:
    """Returns the text of a cell in one line, without control characters."""
    text = cell.strip().strip(_INVISIBLE).strip()
    if len(parts := _LINE_BREAKS.split(text)) > 1:
        text = _in_one_line(parts)
    if len(parts := _CONTROL.split(text)) > 1:
        repairs.append(f"control characters in {column}: spaces in their place")
        text = _in_one_line(parts)
    return text


def _in_one_line(parts: Iterable[str]) -> str:
    return " ".join(part.strip() for part in parts if part.strip())


def _shortened(product_id: str, column: str, text: str, limit: int, repairs: list[str]) -> str | None:
    """Returns what is left of a text that is longer than a product can hold; a label is whole or left out."""
    too_long = f"{column} has {len(text):,} characters, more than {limit}"
    if column in _REQUIRED:
        raise _DroppedError(product_id, f"too long {column}", too_long)
    if column == "productDisplayName":
        repairs.append(f"{too_long}: cut off")
        return text[:limit].strip()
    repairs.append(f"{too_long}: left out")
    return None


def _gender(product_id: str, cell: str, text: str, repairs: list[str]) -> str:
    if cell in GENDERS:
        return cell
    gender = _GENDER_OF.get(re.sub(r"[^a-z]", "", text.casefold()))
    if gender is None:
        known = ", ".join(GENDERS)
        raise _DroppedError(product_id, "unknown gender", f"unknown gender {text!r}: not one of {known}")
    repairs.append(f"gender {cell!r}: read as {gender}")
    return gender


def _year(text: str | None, repairs: list[str]) -> int | None:
    if text is None:
        return None
    digits = text.removesuffix(".0")  # pandas writes years as floats where some are empty
    if digits.isascii() and digits.isdigit() and len(digits) == 4 and int(digits) in _YEARS:
        return int(digits)
    shown = text if len(text) <= MAX_LABEL_CHARACTERS else f"{text[:MAX_LABEL_CHARACTERS]}…"
    repairs.append(f"unreadable year {shown!r}: left out")
    return None
