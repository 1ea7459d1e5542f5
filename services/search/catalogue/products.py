"""What a product of the catalogue is, and which rows are accepted as one."""

import re
import sys
import unicodedata
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.contract.errors import InvalidInput, NotFound
from services.contract.values import Gender, derived_type

MAX_IDENTIFIER_CHARACTERS = 128
MAX_LABEL_CHARACTERS = 128
MAX_NAME_CHARACTERS = 512
MAX_URL_CHARACTERS = 2048
YEARS = range(1900, 2201)
MAX_PRICE_UNITS = 2**63 - 1
MAX_PRICE_NANOS = 999_999_999

_LABELS = ("sub_category", "article_type", "master_category", "base_colour", "season", "usage")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
# Control characters and lone surrogates: neither can be shown, and the latter cannot be stored as UTF-8.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of money: `units` + `nanos` / 10^9 of a currency named by ISO 4217, such as "EUR"."""

    currency_code: str
    units: int
    nanos: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product of the catalogue; what is unknown is None. Made by `validate_product`, which keeps the limits.

    Attributes:
        id: the shop's own identifier.
        gender: whom it is made for.
        sub_category: such as "Topwear".
        article_type: such as "Tshirts".
        master_category: such as "Apparel".
        base_colour: the main colour, such as "Navy Blue".
        season: of its collection, such as "Summer".
        year: of its collection.
        usage: the occasion it is meant for, such as "Casual".
        name: what shoppers see.
        url: its page in the shop.
        image_url: a picture of it in the shop.
        price: what it costs.
        in_stock: whether it can be bought now; None is treated as available.
        parent_id: the product that this one is a variant of.
    """

    id: str
    gender: Gender
    sub_category: str
    article_type: str
    master_category: str | None = None
    base_colour: str | None = None
    season: str | None = None
    year: int | None = None
    usage: str | None = None
    name: str | None = None
    url: str | None = None
    image_url: str | None = None
    price: Price | None = None
    in_stock: bool | None = None
    parent_id: str | None = None

    def __post_init__(self) -> None:
        """Lets tens of thousands of products share the text of their few labels."""
        for name in _LABELS:
            label = getattr(self, name)
            if label is not None:
                object.__setattr__(self, name, sys.intern(label))

    @property
    def derived_type(self) -> str:
        """Gender and article type, such as "Men Tshirts"."""
        return derived_type(self.gender, self.article_type)

    @property
    def available(self) -> bool:
        """Whether it is not marked as out of stock."""
        return self.in_stock is not False


def is_identifier(text: str) -> bool:
    """Tells whether a text can name a product or a user: 1 to 128 printable characters without white space."""
    return 0 < len(text) <= MAX_IDENTIFIER_CHARACTERS and text.isprintable() and " " not in text


def validate_product_id(product_id: str, field: str = "id") -> str:
    """Returns a product's id as it came.

    Raises:
        InvalidInput: PRODUCT_ID_INVALID.
    """
    if not is_identifier(product_id):
        raise _invalid(
            "PRODUCT_ID_INVALID",
            field,
            f"{field} must be 1 to {MAX_IDENTIFIER_CHARACTERS} printable characters without white space",
        )
    return product_id


def product_not_found(product_id: str) -> NotFound:
    """Returns the error for a product that the catalogue does not have."""
    return NotFound(
        f'The catalogue has no product "{product_id}".',
        reason="PRODUCT_NOT_FOUND",
        metadata={"product_id": product_id},
    )


def validate_product(
    *,
    id: str,
    gender: Gender | None,
    sub_category: str | None,
    article_type: str | None,
    master_category: str | None = None,
    base_colour: str | None = None,
    season: str | None = None,
    year: int | None = None,
    usage: str | None = None,
    name: str | None = None,
    url: str | None = None,
    image_url: str | None = None,
    price: Price | None = None,
    in_stock: bool | None = None,
    parent_id: str | None = None,
) -> Product:
    """Makes a product of what was sent, within the limits of `fashion.v1.Product`.

    Args:
        id: see `Product`, as are all others.
        gender: None where it was not stated or is none that is known.
        sub_category: None or blank where it was not stated.
        article_type: None or blank where it was not stated.
        master_category: None where unknown; an empty text is refused, here and below, since it says neither.
        base_colour: None where unknown.
        season: None where unknown.
        year: None where unknown.
        usage: None where unknown.
        name: None where unknown.
        url: None where unknown.
        image_url: None where unknown.
        price: None where unknown.
        in_stock: None where unknown.
        parent_id: None for a product that is no variant.

    Raises:
        InvalidInput: PRODUCT_ID_INVALID, GENDER_MISSING, SUB_CATEGORY_MISSING, ARTICLE_TYPE_MISSING, LABEL_INVALID,
            YEAR_INVALID, URL_INVALID or PRICE_INVALID; `field` in its metadata names the field.
    """
    validate_product_id(id)
    if gender is None:
        raise _invalid("GENDER_MISSING", "gender", "gender is missing")
    if sub_category is None or not sub_category.strip():
        raise _invalid("SUB_CATEGORY_MISSING", "sub_category", "sub_category is missing")
    if article_type is None or not article_type.strip():
        raise _invalid("ARTICLE_TYPE_MISSING", "article_type", "article_type is missing")
    if year is not None and year not in YEARS:
        raise _invalid("YEAR_INVALID", "year", f"year must be {YEARS.start} to {YEARS.stop - 1}")
    if parent_id is not None:
        validate_product_id(parent_id, "parent_id")
    _check_url("url", url)
    _check_url("image_url", image_url)
    _check_price(price)
    _check_text("name", name, MAX_NAME_CHARACTERS)
    for field, label in (
        ("master_category", master_category),
        ("sub_category", sub_category),
        ("article_type", article_type),
        ("base_colour", base_colour),
        ("season", season),
        ("usage", usage),
    ):
        _check_text(field, label, MAX_LABEL_CHARACTERS)
    return Product(
        id=id,
        gender=gender,
        sub_category=sub_category,
        article_type=article_type,
        master_category=master_category,
        base_colour=base_colour,
        season=season,
        year=year,
        usage=usage,
        name=name,
        url=url,
        image_url=image_url,
        price=price,
        in_stock=in_stock,
        parent_id=parent_id,
    )


def _check_text(field: str, text: str | None, max_characters: int) -> None:
    if text is None:
        return
    if not text.strip():
        raise _invalid("LABEL_INVALID", field, f"{field} is empty; leave it absent where it is unknown")
    if len(text) > max_characters:
        raise _invalid("LABEL_INVALID", field, f"{field} has {len(text)} characters; at most {max_characters} fit")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in text):
        raise _invalid("LABEL_INVALID", field, f"{field} holds a control character")


def _check_url(field: str, url: str | None) -> None:
    if url is None:
        return
    if len(url) > MAX_URL_CHARACTERS:
        raise _invalid("URL_INVALID", field, f"{field} has {len(url)} characters; at most {MAX_URL_CHARACTERS} fit")
    if not url.isprintable() or " " in url:
        raise _invalid("URL_INVALID", field, f"{field} holds white space or a control character")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise _invalid("URL_INVALID", field, f"{field} must be an http or https URL")


def _check_price(price: Price | None) -> None:
    if price is None:
        return
    if not _CURRENCY.fullmatch(price.currency_code):
        raise _invalid("PRICE_INVALID", "price.currency_code", "price.currency_code must be three capital letters")
    if not 0 <= price.units <= MAX_PRICE_UNITS:
        raise _invalid("PRICE_INVALID", "price.units", "price.units must be at least 0")
    if not 0 <= price.nanos <= MAX_PRICE_NANOS:
        raise _invalid("PRICE_INVALID", "price.nanos", f"price.nanos must be 0 to {MAX_PRICE_NANOS:,}")


def _invalid(reason: str, field: str, message: str) -> InvalidInput:
    return InvalidInput(message, reason=reason, metadata={"field": field})
