"""The items of a feed: its rows in our fields, by the names of its columns."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from offline.dataset.table import Record
from offline.feeds.attributes import KNOWN_COLUMNS, attribute_name
from offline.feeds.values import key
from services.contract.attributes import OWN_PREFIX

Verdict = Literal["product", "merged", "left out"]

# Field -> names of its columns, the most telling first, whatever their case, accents and marks. A field that may have
# several values takes the first column that has one; `category` takes all.
COLUMNS_OF: Final = MappingProxyType(
    {
        "id": (
            "id", "sku", "variant_sku", "product_id", "item_id", "offer_id", "article_number", "article_id",
            "artikelnummer", "artikel_nr", "artnr", "produkt_id", "référence", "reference", "referencia", "codice",
            "artikelcode", "product_code", "code", "uid", "gtin", "ean",
        ),
        "name": (
            "title", "name", "product_name", "productdisplayname", "product_title", "produktname", "artikelname",
            "bezeichnung", "titel", "nom", "titre", "nombre", "título", "nome", "titolo", "naam",
        ),
        "category": (
            "product_type", "category_path", "categories", "category", "product_category", "google_product_category",
            "google shopping / google product category", "type", "kategorie", "kategorien", "kategoriepfad",
            "produkttyp", "warengruppe", "catégorie", "catégories", "categoría", "categorías", "categoria",
            "categorie", "fb_product_category", "department", "tags_category",
        ),
        "master_category": ("master_category",),
        "sub_category": ("sub_category",),
        "article_type": ("article_type",),
        "gender": (
            "gender", "target_gender", "google shopping / gender", "geschlecht", "genre", "sexe", "género", "sexo",
            "genere", "geslacht", "sex",
        ),
        "age_group": ("age_group", "google shopping / age group", "altersgruppe", "age"),
        "colour": (
            "base_colour", "base_color", "colour", "color", "main_colour", "main_color", "colour_name", "color_name",
            "color (product.metafields.shopify.color-pattern)", "farbe", "grundfarbe", "couleur", "colore", "kleur",
        ),
        "brand": (
            "brand", "brands", "vendor", "manufacturer", "marke", "marken", "hersteller", "marque", "marca", "merk",
            "designer", "brand_name", "brand.name",
        ),
        "season": ("season", "saison", "temporada", "stagione", "seizoen"),
        "year": ("year", "jahr", "année", "año", "anno", "jaar"),
        "usage": ("usage", "occasion", "anlass"),
        "url": (
            "link", "url", "product_url", "canonical_url", "permalink", "product_link", "deeplink", "produkt_url",
            "handle_url", "external_url",
        ),
        "image": (
            "image_link", "image_url", "image", "images", "image_src", "picture", "photo", "photograph", "bild",
            "bilder", "bild_url", "image_1", "main_image", "main_image_url", "picture_url", "images.src", "image.src",
            "image.url", "images.url", "imagen", "immagine", "afbeelding", "photo_url", "thumbnail",
        ),
        "further_images": (
            "additional_image_link", "additional_image_links", "additional_images", "additional_image", "more_images",
            "further_images", "other_images", "gallery", "gallery_images", "images", "images.src", "images.url",
            "bilder", "weitere_bilder",
            *(f"{name}_{number}" for number in range(1, 9) for name in ("additional_image_link", "additional_image")),
            *(
                f"{name}_{number}"
                for number in range(2, 10)
                for name in ("image", "image_url", "image_link", "picture", "photo", "bild")
            ),
        ),
        "price": (
            "price", "regular_price", "list_price", "price.amount", "price.value", "preis", "verkaufspreis", "prix",
            "precio", "prezzo", "prijs", "rrp", "uvp",
        ),
        "sale_price": (
            "sale_price", "special_price", "offer_price", "discounted_price", "angebotspreis", "aktionspreis",
            "prix_promo", "precio_oferta", "prezzo_scontato", "actieprijs",
        ),
        "sale_dates": ("sale_price_effective_date",),
        "currency": (
            "currency", "currency_code", "price.currency", "price.currency_code", "währung", "devise", "moneda",
            "valuta",
        ),
        "availability": (
            "availability", "in_stock", "is_in_stock", "stock_status", "available", "verfügbarkeit", "disponibilité",
            "disponibilidad", "disponibilità", "beschikbaarheid", "vorrätig", "lieferbar",
        ),
        "stock": ("stock", "quantity", "inventory", "stock_quantity", "qty", "inventory_quantity", "bestand", "lager"),
        "parent": ("item_group_id", "parent_id", "parent_sku", "group_id", "style_id", "parent", "model_id"),
        **KNOWN_COLUMNS,
    }
)  # fmt: skip


COLOUR_NAMES: Final = frozenset(map(key, COLUMNS_OF["colour"]))
# More than any cell that is read needs: eight long addresses, or all own attributes of a product.
MAX_CELL: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a source in the fields of `COLUMNS_OF`.

    Attributes:
        line: its place in the source.
        values: its cells by field; `category` has a value per path.
        repairs: what was odd about it.
        verdict: "merged" rows say more of others; those "left out" the shop does not offer.
        left_out_for: why it is left out.
        product: what its shop counts it to; variants of a product share it.
        fault: why it cannot be read at all.
    """

    line: int
    values: Mapping[str, Sequence[str]]
    repairs: tuple[str, ...] = ()
    verdict: Verdict = "product"
    left_out_for: str = ""
    product: str = ""
    fault: str = ""

    def first(self, name: str) -> str:
        """Returns the first value of a field; empty where it has none."""
        return next(iter(self.values.get(name, ())), "")


