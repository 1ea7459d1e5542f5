"""Variants over gRPC: of each family the most similar eligible product, of the query's own none, and no place empty."""

from collections.abc import Iterator
from typing import Any

import pytest

from fashion.v1 import search_pb2, types_pb2
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import photograph

# Id, parent and shade: five sizes of one shirt, whose parent is a product too, three of another one, and others.
PRODUCTS = (
    *((f"tee-{size}", "tee", 0) for size in range(5)),
    ("tee", None, 1),
    *((f"polo-{size}", "polo", 5 + size) for size in range(3)),
    *((f"alone-{number}", None, 12 + number) for number in range(3)),
)
PARENT_OF = {product_id: parent or product_id for product_id, parent, _ in PRODUCTS}


def _picture(shade: int) -> types_pb2.Image:
    return types_pb2.Image(content=photograph("Men Tshirts", "Red", shade))


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with stack_in_thread(stack_settings(tmp_path_factory.mktemp("shop"))) as stack, calling(stack.target) as connected:
        shirt = {"gender": types_pb2.GENDER_MEN, "sub_category": "Topwear", "article_type": "Tshirts"}
        rows = [
            search_pb2.ProductRow(
                product=types_pb2.Product(id=product_id, parent_id=parent, **shirt),  # type: ignore[arg-type]
                image=_picture(shade),
            )
            for product_id, parent, shade in PRODUCTS
        ]
        written = connected.upsert(rows)
        assert not any(each.status.code for each in written.results)
        yield connected


@pytest.mark.parametrize(
    "query",
    [
        {"product_id": "tee-0"},
        {"product_id": "tee"},
        {"product_id": "alone-0"},
        {"product_id": "alone-0", "excluded_product_ids": ["tee", "tee-0", "polo-2"]},
        {"product_id": "polo-0", "excluded_product_ids": ["polo-1"], "liked_product_ids": ["tee-1"]},
        {"image": _picture(1), "scope": search_pb2.SEARCH_SCOPE_INVENTORY},
    ],
)
def test_each_family_has_one_place(caller: Caller, query: dict[str, Any]) -> None:
    everything = caller.find(**query, top_k=100, collapse=search_pb2.COLLAPSE_NONE)
    out = {query.get("product_id"), *query.get("excluded_product_ids", ()), *query.get("liked_product_ids", ())}
    assert {each.product.id for each in everything.products} == PARENT_OF.keys() - out
    best: dict[str, search_pb2.SimilarProduct] = {}
    for each in everything.products:
        if PARENT_OF[each.product.id] != PARENT_OF.get(query.get("product_id", "")):
            best.setdefault(PARENT_OF[each.product.id], each)
    for top_k in (1, 2, 3, 50):
        answer = caller.find(**query, top_k=top_k)
        assert list(answer.products) == list(best.values())[:top_k]
        assert answer.applied.eligible_count == len(best)
        assert answer == caller.find(**query, top_k=top_k, collapse=search_pb2.COLLAPSE_VARIANTS)


def test_a_variant_that_is_sold_out_leaves_its_place_to_another(caller: Caller) -> None:
    image = _picture(0)
    (best,) = caller.find(image=image, top_k=1).products
    assert PARENT_OF[best.product.id] == "tee"
    row = search_pb2.ProductRow(product=best.product)
    row.product.ClearField("derived_type")
    row.product.in_stock = False
    caller.upsert([row])
    try:
        (other,) = caller.find(image=image, top_k=1).products
        assert other.product.id != best.product.id
        assert PARENT_OF[other.product.id] == "tee"
    finally:
        row.product.ClearField("in_stock")
        caller.upsert([row])


def test_a_product_that_gets_another_parent_changes_its_family(caller: Caller) -> None:
    (row,) = (search_pb2.ProductRow(product=each.product) for each in caller.find(product_id="tee", top_k=1).products)
    assert row.product.id.startswith("polo")
    row.product.ClearField("derived_type")
    row.product.parent_id = "tee"
    caller.upsert([row])
    try:
        assert row.product.id not in [each.product.id for each in caller.find(product_id="tee").products]
    finally:
        row.product.parent_id = "polo"
        caller.upsert([row])
