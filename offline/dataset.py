"""Reading a data set in Kaggle's layout, `styles.csv` and `images/{id}.jpg`, as dirty as shops export it."""

import csv
import json
import os
import stat
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

from services.serving.errors import InvalidInput, NotFound

STYLES_FILE = "styles.csv"
PHOTOGRAPHS_FOLDER = "images"
COLUMNS = (
    "id",
    "gender",
    "masterCategory",
    "subCategory",
    "articleType",
    "baseColour",
    "season",
    "year",
    "usage",
    "productDisplayName",
)
GENDERS = ("Men", "Women", "Boys", "Girls", "Unisex")
# In this order: where a product has several photographs, the first kind found is its photograph.
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# A zip can promise any size; nothing near these is a table of products or a photograph.
MAX_STYLES_BYTES = 1 << 30
MAX_PHOTOGRAPH_BYTES = 64 << 20

_REQUIRED = ("gender", "masterCategory", "subCategory", "articleType")
_EMPTY_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null"})
_YEARS = range(1900, 2101)
# A name may hold line breaks between quotes; a quote still open after this many lines was never meant as one.
_MAX_LINES_PER_ROW = 10

FindingKind = Literal["repaired", "dropped", "note"]
_Root = TypeVar("_Root", Path, PurePosixPath)


@dataclass(frozen=True, slots=True)
class Row:
    """A product as the data set describes it; what it does not say is None."""

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

    @property
    def derived_type(self) -> str:
        """Gender and article type, such as "Men Tshirts"."""
        return f"{self.gender} {self.article_type}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was wrong with a row or a photograph, and what was done about it.

    Attributes:
        line: line of `styles.csv` at which the row begins, the header being 1; 0 for a photograph without a row.
        id: the product's id as written, empty where the row has none.
        kind: "repaired" and "dropped" speak of a row, "note" of what changed no row.
        reason: one sentence for people.
    """

    line: int
    id: str
    kind: FindingKind
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What was read, and each row that was repaired or dropped.

    Attributes:
        path: the folder or zip as it was given.
        rows_read: rows in `styles.csv`, blank lines and the header not counted.
        rows_kept: rows that became products.
        rows_repaired: rows kept after a repair.
        rows_dropped: rows left out.
        photographs: photographs in the data set.
        photographs_without_row: those that no row names.
        missing: kept rows without a value, by column.
        dropped_reasons: dropped rows by reason, the row's own values left out.
        findings: what was found, by line.
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
        """The whole report as JSON, keys as the attributes."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


class _Source(Protocol):
    """Where files come from: a folder or a zip, with names relative to the data set's own root."""

    def photographs(self) -> Iterable[str]: ...

    def read(self, name: str, limit: int) -> bytes: ...

    def close(self) -> None: ...


