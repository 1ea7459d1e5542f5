"""Ranges of prices and numbers select what they count."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.filters.facets import _price_ranges
from services.search.filters.filter import PriceColumn
from services.search.filters.ranges import MAX_RANGES, round_bounds


@pytest.mark.parametrize("places", [0, 2, 9])
@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=40), st.sampled_from([0, 9, 1_999, 99_999]))
def test_bounds_are_steps_between_the_least_and_the_greatest(places: int, parts: list[int], from_: int) -> None:
    step = Decimal(1).scaleb(-places)
    exact = [(from_ + part) * step for part in parts]
    bounds = round_bounds(np.array(list(map(float, exact))), step)
    assert bounds == sorted(set(bounds)) and len(bounds) < MAX_RANGES
    assert all(bound % step == 0 and min(exact) < bound <= max(exact) for bound in bounds)
    assert bool(bounds) == (len(set(exact)) > 1)


@given(st.lists(st.integers(0, 300), min_size=2, max_size=12), st.sampled_from([0, 1_998, 4_900]))
def test_a_range_of_prices_selects_as_many_as_it_counts(parts: list[int], from_: int) -> None:
    cents = np.array(parts) + from_
    units, nanos = cents // 100, (cents % 100) * 10**7
    column = PriceColumn({"EUR": 0}, np.zeros(len(cents), np.int32), units.astype(np.int64), nanos.astype(np.int32))
    amounts = list(zip(units.tolist(), nanos.tolist(), strict=True))
    ranges = _price_ranges(column, "EUR")
    for each in ranges:
        least = (0, 0) if each.min is None else (each.min.units, each.min.nanos)
        most = (10**9, 0) if each.max is None else (each.max.units, each.max.nanos)
        assert sum(least <= amount <= most for amount in amounts) == each.count
    assert sum(each.count for each in ranges) in (0, len(amounts))
