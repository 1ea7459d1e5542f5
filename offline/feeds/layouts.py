"""The layouts of feeds: how each is recognised, which columns it has, and how its rows become products."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Final

from offline.dataset.table import Record
from offline.feeds.attributes import attribute_name
from offline.feeds.items import (
    COLOUR_NAMES,
    COLUMNS_OF,
    Columns,
    Item,
    Layout,
    Verdict,
    has_columns,
    product_rows,
)
from offline.feeds.values import key
from offline.spool import Shelf, Spool
from services.contract.attributes import OWN_PREFIX

_SHOPIFY: Final = MappingProxyType(
    {
        **COLUMNS_OF,
        "id": ("variant sku", "sku"),
        "name": ("title",),
        "category": (
            "type", "product category", "standard product type", "custom product type",
            "google shopping / google product category",
        ),
        "image": ("variant image", "variant image url"),
        "first_image": ("image src", "product image url"),
        "further_images": (),
        "image_position": ("image position",),
        "price": ("variant price", "price"),
        "sale_price": (),
        "url": (),
        "stock": ("variant inventory qty", "inventory quantity"),
        "availability": (),
        "parent": (),
        "handle": ("handle", "url handle"),
        "published": ("published", "published on online store"),
        "status": ("status",),
        "gift_card": ("gift card",),
        "policy": ("variant inventory policy", "continue selling when out of stock"),
        "tracker": ("variant inventory tracker", "inventory tracker"),
        **{f"option{number}_name": (f"option{number} name",) for number in (1, 2, 3)},
        **{f"option{number}_value": (f"option{number} value",) for number in (1, 2, 3)},
    }
)  # fmt: skip
# The line, the repairs and the cells by field of a row.
_Read = tuple[int, tuple[str, ...], dict[str, list[str]]]
# Shopify's own limit. Each variant has all pictures of its product.
_MAX_PICTURES: Final = 250
# What Shopify writes in the first row of a product alone.
_SHOPIFY_SHARED: Final = (
    "name", "category", "gender", "age_group", "brand", "published", "status", "gift_card", "colour", "season", "usage",
    *(f"option{number}_name" for number in (1, 2, 3)),
)  # fmt: skip


def _shopify(records: Iterable[Record], columns: Columns) -> Iterator[Item]:
    """Reads Shopify's rows: the first of a handle holds the product, each with options a variant, others pictures."""
    # The rows of a handle need not stand together.
    rows: Spool[tuple[int, str, _Read]] = Spool()
    numbers: Shelf[int] = Shelf()
    handle, number = "", 0
    for record in records:
        values = columns.values(record)
        if fault := record.fault or ("; ".join(record.repairs) if not values else ""):
            yield Item(record.line, values, record.repairs, fault=fault)
            continue
        # Without a handle a row belongs to the one above, as spreadsheets leave repetitions out.
        before, handle = handle, next(iter(values.get("handle", ())), handle)
        if not handle:
            yield Item(record.line, values, record.repairs, fault="no handle")
            continue
        if handle != before:
            number = numbers.setdefault(handle, len(rows))
        rows.append((number, handle, (record.line, record.repairs, values)))
    for (_, name), group in groupby(rows.in_order(lambda row: row[0]), lambda row: row[:2]):
        yield from _shopify_product(name, [row for _, _, row in group], counted="tracker" in columns.of)


def _shopify_product(handle: str, rows: Sequence[_Read], *, counted: bool) -> Iterator[Item]:
    shared: dict[str, list[str]] = {}
    for _, _, values in rows:
        for name in values:
            if name in _SHOPIFY_SHARED or name.startswith(OWN_PREFIX):
                shared.setdefault(name, values[name])
    pictures = [(values, values["first_image"][0]) for _, _, values in rows if "first_image" in values]
    pictures.sort(key=lambda each: _number(each[0].get("image_position", ["1"])[0]))
    reason = _shopify_reason(shared)
    variants = [each for each in rows if any(name in each[2] for name in ("id", "price", "option1_value"))]
    # Where variants have pictures of their own, nobody says which of them the others show.
    shared_pictures = [url for _, url in pictures] if not any("image" in own for _, _, own in variants) else []
    further = list(dict.fromkeys(shared_pictures[1:]))[:_MAX_PICTURES]
    several = len(variants) > 1
    lines = {line for line, _, _ in variants}
    for line, repairs, own in rows:
        values = shared | own
        if line not in lines:
            yield Item(line, values, repairs, "merged", product=handle)
            continue
        options = [
            (values.get(f"option{number}_name", [""])[0], values[f"option{number}_value"][0])
            for number in (1, 2, 3)
            if f"option{number}_value" in values
        ]
        for name, value in options:
            if key(name) in COLOUR_NAMES:
                values["colour"] = [value]
            elif value != "Default Title" and (own_name := attribute_name(name)):
                values[f"{OWN_PREFIX}{own_name}"] = [value]
        if "id" not in values:
            chosen = [value for _, value in options if value != "Default Title"] if several else []
            values["id"] = ["-".join([handle, *("-".join(value.split()).lower() for value in chosen)])]
        if "image" not in values and pictures:
            values["image"] = [pictures[0][1]]
        if further:
            values["further_images"] = further
        if several:
            values["parent"] = [handle]
        values["availability"] = _shopify_availability(values, counted=counted)
        yield Item(line, values, repairs, "left out" if reason else "product", reason, product=handle)


