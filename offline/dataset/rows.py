"""A data set in Kaggle's layout, `styles.csv` and `images/{id}.jpg`, as dirty as shops export it."""

import io
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from offline.dataset.admission import Admission
from offline.dataset.amounts import price_of
from offline.dataset.cells import EMPTY_WORDS, clean, flag_of, gender_of, own_attributes_of, written_id, year_of
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
from offline.dataset.report import DatasetReport, DroppedError, Finding
from offline.dataset.row import COLUMNS, OPTIONAL_COLUMNS, Row, column_of
from offline.dataset.table import DELIMITERS, MAX_ROWS, Record, Table, require_few
from offline.dataset.table_end import TableEnd
from services.contract.attributes import BY_NAME, MAX_LABEL_CHARACTERS
from services.contract.errors import InvalidInput, NotFound
from services.contract.values import MAX_PHOTOGRAPHS

# A zip can announce any size; no table of products and no photograph comes near these.
MAX_STYLES_BYTES = 1 << 30
MAX_PHOTOGRAPH_BYTES = 64 << 20

_REQUIRED = ("masterCategory", "subCategory", "articleType")
# Their cells are read into values; all others are texts.
_VALUES = ("year", "price", "in_stock", "attributes")


class Dataset:
    """Products and their photographs; a context manager. Several threads may read photographs at once."""

    def __init__(
        self,
        files: DatasetFiles,
        rows: Sequence[Row],
        report: DatasetReport,
        photograph_names: Mapping[str, str],
        fields: Sequence[str],
        lines: Mapping[str, int] | None = None,
        named: Container[str] | None = None,
        further_names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Takes what was read.

        Args:
            files: holds the photographs; closed with the data set.
            rows: the products.
            report: what became of the rows of the source.
            photograph_names: the name of a photograph in `files` by composed product id.
            fields: the fields of a row that the source has.
            lines: the place of each product in the source, by id.
            named: composed ids of what the shop offers, faulty rows too; None for those of the rows.
            further_names: names of further photographs by composed product id; None for a source that knows only first
                ones.
        """
        self.rows = rows
        self.report = report
        self.fields = tuple(fields)
        self.has_further = further_names is not None
        self._further_names = further_names or {}
        self._files = files
        self._lines = lines or {}
        self._photograph_names = photograph_names
        self._named = named

    def offers(self, product_id: str) -> bool:
        """Tells whether the shop offers a product, as a row or as one that is only faulty."""
        return composed(product_id) in self._offered

    @cached_property
    def _offered(self) -> Container[str]:
        return frozenset(composed(row.id) for row in self.rows) if self._named is None else self._named

    def line_of(self, product_id: str) -> int:
        """Returns the place of a product in the source, from 1; 0 where it is unknown."""
        return self._lines.get(product_id, 0)

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

    def further_names(self, product_id: str) -> Sequence[str]:
        """Returns the names of a product's photographs after the first, in their order; at most 7."""
        return self._further_names.get(composed(product_id), ())[: MAX_PHOTOGRAPHS - 1]

    def read(self, name: str) -> bytes:
        """Returns the file of a photograph by its name, unchecked.

        Raises:
            FashionError: it is not there, or cannot be read.
        """
        return self._files.read(name, MAX_PHOTOGRAPH_BYTES)

    def photograph(self, product_id: str) -> bytes:
        """Returns the file of a photograph, unchecked.

        Raises:
            NotFound: the data set has no photograph of this product.
            InvalidInput: the file cannot be read.
        """
        return self.read(self.photograph_name(product_id))

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
        file = io.BytesIO(files.read(STYLES_FILE, MAX_STYLES_BYTES))
        return _read_rows(readable(str(path)), file, photographs, files)
    except BaseException:
        files.close()
        raise


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
        raise DroppedError(product_id, "no photograph", lacking)

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


def _read_rows(path: str, file: io.BytesIO, photographs: _Photographs, files: DatasetFiles) -> Dataset:
    table = Table(file, COLUMNS)
    end = TableEnd(file, len(table.header))
    require_few("rows", table.line_count, MAX_ROWS)
    places = table.positions((*COLUMNS, *OPTIONAL_COLUMNS))
    absent = [column for column in COLUMNS if column not in places]
    if absent:
        raise InvalidInput(
            f"The first line of {STYLES_FILE} in {path} lacks the columns {', '.join(absent)}; "
            f"it must name {','.join(COLUMNS)}.",
            reason="DATASET_COLUMNS_MISSING",
            metadata={"columns": ",".join(absent)},
        )
    admission = Admission()
    for record in end.watched(table):
        repairs = list(record.repairs)
        cells: list[str] = []

        def identify(record: Record = record, repairs: list[str] = repairs, cells: list[str] = cells) -> str:
            cells += _fitted(record, table, places, repairs)
            return written_id(cells[places["id"]])

        def read(product_id: str, repairs: list[str] = repairs, cells: list[str] = cells) -> Row:
            row = _row(product_id, {column: cells[place] for column, place in places.items()}, repairs)
            if product_id not in admission.lines:
                photographs.require(product_id)
            return row

        admission.admit(record.line, repairs, identify, read)
    notes = photographs.notes(admission.named)
    if end.cut_lines:
        notes.append(Finding(end.cut_lines[0], "", "note", end.note))
    fields = column_of(places)
    report = admission.report(
        fields=list(fields.items()),
        path=path,
        encoding=encoding_of(table),
        delimiter=DELIMITERS[table.delimiter],
        photographs=len(photographs.chosen),
        photographs_without_row=len(photographs.chosen.keys() - admission.named),
        findings=(*admission.findings, *columns_twice(table, places), *notes),
        complete=not end.cut_lines,
    )
    return Dataset(
        files,
        tuple(admission.rows),
        report,
        photographs.chosen,
        tuple(fields),
        admission.lines,
        further_names=further_names(files.further()),
    )


def further_names(names: Iterable[str]) -> dict[str, list[str]] | None:
    """Returns photographs such as "further/1163/1.jpg" by composed product id, in the order of their numbers."""
    further: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() in PHOTOGRAPH_SUFFIXES and path.stem.isdecimal():
            further.setdefault(composed(path.parent.name), []).append((int(path.stem), name))
    return {product_id: [name for _, name in sorted(many)] for product_id, many in further.items()} or None


def encoding_of(table: Table) -> str:
    """Returns the encodings of a table for people."""
    return f"{table.encoding} and cp1252" if table.lines_by_fallback else table.encoding


def columns_twice(table: Table, columns: Iterable[str]) -> list[Finding]:
    """Returns a finding for each of some columns that stands more than once."""
    folded = [each.casefold() for each in table.header]
    return [
        Finding(1, "", "note", f"the column {column} stands more than once: one of them is read")
        for column in columns
        if folded.count(column.casefold()) > 1
    ]


def _fitted(record: Record, table: Table, places: Mapping[str, int], repairs: list[str]) -> Sequence[str]:
    """Returns as many cells as the header has: trailing ones that lack are empty, a name with commas is joined."""
    cells, width = record.cells, len(table.header)
    surplus = len(cells) - width
    if record.fault:
        product_id = cells[places["id"]] if places["id"] < len(cells) else ""
        raise DroppedError(written_id(product_id), "cut-off row", record.fault)
    if surplus < 0:
        if any(places[column] >= len(cells) for column in ("id", *_REQUIRED)):
            product_id = cells[places["id"]] if places["id"] < len(cells) else ""
            detail = f"too few fields: {len(cells)} of {width}"
            raise DroppedError(written_id(product_id), "too few fields", detail)
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


def _row(product_id: str, cells: Mapping[str, str], repairs: list[str]) -> Row:
    if not product_id:
        raise DroppedError("", "no id")
    fields: dict[str, Any] = {"id": product_id}
    for field, column in column_of(cells).items():
        if field == "id":
            continue
        text = clean(cells[column], column, repairs)
        fields[field] = None if text in EMPTY_WORDS else text
        if fields[field] is None and column in _REQUIRED:
            raise DroppedError(product_id, f"no {column}")
        if field not in _VALUES and len(text) > (limit := BY_NAME[field].max_characters):
            fields[field] = _shortened(product_id, column, text, limit, repairs)
    if fields["gender"] is not None:
        fields["gender"] = gender_of(cells["gender"], repairs)
    fields["year"] = year_of(fields["year"], repairs)
    for field, read in (("price", price_of), ("in_stock", flag_of), ("attributes", own_attributes_of)):
        cell: str | None = fields.get(field)
        fields[field] = None if cell is None else read(cell)
        if cell is not None and fields[field] is None:
            repairs.append(f"unreadable {field} {cell[:MAX_LABEL_CHARACTERS]!r}: left out")
    return Row(**fields)


def _shortened(product_id: str, column: str, text: str, limit: int, repairs: list[str]) -> str | None:
    """Returns what is left of a text that is longer than a product can hold; a label is whole or left out."""
    too_long = f"{column} has {len(text):,} characters, more than {limit}"
    if column in _REQUIRED:
        raise DroppedError(product_id, f"too long {column}", too_long)
    if column == "productDisplayName":
        repairs.append(f"{too_long}: cut off")
        return text[:limit].strip()
    repairs.append(f"{too_long}: left out")
    return None
