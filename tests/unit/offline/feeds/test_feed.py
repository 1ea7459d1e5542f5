"""Feeds of every layout become products; what is odd about a row costs that row alone, and is named."""

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from offline.dataset.report import Finding
from offline.dataset.rows import Dataset
from offline.feeds.draft import draft
from offline.feeds.feed import feed_dataset, find_source, open_source, read_feed
from offline.feeds.mapping import FeedMapping, read_mapping
from offline.feeds.sync import missing_from, require_few
from services.contract.errors import InvalidInput
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


class TestGoogle:
    def test_rss(self, tmp_path: Path) -> None:
        dataset = opened(written(tmp_path / "feed", RSS.format(item())))
        check_tee(dataset)
        assert dataset.report.layout == "Google Merchant, XML"

    def test_atom(self, tmp_path: Path) -> None:
        entry = (
            item(link=None)
            .replace("item>", "entry>")
            .replace("<entry>", '<entry><link href="https://shop.example/p/7"/>')
        )
        feed = f'<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">{entry}</feed>'
        check_tee(opened(written(tmp_path / "feed.xml", feed)))

    @pytest.mark.parametrize(("mark", "suffix"), [("\t", "tsv"), (",", "csv"), ("\t", "csv"), (";", "txt")])
    def test_tables(self, tmp_path: Path, mark: str, suffix: str) -> None:
        cells = [f'"{text}"' for text in TEE.values()]
        header = mark.join(name.replace("_", " ") if mark == "\t" else name for name in TEE)
        dataset = opened(written(tmp_path / f"feed.{suffix}", f"{header}\n{mark.join(cells)}\n"))
        check_tee(dataset)
        assert dataset.report.layout == "Google Merchant"

    def test_a_feed_may_be_packed(self, tmp_path: Path) -> None:
        check_tee(opened(written(tmp_path / "feed.xml.gz", gzip.compress(RSS.format(item()).encode()))))

    @pytest.mark.parametrize(
        ("changes", "kind", "reason"),
        [({"gender": None}, "repaired", None), ({"gender": "robots"}, "repaired", "unknown gender 'robots'")],
    )
    def test_a_gender_that_nothing_names_stays_unknown(
        self, tmp_path: Path, changes: dict[str, str | None], kind: str, reason: str | None
    ) -> None:
        content = RSS.format(item(**changes, title="Tee"))
        dataset = opened(written(tmp_path / "feed.xml", content))
        (row,) = dataset.rows
        assert (row.gender, row.derived_type) == (None, "Tshirts")
        found = [each for each in reasons(dataset, kind).values() if "gender" in each]
        assert [each.startswith(reason or "?") for each in found] == ([] if reason is None else [True])
        # What the feed does not say is not taken away from products that are known.
        assert ("gender" in dataset.fields) == (reason is not None)

    @pytest.mark.parametrize(
        ("changes", "gender"),
        [
            ({"gender": "male", "age_group": "kids"}, "Boys"),
            ({"gender": "female", "age_group": "toddler"}, "Girls"),
            ({"gender": "unisex", "age_group": "adult"}, "Unisex"),
            ({"gender": None, "product_type": "Herren > T-Shirts", "title": "Tee"}, "Men"),
            ({"gender": None, "title": "Men's Tee"}, "Men"),
        ],
    )
    def test_gender_and_age_group_map_to_ours(
        self, tmp_path: Path, changes: dict[str, str | None], gender: str
    ) -> None:
        (row,) = opened(written(tmp_path / "feed.xml", RSS.format(item(**changes)))).rows
        assert row.gender == gender

    def test_a_sale_that_is_over_does_not_count(self, tmp_path: Path) -> None:
        over = item(sale_price_effective_date="2020-01-01T00:00Z/2020-02-01T00:00Z")
        (row,) = opened(written(tmp_path / "feed.xml", RSS.format(over))).rows
        assert row.price == Price("EUR", 29, 990_000_000)


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


