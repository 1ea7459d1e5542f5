"""Counts products by the values of their attributes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import FACETED, Attribute, Kind
from services.search.filters import filter as filters
from services.search.filters.colours import family_of
from services.search.filters.filter import NO_CODE, NO_YEAR, AttributeColumns, Filter


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value, the number of products that have it, and a colour's family ("" for other attributes)."""

    value: str
    count: int
    colour_family: str = ""


@dataclass(frozen=True, slots=True)
class Facets:
    """The facets of the products that pass a filter.

    Attributes:
        values: name of the attribute -> its values, the most frequent first, equally frequent ones in alphabetical
            order; years from the newest to the oldest. Holds every attribute of `FACETED`, in that order.
        total_count: how many products pass the whole filter.
    """

    values: dict[str, tuple[FacetValue, ...]]
    total_count: int


def count_facets(filter: Filter, columns: AttributeColumns) -> Facets:
    """Counts products per attribute, by the filter without its own condition on that attribute.

    Raises:
        InvalidInput: see `filters.evaluate`.
    """
    everything = filters.evaluate(filter, columns)
    values: dict[str, tuple[FacetValue, ...]] = {}
    for attribute in FACETED:
        name = attribute.name
        mask = everything if name not in filter.conditions else filters.evaluate(filter.without(name), columns)
        count = _years if attribute.kind is Kind.YEAR else _labels
        values[name] = count(attribute, columns, mask)
    return Facets(values, int(np.count_nonzero(everything)))


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
