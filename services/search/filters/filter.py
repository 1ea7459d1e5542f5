"""Filters: their conditions, the check of their values, and their evaluation over columns."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import (
    BY_NAME,
    MAX_ATTRIBUTE_CONDITIONS,
    MAX_FILTER_VALUES,
    OWN_PREFIX,
    Attribute,
)
from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.products import Price, validate_price
from services.search.filters import colours
from services.search.filters.words import needles

# The code, the year and the flag of a product that has none.
NO_CODE = -1
# So few labels are compared one by one sooner than looked up in a table of all.
_FEW_LABELS = 4
NO_YEAR = -1
NO_FLAG = -1
# The name of the condition on the price.
PRICE = "price"


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """A condition on a label: one of `any_of` unless that is empty, and none of `none_of`."""

    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenderFilter:
    """A condition on the gender: one of `any_of` unless that is empty, and none of `none_of`."""

    any_of: tuple[Gender, ...] = ()
    none_of: tuple[Gender, ...] = ()


@dataclass(frozen=True, slots=True)
class ColourFilter:
    """A condition on the main colour. With `by_family` each colour stands for its family; see `colours.covered`."""

    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    by_family: bool = False


@dataclass(frozen=True, slots=True)
class YearRange:
    """A range of years, both ends inclusive; None is no bound. A product without a year is in no range."""

    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """A condition on the texts of a product: each word begins one of theirs; see `words.needles`."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class PriceRange:
    """A range of prices in one currency, both ends inclusive; None is no bound. No other currency is in it."""

    currency_code: str
    min: Price | None = None
    max: Price | None = None


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A range of numbers, both ends inclusive; None is no bound. A product without a number is in no range."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class FlagFilter:
    """A condition on yes or no."""

    flag: bool


OwnCondition = LabelFilter | NumberRange | FlagFilter
Condition = GenderFilter | ColourFilter | YearRange | Words | PriceRange | OwnCondition


@dataclass(frozen=True, slots=True, init=False)
class Filter:
    """Which products are eligible: those that meet every condition.

    A product without a value for an attribute passes no `any_of` and every `none_of`.

    Attributes:
        conditions: name of an attribute, "attributes.material" for an own one, or "words" -> the condition on it.
    """

    conditions: Mapping[str, Condition]

    def __init__(self, **conditions: Condition | None) -> None:
        """Takes conditions by the names of their attributes; None is no condition."""
        present = {name: condition for name, condition in conditions.items() if condition is not None}
        object.__setattr__(self, "conditions", MappingProxyType(present))

    @property
    def passes_all(self) -> bool:
        """Whether every product passes, whatever attributes it has."""
        return all(_passes_all(each) for each in self.conditions.values())

    def without(self, name: str) -> "Filter":
        """Returns this filter without its condition on an attribute."""
        return Filter(**{other: condition for other, condition in self.conditions.items() if other != name})


def _passes_all(condition: Condition) -> bool:
    match condition:
        case LabelFilter() | ColourFilter() | GenderFilter():
            return not condition.any_of and not condition.none_of
        case Words():
            return not needles(condition.text)
        case _:
            # A range without bounds leaves out products without a value.
            return False


Rows = NDArray[np.int64] | slice


