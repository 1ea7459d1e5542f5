"""Which products a filter lets through: its types, its check against what is known, its evaluation over columns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.filters import colours

MAX_VALUES = 100
# Stands in the column of codes for a product without a value, and in that of years for one without a year.
NO_CODE = -1
NO_YEAR = -1


class Attribute(StrEnum):
    """A labelled attribute of a product; the value is the name of its field."""

    GENDER = "gender"
    MASTER_CATEGORY = "master_category"
    SUB_CATEGORY = "sub_category"
    ARTICLE_TYPE = "article_type"
    BASE_COLOUR = "base_colour"
    SEASON = "season"
    USAGE = "usage"
    DERIVED_TYPE = "derived_type"


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """A condition on a label: one of `any_of`, where there are any, and none of `none_of`."""

    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenderFilter:
    """A condition on the gender: one of `any_of`, where there are any, and none of `none_of`."""

    any_of: tuple[Gender, ...] = ()
    none_of: tuple[Gender, ...] = ()


@dataclass(frozen=True, slots=True)
class ColourFilter:
    """A condition on the main colour; `by_family` makes each colour stand for its family as `colours.covered` says."""

    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    by_family: bool = False


@dataclass(frozen=True, slots=True)
class YearRange:
    """A condition on the year, both ends inclusive; None is no bound. A product without a year passes no range."""

    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which products are eligible: those that pass every part that is present.

    A product without a value for an attribute passes no `any_of` and every `none_of`.
    """

    gender: GenderFilter | None = None
    master_category: LabelFilter | None = None
    sub_category: LabelFilter | None = None
    article_type: LabelFilter | None = None
    base_colour: ColourFilter | None = None
    season: LabelFilter | None = None
    usage: LabelFilter | None = None
    year: YearRange | None = None


class AttributeColumns(Protocol):
    """The attributes of n products as columns."""

    def labels(self, attribute: Attribute) -> Mapping[str, int]:
        """Returns the labels that at least one product has, and their codes."""
        ...

    def codes(self, attribute: Attribute) -> NDArray[np.int32]:
        """Returns the products' codes: int32, shape (n,), at least 0, or `NO_CODE`."""
        ...

    def years(self) -> NDArray[np.int32]:
        """Returns the products' years: int32, shape (n,), or `NO_YEAR`."""
        ...


def evaluate(filter: Filter, columns: AttributeColumns) -> NDArray[np.bool_]:
    """Tells which products a filter lets through: bool, shape (n,).

    Genders are a closed vocabulary and always known. A colour is known where the catalogue or the table of families has
    it, any other label where a product of the catalogue has it. Known values that leave nothing are no error.

    Raises:
        InvalidInput: FILTER_VALUE_UNKNOWN, naming the attribute, the value and the nearest known ones;
            YEAR_RANGE_INVALID; TOO_MANY_FILTER_VALUES.
    """
    mask = np.ones(columns.years().shape[0], dtype=np.bool_)
    for attribute, any_of, none_of in _labels(filter, columns):
        if any_of is not None:
            mask &= has_label(columns, attribute, any_of)
        if none_of:
            mask &= ~has_label(columns, attribute, none_of)
    if filter.year is not None:
        mask &= _in_range(filter.year, columns.years())
    return mask


def has_label(columns: AttributeColumns, attribute: Attribute, labels: Iterable[str]) -> NDArray[np.bool_]:
    """Tells which products have one of some labels: bool, shape (n,). A label that nobody has matches nobody."""
    known = columns.labels(attribute)
    codes = [known[label] for label in labels if label in known]
    # One look-up a product; NO_CODE, being -1, reads the last place, which belongs to no label.
    wanted = np.zeros(max(known.values(), default=-1) + 2, dtype=np.bool_)
    wanted[codes] = True
    return wanted[columns.codes(attribute)]


def unknown_value(attribute: str, value: str, known: Iterable[str]) -> InvalidInput:
    """Describes a value that no product of the catalogue has, by the nearest ones that some have."""
    near = colours.nearest(value, frozenset(known))
    shown = ", ".join(f'"{label}"' for label in near)
    hint = f"the nearest known ones: {shown}" if near else "none is known yet"
    return InvalidInput(
        f'no product has {attribute} "{value[:64]}"; {hint}',
        reason="FILTER_VALUE_UNKNOWN",
        metadata={"attribute": attribute, "value": value[:64], "nearest": ", ".join(near)},
    )


def _labels(
    filter: Filter, columns: AttributeColumns
) -> Iterator[tuple[Attribute, frozenset[str] | None, frozenset[str]]]:
    """Yields each condition on a label as plain sets of labels; None for an `any_of` that asks nothing."""
    if filter.gender is not None:
        yield (
            Attribute.GENDER,
            frozenset(gender.value for gender in filter.gender.any_of) or None,
            frozenset(gender.value for gender in filter.gender.none_of),
        )
    for attribute, part in (
        (Attribute.MASTER_CATEGORY, filter.master_category),
        (Attribute.SUB_CATEGORY, filter.sub_category),
        (Attribute.ARTICLE_TYPE, filter.article_type),
        (Attribute.SEASON, filter.season),
        (Attribute.USAGE, filter.usage),
    ):
        if part is not None:
            known = columns.labels(attribute).keys()
            _check(attribute, part, known)
            yield attribute, frozenset(part.any_of) or None, frozenset(part.none_of)
    colour = filter.base_colour
    if colour is not None:
        present = columns.labels(Attribute.BASE_COLOUR).keys()
        _check(Attribute.BASE_COLOUR, colour, present | colours.table_colours())
        any_of, none_of = frozenset(colour.any_of), frozenset(colour.none_of)
        if colour.by_family:
            any_of, none_of = colours.covered(any_of, present), colours.covered(none_of, present)
        yield Attribute.BASE_COLOUR, any_of if colour.any_of else None, none_of


def _check(attribute: Attribute, part: LabelFilter | ColourFilter, known: Iterable[str]) -> None:
    labels = frozenset(known)
    for name, values in (("any_of", part.any_of), ("none_of", part.none_of)):
        if len(values) > MAX_VALUES:
            raise InvalidInput(
                f"{attribute}.{name} holds {len(values)} values; at most {MAX_VALUES} are allowed",
                reason="TOO_MANY_FILTER_VALUES",
                metadata={"attribute": attribute.value},
            )
        for value in values:
            if value not in labels:
                raise unknown_value(attribute.value, value, labels)


def _in_range(year: YearRange, years: NDArray[np.int32]) -> NDArray[np.bool_]:
    if year.first is not None and year.last is not None and year.last < year.first:
        raise InvalidInput(
            f"the last year, {year.last}, is before the first, {year.first}",
            reason="YEAR_RANGE_INVALID",
            metadata={"first": str(year.first), "last": str(year.last)},
        )
    mask: NDArray[np.bool_] = years != NO_YEAR
    if year.first is not None:
        mask &= years >= year.first
    if year.last is not None:
        mask &= years <= year.last
    return mask
