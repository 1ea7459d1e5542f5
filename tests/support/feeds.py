"""What the tests of feeds share: an item of Google Merchant, and a feed as products."""

from pathlib import Path
from typing import Any

from offline.dataset.rows import Dataset
from offline.feeds.mapping import FeedMapping
from offline.feeds.products import open_source
from services.search.catalogue.products import Price

EURO = FeedMapping(constants={"currency": "EUR"})
RSS = '<?xml version="1.0"?><rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>{}</channel></rss>'
TEE = {
    "id": "007",
    "title": "&lt;b&gt;Ladies&lt;/b&gt; Tee",
    "link": "https://shop.example/p/7",
    "image_link": "https://shop.example/7.jpg",
    "price": "29,99 EUR",
    "sale_price": "19,99 EUR",
    "availability": "in_stock",
    "product_type": "Apparel > Tops > T-Shirts",
    "gender": "female",
    "color": "navy",
    "item_group_id": "G1",
    "brand": "Junipero",
}

SHOPIFY = """\
Handle,Title,Body (HTML),Vendor,Type,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,\
Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,Variant Compare At Price,\
Image Src,Image Position,Variant Image,Gift Card,Status
tee,Men's Tee,<p>Soft</p>,Acme,T-Shirts,true,Color,Red,Size,S,0012,shopify,3,deny,19.99,29.99,https://s/r.jpg,1,,false,active
tee,,,,,,,Blue,,M,,shopify,0,deny,18.99,,https://s/b.jpg,2,https://s/b.jpg,,
tee,,,,,,,,,,,,,,,,https://s/x.jpg,3,,,
cap,Women Cap,,Acme,Caps,true,Title,Default Title,,,,,0,deny,9.99,,https://s/c.jpg,1,,false,draft
card,Gift card,,Acme,Gift Cards,true,Title,Default Title,,,,,,deny,10,,https://s/g.jpg,1,,true,active
bag,Women's Bag,,Acme,Bags,true,Title,Default Title,,,,,0,deny,9.99,,https://s/d.jpg,1,,false,active
"""
WOOCOMMERCE = """\
ID,Type,SKU,Name,Published,Visibility in catalog,In stock?,Sale price,Regular price,Categories,Images,Parent,\
Attribute 1 name,Attribute 1 value(s)
1,simple,,Men's Jeans,1,visible,1,,"49,99","Clothing > Jeans, Sale","https://s/1.jpg, https://s/2.jpg",,Color,Blue
2,variable,DR,Summer Dress,1,visible,1,,,Women > Dresses,https://s/3.jpg,,Color,"Red, Blue"
3,variation,DR-R,Summer Dress - Red,1,visible,1,19.99,29.99,,https://s/4.jpg,DR,Color,Red
4,variation,,Summer Dress - Blue,1,visible,0,,29.99,,,id:2,Color,Blue
5,grouped,GR,Set,1,visible,1,,,Women > Sets,https://s/5.jpg,,,
6,"simple, virtual",GC,Gift card,1,visible,1,,10,Gifts,,,,
7,variation,X,,1,visible,1,,5,,,id:99,Color,Red
8,simple,D,Women's Top,0,visible,1,,5,Tops,https://s/6.jpg,,,
"""


def item(**changes: str | None) -> str:
    values = {name: text for name, text in (TEE | changes).items() if text is not None}
    cells = (f"<g:{name}>{text.replace('>', '&gt;')}</g:{name}>" for name, text in values.items())
    return f"<item>{''.join(cells)}</item>"


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def opened(path: Path, mapping: FeedMapping = EURO, **options: Any) -> Dataset:
    return open_source(path, mapping=mapping, **options)


def reasons(dataset: Dataset, kind: str = "dropped") -> dict[int, str]:
    return {each.line: each.reason for each in dataset.report.findings if each.kind == kind}


def adds_up(dataset: Dataset) -> bool:
    read = dataset.report
    parts = (read.rows_kept, read.rows_dropped, read.rows_left_out, read.rows_merged)
    return read.rows_read == sum(parts) and read.rows_kept == len(dataset.rows)


def check_tee(dataset: Dataset) -> None:
    (row,) = dataset.rows
    assert (row.id, row.gender, row.name) == ("007", "Women", "Ladies Tee")
    assert (row.master_category, row.sub_category, row.article_type) == ("Apparel", "Topwear", "Tshirts")
    assert (row.base_colour, row.brand, row.parent_id) == ("Navy Blue", "Junipero", "G1")
    assert (row.price, row.in_stock) == (Price("EUR", 19, 990_000_000), True)
    assert (row.url, row.image_url) == ("https://shop.example/p/7", "https://shop.example/7.jpg")
    assert dataset.photograph_name("007") == "https://shop.example/7.jpg"
    assert {"price", "in_stock", "url", "parent_id", "base_colour"} <= set(dataset.fields)
    assert adds_up(dataset)


def notes(dataset: Dataset) -> list[str]:
    return [each.reason for each in dataset.report.findings if each.kind == "note"]