def _shopify_reason(shared: Mapping[str, Sequence[str]]) -> str:
    status = shared.get("status", [""])[0].casefold()
    if status in {"draft", "archived", "unlisted"}:
        return f"the product's status is {status}"
    if key(shared.get("published", ["true"])[0]) in {"false", "0", "no"}:
        return "the product is not published"
    if key(shared.get("gift_card", ["false"])[0]) in {"true", "1", "yes"}:
        return "the product is a gift card"
    return ""


def _shopify_availability(values: Mapping[str, Sequence[str]], *, counted: bool) -> list[str]:
    """Returns "yes" for what is not counted, or sold beyond the stock; nothing where the number decides."""
    sold_beyond = key(values.get("policy", [""])[0]) in {"continue", "true", "yes"}
    return ["yes"] if sold_beyond or (counted and "tracker" not in values) else []


_WOO_TYPES: Final = frozenset(
    {"simple", "variable", "variation", "grouped", "external", "virtual", "downloadable", "subscription", "bundle"}
    | {"variablesubscription", "subscriptionvariation", "booking", "composite"}
)
_WOO: Final = MappingProxyType(
    {
        **COLUMNS_OF,
        "id": ("sku", "artikelnummer", "ugs", "referencia", "codice"),
        "number": ("id",),
        "kind": ("type", "typ", "tipo"),
        "category": ("categories", "kategorien", "catégories", "categorías", "categorie", "categorieën"),
        "image": ("images", "bilder", "imágenes", "immagini", "afbeeldingen"),
        "further_images": (),
        "price": ("regular price", "regulärer preis", "tarif régulier", "precio normal", "prezzo di listino"),
        "sale_price": ("sale price", "angebotspreis", "tarif promo", "precio rebajado", "prezzo in offerta"),
        "sale_start": ("date sale price starts", "datum, an dem angebotspreis beginnt"),
        "sale_end": ("date sale price ends", "datum, an dem angebotspreis endet"),
        "availability": ("in stock?", "vorrätig?", "en stock ?", "¿existencias?", "in stock", "vorrätig"),
        "stock": (),
        "parent": ("parent", "übergeordnetes produkt", "superior", "genitore", "hoofd"),
        "published": ("published", "veröffentlicht", "publié", "publicado", "pubblicato", "gepubliceerd"),
        "visibility": (
            "visibility in catalog", "visibility in catalogue", "sichtbarkeit im katalog",
            "visibilité dans le catalogue", "visibilidad en el catálogo",
        ),
        "url": ("external url", "permalink", "url"),
        "type": (),
    }
)  # fmt: skip
_WOO_INHERITED: Final = (
    "name", "category", "gender", "age_group", "brand", "image", "season", "usage", "colour", "published",
)  # fmt: skip
# Attributes of WooCommerce that a product has a field for.
_WOO_FIELDS: Final = MappingProxyType(
    {key(name): field for field in ("brand", "gender", "season", "year") for name in COLUMNS_OF[field]}
)
_ATTRIBUTE_NAME: Final = re.compile(r"(?:meta: )?attribute (\d+) name|name der eigenschaft (\d+)", re.IGNORECASE)
_ATTRIBUTE_VALUES: Final = re.compile(r"attribute (\d+) value\(s\)|wert\(e\) der eigenschaft (\d+)", re.IGNORECASE)


def is_option(column: str) -> bool:
    """Tells whether a column of WooCommerce holds the name or the values of an attribute."""
    return any(pattern.fullmatch(column) for pattern in (_ATTRIBUTE_NAME, _ATTRIBUTE_VALUES))


def _is_woocommerce(header: Sequence[str], rows: Sequence[Record]) -> bool:
    """Recognises WooCommerce by the words of its column of types, which no language changes."""
    if len(header) < 3:
        return False
    for place in range(min(len(header), 6)):
        kinds = {key(part) for row in rows if place < len(row.cells) for part in row.cells[place].split(",")} - {""}
        if kinds and kinds <= _WOO_TYPES:
            return True
    return False


