"""The values of feeds: prices, text in HTML, stock, colours, genders, categories."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from offline.dataset.amounts import price_of
from offline.dataset.cells import GENDER_OF_WORD
from offline.feeds import values
from offline.feeds.categories import category_of
from services.search.catalogue.products import Price


@pytest.mark.parametrize(
    ("text", "currency", "expected"),
    [
        ("19,99 €", None, Price("EUR", 19, 990_000_000)),
        ("USD 1,299.00", None, Price("USD", 1299)),
        ("1 299,00", "SEK", Price("SEK", 1299)),
        ("1\u202f299,00\u00a0€", None, Price("EUR", 1299)),
        ("1.234.567,89 EUR", None, Price("EUR", 1_234_567, 890_000_000)),
        ("1,49,999.00 INR", None, Price("INR", 149_999)),
        ("CHF 1'299.–", None, Price("CHF", 1299)),
        ("12.50 usd", "EUR", Price("USD", 12, 500_000_000)),
        ("1.299", "EUR", Price("EUR", 1299)),
        ("0.999", "EUR", Price("EUR", 0, 999_000_000)),
        ("1.299 KWD", None, Price("KWD", 1, 299_000_000)),
        ("$19.99", "CAD", Price("CAD", 19, 990_000_000)),
        ("0", "EUR", Price("EUR", 0)),
        # No price, no currency, or not the one that was named.
        ("19.99", None, None),
        ("$19.99", None, None),
        ("$19.99", "EUR", None),
        ("19.99 - 25.99 EUR", None, None),
        ("-5 EUR", None, None),
        ("on request", "EUR", None),
        ("12.345.6", "EUR", None),
        ("99999999999999999999 EUR", None, None),
        ("", "EUR", None),
    ],
)
def test_prices_are_read_as_people_and_programs_write_them(text: str, currency: str | None, expected: object) -> None:
    assert price_of(text, currency) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Soft &amp; warm<br>tee</p>", "Soft & warm tee"),
        ("&lt;b&gt;Bold&lt;/b&gt; tee", "Bold tee"),
        ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ("<script>alert(1)</script>Tee<style>p{}</style>", "Tee"),
        ("A < B & C", "A < B & C"),
        ("size <3 love", "size <3 love"),
        ("  two\n lines ", "two lines"),
    ],
)
def test_html_becomes_text(text: str, expected: str) -> None:
    assert values.plain_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in stock", True),
        ("in_stock", True),
        ("https://schema.org/OutOfStock", False),
        ("out of stock", False),
        ("preorder", True),
        ("backorder", True),
        ("auf Lager", True),
        ("nicht vorrätig", False),
        ("TRUE", True),
        ("0", False),
        ("perhaps", None),
    ],
)
def test_words_for_availability(text: str, expected: bool | None) -> None:
    assert values.in_stock(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("navy", "Navy Blue"),
        ("GRAY", "Grey"),
        ("schwarz", "Black"),
        ("Navy / White", "Navy Blue/White"),
        ("Space Dust", "Space Dust"),
    ],
)
def test_colours_are_spelt_as_in_the_table_of_families(text: str, expected: str) -> None:
    assert values.colour(text) == expected


def test_feeds_know_the_genders_of_every_table_and_more() -> None:
    for word, gender in GENDER_OF_WORD.items():
        assert values.gender_of_word(word) == gender
    assert [values.gender_of_word(word) for word in ("Women's", "Herren", "Unisex", "x")] == [
        "Women",
        "Men",
        "Unisex",
        None,
    ]
    # Each word stands in one place.
    assert not GENDER_OF_WORD.keys() & {word for spelt in values.known_words()["genders"].values() for word in spelt}


def test_a_shop_has_words_of_its_own() -> None:
    assert values.colour("Space Dust", {"space dust": "Grey"}) == "Grey"
    assert values.in_stock("perhaps", {"Perhaps": True}) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40", "40"),
        ("7.5", "7.5"),
        ("7,5", "7.5"),
        ("12.25", "12.25"),
        ("0.125", "0.125"),
        ("1.0625", "1.0625"),
        ("-2.5", "-2.5"),
        ("−0,75", "-0.75"),
        ("1,234.5", "1234.5"),
        ("1'234.5", "1234.5"),
        ("1_000", "1000"),
        ("1 234,5", "1234.5"),
        # One mark before exactly three digits parts thousands.
        ("1.125", "1125"),
        ("12.–", "12"),
        ("4,5 cm", "4.5"),
        ("7.5cm", "7.5"),
        ("-2.5 °C", "-2.5"),
        ("0.125 m²", "0.125"),
        ("1,234.5 g/m²", "1234.5"),
        ("50%", "50"),
        # No number, several, or one that nobody can tell.
        ("", None),
        ("flat", None),
        ("1.2.3", None),
        ("7.x", None),
        ("7.5 of some far too long unit", None),
    ],
)
def test_numbers_keep_their_decimals_with_a_unit_and_without(text: str, expected: str | None) -> None:
    assert values.decimal_of(text) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("2026-01-01T00:00+0100/2026-01-31T23:59+0100", True),
        ("2026-01-01/2026-01-15", True),
        ("2026-02-01T00:00Z/2026-03-01T00:00Z", False),
        ("2025-01-01T00:00Z / 2025-03-01T00:00Z", False),
        ("/2026-01-14", False),
        ("always", True),
    ],
)
def test_a_sale_has_its_time(interval: str, expected: bool) -> None:
    assert values.is_current(interval, datetime(2026, 1, 15, 12, tzinfo=UTC)) is expected


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("Apparel > Tops > T-Shirts", "", ("Apparel", "Topwear", "Tshirts")),
        ("Apparel & Accessories > Clothing > Shirts & Tops", "Blue Linen Shirt", ("Apparel", "Topwear", "Shirts")),
        ("Apparel & Accessories > Clothing > Shirts & Tops", "Nimbus", ("Apparel", "Topwear", "Tops")),
        ("212", "Cotton T-Shirt", ("Apparel", "Topwear", "Tshirts")),
        ("Women > Dresses > Midi", "", ("Apparel", "Dress", "Dresses")),
        ("Damen > Kleider", "", ("Apparel", "Dress", "Dresses")),
        ("Sale", "Red Sneakers with belt", ("Footwear", "Shoes", "Casual Shoes")),
        ("Mens/Tees", "", ("Apparel", "Topwear", "Tshirts")),
        # What joins several categories is as broad as all of them.
        ("Bags & Clutches", "Leather backpack", ("Accessories", "Bags", "Backpacks")),
        ("Bags & Clutches", "Leather handbag", ("Accessories", "Bags", "Handbags")),
        ("Bags & Clutches", "Nimbus", ("Accessories", "Bags", "Clutches")),
        ("Women > Bags and Backpacks", "Evening clutch", ("Accessories", "Bags", "Clutches")),
        ("Taschen & Clutches", "Rucksack", ("Accessories", "Bags", "Rucksacks")),
        ("Kleider und Röcke", "Sommerkleid, Kleid", ("Apparel", "Dress", "Dresses")),
        ("Jupes et pantalons", "Jupe longue", ("Apparel", "Bottomwear", "Skirts")),
        ("Faldas y vestidos", "Falda", ("Apparel", "Bottomwear", "Skirts")),
        ("Shoes, Belts + Bags", "Leather Boots", ("Footwear", "Shoes", "Formal Shoes")),
        ("Tops & Tees", "Cotton T-Shirt", ("Apparel", "Topwear", "Tshirts")),
        # A name chooses among the parts; another word of it is none of the path.
        ("Dresses & Skirts", "Shirt", ("Apparel", "Bottomwear", "Skirts")),
        ("Jeans & Trousers", "Belt bag", ("Apparel", "Bottomwear", "Trousers")),
        ("Gloves & Mittens", "Wool scarf", ("Accessories", "Gloves", "Gloves")),
        # The shop's own words, where none is known.
        ("Home & Garden > Decor", "Lamp", (None, "Home & Garden", "Decor")),
        ("Uncategorized", "Thing", None),
    ],
)
def test_category_paths_become_our_types(path: str, name: str, expected: tuple[str | None, str, str] | None) -> None:
    category = category_of([path], name)
    found = category and (category.master_category, category.sub_category, category.article_type)
    assert found == expected