class TestShopify:
    def test_one_product_stands_over_several_rows(self, tmp_path: Path) -> None:
        path = written(tmp_path / "products_export.csv", SHOPIFY)
        assert read_feed(path).summary == "Shopify, 6 rows, 2 products, 3 variants"
        dataset = opened(path)
        red, blue, bag = dataset.rows
        assert [row.id for row in dataset.rows] == ["0012", "tee-blue-m", "bag"]
        assert [row.parent_id for row in dataset.rows] == ["tee", "tee", None]
        assert [row.base_colour for row in dataset.rows] == ["Red", "Blue", None]
        assert [row.name for row in dataset.rows] == ["Men's Tee", "Men's Tee", "Women's Bag"]
        assert red.price == Price("EUR", 19, 990_000_000) and blue.price == Price("EUR", 18, 990_000_000)
        # Nobody counts the bags, so none can run out.
        assert [row.in_stock for row in dataset.rows] == [True, False, True]
        assert [dataset.photograph_name(row.id)[-5:] for row in dataset.rows] == ["r.jpg", "b.jpg", "d.jpg"]
        assert reasons(dataset, "left out") == {5: "the product's status is draft", 6: "the product is a gift card"}
        assert bag.gender == "Women" and dataset.report.rows_merged == 1 and adds_up(dataset)
        assert "base_colour" in dataset.fields and "url" not in dataset.fields

    def test_the_new_names_of_its_columns(self, tmp_path: Path) -> None:
        names = {
            "Handle,Title,Body (HTML)": "URL handle,Title,Description",
            "Published": "Published on online store",
            "Option1 Name,Option1 Value": "Option1 name,Option1 value",
            "Variant SKU": "SKU",
            "Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy": (
                "Inventory tracker,Inventory quantity,Continue selling when out of stock"
            ),
            "Variant Price,Variant Compare At Price": "Price,Compare-at price",
            "Image Src,Image Position,Variant Image": "Product image URL,Image position,Variant image URL",
        }
        header, _, rows = SHOPIFY.replace(",deny,", ",FALSE,").partition("\n")
        for old, new in names.items():
            assert old in header
            header = header.replace(old, new)
        old = opened(written(tmp_path / "old.csv", SHOPIFY))
        new = opened(written(tmp_path / "new.csv", f"{header}\n{rows}"))
        assert new.rows == old.rows and new.report.layout == "Shopify"

    def test_prices_without_a_currency_are_left_out_and_said(self, tmp_path: Path) -> None:
        dataset = opened(written(tmp_path / "a.csv", SHOPIFY), FeedMapping())
        assert [row.price for row in dataset.rows] == [None] * 3
        assert any("3 prices name no currency" in note for note in _notes(dataset))


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


class TestWooCommerce:
    def test_variations_take_from_their_parent_what_they_lack(self, tmp_path: Path) -> None:
        dataset = opened(written(tmp_path / "wc.csv", WOOCOMMERCE))
        jeans, red, blue = dataset.rows
        assert [row.id for row in dataset.rows] == ["1", "DR-R", "4"]
        assert (red.parent_id, blue.parent_id, jeans.parent_id) == ("DR", "DR", None)
        assert (red.gender, red.article_type, red.base_colour) == ("Women", "Dresses", "Red")
        assert (red.price, blue.price) == (Price("EUR", 19, 990_000_000), Price("EUR", 29, 990_000_000))
        assert (red.in_stock, blue.in_stock) == (True, False)
        assert dataset.photograph_name("4") == "https://s/3.jpg"
        assert jeans.price == Price("EUR", 49, 990_000_000) and dataset.photograph_name("1") == "https://s/1.jpg"
        assert set(reasons(dataset, "left out")) == {6, 7, 9}
        assert "grouped" in reasons(dataset, "left out")[6] and "virtual" in reasons(dataset, "left out")[7]
        assert reasons(dataset) == {8: "its parent 'id:99' is not in the feed"}
        assert dataset.report.rows_merged == 1 and dataset.report.layout == "WooCommerce" and adds_up(dataset)

    def test_headers_of_another_language_by_a_mapping(self, tmp_path: Path) -> None:
        header = "Nr,Typ,Kennung,Bezeichner,Sparte,Fotos,Mutter,Kosten,Ton"
        rows = '2,variable,DR,Kleid,Damen > Kleider,https://s/3.jpg,,,\n3,variation,,Kleid rot,,,DR,"9,99",rot\n'
        toml = """
[columns]
number = "Nr"
id = "Kennung"
name = "Bezeichner"
category = "Sparte"
image = "Fotos"
parent = "Mutter"
price = "Kosten"
color = "Ton"
[constants]
currency = "EUR"
"""
        mapping = read_mapping(written(tmp_path / "m.toml", toml))
        dataset = opened(written(tmp_path / "wc.csv", f"{header}\n{rows}"), mapping)
        (row,) = dataset.rows
        assert (row.id, row.parent_id, row.base_colour, row.article_type) == ("3", "DR", "Red", "Dresses")
        assert dataset.report.layout == "WooCommerce"


