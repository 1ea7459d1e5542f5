"""The products of a feed: its items as rows of a catalogue, with the photographs beside them."""

from collections import Counter
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from offline.dataset.admission import Admission
from offline.dataset.amounts import price_of
from offline.dataset.cells import EMPTY_WORDS, clean, written_id, year_of
from offline.dataset.files import composed, readable
from offline.dataset.report import DroppedError, Finding
from offline.dataset.row import Row
from offline.dataset.rows import Dataset, open_dataset
from offline.dataset.table_end import CUT_OFF
from offline.feeds import values
from offline.feeds.attributes import WHOLE, read_attributes
from offline.feeds.categories import Category, category_of
from offline.feeds.feed import KAGGLE, Feed, find_source, is_kaggle, read_feed
from offline.feeds.items import Item
from offline.feeds.mapping import FeedMapping, category_key
from offline.feeds.photographs import Downloads, FeedPhotographs
from offline.feeds.pictures import pictures_of
from offline.spool import Shelf, Spool, form_of
from services.contract.attributes import BY_NAME, MAX_LABEL_CHARACTERS, OWN_PREFIX
from services.contract.values import MAX_PHOTOGRAPHS
from services.search.catalogue.products import Price

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
    left_out = merged = 0
    for item in feed.items:
        if item.verdict == "merged":
            merged += 1
        elif item.verdict == "left out":
            left_out += 1
            admission.findings.append(Finding(item.line, item.first("id"), "left out", item.left_out_for))
        else:
            reader.admit(item, admission)
    findings = Spool(admission.findings.in_order(lambda each: each.line), form_of(Finding))
    for note in (*feed.notes, *reader.notes()):
        findings.append(Finding(0, "", "note", note))
    fields = [
        *_ALWAYS,
        *(name for name in _SOURCES if reader.has(name) or admission.fills(name)),
        *((WHOLE,) if reader.has_attributes else ()),
    ]
    report = admission.report(
        fields=[(name, name) for name in fields],
        path=readable(str(feed.path)),
        encoding=feed.encoding,
        delimiter=feed.delimiter,
        rows_read=len(feed.items),
        photographs=len(reader.firsts),
        photographs_without_row=0,
        findings=findings,
        layout=feed.title,
        place=feed.place,
        products=len(reader.products),
        rows_merged=merged,
        rows_left_out=left_out,
        complete=feed.complete,
    )
    return Dataset(
        photographs,
        admission.rows,
        report,
        reader.photographs,
        fields,
        admission.lines,
        admission.named,
        reader.further if reader.further or "further_images" in feed.columns.of else None,
    )


class _RowReader:
    """Reads items as rows.

    Attributes:
        photographs: the name or URL of the first photograph by composed product id.
        further: those of the photographs after it.
        firsts: the names of first photographs, each once.
        products: what products belong to, each once.
        has_attributes: whether the feed has any own attribute.
    """

    def __init__(self, feed: Feed, mapping: FeedMapping, files: FeedPhotographs) -> None:
        self._feed = feed
        self._mapping = mapping
        self._files = files
        self._no_currency = 0
        self.has_attributes = any(
            name == WHOLE or name.startswith(OWN_PREFIX) for name in (*feed.columns.of, *feed.filled)
        )
        self._gender_from: Counter[str] = Counter()
        self._own_types: Counter[str] = Counter()
        self.photographs: Shelf[str] = Shelf()
        self.further: Shelf[tuple[str, ...]] = Shelf()
        self.firsts: Shelf[None] = Shelf()
        self.products: Shelf[None] = Shelf()

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
            if product_id not in admission.lines:
                pictures = pictures_of(product_id, item, self._files)
                self.photographs[composed(product_id)] = pictures.first
                self.firsts[pictures.first] = None
                if pictures.further:
                    self.further[composed(product_id)] = pictures.further
                if pictures.left_out:
                    repairs.append(f"more than {MAX_PHOTOGRAPHS} photographs: {pictures.left_out} are left out")
                self.products[item.product] = None
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
            category = "cut-off row" if item.fault == CUT_OFF else "variant without parent"
            raise DroppedError(joined, category, item.fault)
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
