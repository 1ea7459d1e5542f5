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
        assert [(each.product, each.similarity) for each in answer.products] == [
            (each.product, each.similarity) for each in list(best.values())[:top_k]
        ]
        for each in answer.products:
            others = {one for one, parent in PARENT_OF.items() if parent == PARENT_OF[each.product.id]}
            assert {variant.product_id for variant in each.variants} == others - out - {each.product.id}
            assert each.variant_count == len(each.variants)
            assert not each.derived
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


def test_variants_are_named_in_order_and_never_in_a_disliked_colour(caller: Caller) -> None:
    shirt = {"gender": types_pb2.GENDER_MEN, "sub_category": "Topwear", "article_type": "Shirts"}
    shades = {"a": ("Red", True, 1), "b": ("Red", None, 2), "c": ("Yellow", False, 3), "d": ("Yellow", True, 4)}
    shades["e"] = ("Navy Blue", None, 5)
    rows = [
        search_pb2.ProductRow(
            product=types_pb2.Product(
                id=product_id,
                parent_id="p",
                base_colour=colour,
                in_stock=stock,
                price=types_pb2.Price(currency_code="EUR", units=units),
                **shirt,  # type: ignore[arg-type]
            ),
            image=types_pb2.Image(content=photograph("Men Tshirts", colour, units)),
        )
        for product_id, (colour, stock, units) in shades.items()
    ]
    caller.upsert(rows)
    caller.dislike("ann", "Blue")
    try:
        query = {
            "image": rows[0].image,
            "derived_types": ["Men Shirts"],
            "scope": search_pb2.SEARCH_SCOPE_DERIVED_TYPES,
        }
        (shown,) = caller.find(**query, filter={"price": {"currency_code": "EUR", "max": {"units": 1}}}).products
        assert shown.product.id == "a"
        assert [each.product_id for each in shown.variants] == ["d", "e", "b", "c"]
        first = shown.variants[0]
        assert (first.base_colour, first.price.units, first.in_stock) == ("Yellow", 4, True)
        assert not shown.variants[1].HasField("in_stock")
        assert -1 <= first.similarity < shown.similarity
        (shown,) = caller.find(**query, user_id="ann").products
        assert [each.product_id for each in shown.variants] == ["d", "b", "c"]
    finally:
        caller.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=[row.product.id for row in rows]))


def test_designs_are_derived_where_no_parent_is_known(caller: Caller) -> None:
    shirt = {"gender": types_pb2.GENDER_MEN, "sub_category": "Topwear", "article_type": "Shirts"}
    names = {"r": ("Oxford Red", "Red"), "n": ("Oxford dark-red", "Maroon"), "other": ("Linen Red", "Red")}
    rows = [
        search_pb2.ProductRow(
            product=types_pb2.Product(id=product_id, name=name, base_colour=colour, **shirt),  # type: ignore[arg-type]
            image=types_pb2.Image(content=photograph("Men Tshirts", "Red", 7)),
        )
        for product_id, (name, colour) in names.items()
    ]
    caller.upsert(rows)
    try:
        scope: dict[str, Any] = {"derived_types": ["Men Shirts"], "scope": search_pb2.SEARCH_SCOPE_DERIVED_TYPES}
        answer = caller.find(image=rows[0].image, collapse=search_pb2.COLLAPSE_DESIGNS, **scope)
        found = {each.product.id: each for each in answer.products}
        assert found.keys() == {"n", "other"}
        assert answer.applied.eligible_count == 2
        assert ([each.product_id for each in found["n"].variants], found["n"].derived) == (["r"], True)
        assert not found["other"].derived
        own = caller.find(product_id="n", collapse=search_pb2.COLLAPSE_DESIGNS, **scope)
        assert [each.product.id for each in own.products] == ["other"]
        assert len(caller.find(image=rows[0].image, **scope).products) == 3
        # Another name makes it another design.
        rows[0].product.name = "Poplin Red"
        caller.upsert(rows[:1])
        assert len(caller.find(image=rows[0].image, collapse=search_pb2.COLLAPSE_DESIGNS, **scope).products) == 3
    finally:
        caller.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=[row.product.id for row in rows]))


def test_rules_change_the_order_and_nothing_else(caller: Caller) -> None:
    query = {"product_id": "tee-0", "collapse": search_pb2.COLLAPSE_NONE, "top_k": 100}
    plain = caller.find(**query)
    similarity = {each.product.id: each.similarity for each in plain.products}
    boosts = [{"condition": {"words": "polo"}, "factor": 0.5}, {"condition": {"words": "alone"}, "factor": 2.0}]
    boosted = caller.find(**query, boosts=boosts)
    assert {each.product.id: each.similarity for each in boosted.products} == similarity
    assert boosted.applied == plain.applied
    for each in boosted.products:
        factor = {"polo": 0.5, "alon": 2.0}.get(each.product.id[:4], 1.0)
        ranked = each.similarity * factor if each.similarity >= 0 else each.similarity / factor
        assert each.rank_score == pytest.approx(ranked)
    scores = [each.rank_score for each in boosted.products]
    assert scores == sorted(scores, reverse=True)
    assert not any(each.HasField("rank_score") for each in plain.products)
    best = caller.find(product_id="tee-0", collapse=search_pb2.COLLAPSE_NONE, top_k=2, boosts=boosts)
    assert list(best.products) == list(boosted.products)[:2]
    diverse = caller.find(**query, diversity=0.9)
    assert diverse.products[0] == plain.products[0]
    assert {each.product.id for each in diverse.products} == similarity.keys()
    assert [each.product.id for each in diverse.products] != [each.product.id for each in plain.products]