class Dataset:
    """Products and their photographs; a context manager. Photographs may be read from several threads."""

    def __init__(
        self,
        source: _Source,
        rows: tuple[Row, ...],
        report: DatasetReport,
        photograph_names: Mapping[str, str],
    ) -> None:
        self.rows = rows
        self.report = report
        self._source = source
        self._photograph_names = photograph_names

    def photograph_name(self, product_id: str) -> str:
        """Name of a product's photograph inside the data set, such as "images/1163.jpg".

        Raises:
            NotFound: the data set has no photograph of this product.
        """
        try:
            return self._photograph_names[product_id]
        except KeyError:
            raise NotFound(
                f"the data set has no photograph of product {product_id!r}",
                reason="PHOTOGRAPH_NOT_FOUND",
                metadata={"id": product_id},
            ) from None

    def photograph(self, product_id: str) -> bytes:
        """The photograph's file, as it is: encoded, unchecked.

        Raises:
            NotFound: the data set has no photograph of this product.
            InvalidInput: the file cannot be read.
        """
        return self._source.read(self.photograph_name(product_id), MAX_PHOTOGRAPH_BYTES)

    def close(self) -> None:
        """Let go of the zip, if it is one."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_dataset(path: Path) -> Dataset:
    """Open a data set in Kaggle's layout, in a folder or a zip, at its root or one folder down.

    Args:
        path: the folder or the zip.

    Returns:
        The data set; close it, or use it in a `with` statement.

    Raises:
        InvalidInput: there is no data set at `path`, or the zip is broken or unsafe, or columns are missing.
    """
    path = Path(path)
    source: _Source
    if path.is_dir():
        source = _FolderSource(path)
    elif path.is_file():
        source = _ZipSource(path)
    else:
        raise InvalidInput(f"{path}: no such file or folder", reason="DATASET_NOT_FOUND")
    try:
        photographs, spare = _choose_photographs(source.photographs())
        table = source.read(STYLES_FILE, MAX_STYLES_BYTES)
        rows, report = _read_rows(str(path), table, photographs, spare)
    except BaseException:
        source.close()
        raise
    return Dataset(source, rows, report, photographs)


def _choose_photographs(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """One photograph for each id, and the names of those that lost against another of the same id."""
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
            f"{path}: {STYLES_FILE} has no column {', '.join(absent)} in its first line; it needs {','.join(COLUMNS)}",
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
        except _Dropped as dropped:
            reasons[dropped.category] += 1
            findings.append(Finding(record.line, dropped.id, "dropped", str(dropped)))
            continue
        rows[row.id] = row
        if repairs:
            repaired += 1
            findings.append(Finding(record.line, row.id, "repaired", "; ".join(repairs)))
        missing.update(
            column
            for column, value in (
                ("baseColour", row.base_colour),
                ("season", row.season),
                ("year", row.year),
                ("usage", row.usage),
                ("productDisplayName", row.name),
            )
            if value is None
        )
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


class _Dropped(Exception):
    """This row cannot be a product."""

    def __init__(self, product_id: str | None, category: str, detail: str | None = None) -> None:
        super().__init__(detail or category)
        self.id = product_id or ""
        self.category = category


def _values(header: list[str], fields: list[str], repairs: list[str]) -> dict[str, str | None]:
    """A row's values by column; None where empty. Surplus fields are commas of a name that was not quoted."""
    surplus = len(fields) - len(header)
    if surplus < 0:
        product_id = fields[header.index("id")].strip() if header.index("id") < len(fields) else ""
        raise _Dropped(product_id, "too few fields", f"too few fields: {len(fields)} of {len(header)}")
    if surplus > 0 and not any(field.strip() for field in fields[len(header) :]):
        fields = fields[: len(header)]
        repairs.append(f"{surplus} empty fields too many, cut off")
    elif surplus > 0:
        # The name alone is free text, so it alone can have brought the commas.
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
        raise _Dropped(None, "no id")
    if product_id in earlier:
        raise _Dropped(
            product_id, "duplicate id", f"duplicate id {product_id}: the first row with it is kept"
        )
    labels: dict[str, str] = {}
    for column in _REQUIRED:
        value = values[column]
        if value is None:
            raise _Dropped(product_id, f"no {column}")
        labels[column] = value
    if labels["gender"] not in GENDERS:
        known = ", ".join(GENDERS)
        raise _Dropped(
            product_id, "unknown gender", f"unknown gender {labels['gender']!r}: not one of {known}"
        )
    if product_id not in photographs:
        raise _Dropped(product_id, "no photograph", f"no photograph {PHOTOGRAPHS_FOLDER}/{product_id}.jpg")
    return Row(
        id=product_id,
        gender=labels["gender"],
        master_category=labels["masterCategory"],
        sub_category=labels["subCategory"],
        article_type=labels["articleType"],
        base_colour=values["baseColour"],
        season=values["season"],
        year=_year(values["year"], repairs),
        usage=values["usage"],
        name=values["productDisplayName"],
    )


