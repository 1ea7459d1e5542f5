"""Page tokens: they lead on, say nothing to callers, and are good for their filter alone."""

import base64
import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.products import Price, Product
from services.search.filters.filter import (
    ColourFilter,
    Filter,
    FlagFilter,
    GenderFilter,
    LabelFilter,
    NumberRange,
    Words,
    YearRange,
)
from services.search.filters.order import PARTS, Order, place_of
from services.search.filters.paging import coerced_page_size, last_place, next_page_token

BAGS = Filter(sub_category=LabelFilter(any_of=("Bags", "Shoes")), year=YearRange(first=2012))


@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=128).filter(str.isprintable))
def test_a_token_leads_to_the_product_it_was_made_of(product_id: str) -> None:
    assert last_place(next_page_token((product_id,), BAGS), BAGS) == (product_id,)


NAMED = Product(
    id="p" * 128,
    gender=Gender.MEN,
    sub_category="Bags",
    article_type="Clutches",
    name="𝔜" * 512,
    year=2200,
    price=Price("EUR", 2**63 - 1, 999_999_999),
)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("product", [NAMED, dataclasses.replace(NAMED, name=None, year=None, price=None)])
def test_a_token_leads_to_a_place_in_its_order_alone(order: Order, product: Product) -> None:
    place = place_of(product, order)
    assert tuple(map(type, place)) == PARTS[order]
    token = next_page_token(place, BAGS, order)
    assert len(token) <= 4096
    assert last_place(token, BAGS, order) == place
    for other in set(Order) - {order}:
        with pytest.raises(InvalidInput) as error:
            last_place(token, BAGS, other)
        assert error.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    "other",
    [
        Filter(),
        Filter(sub_category=LabelFilter(any_of=("Bags",)), year=YearRange(first=2012)),
        Filter(sub_category=LabelFilter(none_of=("Bags", "Shoes")), year=YearRange(first=2012)),
        Filter(article_type=LabelFilter(any_of=("Bags", "Shoes")), year=YearRange(first=2012)),
        Filter(sub_category=LabelFilter(any_of=("Bags", "Shoes")), year=YearRange(last=2012)),
        Filter(sub_category=LabelFilter(any_of=("Bags", "Shoes")), year=YearRange(first=2012), words=Words("red")),
    ],
)
def test_a_token_of_another_filter_is_refused(other: Filter) -> None:
    with pytest.raises(InvalidInput) as error:
        last_place(next_page_token(("p1",), BAGS), other)
    assert error.value.reason == "PAGE_TOKEN_INVALID"


OWN = [
    Filter(),
    *(Filter(**{"attributes.heel": condition}) for condition in (
        NumberRange(min=0.0), NumberRange(max=0.0), NumberRange(min=0.0, max=0.0), NumberRange(min=1.0),
        FlagFilter(flag=False), FlagFilter(flag=True), LabelFilter(any_of=("0",)),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "other"), list(itertools.permutations(OWN, 2)))
def test_a_bound_of_zero_and_a_flag_that_is_not_set_ask_for_something(asked: Filter, other: Filter) -> None:
    token = next_page_token(("p1",), asked)
    assert last_place(token, asked) == ("p1",)
    with pytest.raises(InvalidInput):
        last_place(token, other)


def test_filters_that_ask_for_the_same_share_their_tokens() -> None:
    nothing = Filter(gender=GenderFilter(), base_colour=ColourFilter(), year=YearRange())
    assert last_place(next_page_token(("p1",), Filter()), nothing) == ("p1",)
    turned = Filter(sub_category=LabelFilter(any_of=("Shoes", "Bags")), year=YearRange(first=2012))
    assert last_place(next_page_token(("p1",), BAGS), turned) == ("p1",)
    women = Filter(gender=GenderFilter(any_of=(Gender.WOMEN,)))
    assert last_place(next_page_token(("p1",), women), women) == ("p1",)


@given(st.text(max_size=200))
def test_whatever_is_made_up_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput) as error:
        last_place(token, Filter())
    assert error.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("content", [[], [1], {}, [1, "x", 5], [2, "x", "p1"], "p1", None, [[[]]]])
def test_what_only_looks_like_a_token_is_refused(content: object) -> None:
    token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    with pytest.raises(InvalidInput):
        last_place(token, Filter())


@pytest.mark.parametrize(("size", "coerced"), [(0, 50), (1, 1), (500, 500), (501, 500), (2**31 - 1, 500)])
def test_a_page_holds_at_most_500_whatever_is_asked_for(size: int, coerced: int) -> None:
    assert coerced_page_size(size) == coerced


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match="negative") as error:
        coerced_page_size(-1)
    assert error.value.reason == "PAGE_SIZE_OUT_OF_RANGE"
