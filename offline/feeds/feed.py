"""A shop's feed: a file, or a folder with one, read as items."""

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, Final

from offline.dataset.files import STYLES_FILE, max_unpacked, readable
from offline.dataset.table import DELIMITERS, Record, Table, parts_of
from offline.dataset.table_end import TableEnd
from offline.feeds import values
from offline.feeds.items import Columns, Item, Layout
from offline.feeds.layouts import LAYOUTS, recognised
from offline.feeds.mapping import FeedMapping
from offline.feeds.records import json_records, parquet_records, xml_records
from offline.spool import Shelf, Spool, form_of, temporary_file
from services.contract.errors import InvalidInput

KAGGLE: Final = "kaggle"
FORMATS: Final = (KAGGLE, *(layout.name for layout in LAYOUTS))
FEED_SUFFIXES: Final = (".xml", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".gz")

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK"
_PARQUET: Final = b"PAR1"
# What a packed file may take on the disk.
_MAX_UNPACKED_BYTES: Final = 64 << 30
# How many rows tell the layout.
_FIRST_ROWS: Final = 200
_TAIL_BYTES: Final = 1 << 16
_PART_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Feed:
    """The rows of a source in the fields of a layout.

    Attributes:
        path: the file.
        layout: what it was read as.
        kind: what its bytes are: "table", "XML", "JSON" or "Parquet".
        items: its rows, on disk.
        filled: the fields that any row has a value of.
        has_urls: whether any photograph is named by URL.
        columns: which of its columns hold what.
        header: all its columns.
        place: what `Item.line` counts.
        notes: what is odd about it as a whole.
        complete: whether it has an end.
        encoding: of a table or text.
        delimiter: of a table; empty for other files.
    """

    path: Path
    layout: Layout
    kind: str
    items: Sequence[Item]
    filled: frozenset[str]
    has_urls: bool
    columns: Columns
    header: Sequence[str]
    place: str
    notes: tuple[str, ...]
    complete: bool
    encoding: str
    delimiter: str

    @property
    def title(self) -> str:
        """What people call it, such as "Shopify" or "Google Merchant, XML"."""
        return self.layout.title if self.kind == "table" else f"{self.layout.title}, {self.kind}"

    @property
    def product_count(self) -> int:
        """How many products it has, variants of one together."""
        products: Shelf[None] = Shelf()
        for item in self._offered:
            products[item.product] = None
        return len(products)

    @property
    def variant_count(self) -> int:
        """How many rows it offers, each variant a row."""
        return sum(1 for _ in self._offered)

    @property
    def summary(self) -> str:
        """What it is in one line, such as "Shopify, 1,204 rows, 310 products, 912 variants"."""
        return (
            f"{self.title}, {len(self.items):,} {'row' if len(self.items) == 1 else 'rows'}, "
            f"{self.product_count:,} products, {self.variant_count:,} variants"
        )

    @property
    def _offered(self) -> Iterator[Item]:
        return (item for item in self.items if item.verdict == "product" and not item.fault)


def find_source(path: Path) -> Path:
    """Returns the file of a feed: the path itself, or the one feed in a folder.

    Raises:
        InvalidInput: DATASET_NOT_FOUND, FEED_MISSING, FEED_AMBIGUOUS.
    """
    if not path.exists():
        raise InvalidInput(f"There is no file or folder {path}.", reason="DATASET_NOT_FOUND")
    if path.is_file():
        return path
    feeds = sorted(each for each in path.iterdir() if each.is_file() and each.suffix.lower() in FEED_SUFFIXES)
    if not feeds:
        raise InvalidInput(
            f"{path} holds neither {STYLES_FILE} nor a feed; a feed ends in one of {', '.join(FEED_SUFFIXES)}.",
            reason="FEED_MISSING",
        )
    if len(feeds) > 1:
        names = ", ".join(each.name for each in feeds[:5])
        raise InvalidInput(f"{path} holds several feeds: name one of {names}.", reason="FEED_AMBIGUOUS")
    return feeds[0]


def is_kaggle(path: Path) -> bool:
    """Tells whether a path is a data set in Kaggle's layout: a zip, or a folder with `styles.csv` at most one down."""
    if path.is_dir():
        return (path / STYLES_FILE).is_file() or any(path.glob(f"*/{STYLES_FILE}"))
    try:
        with path.open("rb") as file:
            return file.read(2) == _ZIP
    except OSError:
        return False


def read_feed(path: Path, mapping: FeedMapping | None = None, layout: str | None = None) -> Feed:
    """Reads the rows of a feed.

    Args:
        path: the file.
        mapping: the shop's own mapping.
        layout: the name of a layout; the mapping's, else the content tells without one.

    Raises:
        InvalidInput: the file cannot be read as any feed, or the mapping does not fit it.
    """
    file, unpacked = _unpacked(path)
    with file:
        return _read(path, file, unpacked, mapping or FeedMapping(), layout)


