"""Prices, flags and own attributes as the cells of a table: "19.99 EUR", "yes", '{"material":["Cotton"]}'."""

import re
from collections.abc import Mapping
from typing import Final

from services.contract.errors import InvalidInput
from services.contract.own_attributes import OwnAttributes, attributes_of, attributes_text, validate_attributes
from services.search.catalogue.products import Price

_PRICE: Final = re.compile(r"(\d{1,19})(?:\.(\d{1,9}))? ?([A-Z]{3})", re.ASCII)
_FLAGS: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def price_text(price: Price) -> str:
    """Returns the cell of a price, such as "19.99 EUR": at least two decimals, no digit lost."""
    decimals = f"{price.nanos:09d}".rstrip("0").ljust(2, "0")
    return f"{price.units}.{decimals} {price.currency_code}"


def price_of(cell: str) -> Price | None:
    """Returns the price in a cell; None where it is none."""
    match = _PRICE.fullmatch(cell)
    if match is None:
        return None
    units, decimals, currency = match.groups()
    return Price(currency, int(units), int((decimals or "").ljust(9, "0")))


def flag_of(cell: str) -> bool | None:
    """Returns the answer in a cell, such as "yes" or "FALSE"; None where it is none."""
    return _FLAGS.get(cell.casefold())


def own_attributes_of(cell: str) -> OwnAttributes | None:
    """Returns the own attributes in a cell; None where it holds none, or one that no product can have."""
    try:
        return validate_attributes(attributes_of(cell))
    except (ValueError, InvalidInput, RecursionError):
        return None


def cell_of(value: Price | OwnAttributes | bool | int | str | None) -> str:
    """Returns the cell of a value; empty for none."""
    match value:
        case None:
            return ""
        case Price():
            return price_text(value)
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return attributes_text(value)
        case _:
            return str(value)
