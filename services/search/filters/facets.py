"""Counts products by the values of their attributes: what a list can be narrowed down by."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.search.filters import filter as filters
from services.search.filters.colours import family_of
from services.search.filters.filter import NO_CODE, NO_YEAR, Attribute, AttributeColumns, Filter

# The field of `Filter` and of a product that holds the year, which is a number and no label.
YEAR: Final = "year"
# In the order in which they are told.
ATTRIBUTES: Final = (
    Attribute.GENDER,
    Attribute.MASTER_CATEGORY,
    Attribute.SUB_CATEGORY,
    Attribute.ARTICLE_TYPE,
    Attribute.BASE_COLOUR,
    Attribute.SEASON,
    Attribute.USAGE,
    YEAR,
    Attribute.DERIVED_TYPE,
)


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value, how many products have it, and for a colour the family that it belongs to ("" for anything else)."""

    value: str
    count: int
    colour_family: str = ""


@dataclass(frozen=True, slots=True)
class Facets:
    """What a filter leaves.

    Attributes:
        values: name of the attribute -> its values, the most frequent first, equally frequent ones in alphabetical
            order; years from the newest to the oldest. Every attribute of `ATTRIBUTES` is there, in their order.
        total_count: of the products that the whole filter lets through.
    """

    values: dict[str, tuple[FacetValue, ...]]
    total_count: int


def count_facets(filter: Filter, columns: AttributeColumns) -> Facets:
    """Counts products by attribute, each time by all of the filter but its part on that very attribute.

    Raises:
        InvalidInput: as `filters.evaluate`.
    """
    everything = filters.evaluate(filter, columns)
    values: dict[str, tuple[FacetValue, ...]] = {}
    for attribute in ATTRIBUTES:
        # Nothing filters by derived type.
        own = getattr(filter, attribute, None)
        mask = everything if own is None else filters.evaluate(replace(filter, **{str(attribute): None}), columns)
        values[str(attribute)] = (
            _labels(attribute, columns, mask) if isinstance(attribute, Attribute) else _years(columns, mask)
        )
    return Facets(values, int(np.count_nonzero(everything)))


def _labels(attribute: Attribute, columns: AttributeColumns, mask: NDArray[np.bool_]) -> tuple[FacetValue, ...]:
    codes = columns.codes(attribute)[mask]
    labels = columns.labels(attribute)
    counts = np.bincount(codes[codes != NO_CODE], minlength=max(labels.values(), default=-1) + 1)
    found = [
        FacetValue(label, int(counts[code]), family_of(label) if attribute is Attribute.BASE_COLOUR else "")
        for label, code in labels.items()
        if counts[code]
    ]
    return tuple(sorted(found, key=lambda value: (-value.count, value.value)))


def _years(columns: AttributeColumns, mask: NDArray[np.bool_]) -> tuple[FacetValue, ...]:
    years = columns.years()[mask]
    known, counts = np.unique(years[years != NO_YEAR], return_counts=True)
    pairs = zip(known.tolist(), counts.tolist(), strict=True)
    return tuple(FacetValue(str(year), count) for year, count in sorted(pairs, reverse=True))
