"""Counts products by the values of their attributes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from heapq import nsmallest
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import FACETED, OWN_PREFIX, Attribute, Kind
from services.search.catalogue.products import Price
from services.search.filters import filter as filters
from services.search.filters.colours import family_of
from services.search.filters.filter import (
    NO_CODE,
    NO_YEAR,
    PRICE,
    AttributeColumns,
    Filter,
    LabelSets,
    OwnColumn,
    PriceColumn,
    PriceRange,
)
from services.search.filters.ranges import round_bounds

MAX_OWN_LABELS: Final = 100
_NANOS: Final = 1_000_000_000
# Numbers that no decimal places up to here write exactly are parted where they lie.
_MAX_PLACES: Final = 6


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value, the number of products that have it, and a colour's family ("" for other attributes)."""

    value: str
    count: int
    colour_family: str = ""


@dataclass(frozen=True, slots=True)
class PriceFacetRange:
    """Prices from `min` to `max`, both inclusive, None for no bound; and the number of products in it."""

    min: Price | None
    max: Price | None
    count: int


@dataclass(frozen=True, slots=True)
class PriceFacet:
    """The prices of products in one currency.

    Attributes:
        currency_code: that of the filter, else the one that most products have.
        min: the lowest price; None where no product has one in this currency.
        max: the highest price; None like `min`.
        count: how many products have a price in this currency.
        ranges: from the cheapest, each with a product; empty where all prices are one.
        other_currencies: how many products have each other currency, the most frequent first.
    """

    currency_code: str
    min: Price | None
    max: Price | None
    count: int
    ranges: tuple[PriceFacetRange, ...]
    other_currencies: dict[str, int]


@dataclass(frozen=True, slots=True)
class NumberFacetRange:
    """Numbers from `min` to `max`, both inclusive, None for no bound; and the number of products in it."""

    min: float | None
    max: float | None
    count: int


@dataclass(frozen=True, slots=True)
class NumberFacet:
    """The lowest and the highest number, how many products have one, and ranges in ascending order."""

    min: float
    max: float
    count: int
    ranges: tuple[NumberFacetRange, ...]


@dataclass(frozen=True, slots=True)
class FlagFacet:
    """How many products say yes, and how many no."""

    yes_count: int
    no_count: int


@dataclass(frozen=True, slots=True)
class OwnFacet:
    """The values of an own attribute.

    Attributes:
        name: of the attribute.
        count: how many products have a value.
        labels: the most frequent first, equally frequent ones in alphabetical order; at most `MAX_OWN_LABELS`.
        label_count: how many different labels there are.
        number: its numbers; None where no product has one.
        flag: its answers; None where no product has one.
    """

    name: str
    count: int
    labels: tuple[FacetValue, ...]
    label_count: int
    number: NumberFacet | None
    flag: FlagFacet | None


@dataclass(frozen=True, slots=True)
class Facets:
    """The facets of the products that pass a filter.

    Attributes:
        values: name of the attribute -> its values, the most frequent first, equally frequent ones in alphabetical
            order; years from the newest to the oldest. Holds every attribute of `FACETED`, in that order.
        total_count: how many products pass the whole filter.
        price: the prices; None where no product has one.
        own: the own attributes that products have: first those that most have, then in alphabetical order.
    """

    values: dict[str, tuple[FacetValue, ...]]
    total_count: int
    price: PriceFacet | None = None
    own: tuple[OwnFacet, ...] = ()