ROWS = [
    {
        "sku": "0012",
        "title": "Hemd",
        "kategorie": "Herren > Hemden",
        "farbe": "weiß",
        "preis": "1.299,00",
        "bild": "a.png",
    },
    {"sku": "0013", "title": "Hose", "kategorie": "Herren > Hosen", "farbe": "", "preis": "49", "bild": "images/b.png"},
]


def check_rows(dataset: Dataset) -> None:
    assert [row.id for row in dataset.rows] == ["0012", "0013"]
    assert [row.article_type for row in dataset.rows] == ["Shirts", "Trousers"]
    assert [row.price for row in dataset.rows] == [Price("EUR", 1299), Price("EUR", 49)]
    assert [dataset.photograph(row.id) for row in dataset.rows] == [b"a", b"b"]
    assert dataset.report.layout.startswith("Table") and adds_up(dataset)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    written(tmp_path / "a.png", b"a")
    written(tmp_path / "images" / "b.png", b"b")
    return tmp_path


class TestAnyColumns:
    def test_csv(self, folder: Path) -> None:
        lines = [";".join(ROWS[0]), *(";".join(row.values()) for row in ROWS)]
        written(folder / "shop.csv", "\n".join(lines) + "\n")
        check_rows(opened(find_source(folder)))

    def test_json_lines(self, folder: Path) -> None:
        check_rows(opened(written(folder / "shop.jsonl", "\n".join(map(json.dumps, ROWS)))))

    def test_json_list_under_a_name(self, folder: Path) -> None:
        check_rows(opened(written(folder / "shop.json", json.dumps({"total": 2, "products": ROWS}, indent=1))))

    def test_parquet(self, folder: Path) -> None:
        content = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), content)
        check_rows(opened(written(folder / "shop.parquet", content.getvalue())))

    def test_nested_columns_and_numbers_of_parquet(self, folder: Path) -> None:
        nested = [
            {
                "id": 7,
                "title": "Shirt",
                "category": "Men > Shirts",
                "price": {"amount": 1.299, "currency": "usd"},
                "images": [{"src": "a.png"}, {"src": "b.png"}],
                "available": False,
                "sizes": ["S", "M"],
            }
        ]
        content = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(nested), content)
        (row,) = opened(written(folder / "shop.parquet", content.getvalue()), FeedMapping()).rows
        assert (row.id, row.price, row.in_stock) == ("7", Price("USD", 1, 299_000_000), False)

    def test_a_format_may_be_named(self, tmp_path: Path) -> None:
        path = written(tmp_path / "products_export.csv", SHOPIFY)
        assert opened(path, layout="table").report.layout == "Table"

    def test_photographs_stay_within_the_folder_of_the_feed(self, folder: Path) -> None:
        (folder / "feed").mkdir()
        rows = [{**ROWS[0], "bild": "../a.png"}, {**ROWS[1], "bild": str(folder / "a.png")}]
        dataset = opened(written(folder / "feed" / "shop.jsonl", "\n".join(map(json.dumps, rows))))
        assert not dataset.rows and dataset.report.dropped_reasons == {"no photograph": 2}


