"""A shop's feed: a file, or a folder with one, read as items."""

import gzip
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offline.dataset.files import STYLES_FILE, max_unpacked, readable
from offline.dataset.rows import MAX_STYLES_BYTES
from offline.dataset.table import DELIMITERS, Record, Table
from offline.feeds import values
from offline.feeds.items import Columns, Item, Layout
from offline.feeds.layouts import LAYOUTS, recognised
from offline.feeds.mapping import FeedMapping
from offline.feeds.records import Entries, json_records, parquet_records, xml_records
from services.contract.errors import InvalidInput

KAGGLE: Final = "kaggle"
FORMATS: Final = (KAGGLE, *(layout.name for layout in LAYOUTS))
FEED_SUFFIXES: Final = (".xml", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".gz")

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK"
_PART_BYTES: Final = 1 << 16
_PARQUET: Final = b"PAR1"
# How many rows tell the layout.
_FIRST_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Feed:
    """The rows of a source in the fields of a layout.

    Attributes:
        path: the file.
        layout: what it was read as.
        kind: what its bytes are: "table", "XML", "JSON" or "Parquet".
        items: its rows.
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
    items: tuple[Item, ...]
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
        return len({item.product for item in self._offered})

    @property
    def variant_count(self) -> int:
        """How many rows it offers, each variant a row."""
        return len(self._offered)

    @property
    def summary(self) -> str:
        """What it is in one line, such as "Shopify, 1,204 rows, 310 products, 912 variants"."""
        return (
            f"{self.title}, {len(self.items):,} {'row' if len(self.items) == 1 else 'rows'}, "
            f"{self.product_count:,} products, {self.variant_count:,} variants"
        )

    @property
    def _offered(self) -> list[Item]:
        return [item for item in self.items if item.verdict == "product" and not item.fault]


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
    mapping = mapping or FeedMapping()
    content, unpacked = _content(path)
    kind = _kind(content)
    notes: list[str] = []
    if not unpacked:
        notes.append("the packed file is cut off: what can be unpacked is read")
    header: Sequence[str]
    if kind == "table":
        if not unpacked:
            # The last row may lack any part of its last cell.
            content = content[: content.rfind(b"\n") + 1]
        table = Table(content, {name for layout_ in LAYOUTS for names in layout_.aliases.values() for name in names})
        header, rows, place = table.header, table, "line"
        if len(header) < 2:
            raise InvalidInput(
                f"{path} is no feed: its first line names fewer than two columns.", reason="FEED_UNREADABLE"
            )
        notes += _twice(header)
        as_written = list(rows)
        records = [_fitted(record, len(header)) for record in as_written]
        encoding = f"{table.encoding} and cp1252" if table.lines_by_fallback else table.encoding
        delimiter, complete = DELIMITERS[table.delimiter], not _is_cut_off(content, as_written, len(header))
        if not complete:
            notes.append(f"the table seems cut off: its last row, line {records[-1].line}, is not whole")
    else:
        readers = {"XML": xml_records, "JSON": json_records, "Parquet": parquet_records}
        entries: Entries = readers[kind](content)
        header, records, place, complete = entries.header, list(entries), entries.place, entries.complete
        notes += entries.notes
        encoding, delimiter = "" if kind == "Parquet" else "utf-8", ""
    chosen = layout or mapping.layout
    found = next((each for each in LAYOUTS if each.name == chosen), None) or recognised(header, records[:_FIRST_ROWS])
    columns = mapping.columns_of(found, header)
    items = tuple(found.read(records, columns))
    notes += columns.notes()
    complete = complete and unpacked
    return Feed(path, found, kind, items, columns, header, place, tuple(notes), complete, encoding, delimiter)


def _content(path: Path) -> tuple[bytes, bool]:
    """Returns what a file holds, unpacked, and whether all of it could be."""
    whole = True
    try:
        with path.open("rb") as file:
            content = file.read(MAX_STYLES_BYTES + 1)
        if content.startswith(_GZIP):
            parts, size, most = [], 0, max_unpacked(len(content))
            with gzip.open(path) as packed:
                try:
                    while size <= MAX_STYLES_BYTES and (part := packed.read(_PART_BYTES)):
                        parts.append(part)
                        size += len(part)
                        if size > most:
                            raise InvalidInput(
                                f"{path} unpacks to far more than its size. Send it unpacked.",
                                reason="FEED_UNSAFE",
                            )
                except EOFError:
                    whole = False
            content = b"".join(parts)
    except (OSError, zlib.error) as error:
        raise InvalidInput(f"Cannot read {readable(str(path))}: {error}.", reason="DATASET_FILE_UNREADABLE") from error
    if len(content) > MAX_STYLES_BYTES:
        raise InvalidInput(
            f"{path} has more than {MAX_STYLES_BYTES:,} bytes, the most that is read.", reason="DATASET_FILE_TOO_LARGE"
        )
    if not content.strip():
        raise InvalidInput(f"{path} is empty.", reason="FEED_UNREADABLE")
    return content, whole


def _kind(content: bytes) -> str:
    if content.startswith(_PARQUET):
        return "Parquet"
    start = content[:4096].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if start.startswith(b"<"):
        return "XML"
    return "JSON" if start.startswith((b"{", b"[")) else "table"


def _is_cut_off(content: bytes, records: Sequence[Record], width: int) -> bool:
    """Tells whether a table ends amid its last row: without an end of line, and with fewer cells than its others."""
    if not records or content.rstrip(b"\x00").endswith((b"\n", b"\r")):
        return False
    whole = Counter(len(record.cells) for record in records[:-1]).most_common(1)
    return len(records[-1].cells) < (whole[0][0] if whole else width)


def _fitted(record: Record, width: int) -> Record:
    """Returns a row without the cells of one that has too many: nobody can tell which of them belongs where."""
    surplus = len(record.cells) - width
    if surplus <= 0 or not any(cell.strip() for cell in record.cells[width:]):
        return record
    return Record(record.line, (), (*record.repairs, f"too many fields: {len(record.cells)} of {width}"))


def _twice(header: Sequence[str]) -> list[str]:
    folded = Counter(values.key(name) for name in header if name)
    names = dict.fromkeys(name for name in header if folded[values.key(name)] > 1)
    return [f"the column {name} stands more than once: the first is read" for name in names]
