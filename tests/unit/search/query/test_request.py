"""The main query is checked before anything is embedded."""

import pytest

from services.contract.errors import InvalidInput
from services.contract.values import Photograph
from services.search.indexes.base import Eligibility
from services.search.query.request import Scope, SimilarRequest


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (SimilarRequest(query=None), "QUERY_MISSING"),
        (SimilarRequest(query=""), "PRODUCT_ID_INVALID"),
        (SimilarRequest(query="red", top_k=0), "TOP_K_OUT_OF_RANGE"),
        (SimilarRequest(query="red", top_k=101), "TOP_K_OUT_OF_RANGE"),
        (SimilarRequest(query="red", min_similarity=1.001), "MIN_SIMILARITY_OUT_OF_RANGE"),
        (SimilarRequest(query="red", min_similarity=float("nan")), "MIN_SIMILARITY_OUT_OF_RANGE"),
        (SimilarRequest(query="red", liked_ids=tuple(map(str, range(21)))), "TOO_MANY_PRODUCTS"),
        (SimilarRequest(query="red", disliked_ids=tuple(map(str, range(21)))), "TOO_MANY_PRODUCTS"),
        (
            SimilarRequest(query="red", eligibility=Eligibility(excluded_ids=tuple(map(str, range(501))))),
            "TOO_MANY_PRODUCTS",
        ),
        (SimilarRequest(query="red", liked_ids=("a", "a")), "PRODUCT_ID_DUPLICATE"),
        (SimilarRequest(query="red", liked_ids=("a",), disliked_ids=("a",)), "PRODUCT_ID_DUPLICATE"),
        (SimilarRequest(query="red", liked_ids=("",)), "PRODUCT_ID_INVALID"),
        (SimilarRequest(query="red", eligibility=Eligibility(excluded_ids=("a b",))), "PRODUCT_ID_INVALID"),
        (SimilarRequest(query="red", user_id="a b"), "USER_ID_INVALID"),
        (SimilarRequest(query="red", derived_types=("Men Shirts",)), "SCOPE_INVALID"),
    ],
)
def test_refuses(request_: SimilarRequest, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        request_.check()
    assert refused.value.reason == reason


def test_takes_what_is_within_the_limits() -> None:
    SimilarRequest(
        query="red",
        top_k=100,
        liked_ids=tuple(f"liked-{number}" for number in range(20)),
        disliked_ids=tuple(f"disliked-{number}" for number in range(20)),
        eligibility=Eligibility(excluded_ids=("twice",) * 500),
        scope=Scope.DERIVED_TYPES,
        derived_types=("Men Shirts",),
        user_id="ann",
    ).check()


def test_a_product_searches_everything_and_a_photograph_its_type() -> None:
    assert SimilarRequest(query="red").effective_scope is Scope.INVENTORY
    assert SimilarRequest(query=Photograph(b"")).effective_scope is Scope.PREDICTED_TYPE
    assert SimilarRequest(query="red", scope=Scope.PREDICTED_TYPE).effective_scope is Scope.PREDICTED_TYPE
