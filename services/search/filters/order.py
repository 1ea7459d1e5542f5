"""The orders of a list of products, and a product's place in each."""

from enum import Enum
from types import MappingProxyType
from typing import Final

from services.search.catalogue.products import Product
from services.search.filters.words import folded

# So that a page token stays short.
_MAX_NAME_CHARACTERS: Final = 200

Place = tuple[str | int, ...]
"""A product's place in an order: places compare as products are listed. The product's id is its last part."""


class Order(Enum):
    """What a list goes by. Products of which that is unknown come last, equal ones by id."""

    ID = "id"
    NAME = "name"
    PRICE = "price"
    PRICE_DESCENDING = "price_descending"
    NEWEST = "newest"


# The types of a place's parts.
PARTS: Final = MappingProxyType(
    {
        Order.ID: (str,),
        Order.NAME: (int, str, str),
        Order.PRICE: (int, str, int, int, str),
        Order.PRICE_DESCENDING: (int, str, int, int, str),
        Order.NEWEST: (int, int, str),
    }
)


def place_of(product: Product, order: Order) -> Place:
    """Returns a product's place in an order."""
    match order:
        case Order.ID:
            return (product.id,)
        case Order.NAME:
            name = folded(product.name or "")[:_MAX_NAME_CHARACTERS]
            return (int(not name), name, product.id)
        case Order.NEWEST:
            return (1, 0, product.id) if product.year is None else (0, -product.year, product.id)
    if product.price is None:
        return (1, "", 0, 0, product.id)
    sign = -1 if order is Order.PRICE_DESCENDING else 1
    return (0, product.price.currency_code, sign * product.price.units, sign * product.price.nanos, product.id)
