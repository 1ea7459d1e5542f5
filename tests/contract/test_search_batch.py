"""BatchFindSimilar: the answers of FindSimilar, whatever is asked, and a status of its own for each product."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from fashion.v1 import search_pb2, types_pb2
from services.search.query import batch
from tests.support import small_shop
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings

SHIRT = small_shop.items()[0].id
# What may be asked of each product. What a batch refuses is in `REFUSED`.
OPTIONS: dict[str, dict[str, Any]] = {
    "liked_product_ids": {"liked_product_ids": ["women-dresses-red-0", "women-dresses-red-25"]},
    "disliked_product_ids": {"disliked_product_ids": ["men-tshirts-black-0"]},
    "user_id": {"user_id": "ada"},
    "filter": {"filter": {"base_colour": {"any_of": ["Blue"], "by_family": True}}},
    "top_k": {"top_k": 3},
    "scope": {"scope": search_pb2.SEARCH_SCOPE_PREDICTED_TYPE},
    "derived_types": {"derived_types": ["Men Tshirts"], "scope": search_pb2.SEARCH_SCOPE_DERIVED_TYPES},
    "include_out_of_stock": {"include_out_of_stock": True},
    "preference_policy": {"user_id": "ada", "preference_policy": search_pb2.PREFERENCE_POLICY_REQUIRED},
    "excluded_product_ids": {"excluded_product_ids": ["men-tshirts-red-0", "men-tshirts-blue-25"]},
    "collapse": {"collapse": search_pb2.COLLAPSE_NONE},
    "min_similarity": {"min_similarity": 0.8},
    "boosts": {"boosts": [{"condition": {"words": "red"}, "factor": 1.5}]},
    "diversity": {"diversity": 0.4},
    "widen": {"top_k": 100, "widen": True},
}
REFUSED = ("product_id", "image", "embedding", "explain")


def _lists(caller: Caller, ids: list[str], **options: Any) -> list[search_pb2.SimilarList]:
    request = search_pb2.BatchFindSimilarRequest(product_ids=ids, options=search_pb2.FindSimilarRequest(**options))
    return list(caller.search.BatchFindSimilar(request, timeout=60).lists)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with stack_in_thread(stack_settings(tmp_path_factory.mktemp("shop"))) as stack, calling(stack.target) as connected:
        rows = small_shop.rows()
        for number, row in enumerate(rows):
            if number % 3 == 1:
                row.product.parent_id = rows[number - 1].product.id
            row.product.in_stock = number % 5 != 2
        assert not any(each.status.code for each in connected.upsert(rows).results)
        connected.dislike("ada", "Red")
        yield connected


def test_every_field_of_a_request_is_tested_here() -> None:
    assert {*OPTIONS, *REFUSED} == set(search_pb2.FindSimilarRequest.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("name", ["", *OPTIONS])
def test_each_list_is_what_find_similar_answers(caller: Caller, name: str) -> None:
    options = OPTIONS.get(name, {})
    ids = [item.id for item in small_shop.items()]
    lists = _lists(caller, ids, **options)
    assert [each.product_id for each in lists] == ids
    lengths = set()
    for each in lists:
        if each.product_id in options.get("liked_product_ids", ()):
            continue
        answer = caller.find(product_id=each.product_id, **options)
        assert each.status.code == 0
        assert [(one.product_id, one.similarity, one.rank_score) for one in each.products] == [
            (one.product.id, one.similarity, one.rank_score) for one in answer.products
        ]
        assert each.applied == answer.applied
        lengths.add(len(each.products))
    assert max(lengths) > 0
    if name:
        plain = _lists(caller, ids)
        assert [list(each.products) for each in lists] != [list(each.products) for each in plain]


def test_a_bad_product_spoils_only_itself(caller: Caller) -> None:
    lists = _lists(caller, [SHIRT, "nobody", "a b", SHIRT])
    assert [each.status.reason for each in lists] == ["", "PRODUCT_NOT_FOUND", "PRODUCT_ID_INVALID", ""]
    assert [each.product_id for each in lists] == [SHIRT, "nobody", "a b", SHIRT]
    assert lists[0].products == lists[3].products != []
    assert not lists[1].HasField("applied") and not lists[1].products


@pytest.mark.parametrize(
    ("ids", "options", "reason"),
    [
        ([], {}, "BATCH_EMPTY"),
        ([SHIRT] * (batch.MAX_BATCH_PRODUCTS + 1), {}, "BATCH_TOO_LARGE"),
        ([SHIRT], {"product_id": SHIRT}, "BATCH_OPTION_INVALID"),
        ([SHIRT], {"image": types_pb2.Image(content=b"x")}, "BATCH_OPTION_INVALID"),
        ([SHIRT], {"embedding": types_pb2.Embedding()}, "BATCH_OPTION_INVALID"),
        ([SHIRT], {"explain": True}, "BATCH_OPTION_INVALID"),
        ([SHIRT], {"top_k": 101}, "TOP_K_OUT_OF_RANGE"),
        ([SHIRT], {"derived_types": ["Men Tshirts"]}, "SCOPE_INVALID"),
        ([SHIRT], {"derived_types": ["Men Tshirt"], "scope": 3}, "DERIVED_TYPE_UNKNOWN"),
        ([SHIRT], {"filter": {"base_colour": {"any_of": ["Bleu"]}}}, "FILTER_VALUE_UNKNOWN"),
        ([SHIRT], {"user_id": "a b"}, "USER_ID_INVALID"),
    ],
)
def test_bad_options_are_refused_by_name(caller: Caller, ids: list[str], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        _lists(caller, ids, **options)
    code, found, text, _ = refusal(raised.value)
    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert text.endswith(".")
