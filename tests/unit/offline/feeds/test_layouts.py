"""Feeds of the shops become products: Google Merchant, Shopify and WooCommerce."""

import gzip
from pathlib import Path

import pytest

from offline.feeds.feed import read_feed
from offline.feeds.mapping import FeedMapping, read_mapping
from services.search.catalogue.products import Price
from tests.support.feeds import (
    RSS,
    SHOPIFY,
    TEE,
    WOOCOMMERCE,
    adds_up,
    check_tee,
    item,
    notes,
    opened,
    reasons,
    written,
)


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
        assert any("3 prices name no currency" in note for note in notes(dataset))


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
