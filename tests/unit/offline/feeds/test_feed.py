"""Tables of any columns become products by a mapping; what is odd about a row costs that row alone, and is named."""

import gzip
import io
import json
import random
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from offline.dataset.report import Finding
from offline.dataset.rows import Dataset
from offline.feeds.draft import draft
from offline.feeds.feed import find_source, read_feed
from offline.feeds.mapping import FeedMapping, read_mapping
from offline.feeds.products import feed_dataset
from offline.feeds.sync import missing_from, require_few
from services.contract.errors import InvalidInput
from services.search.catalogue.products import Price
from tests.support.feeds import RSS, SHOPIFY, WOOCOMMERCE, adds_up, item, notes, opened, reasons, written

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


class TestBadInput:
    def test_a_feed_cut_in_the_middle_gives_what_comes_before(self, tmp_path: Path) -> None:
        whole = RSS.format(item() + item(id="8"))
        dataset = opened(written(tmp_path / "feed.xml", whole[:-60]))
        assert [row.id for row in dataset.rows] == ["007"] and not dataset.report.complete
        assert any("cut off after item 1" in note for note in notes(dataset))
        with pytest.raises(InvalidInput) as refused:
            require_few(dataset, 1, 1000)
        assert refused.value.reason == "SYNC_REFUSED"

    @pytest.mark.parametrize("end", ["\n0014;Ho", '\n0014;"Ho'])
    def test_a_table_cut_in_the_middle(self, folder: Path, end: str) -> None:
        lines = [";".join(ROWS[0]), *(";".join(row.values()) for row in ROWS)]
        dataset = opened(written(folder / "shop.csv", "\n".join(lines) + end))
        assert [row.id for row in dataset.rows] == ["0012", "0013"] and not dataset.report.complete

    @pytest.mark.parametrize(
        ("header", "row"),
        [
            ("id\ttitle\timage\ttype\tavailability\tprice", "{}\t{}\ta.png\tShirts\tin stock\t5 EUR"),
            ("id;title;type;image;price", "{};{};Shirts;a.png;5 EUR"),
            ('"id","title","type","image","price"', '"{}","{}","Shirts","a.png","5 EUR"'),
            ('"id","image","type","title","notes"', '"{}","a.png","Shirts","{}","one\ntwo\nthree"'),
            ("ID,Type,Name,Categories,Images,In stock?,Regular price", "{},simple,{},Shirts,a.png,1,5"),
            ("Handle,Title,Type,Variant SKU,Image Src,Published,Variant Price", "{0},{1},Shirts,{0},a.png,true,5"),
        ],
        ids=["tab", "semicolon", "quotes", "a cell of several lines", "WooCommerce", "Shopify"],
    )
    def test_the_row_within_which_a_table_is_cut_off_is_no_row(self, folder: Path, header: str, row: str) -> None:
        rows, last = (
            "\n".join(row.format(each, "Hemd") for each in ("0010", "0011", "0012")),
            row.format("0013", "Hose"),
        )
        # From the last mark on, the row may be whole: its last cell empty, or without quotes that have to be closed.
        mark = max(map(last.rfind, "\t;,"))
        for end in (*range(1, mark + 1), *(range(mark + 2, len(last)) if last.endswith('"') else ())):
            if last[end - 1] == "\n":
                continue
            dataset = opened(written(folder / "shop.csv", f"{header}\n{rows}\n{last[:end]}"))
            assert [row.id for row in dataset.rows] == ["0010", "0011", "0012"], last[:end]
            assert not dataset.report.complete and adds_up(dataset), last[:end]

    def test_the_row_within_which_a_table_is_cut_off_is_named(self, folder: Path) -> None:
        lines = ["id;title;type;image;price", "0012;Hemd;Shirts;a.png;5 EUR", "0013;Hose;Pants;a.png"]
        dataset = opened(written(folder / "shop.csv", "\n".join(lines)))
        assert reasons(dataset) == {3: "the table is cut off within this row"}
        assert [each.id for each in dataset.report.findings if each.kind == "dropped"] == ["0013"]
        assert "the table seems cut off: its last row, line 3, is not whole" in notes(dataset)

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
        assert any("the packed file is cut off" in note for note in notes(dataset))
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

    def test_a_cell_that_is_cut_off_counts_once(self, tmp_path: Path) -> None:
        """The title is read as the name and within the address of the photograph."""
        written(tmp_path / "a.png", b"a")
        rows = "".join(f"{number};{'a' * length};Shirts\n" for number, length in enumerate((40_000, 5, 40_000)))
        path = written(tmp_path / "shop.csv", f"id;title;category\n{rows}")
        feed = read_feed(path, FeedMapping(columns={"name": ("Title",), "image": ("{title}.png",)}))
        assert feed.notes == ("cells of the column title with more than 32,768 characters, cut off: 2",)

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