def _woocommerce(records: Iterable[Record], columns: Columns) -> Iterator[Item]:
    """Reads WooCommerce's rows: variations take from their parent what they lack; the parent itself is not sold."""
    rows: Spool[_Read] = Spool()
    # Place in the rows, by name.
    places: Shelf[int] = Shelf()
    for record in records:
        values = _woo_values(record, columns)
        if record.fault:
            yield Item(record.line, values, record.repairs, product=f"{record.line}", fault=record.fault)
            continue
        if "variation" not in _woo_kinds(values):
            for name in (*values.get("id", ()), *(f"id:{number}" for number in values.get("number", ()))):
                places.setdefault(name, len(rows))
        rows.append((record.line, record.repairs, values))
    with_variations: Shelf[None] = Shelf()
    for _, _, values in rows:
        if (place := places.get(_woo_parent(values))) is not None:
            with_variations[f"{place}"] = None
    for line, repairs, values in rows:
        kinds = _woo_kinds(values)
        values.setdefault("id", values.get("number", []))
        name = _woo_parent(values)
        product = next(iter(values["id"]), f"{line}")
        fault = "unreadable" if not any(values.values()) and repairs else ""
        of_parent = ""
        if "variation" in kinds:
            place = places.get(name)
            parent = None if place is None else rows[place][2]
            product = name or product
            values.pop("parent", None)
            if parent is None:
                fault = "" if {"name", "category", "image"} <= values.keys() else "orphan"
                repairs += (f"its parent {name!r} is not in the feed" if name else "a variation without a parent",)
            else:
                product = next(iter(parent["id"]) if parent.get("id") else iter(parent.get("number", [product])))
                inherited = {each: parent[each] for each in parent if _is_inherited(each)}
                values = inherited | values
                values["parent"] = [product]
                of_parent = _woo_reason(parent, set())
        else:
            # The parent of another kind is a group, which is no variant.
            values.pop("parent", None)
        reason = of_parent or _woo_reason(values, kinds)
        verdict: Verdict = "left out" if reason else "product"
        if not reason and "variable" in kinds and f"{places.get(_woo_name(values))}" in with_variations:
            verdict = "merged"
        yield Item(line, values, repairs, verdict, reason, product, "; ".join(repairs) if fault else "")


def _is_inherited(name: str) -> bool:
    return name in _WOO_INHERITED or name.startswith(OWN_PREFIX)


def _woo_values(record: Record, columns: Columns) -> dict[str, list[str]]:
    values = columns.values(record)
    names = {
        next(filter(None, match.groups())): column
        for column in columns.names
        if (match := _ATTRIBUTE_NAME.fullmatch(column))
    }
    for column in columns.names:
        match = _ATTRIBUTE_VALUES.fullmatch(column)
        number = match and next(filter(None, match.groups()))
        name = columns.value(record, names[number]).removeprefix("pa_") if number in names else ""
        value = columns.value(record, column)
        if not value or not name:
            continue
        if key(name) in COLOUR_NAMES:
            # A variable product names all the colours of its variations.
            if "," not in value:
                values.setdefault("colour", [value])
        elif field := _WOO_FIELDS.get(key(name)):
            values.setdefault(field, [value])
        elif own_name := attribute_name(name):
            values[f"{OWN_PREFIX}{own_name}"] = _woo_list(value)
    if "category" in values:
        # "Clothing > Tops, Sale" are two categories; a comma of a name is escaped.
        values["category"] = [part for cell in values["category"] for part in _woo_list(cell)]
    if "sale_start" in values or "sale_end" in values:
        ends = (values.get(name, [""])[0] for name in ("sale_start", "sale_end"))
        values["sale_dates"] = ["/".join(ends)]
    return values


def _woo_list(cell: str) -> list[str]:
    return [part.replace("\\,", ",") for part in re.split(r"(?<!\\),\s*", cell) if part]


def _woo_kinds(values: Mapping[str, Sequence[str]]) -> set[str]:
    return {key(part) for part in values.get("kind", ["simple"])[0].split(",")} - {""}


def _woo_parent(values: Mapping[str, Sequence[str]]) -> str:
    return values.get("parent", [""])[0]


def _woo_name(values: Mapping[str, Sequence[str]]) -> str:
    return values["id"][0] if values.get("id") else ""


def _woo_reason(values: Mapping[str, Sequence[str]], kinds: set[str]) -> str:
    for kind, reason in (
        ("grouped", "a grouped product: its products come in by themselves"),
        ("virtual", "a virtual product: nothing that is worn"),
        ("downloadable", "a download: nothing that is worn"),
    ):
        if kind in kinds:
            return reason
    if values.get("published", ["1"])[0].casefold() in {"0", "-1", "no", "false"}:
        return "the product is not published"
    if key(values.get("visibility", ["visible"])[0]) == "hidden":
        return "the product is hidden from the catalogue"
    return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


SHOPIFY: Final = Layout(
    "shopify",
    "Shopify",
    has_columns("handle|url handle", "title", "variant sku|sku|variant price|option1 name|image src|product image url"),
    _SHOPIFY,
    _shopify,
)
WOOCOMMERCE: Final = Layout("woocommerce", "WooCommerce", _is_woocommerce, _WOO, _woocommerce)
GOOGLE: Final = Layout(
    "google",
    "Google Merchant",
    has_columns("id", "title", "image_link", "availability|link|price"),
    COLUMNS_OF,
    product_rows,
)
TABLE: Final = Layout("table", "Table", lambda header, rows: True, COLUMNS_OF, product_rows)
LAYOUTS: Final = (SHOPIFY, WOOCOMMERCE, GOOGLE, TABLE)


def recognised(header: Sequence[str], rows: Sequence[Record]) -> Layout:
    """Returns the layout of a source by its header and its first rows; `TABLE` where it is none of the others."""
    return next(layout for layout in LAYOUTS if layout.recognise(header, rows))
