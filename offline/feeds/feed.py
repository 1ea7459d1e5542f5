"""A shop's feed, read as products: a file, or a folder with one and photographs beside it."""

import gzip
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from offline.dataset.amounts import price_of
from offline.dataset.cells import EMPTY_WORDS, clean, written_id, year_of
from offline.dataset.files import STYLES_FILE, composed, readable
from offline.dataset.report import DroppedError, Finding
from offline.dataset.rows import MAX_STYLES_BYTES, Admission, Dataset, Row, open_dataset
from offline.dataset.table import DELIMITERS, Record, Table
from offline.feeds import values
from offline.feeds.attributes import WHOLE, read_attributes
from offline.feeds.categories import Category, category_of
from offline.feeds.layouts import LAYOUTS, Columns, Item, Layout, recognised
from offline.feeds.mapping import FeedMapping, category_key
from offline.feeds.photographs import Downloads, FeedPhotographs
from offline.feeds.pictures import pictures_of
from offline.feeds.records import Entries, json_records, parquet_records, xml_records
from services.contract.attributes import BY_NAME, MAX_LABEL_CHARACTERS, OWN_PREFIX
from services.contract.errors import InvalidInput
from services.contract.values import MAX_PHOTOGRAPHS
from services.search.catalogue.products import Price

KAGGLE: Final = "kaggle"
FORMATS: Final = (KAGGLE, *(layout.name for layout in LAYOUTS))
FEED_SUFFIXES: Final = (".xml", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".gz")

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK"
_PART_BYTES: Final = 1 << 16
_PARQUET: Final = b"PAR1"
# How many rows tell the layout.
_FIRST_ROWS: Final = 200
_CHILD: Final = {"Men": "Boys", "Women": "Girls"}
# Field of a row -> the fields of a feed that it comes from.
_SOURCES: Final = {
    "name": ("name",),
    "base_colour": ("colour",),
    "brand": ("brand",),
    "season": ("season",),
    "year": ("year",),
    "usage": ("usage",),
    "url": ("url",),
    "image_url": ("image", "first_image"),
    "price": ("price", "sale_price"),
    "in_stock": ("availability", "stock"),
    "parent_id": ("parent", "handle"),
    "gender": ("gender",),
}
_ALWAYS: Final = ("id", "master_category", "sub_category", "article_type")


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
    complete = complete and unpacked
    return Feed(path, found, kind, items, columns, header, place, tuple(notes), complete, encoding, delimiter)


def _content(path: Path) -> tuple[bytes, bool]:
    """Returns what a file holds, unpacked, and whether all of it could be."""
    whole = True
    try:
        with path.open("rb") as file:
            content = file.read(MAX_STYLES_BYTES + 1)
        if content.startswith(_GZIP):
            parts, size = [], 0
            with gzip.open(path) as packed:
                try:
                    while size <= MAX_STYLES_BYTES and (part := packed.read(_PART_BYTES)):
                        parts.append(part)
                        size += len(part)
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


def open_source(
    path: Path,
    *,
    layout: str | None = None,
    mapping: FeedMapping | None = None,
    downloads: Downloads | None = None,
) -> Dataset:
    """Opens a catalogue: a feed, or a data set in Kaggle's layout.

    Args:
        path: a file or folder.
        layout: one of `FORMATS`; the content tells without one.
        mapping: the shop's own mapping.
        downloads: fetches photographs that are named by URL; without one they are not read.

    Returns:
        The products; close it, or use it in a `with` statement.

    Raises:
        InvalidInput: nothing can be read from it, or the mapping does not fit it.
    """
    layout = layout or (mapping.layout if mapping is not None else None)
    if layout == KAGGLE or (layout is None and is_kaggle(path)):
        return open_dataset(path)
    return feed_dataset(read_feed(find_source(path), mapping, layout), mapping, downloads)


def feed_dataset(feed: Feed, mapping: FeedMapping | None = None, downloads: Downloads | None = None) -> Dataset:
    """Makes products of a feed; see `open_source`."""
    mapping = mapping or FeedMapping()
    photographs = FeedPhotographs(feed.path.parent, downloads)
    reader = _RowReader(feed, mapping, photographs)
    admission = Admission()
    left_out: list[Finding] = []
    merged = 0
    for item in feed.items:
        if item.verdict == "merged":
            merged += 1
        elif item.verdict == "left out":
            left_out.append(Finding(item.line, item.first("id"), "left out", item.left_out_for))
        else:
            reader.admit(item, admission)
    notes = [Finding(0, "", "note", note) for note in (*feed.notes, *reader.notes())]
    rows = admission.rows.values()
    fields = [
        *_ALWAYS,
        *(name for name in _SOURCES if reader.has(name) or any(getattr(row, name) is not None for row in rows)),
        *((WHOLE,) if reader.has_attributes else ()),
    ]
    report = admission.report(
        fields=[(name, name) for name in fields],
        path=readable(str(feed.path)),
        encoding=feed.encoding,
        delimiter=feed.delimiter,
        rows_read=len(feed.items),
        photographs=len({reader.photographs[composed(each)] for each in admission.rows}),
        photographs_without_row=0,
        findings=(*sorted((*admission.findings, *left_out), key=lambda each: each.line), *notes),
        layout=feed.title,
        place=feed.place,
        products=len({reader.products[each] for each in admission.rows}),
        rows_merged=merged,
        rows_left_out=len(left_out),
        complete=feed.complete,
    )
    return Dataset(
        photographs,
        tuple(admission.rows.values()),
        report,
        reader.photographs,
        fields,
        admission.lines,
        admission.named - {composed(each) for each in admission.rows},
        reader.further if reader.further or "further_images" in feed.columns.of else None,
    )


