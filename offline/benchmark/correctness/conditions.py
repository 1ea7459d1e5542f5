"""Whether a product meets a condition, written anew from the documents."""

import re
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from services.contract.own_attributes import Flag
from services.search.catalogue.products import Price, Product
from services.search.filters.filter import (
    ColourFilter,
    Condition,
    FlagFilter,
    GenderFilter,
    LabelFilter,
    NumberRange,
    PriceRange,
    Words,
    YearRange,
)

# Each colour with its family, and with the families of all that its name names.
COLOURS: Final[Mapping[str, tuple[str, frozenset[str]]]] = MappingProxyType(
    {
        "Blue": ("Blue", frozenset({"Blue"})),
        "Navy Blue": ("Blue", frozenset({"Blue"})),
        "Royal Blue": ("Blue", frozenset({"Blue"})),
        "Blue/White": ("Blue", frozenset({"Blue", "White"})),
        "Red": ("Red", frozenset({"Red"})),
        "Maroon": ("Red", frozenset({"Red"})),
        "Yellow": ("Yellow", frozenset({"Yellow"})),
        "Multi": ("Multi", frozenset({"Multi"})),
    }
)
# Colours that a filter or a dislike may name although no product has them.
TABLE_COLOURS: Final = frozenset({"Blue", "Navy Blue", "Red", "Maroon", "Yellow", "Multi", "White"})


def value_of(name: str) -> Callable[[Product], Hashable]:
    """Returns a function that returns what a condition of a name is about."""
    if name.startswith("attributes."):
        own = name.removeprefix("attributes.")
        return lambda p: p.attributes.get(own)
    if name == "words":
        return lambda p: (p.name or "", p.brand or "", p.derived_type, p.base_colour or "", p.id)
    return attrgetter(name)


def meets(value: Any, condition: Condition) -> bool:
    """Returns whether a value, None for a missing one, meets a condition."""
    match condition:
        case Words(text):
            return _has_words(value, text)
        case YearRange(first, last):
            return value is not None and (first is None or value >= first) and (last is None or value <= last)
        case NumberRange(low, high):
            return isinstance(value, float) and (low is None or value >= low) and (high is None or value <= high)
        case FlagFilter(flag):
            return isinstance(value, Flag) and value.value == flag
        case PriceRange(currency, low, high):
            return (
                value is not None
                and value.currency_code == currency
                and (low is None or _cents(value) >= _cents(low))
                and (high is None or _cents(value) <= _cents(high))
            )
        case ColourFilter(any_of, none_of, by_family):
            family, families = COLOURS[value] if by_family and value is not None else (None, frozenset())
            return (not any_of or value in any_of or family in any_of) and not ({value, *families} & {*none_of})
        case GenderFilter(any_of, none_of) | LabelFilter(any_of, none_of):
            labels = {*value} if isinstance(value, tuple) else {value}
            return (not any_of or bool(labels & {*any_of})) and not labels & {*none_of}
    raise TypeError(condition)


def _cents(price: Price) -> tuple[int, int]:
    return price.units, price.nanos


def _has_words(texts: tuple[str, ...], text: str) -> bool:
    words = _words_of(texts)
    return all(each in words for each in _wanted(text))


@lru_cache
def _wanted(text: str) -> list[str]:
    return [f" {each}" for each in re.findall("[a-z0-9]+", text.lower().replace("-", ""))]


@lru_cache(maxsize=65_536)
def _words_of(texts: tuple[str, ...]) -> str:
    """Returns the words of some texts, each after a space; one with a hyphen also as one word."""
    told = " ".join(texts).lower().replace("é", "e")
    return " ".join(["", *re.split("[^a-z0-9]+", told), *re.split("[^a-z0-9]+", told.replace("-", ""))])
