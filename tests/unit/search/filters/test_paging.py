"""Page tokens: they lead on, say nothing to callers, and are good for their filter alone."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.filters.filter import ColourFilter, Filter, GenderFilter, LabelFilter, YearRange
from services.search.filters.paging import check_page_size, last_id, next_page_token

BAGS = Filter(sub_category=LabelFilter(any_of=("Bags", "Shoes")), year=YearRange(first=2012))


@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=128).filter(str.isprintable))
def test_a_token_leads_to_the_product_it_was_made_of(product_id: str) -> None:
    assert last_id(next_page_token(product_id, BAGS), BAGS) == product_id


@pytest.mark.parametrize(
    "other",
    [
        Filter(),
        Filter(sub_category=LabelFilter(any_of=("Bags",)), year=YearRange(first=2012)),
        Filter(sub_category=LabelFilter(none_of=("Bags", "Shoes")), year=YearRange(first=2012)),
        Filter(article_type=LabelFilter(any_of=("Bags", "Shoes")), year=YearRange(first=2012)),
        Filter(sub_category=LabelFilter(any_of=("Bags", "Shoes")), year=YearRange(last=2012)),
    ],
)
def test_a_token_of_another_filter_is_refused(other: Filter) -> None:
    with pytest.raises(InvalidInput) as error:
        last_id(next_page_token("p1", BAGS), other)
    assert error.value.reason == "PAGE_TOKEN_INVALID"


def test_filters_that_ask_for_the_same_share_their_tokens() -> None:
    nothing = Filter(gender=GenderFilter(), base_colour=ColourFilter(), year=YearRange())
    assert last_id(next_page_token("p1", Filter()), nothing) == "p1"
    turned = Filter(sub_category=LabelFilter(any_of=("Shoes", "Bags")), year=YearRange(first=2012))
    assert last_id(next_page_token("p1", BAGS), turned) == "p1"
    women = Filter(gender=GenderFilter(any_of=(Gender.WOMEN,)))
    assert last_id(next_page_token("p1", women), women) == "p1"


@given(st.text(max_size=200))
def test_whatever_is_made_up_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput) as error:
        last_id(token, Filter())
    assert error.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("content", [[], [1], {}, [1, "x", 5], [2, "x", "p1"], "p1", None, [[[]]]])
def test_what_only_looks_like_a_token_is_refused(content: object) -> None:
    token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    with pytest.raises(InvalidInput):
        last_id(token, Filter())


@pytest.mark.parametrize("size", [0, -1, 501])
def test_a_page_holds_1_to_500(size: int) -> None:
    with pytest.raises(InvalidInput) as error:
        check_page_size(size)
    assert error.value.reason == "PAGE_SIZE_OUT_OF_RANGE"
    check_page_size(1)
    check_page_size(500)