class Columns:
    """Which columns of a source hold which field."""

    def __init__(
        self,
        header: Sequence[str],
        aliases: Mapping[str, Sequence[str]],
        own: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Takes the names of the columns.

        Args:
            header: the columns of the source.
            aliases: names of columns by field.
            own: the shop's own columns by field, which stand for the names; a text with "{column}" is a template.
        """
        # The lines of cells that were too long, by column: a cell may be read for several fields.
        self._cut: defaultdict[str, set[int]] = defaultdict(set)
        self.names = tuple(header)
        self.places = {key(plain_name(name)): place for place, name in reversed(list(enumerate(header)))}
        self._exact = {name: place for place, name in reversed(list(enumerate(header)))}
        self.of: dict[str, list[str]] = {}
        for name in {*aliases, *(own or {})}:
            columns = (own or {}).get(name)
            if columns is None:
                alike = (self.places.get(key(plain_name(alias))) for alias in aliases[name])
                columns = [header[place] for place in dict.fromkeys(alike) if place is not None]
            if columns:
                self.of[name] = list(columns)
        for column in header:
            name = _own_field(column)
            if name and name not in self.of and name not in (own or {}):
                self.of[name] = [column]

    def place(self, column: str) -> int | None:
        """Returns the place of a column, whatever its case, accents and marks; None where the source lacks it."""
        return self._exact.get(column, self.places.get(key(plain_name(column))))

    def value(self, record: Record, column: str) -> str:
        """Returns a cell, or what a template makes of cells; empty where the row or the source lacks it."""
        if "{" in column:
            parts = re.findall(r"\{([^{}]+)\}", column)
            cells = {part: self.value(record, part) for part in parts}
            return re.sub(r"\{([^{}]+)\}", lambda part: cells[part[1]], column) if all(cells.values()) else ""
        place = self.place(column)
        cell = record.cells[place].strip() if place is not None and place < len(record.cells) else ""
        if place is not None and len(cell) > MAX_CELL:
            self._cut[self.names[place]].add(record.line)
        return cell[:MAX_CELL]

    def notes(self) -> list[str]:
        """Returns what was cut off in the rows that were read."""
        return [
            f"cells of the column {column[:128]} with more than {MAX_CELL:,} characters, cut off: {len(lines):,}"
            for column, lines in self._cut.items()
        ]

    def values(self, record: Record) -> dict[str, list[str]]:
        """Returns the cells of a row by field, without empty ones."""
        by_field = ((name, [self.value(record, column) for column in columns]) for name, columns in self.of.items())
        return {name: own for name, cells in by_field if (own := [cell for cell in cells if cell])}


def _own_field(column: str) -> str:
    """Returns the field of a column that is an own attribute by its name; empty for another."""
    if column.startswith(OWN_PREFIX):
        name = attribute_name(column.removeprefix(OWN_PREFIX))
    else:
        # Metafields that a shop fills itself; those of apps have other names.
        match = re.fullmatch(r"(.+) \(product\.metafields\.(?:shopify|custom)\.[^.()]+\)", column)
        name = attribute_name(match[1]) if match and key(plain_name(column)) not in COLOUR_NAMES else ""
    return f"{OWN_PREFIX}{name}" if name else ""


def plain_name(name: str) -> str:
    """Returns a column's name without Google's prefix and what templates of its sheets add in brackets."""
    return name.strip().removeprefix("g:")


Reader = Callable[[Iterable[Record], Columns], Iterator[Item]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout of feeds.

    Attributes:
        name: as `--format` names it.
        title: as people name it.
        recognise: tells whether a header, and the first rows below it, are of this layout.
        aliases: names of columns by field.
        read: makes items of rows.
    """

    name: str
    title: str
    recognise: Callable[[Sequence[str], Sequence[Record]], bool]
    aliases: Mapping[str, Sequence[str]]
    read: Reader


def has_columns(*groups: str) -> Callable[[Sequence[str], Sequence[Record]], bool]:
    """Recognises a header that has a column of each group; a group names columns that mean the same."""

    def recognise(header: Sequence[str], rows: Sequence[Record]) -> bool:
        known = {key(plain_name(name)) for name in header}
        return all(any(key(name) in known for name in group.split("|")) for group in groups)

    return recognise


def product_rows(records: Iterable[Record], columns: Columns) -> Iterator[Item]:
    """Reads a row as a product."""
    for record in records:
        values = columns.values(record)
        fault = record.fault or ("; ".join(record.repairs) if not values else "")
        product = next(iter(values.get("parent", ()) or values.get("id", ())), f"{record.line}")
        yield Item(record.line, values, record.repairs, product=product, fault=fault)