class TestMapping:
    @pytest.mark.parametrize("content", [SHOPIFY, WOOCOMMERCE, RSS.format(item() + item(id="8", color="Space Dust"))])
    def test_the_draft_runs_as_it_is(self, tmp_path: Path, content: str) -> None:
        path = written(tmp_path / "feed", content)
        mapping = read_mapping(written(tmp_path / "m.toml", draft(read_feed(path))))
        plain, mapped = feed_dataset(read_feed(path)), feed_dataset(read_feed(path, mapping), mapping)
        assert mapped.rows == plain.rows and plain.rows and mapped.fields == plain.fields

    def test_it_says_what_words_and_columns_mean(self, tmp_path: Path) -> None:
        toml = """
[columns]
title = "Was"
id = ["Nr"]
category = "Art"
image_url = "https://shop.example/{Nr}.jpg"
gender = "Für"
color = "Ton"
availability = "Da"
[constants]
brand = "Junipero"
[genders]
"SIE" = "Women"
[colours]
"Space Dust" = "Grey"
[categories]
"Obenrum > Leicht" = ["Apparel", "Topwear", "Tops"]
[availability]
"klar" = true
"""
        mapping = read_mapping(written(tmp_path / "m.toml", toml))
        path = written(tmp_path / "t.csv", "Nr,Was,Art,Für,Ton,Da\n01,Ding,obenrum >  leicht,sie,SPACE DUST,Klar\n")
        dataset = opened(path, mapping)
        (row,) = dataset.rows
        assert (row.gender, row.base_colour, row.brand, row.in_stock) == ("Women", "Grey", "Junipero", True)
        assert (row.master_category, row.sub_category, row.article_type) == ("Apparel", "Topwear", "Tops")
        assert dataset.photograph_name("01") == "https://shop.example/01.jpg"

    @pytest.mark.parametrize(
        ("toml", "reason", "named"),
        [
            ('[columns]\ncolour = "Farbbe"', "MAPPING_COLUMN_UNKNOWN", '"farbe"'),
            ('[columns]\ncolur = "farbe"', "MAPPING_INVALID", '"colour"'),
            ('[genders]\n"damen" = "Woman"', "MAPPING_INVALID", '"Women"'),
            ('[categories]\n"a" = "Tshirts"', "MAPPING_INVALID", "subCategory"),
            ('format = "shopfy"', "MAPPING_INVALID", '"shopify"'),
            ("[columns", "MAPPING_INVALID", "TOML"),
        ],
    )
    def test_what_is_not_there_is_named_with_the_nearest(
        self, folder: Path, toml: str, reason: str, named: str
    ) -> None:
        path = written(folder / "shop.jsonl", "\n".join(map(json.dumps, ROWS)))
        with pytest.raises(InvalidInput) as refused:
            opened(path, read_mapping(written(folder / "m.toml", toml)))
        assert refused.value.reason == reason and named in refused.value.message


def _notes(dataset: Dataset) -> list[str]:
    return [each.reason for each in dataset.report.findings if each.kind == "note"]


