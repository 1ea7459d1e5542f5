"""What a search asks Milvus to filter by: every eligible product passes, and few others do."""

import json
from collections.abc import Iterable
from typing import Final

from services.contract.attributes import BASE_COLOUR, BY_NAME, DERIVED_TYPE
from services.search.filters.filter import (
    ColourFilter,
    Condition,
    Filter,
    GenderFilter,
    LabelFilter,
    PriceRange,
    YearRange,
    label_sets,
)
from services.search.indexes.base import Eligibility, Rung
from services.search.indexes.columns import Columns
from services.search.indexes.milvus.rows import text

SEARCHABLE: Final = "searchable == true"


def eligible(eligibility: Eligibility, columns: Columns, excluded_colours: Iterable[str]) -> str:
    """Returns the expression of an eligibility.

    Words, own attributes, and what is excluded by name stay to be checked afterwards.

    Args:
        eligibility: has been checked.
        columns: the products.
        excluded_colours: those that the dislikes stand for.
    """
    parts = [SEARCHABLE]
    if eligibility.derived_types is not None:
        parts.append(_of_types(eligibility, eligibility.derived_types))
    if not eligibility.include_out_of_stock:
        parts.append("available == true")
    if disliked := sorted(excluded_colours):
        parts.append(f"{BASE_COLOUR.name} not in {_listed(disliked)}")
    return " and ".join([*parts, *_conditions(eligibility.filter, columns)])


def among_keys(keys: Iterable[str]) -> str:
    """Returns the expression of the rows of some primary keys."""
    return f"{SEARCHABLE} and key in {json.dumps(list(keys))}"


def _of_types(eligibility: Eligibility, derived_types: Iterable[str]) -> str:
    """Returns the condition of a scope; that of a ladder goes up to its last rung."""
    named = {DERIVED_TYPE.name: sorted(derived_types)}
    if eligibility.ladder is not None:
        named |= {rung.name.lower(): sorted(eligibility.ladder.labels(rung)) for rung in Rung if rung}
    conditions = [f"{name} in {_listed(labels)}" for name, labels in named.items() if labels]
    return f"({' or '.join(conditions)})" if conditions else 'key == ""'


def _conditions(filter: Filter, columns: Columns) -> list[str]:
    return [part for name, condition in filter.conditions.items() for part in _condition(name, condition, columns)]


def _condition(name: str, condition: Condition, columns: Columns) -> list[str]:
    match condition:
        case YearRange(first, last):
            # A missing year is below every one.
            parts = [f"year >= {max(0, first or 0)}"]
            return parts if last is None else [*parts, f"year <= {last}"]
        case PriceRange(currency_code, low, high):
            parts = [f"currency == {json.dumps(text(currency_code))}"]
            if low is not None:
                parts.append(_price(">", low.units, low.nanos))
            if high is not None:
                parts.append(_price("<", high.units, high.nanos))
            return parts
        case LabelFilter() | GenderFilter() | ColourFilter() if name in BY_NAME:
            any_of, none_of = label_sets(BY_NAME[name], condition, columns)
            parts = [] if any_of is None else [f"{name} in {_listed(sorted(any_of))}"]
            return [*parts, f"{name} not in {_listed(sorted(none_of))}"] if none_of else parts
    return []


def _price(sign: str, units: int, nanos: int) -> str:
    return f"(price_units {sign} {units} or (price_units == {units} and price_nanos {sign}= {nanos}))"


def _listed(labels: Iterable[str]) -> str:
    return json.dumps([text(label) for label in labels])