def count_facets(filter: Filter, columns: AttributeColumns) -> Facets:
    """Counts products per attribute, by the filter without its own condition on that attribute.

    Raises:
        InvalidInput: see `filters.evaluate`.
    """
    everything = filters.evaluate(filter, columns)

    def mask_for(name: str) -> NDArray[np.bool_]:
        return everything if name not in filter.conditions else filters.evaluate(filter.without(name), columns)

    values: dict[str, tuple[FacetValue, ...]] = {}
    for attribute in FACETED:
        count = _years if attribute.kind is Kind.YEAR else _labels
        values[attribute.name] = count(attribute, columns, mask_for(attribute.name))
    own: list[OwnFacet] = []
    for name in columns.own_names():
        column = columns.own(name)
        if column is not None and (facet := _own(name, column, mask_for(f"{OWN_PREFIX}{name}"))).count:
            own.append(facet)
    own.sort(key=lambda facet: (-facet.count, facet.name))
    condition = filter.conditions.get(PRICE)
    currency = condition.currency_code if isinstance(condition, PriceRange) else None
    price = _prices(columns.prices(), mask_for(PRICE), currency)
    return Facets(values, int(np.count_nonzero(everything)), price, tuple(own))


def other_currencies(filter: Filter, columns: AttributeColumns) -> dict[str, int]:
    """Counts the products that a condition on the price leaves out for their currency alone; see `count_currencies`.

    Raises:
        InvalidInput: see `filters.evaluate`.
    """
    condition = filter.conditions.get(PRICE)
    if not isinstance(condition, PriceRange):
        return {}
    mask = filters.evaluate(filter.without(PRICE), columns)
    return count_currencies(columns.prices(), mask, condition.currency_code)


def count_currencies(prices: PriceColumn, mask: NDArray[np.bool_], except_for: str | None = None) -> dict[str, int]:
    """Counts products by the currency of their price, the most frequent first.

    Args:
        prices: of n products.
        mask: which of them count, bool, shape (n,).
        except_for: a currency that is left out.
    """
    codes = prices.codes[mask]
    counts = np.bincount(codes[codes != NO_CODE], minlength=max(prices.currencies.values(), default=-1) + 1)
    found = [
        (name, int(counts[code])) for name, code in prices.currencies.items() if counts[code] and name != except_for
    ]
    return dict(sorted(found, key=lambda each: (-each[1], each[0])))


def _labels(attribute: Attribute, columns: AttributeColumns, mask: NDArray[np.bool_]) -> tuple[FacetValue, ...]:
    codes = columns.codes(attribute)[mask]
    labels = columns.labels(attribute)
    counts = np.bincount(codes[codes != NO_CODE], minlength=max(labels.values(), default=-1) + 1)
    found = [
        FacetValue(label, int(counts[code]), family_of(label) if attribute.kind is Kind.COLOUR else "")
        for label, code in labels.items()
        if counts[code]
    ]
    return tuple(sorted(found, key=lambda value: (-value.count, value.value)))


def _years(_: Attribute, columns: AttributeColumns, mask: NDArray[np.bool_]) -> tuple[FacetValue, ...]:
    years = columns.years()[mask]
    known, counts = np.unique(years[years != NO_YEAR], return_counts=True)
    pairs = zip(known.tolist(), counts.tolist(), strict=True)
    return tuple(FacetValue(str(year), count) for year, count in sorted(pairs, reverse=True))


def _own(name: str, column: OwnColumn, mask: NDArray[np.bool_]) -> OwnFacet:
    labels: dict[str, int] = {}
    number, flag, count = None, None, 0
    if column.labels is not None:
        labels = _set_counts(column.labels, mask)
        count += int(np.count_nonzero(column.labels.codes[mask] != NO_CODE))
    if column.numbers is not None:
        numbers = column.numbers.numbers[mask]
        number = _numbers(numbers[~np.isnan(numbers)])
        count += 0 if number is None else number.count
    if column.flags is not None:
        flags = column.flags.flags[mask]
        flag = FlagFacet(int(np.count_nonzero(flags == 1)), int(np.count_nonzero(flags == 0)))
        flag = flag if flag.yes_count or flag.no_count else None
        count += 0 if flag is None else flag.yes_count + flag.no_count
    frequent = nsmallest(MAX_OWN_LABELS, labels.items(), key=lambda each: (-each[1], each[0]))
    return OwnFacet(name, count, tuple(FacetValue(*each) for each in frequent), len(labels), number, flag)