def _year(text: str | None, repairs: list[str]) -> int | None:
    if text is None:
        return None
    digits = text.removesuffix(".0")  # what a year becomes in a table with empty ones
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
    """The table's rows, header first; blank lines skipped.

    Not `csv.reader` over the whole file: there, one stray quote swallows all rows that follow it.
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
            yield _Record(
                first + 1, text.split(","), (*repairs, "a quote is never closed: taken as a character")
            )
            continue
        at = end
        # Newlines inside quotes have to reach the reader as lines of their own.
        fields = next(csv.reader(joined.splitlines(keepends=True)))
        yield _Record(first + 1, [" ".join(field.split("\n")) for field in fields], joined_repairs)


def _decode(line: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        return line.decode("utf-8"), ()
    except UnicodeDecodeError:
        return line.decode("utf-8", errors="replace"), (
            "bytes that are not UTF-8: shown as \N{REPLACEMENT CHARACTER}",
        )


def _quote_is_open(text: str) -> bool:
    """Whether the text ends within a quoted field; a quote counts only where a field begins with it."""
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


class _FolderSource:
    """A data set in a folder."""

    def __init__(self, folder: Path) -> None:
        candidates = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
        found = [candidate for candidate in candidates if (candidate / STYLES_FILE).is_file()]
        self._root = _only_root(str(folder), found[:1] if found and found[0] == folder else found)
        if not (self._root / PHOTOGRAPHS_FOLDER).is_dir():
            raise _no_photographs(str(folder))

    def photographs(self) -> Iterable[str]:
        with os.scandir(self._root / PHOTOGRAPHS_FOLDER) as entries:
            names = [f"{PHOTOGRAPHS_FOLDER}/{entry.name}" for entry in entries if entry.is_file()]
        return [name for name in names if _is_photograph(name)]

    def read(self, name: str, limit: int) -> bytes:
        path = self._root / name
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}", reason="DATASET_FILE_UNREADABLE") from error
        if len(content) > limit:
            raise _too_large(str(path), limit)
        return content

    def close(self) -> None:
        """Nothing is held open."""


class _ZipSource:
    """A data set in a zip; read where it is, never unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InvalidInput(f"{path}: not a readable zip: {error}", reason="DATASET_ZIP_BROKEN") from error
        try:
            self._members = {info.filename: info for info in self._zip.infolist() if _is_safe(path, info)}
            found = [
                PurePosixPath(name).parent
                for name in self._members
                if PurePosixPath(name).name == STYLES_FILE and len(PurePosixPath(name).parts) <= 2
            ]
            found = [root for root in found if root.name != "__MACOSX"]
            found.sort(key=str)
            top = PurePosixPath(".")
            self._root = _only_root(str(path), [top] if top in found else found)
            folder = self._root / PHOTOGRAPHS_FOLDER
            self._photographs = [
                f"{PHOTOGRAPHS_FOLDER}/{PurePosixPath(name).name}"
                for name in self._members
                if PurePosixPath(name).parent == folder and not name.endswith("/") and _is_photograph(name)
            ]
            if not any(PurePosixPath(name).is_relative_to(folder) for name in self._members):
                raise _no_photographs(str(path))
        except BaseException:
            self._zip.close()
            raise

    def photographs(self) -> Iterable[str]:
        return self._photographs

    def read(self, name: str, limit: int) -> bytes:
        info = self._members[str(self._root / name)]
        if info.file_size > limit:
            raise _too_large(f"{self._path}: {name}", limit)
        try:
            # ZipFile counts its open members without a lock of its own.
            with self._lock:
                return self._zip.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, zlib.error) as error:
            raise InvalidInput(f"{self._path}: {name}: {error}", reason="DATASET_FILE_UNREADABLE") from error

    def close(self) -> None:
        self._zip.close()


def _is_photograph(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in PHOTOGRAPH_SUFFIXES and not path.name.startswith(".")


def _is_safe(path: Path, info: zipfile.ZipInfo) -> bool:
    """Refuses a zip that reaches outside itself: no tool made it by mistake, and someone may unpack it later.

    Raises:
        InvalidInput: an absolute name, one with "..", a link or an encrypted member.
    """
    name = PurePosixPath(info.filename.replace("\\", "/"))
    complaint = None
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        complaint = "leads outside the zip"
    elif stat.S_ISLNK(info.external_attr >> 16):
        complaint = "is a link"
    elif info.flag_bits & 0x1:
        complaint = "is encrypted"
    if complaint:
        raise InvalidInput(f"{path}: unsafe zip: {info.filename!r} {complaint}", reason="DATASET_ZIP_UNSAFE")
    return True


def _only_root(path: str, found: list[_Root]) -> _Root:
    if not found:
        raise InvalidInput(
            f"{path}: no {STYLES_FILE}, at its root or one folder down", reason="DATASET_STYLES_MISSING"
        )
    if len(found) > 1:
        where = ", ".join(str(root) for root in found)
        raise InvalidInput(f"{path}: several data sets, name one: {where}", reason="DATASET_AMBIGUOUS")
    return found[0]


def _no_photographs(path: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: no folder {PHOTOGRAPHS_FOLDER}/ beside {STYLES_FILE}", reason="DATASET_PHOTOGRAPHS_MISSING"
    )


def _too_large(name: str, limit: int) -> InvalidInput:
    return InvalidInput(f"{name}: larger than {limit} bytes", reason="DATASET_FILE_TOO_LARGE")
