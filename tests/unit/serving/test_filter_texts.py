"""Conditions as people write them, and the same texts as facets offer them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion.v1 import search_pb2
from services.contract.errors import InvalidInput
from services.serving.filter_texts import (
    attribute_filters,
    attribute_texts,
    label_text,
    number_range_text,
    number_text,
    price_range,
    price_text,
)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(str.strip))
def test_any_label_is_read_as_the_label_that_it_was(label: str) -> None:
    filters = attribute_filters([f"material:{label_text(label)}"], [f"material:{label_text(label)}"])
    assert filters == {
        "material": search_pb2.AttributeFilter(labels=search_pb2.LabelFilter(any_of=[label], none_of=[label]))
    }


@given(st.none() | st.floats(allow_nan=False, allow_infinity=False), st.none() | st.integers(-10, 10).map(float))
def test_any_range_of_numbers_is_read_as_it_was(low: float | None, high: float | None) -> None:
    message = search_pb2.NumberRange(min=low, max=high)
    assert attribute_filters([f"heel:{number_range_text(message)}"], [])["heel"].number == message


@given(st.none() | st.tuples(st.integers(0, 10**18 - 1), st.integers(0, 999_999_999)))
def test_any_range_of_prices_is_read_as_it_was(low: tuple[int, int] | None) -> None:
    amount = None if low is None else search_pb2.Amount(units=low[0], nanos=low[1])
    message = search_pb2.PriceRange(currency_code="EUR", min=amount)
    assert price_range(price_text(message, "EUR")) == message


@pytest.mark.parametrize("text", ["10", "10..20", "10..20 eur", "1e3..2e3 EUR", "10...20 EUR", "-1..2 EUR", "a..b EUR"])
def test_what_is_no_range_of_prices_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no range"):
        price_range(text)


@pytest.mark.parametrize("text", ["10..20.50EUR", "10..20.5 EUR", "10.00..20.50 EUR"])
def test_a_range_of_prices_may_be_written_in_several_ways(text: str) -> None:
    assert price_range(text) == search_pb2.PriceRange(
        currency_code="EUR", min=search_pb2.Amount(units=10), max=search_pb2.Amount(units=20, nanos=500_000_000)
    )


@pytest.mark.parametrize(
    ("chosen", "excluded", "text"),
    [
        (["material"], [], "names no attribute"),
        ([":Cotton"], [], "names no attribute"),
        (["heel:1..2", "heel:3..4"], [], "several conditions"),
        (["heel:1..2", "heel:high"], [], "several kinds"),
        (["heel:high", "heel:1..2"], [], "several conditions"),
        (["organic:true", "organic:false"], [], "several conditions"),
        (["heel:1..2"], ["heel:high"], "an excluded label"),
    ],
)
def test_conditions_that_exclude_each_other_are_refused(chosen: list[str], excluded: list[str], text: str) -> None:
    with pytest.raises(InvalidInput, match=text) as error:
        attribute_filters(chosen, excluded)
    assert error.value.reason == "ATTRIBUTE_FILTER_INVALID"


@pytest.mark.parametrize(("number", "text"), [(40.0, "40"), (0.1, "0.1"), (-2.5, "-2.5"), (1e21, "1" + "0" * 21)])
def test_a_number_is_written_without_exponent(number: float, text: str) -> None:
    assert number_text(number) == text


def test_conditions_are_described_for_people() -> None:
    filters = attribute_filters(["a:x", "a:y", "b:..2", "c:true"], ["a:z"])
    assert [attribute_texts(each) for each in filters.values()] == [["x or y", "not z"], ["..2"], ["yes"]]
