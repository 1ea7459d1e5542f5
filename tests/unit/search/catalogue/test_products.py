"""Which rows are accepted as products, and what is wrong with the others."""

from typing import Any

import pytest

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.products import Price, Product, is_identifier, validate_product

GOOD: dict[str, Any] = {"id": "15970", "gender": Gender.MEN, "sub_category": "Topwear", "article_type": "Shirts"}
FULL: dict[str, Any] = GOOD | {
    "master_category": "Apparel",
    "base_colour": "Navy Blue",
    "brand": "Harbour",
    "season": "Fall",
    "year": 2011,
    "usage": "Casual",
    "name": "Turtle Check Men’s Navy Blue Shirt",
    "url": "https://shop.example/p/15970?ref=a&b=%20",
    "image_url": "http://cdn.example:8080/15970.jpg",
    "price": Price("EUR", 0, 999_999_999),
    "in_stock": False,
    "parent_id": "parent-1",
}


def test_keeps_all_that_is_sent() -> None:
    product = validate_product(**FULL)
    assert product == Product(**FULL)
    assert (product.derived_type, product.available) == ("Men Shirts", False)


def test_invents_nothing_for_what_is_unknown() -> None:
    product = validate_product(**GOOD)
    assert all(getattr(product, name) is None for name in FULL.keys() - GOOD.keys())
    assert product.available


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"id": ""}, "PRODUCT_ID_INVALID", "id"),
        ({"id": "a b"}, "PRODUCT_ID_INVALID", "id"),
        ({"id": "a\u00a0b"}, "PRODUCT_ID_INVALID", "id"),
        ({"id": "a\n"}, "PRODUCT_ID_INVALID", "id"),
        ({"id": "a" * 129}, "PRODUCT_ID_INVALID", "id"),
        ({"id": "\ud800"}, "PRODUCT_ID_INVALID", "id"),
        ({"parent_id": ""}, "PRODUCT_ID_INVALID", "parent_id"),
        ({"sub_category": ""}, "SUB_CATEGORY_MISSING", "sub_category"),
        ({"sub_category": None}, "SUB_CATEGORY_MISSING", "sub_category"),
        ({"article_type": " "}, "ARTICLE_TYPE_MISSING", "article_type"),
        ({"article_type": "x" * 129}, "LABEL_INVALID", "article_type"),
        ({"base_colour": ""}, "LABEL_INVALID", "base_colour"),
        ({"brand": " "}, "LABEL_INVALID", "brand"),
        ({"brand": "x" * 129}, "LABEL_INVALID", "brand"),
        ({"season": "Sum\x00mer"}, "LABEL_INVALID", "season"),
        ({"usage": "x" * 129}, "LABEL_INVALID", "usage"),
        ({"master_category": "\ud800"}, "LABEL_INVALID", "master_category"),
        ({"name": "x" * 513}, "LABEL_INVALID", "name"),
        ({"year": 1899}, "YEAR_INVALID", "year"),
        ({"year": 2201}, "YEAR_INVALID", "year"),
        ({"year": 0}, "YEAR_INVALID", "year"),
        ({"url": "ftp://shop.example/1"}, "URL_INVALID", "url"),
        ({"url": "javascript:alert(1)"}, "URL_INVALID", "url"),
        ({"url": "https://"}, "URL_INVALID", "url"),
        ({"url": "https://[::1"}, "URL_INVALID", "url"),
        ({"url": "https://shop.example/a b"}, "URL_INVALID", "url"),
        ({"image_url": ""}, "URL_INVALID", "image_url"),
        ({"image_url": "https://shop.example/" + "x" * 2048}, "URL_INVALID", "image_url"),
        ({"price": Price("eur", 1)}, "PRICE_INVALID", "price.currency_code"),
        ({"price": Price("ÀÉÎ", 1)}, "PRICE_INVALID", "price.currency_code"),
        ({"price": Price("EUR", -1)}, "PRICE_INVALID", "price.units"),
        ({"price": Price("EUR", 1, 1_000_000_000)}, "PRICE_INVALID", "price.nanos"),
        ({"price": Price("EUR", 1, -1)}, "PRICE_INVALID", "price.nanos"),
    ],
)
def test_refuses_and_names_what_is_wrong(change: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        validate_product(**(FULL | change))
    assert (refused.value.reason, refused.value.metadata["field"]) == (reason, field)
    assert field in refused.value.message


@pytest.mark.parametrize("change", [{"year": 1900}, {"year": 2200}, {"id": "ä" * 128}, {"name": "x" * 512}])
def test_the_limits_themselves_are_allowed(change: dict[str, Any]) -> None:
    assert validate_product(**(FULL | change))


def test_tells_identifiers_from_other_texts() -> None:
    assert is_identifier("user-1@shop.example")
    assert not any(map(is_identifier, ("", " ", "a\tb", "\u200b", "x" * 129)))