def _set_counts(column: LabelSets, mask: NDArray[np.bool_]) -> dict[str, int]:
    """Returns how many products have each label."""
    codes = column.codes[mask]
    counts = np.bincount(codes[codes != NO_CODE], minlength=column.end).tolist()
    labels: dict[str, int] = {}
    for names, code in column.sets.items():
        if count := counts[code]:
            for name in names:
                labels[name] = labels.get(name, 0) + count
    return labels


def _numbers(numbers: NDArray[np.float64]) -> NumberFacet | None:
    """Counts numbers, float64, shape (n,), without NaN."""
    if not numbers.size:
        return None
    places = next((n for n in range(_MAX_PLACES + 1) if np.array_equal(np.round(numbers, n), numbers)), _MAX_PLACES)
    bounds = [float(bound) for bound in round_bounds(numbers, Decimal(1).scaleb(-places))]
    below = [numbers < bound for bound in bounds]
    ranges: list[NumberFacetRange] = []
    for place, (first, after) in enumerate(_ends(below, numbers.size)):
        if after > first:
            # The greatest number before the bound: both ends of a range are inclusive.
            upper = float(numbers[below[place]].max()) if place < len(bounds) else None
            ranges.append(NumberFacetRange(bounds[place - 1] if place else None, upper, after - first))
    lowest, highest = float(numbers.min()), float(numbers.max())
    return NumberFacet(lowest, highest, numbers.size, tuple(ranges) if len(ranges) > 1 else ())


def _ends(below: Sequence[NDArray[np.bool_]], size: int) -> Iterable[tuple[int, int]]:
    """Returns how many values are below each bound and below the next one, from the first bound to the last."""
    return pairwise([0, *(int(np.count_nonzero(each)) for each in below), size])


def _prices(prices: PriceColumn, mask: NDArray[np.bool_], currency: str | None) -> PriceFacet | None:
    currencies = count_currencies(prices, mask)
    if currency is None:
        currency = next(iter(currencies), None)
    if currency is None:
        return None
    column = prices.at(np.flatnonzero(mask & prices.of(currency)))
    others = {name: count for name, count in currencies.items() if name != currency}
    count = int(column.units.size)
    if not count:
        return PriceFacet(currency, None, None, 0, (), others)
    units = column.units.min(), column.units.max()
    nanos = column.nanos[column.units == units[0]].min(), column.nanos[column.units == units[1]].max()
    lowest, highest = (Price(currency, int(units[end]), int(nanos[end])) for end in (0, 1))
    return PriceFacet(currency, lowest, highest, count, _price_ranges(column, currency), others)


def _price_ranges(column: PriceColumn, currency: str) -> tuple[PriceFacetRange, ...]:
    """Parts the prices of one currency."""
    step = _step(column.nanos)
    amounts = column.units.astype(np.float64) + column.nanos / _NANOS
    bounds = [_price(bound, currency) for bound in round_bounds(amounts, step)]
    ranges: list[PriceFacetRange] = []
    for place, (first, after) in enumerate(_ends([column.below(bound) for bound in bounds], column.units.size)):
        if after > first:
            # One step before the bound, such as 19.99: both ends of a range are inclusive.
            upper = _price(_amount(bounds[place]) - step, currency) if place < len(bounds) else None
            ranges.append(PriceFacetRange(bounds[place - 1] if place else None, upper, after - first))
    return tuple(ranges) if len(ranges) > 1 else ()


def _step(nanos: NDArray[np.int32]) -> Decimal:
    """Returns the decimal place that all prices are multiples of, such as 0.01."""
    divisor = int(np.gcd.reduce(nanos.astype(np.int64), initial=0))
    places = len(f"{divisor:09}".rstrip("0")) if divisor else 0
    return Decimal(1).scaleb(-places)


def _amount(price: Price) -> Decimal:
    return price.units + Decimal(price.nanos) / _NANOS


def _price(amount: Decimal, currency: str) -> Price:
    units = int(amount)
    return Price(currency, units, int((amount - units) * _NANOS))
