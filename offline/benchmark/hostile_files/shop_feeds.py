"""The same products as feeds of every format that `fashion ingest` takes."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from xml.sax.saxutils import escape

from services.contract.values import Gender

_AGES: Final = MappingProxyType(
    {
        Gender.MEN: ("male", "adult"),
        Gender.WOMEN: ("female", "adult"),
        Gender.BOYS: ("male", "kids"),
        Gender.GIRLS: ("female", "kids"),
        Gender.UNISEX: ("unisex", "adult"),
    }
)
_NAMESPACE: Final = 'xmlns:g="http://base.google.com/ns/1.0"'


@dataclass(frozen=True, slots=True)
class ShopProduct:
    """What a shop knows of a product that it sells: `group` is shared by variants, `price` in cents of a euro."""

    id: str
    group: str
    name: str
    gender: Gender
    category: tuple[str, ...]
    colour: str
    price: int
    image: str

    @property
    def amount(self) -> str:
        """The price in euros, without the currency."""
        return f"{self.price // 100}.{self.price % 100:02}"


def _google(each: ShopProduct) -> dict[str, str]:
    gender, age = _AGES[each.gender]
    return {
        "id": each.id,
        "title": each.name,
        "image_link": each.image,
        "price": f"{each.amount} EUR",
        "availability": "in_stock",
        "product_type": " > ".join(each.category),
        "gender": gender,
        "age_group": age,
        "color": each.colour,
        "item_group_id": each.group,
    }


def _rss(products: Sequence[ShopProduct], path: Path, entry: str = "item") -> None:
    def fields(each: ShopProduct) -> str:
        return "".join(f"<g:{name}>{escape(text)}</g:{name}>" for name, text in _google(each).items())

    items = "".join(f"<{entry}>{fields(each)}</{entry}>" for each in products)
    if entry == "item":
        text = f'<rss version="2.0" {_NAMESPACE}><channel><title>Shop</title>{items}</channel></rss>'
    else:
        text = f'<feed xmlns="http://www.w3.org/2005/Atom" {_NAMESPACE}>{items}</feed>'
    path.write_text(text, encoding="utf-8")


def _table(rows: Iterable[dict[str, str]], path: Path, mark: str = ",") -> None:
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), delimiter=mark)
        writer.writeheader()
        writer.writerows(rows)


def _groups(products: Sequence[ShopProduct]) -> list[list[ShopProduct]]:
    groups: dict[str, list[ShopProduct]] = {}
    for each in products:
        groups.setdefault(each.group, []).append(each)
    return list(groups.values())


def _shopify(products: Sequence[ShopProduct], path: Path) -> None:
    rows: list[dict[str, str]] = []
    for group in _groups(products):
        for number, each in enumerate(group):
            gender, age = _AGES[each.gender]
            shared = {
                "Title": each.name,
                "Type": " > ".join(each.category),
                "Option1 Name": "Color",
                "Google Shopping / Gender": gender,
                "Google Shopping / Age Group": age,
                "Status": "active",
            }
            rows.append(
                {
                    "Handle": each.group,
                    **(shared if number == 0 else dict.fromkeys(shared, "")),
                    "Option1 Value": each.colour,
                    "Variant SKU": each.id,
                    "Variant Price": each.amount,
                    "Image Src": each.image,
                    "Variant Image": each.image,
                }
            )
    _table(rows, path)


def _woocommerce(products: Sequence[ShopProduct], path: Path) -> None:
    rows: list[dict[str, str]] = []
    for group in _groups(products):
        first = group[0]
        alone = len(group) == 1
        if not alone:
            rows.append(
                _woo(first, len(rows) + 1, "variable", first.group) | {"Regular price": "", "Attribute 1 value(s)": ""}
            )
        for each in group:
            row = _woo(each, len(rows) + 1, "simple" if alone else "variation", each.id)
            rows.append(row | ({} if alone else {"Parent": first.group}))
    _table(rows, path)


def _woo(each: ShopProduct, number: int, kind: str, sku: str) -> dict[str, str]:
    return {
        "ID": str(number),
        "Type": kind,
        "SKU": sku,
        "Name": each.name,
        "Published": "1",
        "In stock?": "1",
        "Regular price": each.amount,
        "Categories": " > ".join((each.gender.value, *each.category)),
        "Images": each.image,
        "Parent": "",
        "Attribute 1 name": "Color",
        "Attribute 1 value(s)": each.colour,
    }


def _plain(each: ShopProduct) -> dict[str, str]:
    return {
        "sku": each.id,
        "title": each.name,
        "gender": each.gender.value,
        "category": " > ".join(each.category),
        "colour": each.colour,
        "price": f"{each.amount.replace('.', ',')} €",
        "image": each.image,
        "group_id": each.group,
    }


def _json_lines(products: Sequence[ShopProduct], path: Path) -> None:
    path.write_text("".join(f"{json.dumps(_plain(each))}\n" for each in products), encoding="utf-8")


def _parquet(products: Sequence[ShopProduct], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows: list[dict[str, Any]] = [_plain(each) for each in products]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


# Format -> the name of its file, and what writes it.
WRITERS: Final[dict[str, tuple[str, Callable[[Sequence[ShopProduct], Path], None]]]] = {
    "Google, RSS": ("feed.xml", _rss),
    "Google, Atom": ("atom.xml", lambda products, path: _rss(products, path, "entry")),
    "Google, TSV": ("feed.tsv", lambda products, path: _table(map(_google, products), path, "\t")),
    "Google, CSV": ("feed.csv", lambda products, path: _table(map(_google, products), path)),
    "Shopify": ("products_export.csv", _shopify),
    "WooCommerce": ("wc-product-export.csv", _woocommerce),
    "CSV": ("shop.csv", lambda products, path: _table(map(_plain, products), path, ";")),
    "JSON Lines": ("shop.jsonl", _json_lines),
    "Parquet": ("shop.parquet", _parquet),
}
