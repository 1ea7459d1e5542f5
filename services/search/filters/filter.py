"""Filters: their conditions, the check of their values, and their evaluation over columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import BY_NAME, MAX_FILTER_VALUES, Attribute
from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.filters import colours
from services.search.filters.words import needles

# The code and the year of a product that has none.
NO_CODE = -1
NO_YEAR = -1


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


Condition = LabelFilter | GenderFilter | ColourFilter | YearRange | Words


@dataclass(frozen=True, slots=True, init=False)
class Filter:
    """Which products are eligible: those that meet every condition.

    A product without a value for an attribute passes no `any_of` and every `none_of`.

    Attributes:
        conditions: name of an attribute, or "words" -> the condition on it.
    """

    conditions: Mapping[str, Condition]

    def __init__(self, **conditions: Condition | None) -> None:
        """Takes conditions by the names of their attributes; None is no condition."""
        present = {name: condition for name, condition in conditions.items() if condition is not None}
        object.__setattr__(self, "conditions", MappingProxyType(present))

    def without(self, name: str) -> "Filter":
        """Returns this filter without its condition on an attribute."""
        return Filter(**{other: condition for other, condition in self.conditions.items() if other != name})


class AttributeColumns(Protocol):
    """The attributes of n products as columns."""

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


def evaluate(filter: Filter, columns: AttributeColumns) -> NDArray[np.bool_]:
    """Returns whether each product passes a filter: bool, shape (n,).

    Genders are a closed vocabulary and always known. A colour is known where the catalogue or the table of families has
    it, any other label where a product of the catalogue has it. Known values that leave nothing are no error.

    Raises:
        InvalidInput: FILTER_VALUE_UNKNOWN, naming the attribute, the value and the nearest known ones;
            YEAR_RANGE_INVALID; TOO_MANY_FILTER_VALUES; WORDS_TOO_LONG.
    """
    mask = np.ones(columns.years().shape[0], dtype=np.bool_)
    for name, condition in filter.conditions.items():
        if isinstance(condition, YearRange):
            mask &= _in_range(condition, columns.years())
            continue
        if isinstance(condition, Words):
            for needle in needles(condition.text):
                mask &= np.fromiter((needle in text for text in columns.texts()), np.bool_, mask.shape[0])
            continue
        attribute = BY_NAME[name]
        any_of, none_of = _labels(attribute, condition, columns)
        if any_of is not None:
            mask &= has_label(columns, attribute, any_of)
        if none_of:
            mask &= ~has_label(columns, attribute, none_of)
    return mask


def has_label(columns: AttributeColumns, attribute: Attribute, labels: Iterable[str]) -> NDArray[np.bool_]:
    """Returns whether each product has one of some labels: bool, shape (n,). An unknown label matches none."""
    known = columns.labels(attribute)
    codes = [known[label] for label in labels if label in known]
    # One look-up per product. NO_CODE is -1 and reads the last element, which belongs to no label.
    wanted = np.zeros(max(known.values(), default=-1) + 2, dtype=np.bool_)
    wanted[codes] = True
    return wanted[columns.codes(attribute)]


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


def _labels(
    attribute: Attribute, condition: LabelFilter | GenderFilter | ColourFilter, columns: AttributeColumns
) -> tuple[frozenset[str] | None, frozenset[str]]:
    """Returns the labels of which a product must have one (None: no condition), and those that it must not have."""
    if isinstance(condition, GenderFilter):
        any_of, none_of = (frozenset(each.value for each in part) for part in (condition.any_of, condition.none_of))
        return any_of or None, none_of
    present = columns.labels(attribute).keys()
    any_of, none_of = frozenset(condition.any_of), frozenset(condition.none_of)
    if isinstance(condition, LabelFilter):
        _check(attribute, condition, present)
        return any_of or None, none_of
    _check(attribute, condition, present | colours.table_colours())
    if condition.by_family:
        any_of, none_of = colours.covered(any_of, present), colours.touched(none_of, present)
    return any_of if condition.any_of else None, none_of


def _check(attribute: Attribute, condition: LabelFilter | ColourFilter, known: Iterable[str]) -> None:
    labels = frozenset(known)
    for part, values in (("any_of", condition.any_of), ("none_of", condition.none_of)):
        if len(values) > MAX_FILTER_VALUES:
            raise InvalidInput(
                f"{attribute.name}.{part} holds {len(values)} values; at most {MAX_FILTER_VALUES} are allowed.",
                reason="TOO_MANY_FILTER_VALUES",
                metadata={"attribute": attribute.name},
            )
        for value in values:
            if value not in labels:
                raise unknown_value(attribute.name, value, labels)


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