def _read(path: Path, file: IO[bytes], unpacked: bool, mapping: FeedMapping, layout: str | None) -> Feed:
    kind = _kind(file.read(4096))
    file.seek(0)
    notes: list[str] = []
    if not unpacked:
        notes.append("the packed file is cut off: what can be unpacked is read")
    header: Sequence[str]
    records: Iterator[Record]
    table, entries, end = None, None, None
    if kind == "table":
        if not unpacked:
            _cut_last_line(file)
        table = Table(file, {name for layout_ in LAYOUTS for names in layout_.aliases.values() for name in names})
        header, place = table.header, "line"
        if len(header) < 2:
            raise InvalidInput(
                f"{path} is no feed: its first line names fewer than two columns.", reason="FEED_UNREADABLE"
            )
        notes += _twice(header)
        end = TableEnd(file, len(header))
        records = (_fitted(record, len(header)) for record in end.watched(table))
    else:
        readers = {"XML": xml_records, "JSON": json_records, "Parquet": parquet_records}
        entries = readers[kind](file)
        header, records, place = entries.header, iter(entries), entries.place
        notes += entries.notes
    first = list(islice(records, _FIRST_ROWS))
    chosen = layout or mapping.layout
    found = next((each for each in LAYOUTS if each.name == chosen), None) or recognised(header, first)
    columns = mapping.columns_of(found, header)
    items = Spool(form=form_of(Item))
    filled: set[str] = set()
    has_urls = False
    for item in found.read(chain(first, records), columns):
        items.append(item)
        filled.update(item.values)
        has_urls = has_urls or any("http" in item.first(name) for name in ("image", "further_images"))
    encoding, delimiter, complete = "" if kind == "Parquet" else "utf-8", "", unpacked
    if table is not None:
        encoding = f"{table.encoding} and cp1252" if table.lines_by_fallback else table.encoding
        delimiter = DELIMITERS[table.delimiter]
    if end is not None and end.cut_lines:
        complete = False
        notes.append(end.note)
    elif entries is not None:
        complete = complete and entries.complete
    notes += columns.notes()
    return Feed(
        path,
        found,
        kind,
        items,
        frozenset(filled),
        has_urls,
        columns,
        header,
        place,
        tuple(notes),
        complete,
        encoding,
        delimiter,
    )


def _unpacked(path: Path) -> tuple[IO[bytes], bool]:
    """Opens a file, unpacked where it is packed; returns it, and whether all of it could be unpacked."""
    whole = True
    file: IO[bytes]
    try:
        file = path.open("rb")
        if file.read(len(_GZIP)) == _GZIP:
            with file:
                file, whole = _gunzipped(path, file)
        file.seek(0)
        if not any(part.strip() for part in parts_of(file)):
            raise InvalidInput(f"{path} is empty.", reason="FEED_UNREADABLE")
        file.seek(0)
    except (OSError, zlib.error) as error:
        raise InvalidInput(f"Cannot read {readable(str(path))}: {error}.", reason="DATASET_FILE_UNREADABLE") from error
    return file, whole


def _gunzipped(path: Path, file: IO[bytes]) -> tuple[IO[bytes], bool]:
    written, size = temporary_file(), 0
    most = min(max_unpacked(file.seek(0, io.SEEK_END)), _MAX_UNPACKED_BYTES)
    file.seek(0)
    with gzip.GzipFile(fileobj=file) as packed:
        try:
            while part := packed.read(_PART_BYTES):
                size += len(part)
                if size > most:
                    raise InvalidInput(
                        f"{path} unpacks to far more than its size. Send it unpacked.", reason="FEED_UNSAFE"
                    )
                written.write(part)
        except EOFError:
            return written, False
    return written, True


def _cut_last_line(file: IO[bytes]) -> None:
    """Cuts off what stands behind the last end of a line: the last row may lack any part of its last cell."""
    end = file.seek(0, io.SEEK_END)
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            file.truncate(start + at + 1)
            return
        end = start
    file.truncate(0)


def _kind(start: bytes) -> str:
    if start.startswith(_PARQUET):
        return "Parquet"
    start = start.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if start.startswith(b"<"):
        return "XML"
    return "JSON" if start.startswith((b"{", b"[")) else "table"


def _fitted(record: Record, width: int) -> Record:
    """Returns a row without the cells of one that has too many: nobody can tell which of them belongs where."""
    surplus = len(record.cells) - width
    if surplus <= 0 or not any(cell.strip() for cell in record.cells[width:]):
        return record
    return replace(record, cells=(), repairs=(*record.repairs, f"too many fields: {len(record.cells)} of {width}"))


def _twice(header: Sequence[str]) -> list[str]:
    folded = Counter(values.key(name) for name in header if name)
    names = dict.fromkeys(name for name in header if folded[values.key(name)] > 1)
    return [f"the column {name} stands more than once: the first is read" for name in names]