class TestBadInput:
    def test_a_feed_cut_in_the_middle_gives_what_comes_before(self, tmp_path: Path) -> None:
        whole = RSS.format(item() + item(id="8"))
        dataset = opened(written(tmp_path / "feed.xml", whole[:-60]))
        assert [row.id for row in dataset.rows] == ["007"] and not dataset.report.complete
        assert any("cut off after item 1" in note for note in _notes(dataset))
        with pytest.raises(InvalidInput) as refused:
            require_few(dataset, 1, 1000)
        assert refused.value.reason == "SYNC_REFUSED"

    @pytest.mark.parametrize("end", ["\n0014;Ho", '\n0014;"Ho'])
    def test_a_table_cut_in_the_middle(self, folder: Path, end: str) -> None:
        lines = [";".join(ROWS[0]), *(";".join(row.values()) for row in ROWS)]
        dataset = opened(written(folder / "shop.csv", "\n".join(lines) + end))
        assert [row.id for row in dataset.rows] == ["0012", "0013"] and not dataset.report.complete

    def test_json_lines_cut_in_the_middle(self, folder: Path) -> None:
        dataset = opened(written(folder / "shop.jsonl", "\n".join(map(json.dumps, ROWS)) + '\n{"sku": "0014", "ti'))
        assert [row.id for row in dataset.rows] == ["0012", "0013"] and not dataset.report.complete
        assert set(reasons(dataset)) == {3}

    @pytest.mark.parametrize("layout", ["xml", "csv", "jsonl"])
    def test_a_packed_feed_cut_in_the_middle(self, tmp_path: Path, layout: str) -> None:
        # What is random cannot be packed, so that much of it comes before the cut.
        texts = [f"Tee {random.Random(number).randbytes(60).hex()}" for number in range(2000)]
        if layout == "xml":
            content = RSS.format("".join(item(id=f"{each}", title=text) for each, text in enumerate(texts)))
        elif layout == "csv":
            rows = (f"{each},{text},Women > Tops,https://s/1.jpg,10.00 EUR" for each, text in enumerate(texts))
            content = "\n".join(["id,title,category,image,price", *rows])
        else:
            content = "\n".join(
                json.dumps({"id": each, "title": text, "category": "Women > Tops", "image": "https://s/1.jpg"})
                for each, text in enumerate(texts)
            )
        packed = gzip.compress(content.encode())
        dataset = opened(written(tmp_path / "feed.gz", packed[: len(packed) // 2]))
        ids = [row.id for row in dataset.rows]
        assert 500 < len(ids) < 1500 and ids == [str(number) for number in range(len(ids))]
        assert not dataset.report.complete and adds_up(dataset)
        assert any("the packed file is cut off" in note for note in _notes(dataset))
        if layout == "csv":
            assert {row.price for row in dataset.rows} == {Price("EUR", 10)}
        with pytest.raises(InvalidInput):
            require_few(dataset, 1, 100_000)

    def test_each_odd_row_is_named_and_the_rest_comes_in(self, tmp_path: Path) -> None:
        rows = (
            item()
            + item()
            + item(id=None)
            + item(id="p", price="much", sale_price=None)
            + item(id="w s")
            + item(id="c", product_type=None, title="Ladies")
            + item(id="i", image_link=None)
            + item(id="a", availability="perhaps", link="javascript:alert(1)")
        )
        dataset = opened(written(tmp_path / "feed.xml", RSS.format(rows)))
        assert [row.id for row in dataset.rows] == ["007", "p", "w-s", "a"]
        assert set(reasons(dataset)) == {2, 3, 6, 7}
        assert "duplicate id 007" in reasons(dataset)[2]
        assert reasons(dataset, "repaired") == {
            4: "price 'much' is no price: left out",
            5: "white space in the id 'w s': read as w-s",
            8: "url 'javascript:alert(1)' is no URL that a product can have: left out; "
            "availability 'perhaps' is not understood: left out",
        }
        assert adds_up(dataset)

    @pytest.mark.parametrize(
        "content", [SHOPIFY, WOOCOMMERCE, "id,title,category,image\n1,Men,Shirts,https://s/1.jpg\n"]
    )
    def test_a_row_with_too_many_cells_is_named_rather_than_shifted(self, tmp_path: Path, content: str) -> None:
        sound = opened(written(tmp_path / "sound.csv", content))
        width = len(content.splitlines()[0].split(","))
        dataset = opened(written(tmp_path / "odd.csv", content + ",".join(["x"] * (width + 2))))
        assert dataset.report.complete
        line = content.count("\n") + 1
        assert dataset.rows == sound.rows and adds_up(dataset)
        assert f"too many fields: {width + 2} of {width}" in reasons(dataset)[line]

    def test_a_column_twice_is_said(self, folder: Path) -> None:
        written(folder / "shop.csv", "sku,title,category,image,title\n1,Shirt,Men > Shirts,a.png,Other\n")
        dataset = opened(folder / "shop.csv")
        assert dataset.rows[0].name == "Shirt"
        assert (
            Finding(0, "", "note", "the column title stands more than once: the first is read")
            in dataset.report.findings
        )

    @pytest.mark.parametrize(
        "declaration",
        [
            '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>',
            '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]>',
        ],
    )
    def test_entities_are_refused(self, tmp_path: Path, declaration: str) -> None:
        feed = RSS.format(item()).replace("?>", f"?>{declaration}", 1)
        with pytest.raises(InvalidInput) as refused:
            opened(written(tmp_path / "feed.xml", feed))
        assert refused.value.reason == "FEED_UNSAFE"

    @pytest.mark.parametrize(
        "content", [b"", b"just text", b"<html><body></body></html>", b"{]", b"PAR1 not", b"\x1f\x8b broken"]
    )
    def test_what_is_no_feed_is_refused(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(InvalidInput):
            opened(written(tmp_path / "feed", content))

    def test_a_faulty_row_does_not_take_its_product_away(self, tmp_path: Path) -> None:
        rows = item() + item(id="8", product_type=None, title="Ladies")
        dataset = opened(written(tmp_path / "feed.xml", RSS.format(rows)))
        assert missing_from(dataset, ["007", "8", "9"]) == ("9",)
        require_few(dataset, 1, 5)
        with pytest.raises(InvalidInput, match=r"1 of 4 products, more than 20%"):
            require_few(dataset, 1, 4)