@dataclass(frozen=True, slots=True, eq=False)
class PriceColumn:
    """The prices of n products.

    Attributes:
        currencies: the code of each currency that at least one product of the catalogue has.
        codes: those of the products: int32, shape (n,), or `NO_CODE`.
        units: whole units, int64, shape (n,); undefined without a price.
        nanos: billionths, int32, shape (n,); undefined without a price.
    """

    currencies: Mapping[str, int]
    codes: NDArray[np.int32]
    units: NDArray[np.int64]
    nanos: NDArray[np.int32]

    def at(self, rows: Rows) -> "PriceColumn":
        """Returns some rows."""
        return PriceColumn(self.currencies, self.codes[rows], self.units[rows], self.nanos[rows])

    def of(self, currency_code: str) -> NDArray[np.bool_]:
        """Returns whether each price is in a currency: bool, shape (n,)."""
        # No price has the code -2.
        mask: NDArray[np.bool_] = self.codes == self.currencies.get(currency_code, -2)
        return mask

    def below(self, bound: Price) -> NDArray[np.bool_]:
        """Returns whether each price is less than an amount, whatever the currency: bool, shape (n,)."""
        mask: NDArray[np.bool_] = self.units < bound.units
        mask |= (self.units == bound.units) & (self.nanos < bound.nanos)
        return mask

    def above(self, bound: Price) -> NDArray[np.bool_]:
        """Returns whether each price is more than an amount, whatever the currency: bool, shape (n,)."""
        mask: NDArray[np.bool_] = self.units > bound.units
        mask |= (self.units == bound.units) & (self.nanos > bound.nanos)
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class LabelSets:
    """The labels of n products under one name, several of which a product may have.

    Attributes:
        sets: the code of each combination of labels that at least one product of the catalogue has.
        holders: the codes of the combinations that have a label.
        codes: those of the products: int32, shape (n,), or `NO_CODE`.
        end: a number above every code.
    """

    sets: Mapping[tuple[str, ...], int]
    holders: Mapping[str, Collection[int]]
    codes: NDArray[np.int32]
    end: int

    def having(self, labels: Iterable[str]) -> NDArray[np.bool_]:
        """Returns whether each product has one of some labels: bool, shape (n,). An unknown label matches none."""
        wanted = np.zeros(self.end + 1, dtype=np.bool_)
        for label in labels:
            wanted[list(self.holders.get(label, ()))] = True
        return _looked_up(wanted, self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumn:
    """The numbers of n products under one name: float64, shape (n,), NaN for none."""

    numbers: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FlagColumn:
    """The answers of n products under one name: int8, shape (n,), 1 for yes, 0 for no, `NO_FLAG` for none."""

    flags: NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class OwnColumn:
    """The values of n products under the name of an own attribute, by kind; None where no product has the kind."""

    labels: LabelSets | None
    numbers: NumberColumn | None
    flags: FlagColumn | None

    def at(self, rows: Rows) -> "OwnColumn":
        """Returns some rows."""
        labels, numbers, flags = self.labels, self.numbers, self.flags
        return OwnColumn(
            None if labels is None else replace(labels, codes=labels.codes[rows]),
            None if numbers is None else NumberColumn(numbers.numbers[rows]),
            None if flags is None else FlagColumn(flags.flags[rows]),
        )


class AttributeColumns(Protocol):
    """The attributes of n products as columns."""

    def __len__(self) -> int: ...

    def labels(self, attribute: Attribute) -> Mapping[str, int]:
        """Returns the code of each label that at least one product has."""
        ...

    def codes(self, attribute: Attribute) -> NDArray[np.int32]:
        """Returns the products' codes: int32, shape (n,), at least 0, or `NO_CODE`."""
        ...

    def years(self) -> NDArray[np.int32]:
        """Returns the products' years: int32, shape (n,), or `NO_YEAR`."""
        ...

    def texts(self) -> Sequence[str]:
        """Returns the products' words as `words.searchable` makes them: n texts."""
        ...

    def prices(self) -> PriceColumn:
        """Returns the products' prices."""
        ...

    def own(self, name: str) -> OwnColumn | None:
        """Returns the products' values of an own attribute; None where no product of the catalogue has it."""
        ...

    def own_names(self) -> Collection[str]:
        """Returns the names of the own attributes that at least one product has."""
        ...


def evaluate(filter: Filter, columns: AttributeColumns) -> NDArray[np.bool_]:
    """Returns whether each product passes a filter: bool, shape (n,).

    Genders are a closed vocabulary and always known. A colour is known where the catalogue or the table of families has
    it, any other label where a product of the catalogue has it. Known values that leave nothing are no error.

    Raises:
        InvalidInput: FILTER_VALUE_UNKNOWN, naming the attribute, the value and the nearest known ones;
            YEAR_RANGE_INVALID; PRICE_INVALID; PRICE_RANGE_INVALID; NUMBER_RANGE_INVALID; ATTRIBUTE_KIND_MISMATCH;
            TOO_MANY_FILTER_VALUES; WORDS_TOO_LONG.
    """
    mask = np.ones(len(columns), dtype=np.bool_)
    _check_own_count(filter)
    for name, condition in filter.conditions.items():
        if name.startswith(OWN_PREFIX):
            _narrow_by_own(mask, name.removeprefix(OWN_PREFIX), condition, columns)
            continue
        if isinstance(condition, PriceRange):
            mask &= _in_price_range(condition, columns.prices())
            continue
        if isinstance(condition, YearRange):
            mask &= _in_range(condition, columns.years())
            continue
        if isinstance(condition, Words):
            for needle in needles(condition.text):
                mask &= np.fromiter((needle in text for text in columns.texts()), np.bool_, mask.shape[0])
            continue
        attribute = BY_NAME[name]
        if isinstance(condition, NumberRange | FlagFilter):
            raise TypeError(f"A condition on {name} cannot be {condition}.")
        any_of, none_of = label_sets(attribute, condition, columns)
        if any_of is not None:
            mask &= has_label(columns, attribute, any_of)
        if none_of:
            mask &= ~has_label(columns, attribute, none_of)
    return mask


def has_label(columns: AttributeColumns, attribute: Attribute, labels: Iterable[str]) -> NDArray[np.bool_]:
    """Returns whether each product has one of some labels: bool, shape (n,). An unknown label matches none."""
    known = columns.labels(attribute)
    codes = [known[label] for label in labels if label in known]
    column = columns.codes(attribute)
    if 0 < len(codes) <= _FEW_LABELS:
        mask: NDArray[np.bool_] = np.logical_or.reduce([column == code for code in codes])
        return mask
    # One look-up per product. NO_CODE is -1 and reads the last element, which belongs to no label.
    wanted = np.zeros(max(known.values(), default=-1) + 2, dtype=np.bool_)
    wanted[codes] = True
    return _looked_up(wanted, column)


def _looked_up(wanted: NDArray[np.bool_], codes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Returns `wanted[codes]`, in half the time."""
    # Wrapping gives -1 the last element, as an index does.
    return np.take(wanted, codes, mode="wrap")


def unknown_value(attribute: str, value: str, known: Iterable[str]) -> InvalidInput:
    """Returns the error for a value that no product has. It names the nearest known ones."""
    near = colours.nearest(value, frozenset(known))
    shown = ", ".join(f'"{label}"' for label in near)
    hint = f"the nearest known ones are {shown}" if near else "none is known yet"
    return InvalidInput(
        f'No product has {attribute} "{value[:64]}"; {hint}.',
        reason="FILTER_VALUE_UNKNOWN",
        metadata={"attribute": attribute, "value": value[:64], "nearest": ", ".join(near)},
    )


def label_sets(
    attribute: Attribute, condition: LabelFilter | GenderFilter | ColourFilter, columns: AttributeColumns
) -> tuple[frozenset[str] | None, frozenset[str]]:
    """Returns the labels of which a product must have one (None: no condition), and those that it must not have."""
    if isinstance(condition, GenderFilter):
        any_of, none_of = (frozenset(each.value for each in part) for part in (condition.any_of, condition.none_of))
        return any_of or None, none_of
    present = columns.labels(attribute).keys()
    any_of, none_of = frozenset(condition.any_of), frozenset(condition.none_of)
    if isinstance(condition, LabelFilter):
        _check(attribute.name, condition, present)
        return any_of or None, none_of
    _check(attribute.name, condition, present | colours.table_colours())
    if condition.by_family:
        any_of, none_of = colours.covered(any_of, present), colours.touched(none_of, present)
    return any_of if condition.any_of else None, none_of


def _check(name: str, condition: LabelFilter | ColourFilter, known: Collection[str]) -> None:
    for part, values in (("any_of", condition.any_of), ("none_of", condition.none_of)):
        if len(values) > MAX_FILTER_VALUES:
            raise _too_many(name, f"{name}.{part} holds {len(values)} values; at most {MAX_FILTER_VALUES} are allowed.")
        for value in values:
            if value not in known:
                raise unknown_value(name, value, known)


def _too_many(name: str, message: str) -> InvalidInput:
    return InvalidInput(message, reason="TOO_MANY_FILTER_VALUES", metadata={"attribute": name})


def _check_own_count(filter: Filter) -> None:
    count = sum(name.startswith(OWN_PREFIX) for name in filter.conditions)
    if count > MAX_ATTRIBUTE_CONDITIONS:
        raise _too_many(
            "attributes",
            f"The filter has conditions on {count} own attributes; at most {MAX_ATTRIBUTE_CONDITIONS} are allowed.",
        )


def _narrow_by_own(mask: NDArray[np.bool_], name: str, condition: Condition, columns: AttributeColumns) -> None:
    """Takes from a mask the products that do not meet a condition on an own attribute."""
    column = columns.own(name)
    if column is None:
        raise _unknown_name(name, columns.own_names())
    match condition:
        case LabelFilter():
            if column.labels is None:
                raise _other_kind(name, column)
            _check(f"{OWN_PREFIX}{name}", condition, column.labels.holders)
            if condition.any_of:
                mask &= column.labels.having(condition.any_of)
            if condition.none_of:
                mask &= ~column.labels.having(condition.none_of)
        case NumberRange(low, high):
            if column.numbers is None:
                raise _other_kind(name, column)
            _check_number_range(name, low, high)
            numbers = column.numbers.numbers
            # No comparison is true of NaN.
            mask &= numbers >= (-math.inf if low is None else low)
            if high is not None:
                mask &= numbers <= high
        case FlagFilter(flag):
            if column.flags is None:
                raise _other_kind(name, column)
            mask &= column.flags.flags == int(flag)
        case _:
            raise TypeError(f"A condition on an own attribute cannot be {condition}.")


def _unknown_name(name: str, known: Iterable[str]) -> InvalidInput:
    near = colours.nearest(name, frozenset(known))
    shown = ", ".join(f'"{each}"' for each in near)
    hint = f"the nearest known ones are {shown}" if near else "none is known yet"
    return InvalidInput(
        f'No product has an attribute "{name[:64]}"; {hint}.',
        reason="FILTER_VALUE_UNKNOWN",
        metadata={"attribute": "attributes", "value": name[:64], "nearest": ", ".join(near)},
    )


def _other_kind(name: str, column: OwnColumn) -> InvalidInput:
    kinds = {"labels": column.labels, "numbers": column.numbers, "yes or no": column.flags}
    present = " and ".join(kind for kind, values in kinds.items() if values is not None)
    return InvalidInput(
        f'The attribute "{name}" holds {present}: ask for '
        f"{'a label' if column.labels else 'a range of numbers' if column.numbers else 'true or false'}.",
        reason="ATTRIBUTE_KIND_MISMATCH",
        metadata={"attribute": f"{OWN_PREFIX}{name}", "kinds": present},
    )


def _check_number_range(name: str, low: float | None, high: float | None) -> None:
    bounds = [bound for bound in (low, high) if bound is not None]
    if any(math.isnan(bound) for bound in bounds) or (low is not None and high is not None and high < low):
        raise InvalidInput(
            f"The range of {OWN_PREFIX}{name} must go from a number to one that is not less, not {low} to {high}.",
            reason="NUMBER_RANGE_INVALID",
            metadata={"attribute": f"{OWN_PREFIX}{name}"},
        )


def _in_price_range(price: PriceRange, prices: PriceColumn) -> NDArray[np.bool_]:
    for name, bound in (("currency_code", Price(price.currency_code, 0)), ("min", price.min), ("max", price.max)):
        if bound is not None:
            validate_price(PRICE if name == "currency_code" else f"{PRICE}.{name}", bound)
    low, high = price.min, price.max
    if low is not None and high is not None and (high.units, high.nanos) < (low.units, low.nanos):
        raise InvalidInput(
            "The highest price is below the lowest: exchange them.",
            reason="PRICE_RANGE_INVALID",
            metadata={"field": PRICE},
        )
    mask = prices.of(price.currency_code)
    if low is not None:
        mask &= ~prices.below(low)
    if high is not None:
        mask &= ~prices.above(high)
    return mask


def _in_range(year: YearRange, years: NDArray[np.int32]) -> NDArray[np.bool_]:
    if year.first is not None and year.last is not None and year.last < year.first:
        raise InvalidInput(
            f"The last year, {year.last}, is before the first, {year.first}.",
            reason="YEAR_RANGE_INVALID",
            metadata={"first": str(year.first), "last": str(year.last)},
        )
    mask: NDArray[np.bool_] = years != NO_YEAR
    if year.first is not None:
        mask &= years >= year.first
    if year.last is not None:
        mask &= years <= year.last
    return mask