class _RowReader:
    """Reads items as rows.

    Attributes:
        photographs: the name or URL of the first photograph by composed product id.
        further: those of the photographs after it.
        products: what a row belongs to, by product id.
        has_attributes: whether the feed has any own attribute.
    """

    def __init__(self, feed: Feed, mapping: FeedMapping, files: FeedPhotographs) -> None:
        self._feed = feed
        self._mapping = mapping
        self._files = files
        self._no_currency = 0
        self.has_attributes = any(
            name == WHOLE or name.startswith(OWN_PREFIX)
            for names in (feed.columns.of, *(item.values for item in feed.items))
            for name in names
        )
        self._gender_from: Counter[str] = Counter()
        self._own_types: Counter[str] = Counter()
        self.photographs: dict[str, str] = {}
        self.further: dict[str, tuple[str, ...]] = {}
        self.products: dict[str, str] = {}

    def has(self, name: str) -> bool:
        """Tells whether the feed has a field of a row."""
        return any(source in self._feed.columns.of or source in self._mapping.constants for source in _SOURCES[name])

    def notes(self) -> list[str]:
        """Returns what was decided for many rows at once."""
        notes = [f"rows whose gender is taken from the {each}: {count:,}" for each, count in self._gender_from.items()]
        if self._no_currency:
            notes.append(
                f"{self._no_currency:,} prices name no currency and are left out: name it with --currency, or under "
                "[constants] in the mapping"
            )
        notes += [
            f"the category {name} is none that the model knows: kept in the shop's words for {count:,} rows"
            for name, count in self._own_types.most_common(20)
        ]
        return notes

    def admit(self, item: Item, admission: Admission) -> None:
        """Takes an item in, or notes why it cannot become a product."""
        repairs = list(item.repairs)

        def identify() -> str:
            return self._id(item, repairs)

        def read(product_id: str) -> Row:
            row = self._row(product_id, item, repairs)
            if product_id not in admission.rows:
                pictures = pictures_of(product_id, item, self._files)
                self.photographs[composed(product_id)] = pictures.first
                if pictures.further:
                    self.further[composed(product_id)] = pictures.further
                if pictures.left_out:
                    repairs.append(f"more than {MAX_PHOTOGRAPHS} photographs: {pictures.left_out} are left out")
                self.products[product_id] = item.product
            return row

        admission.admit(item.line, repairs, identify, read)

    def _id(self, item: Item, repairs: list[str]) -> str:
        if item.fault and not item.first("id"):
            raise DroppedError("", "unreadable row", item.fault)
        text = values.plain_text(item.first("id"))
        if not text or text in EMPTY_WORDS:
            raise DroppedError("", "no id")
        joined = "-".join(text.split())
        if joined != text:
            repairs.append(f"white space in the id {text!r}: read as {joined}")
        if item.fault:
            raise DroppedError(joined, "variant without parent", item.fault)
        return written_id(joined)

    def _row(self, product_id: str, item: Item, repairs: list[str]) -> Row:
        constants = self._mapping.constants
        name = self._text("name", item, repairs)
        category = self._category(product_id, item, name or "", repairs)
        fields: dict[str, Any] = {
            each: self._text(each, item, repairs) or constants.get(each) for each in ("brand", "season", "usage")
        }
        colour = self._label("colour", "base_colour", item, repairs)
        year = item.first("year") or constants.get("year")
        parent = "-".join(values.plain_text(item.first("parent")).split())
        if len(parent) > MAX_LABEL_CHARACTERS:
            repairs.append(f"parent has {len(parent):,} characters, more than {MAX_LABEL_CHARACTERS}: left out")
            parent = ""
        return Row(
            id=product_id,
            gender=self._gender(item, name or "", repairs),
            master_category=category.master_category,
            sub_category=category.sub_category,
            article_type=category.article_type,
            base_colour=values.colour(colour, self._mapping.colours) if colour else constants.get("colour"),
            year=year_of(year, repairs) if year else None,
            name=name,
            url=self._url("url", item.first("url"), repairs),
            image_url=self._url("image", next(values.url_list(item.first("image")), ""), []),
            price=self._price(item, repairs),
            in_stock=self._in_stock(item, repairs),
            parent_id=parent or None,
            attributes=read_attributes(item.values, self._mapping.attributes, repairs) if self.has_attributes else None,
            **fields,
        )

    def _text(self, name: str, item: Item, repairs: list[str]) -> str | None:
        """Returns a field as text; None where it has none, or a label is too long."""
        return self._label(name, name, item, repairs)

    def _label(self, name: str, attribute: str, item: Item, repairs: list[str]) -> str | None:
        text = clean(values.plain_text(item.first(name)), name, repairs)
        if text in EMPTY_WORDS:
            return None
        limit = BY_NAME[attribute].max_characters
        if len(text) <= limit:
            return text
        repairs.append(
            f"{name} has {len(text):,} characters, more than {limit}: {'cut off' if name == 'name' else 'left out'}"
        )
        return text[:limit].strip() if name == "name" else None

    def _category(self, product_id: str, item: Item, name: str, repairs: list[str]) -> Category:
        paths = [*item.values.get("category", ())]
        for path in paths:
            if (own := self._mapping.categories.get(category_key(path))) is not None:
                return own
        explicit = {
            each: self._label(each, each, item, repairs) or self._mapping.constants.get(each)
            for each in ("master_category", "sub_category", "article_type")
        }
        article, sub = explicit["article_type"], explicit["sub_category"]
        if article and sub:
            return Category(explicit["master_category"], sub, article)
        category = category_of([article, *paths] if article else paths, name)
        if category is None:
            said = f": {paths[0][:100]!r} says no article type" if paths else ""
            raise DroppedError(
                product_id, "no article type", f"no article type{said}: name one in [categories] of a mapping"
            )
        if not category.known:
            self._own_types[f"{category.sub_category} > {category.article_type}"] += 1
        return Category(
            explicit["master_category"] or category.master_category,
            sub or category.sub_category,
            article or category.article_type,
            category.known,
        )

    def _gender(self, item: Item, name: str, repairs: list[str]) -> str | None:
        cell = values.plain_text(item.first("gender"))
        path = " > ".join(item.values.get("category", ()))
        child = values.is_for_children(item.first("age_group") or self._mapping.constants.get("age_group", ""))
        gender = self._mapping.genders.get(values.key(cell)) or values.gender_of_word(cell) if cell else None
        if gender is None and len(in_cell := values.genders_in(cell)) == 1:
            gender = in_cell.pop()
        if gender is None:
            gender = self._mapping.constants.get("gender")
        if gender is None:
            for source, text in (("category", path), ("name", name)):
                if len(named := values.genders_in(text)) == 1:
                    gender = named.pop()
                    self._gender_from[source] += 1
                    child = child or values.is_for_children(text)
                    break
        if gender is None:
            if cell:
                repairs.append(
                    f"unknown gender {cell[:MAX_LABEL_CHARACTERS]!r}: left out; say what it means in [genders]"
                )
            return None
        return _CHILD.get(gender, gender) if child else gender

    def _price(self, item: Item, repairs: list[str]) -> Price | None:
        currency = item.first("currency") or self._mapping.constants.get("currency")
        currency = currency.strip().upper() if currency else None
        offers = []
        if item.first("sale_price"):
            dates = item.first("sale_dates")
            if not dates or values.is_current(dates):
                offers.append(("sale price", item.first("sale_price")))
        offers.append(("price", item.first("price")))
        for name, text in offers:
            if not text or text in EMPTY_WORDS:
                continue
            if (amount := price_of(text, currency)) is not None:
                return amount
            if currency is None and any(price_of(text, each) for each in ("EUR", "USD", "JPY", "SEK")):
                self._no_currency += 1
            else:
                repairs.append(f"{name} {text[:64]!r} is no price: left out")
        return None

    def _in_stock(self, item: Item, repairs: list[str]) -> bool | None:
        word = item.first("availability")
        if word:
            known = values.in_stock(word, self._mapping.availability)
            known = values.has_stock(word) if known is None else known
            if known is None:
                repairs.append(f"availability {word[:64]!r} is not understood: left out")
            return known
        return values.has_stock(stock) if (stock := item.first("stock")) else None

    def _url(self, name: str, text: str, repairs: list[str]) -> str | None:
        if not text:
            return None
        try:
            sound = urlsplit(text).scheme in {"http", "https"} and bool(urlsplit(text).hostname)
        except ValueError:
            sound = False
        if sound and len(text) <= BY_NAME["url"].max_characters and text.isprintable() and " " not in text:
            return text
        repairs.append(f"{name} {text[:64]!r} is no URL that a product can have: left out")
        return None
