"""A shop that does not say whom its products are for: everything works, by article type alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fashion.v1 import search_pb2, types_pb2
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import Item, items, photograph, rows

TYPES = ["Backpacks", "Dresses", "Handbags", "Tshirts"]


def _without_gender(row: search_pb2.ProductRow) -> search_pb2.ProductRow:
    row.product.ClearField("gender")
    return row


def _is_tshirt(item: Item) -> bool:
    return item.derived_type == "Men Tshirts"


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with stack_in_thread(stack_settings(tmp_path_factory.mktemp("shop"))) as stack, calling(stack.target) as caller:
        answer = caller.upsert([_without_gender(row) for row in rows()])
        assert not any(result.status.code for result in answer.results)
        yield caller


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A shop that knows the gender of every other T-shirt."""
    sent = [_without_gender(item.row()) if _is_tshirt(item) and item.shade == 0 else item.row() for item in items()]
    settings = stack_settings(tmp_path_factory.mktemp("mixed"))
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(sent)
        yield caller


def test_the_derived_type_is_the_article_type(caller: Caller) -> None:
    assert [each.label for each in caller.index().derived_types] == TYPES
    request = search_pb2.GetProductRequest(product_id=items()[0].id)
    product = caller.search.GetProduct(request, timeout=20).product
    assert (product.gender, product.derived_type) == (types_pb2.GENDER_UNSPECIFIED, product.article_type)


def test_a_product_finds_the_most_similar_ones(caller: Caller) -> None:
    shirt = next(item for item in items() if _is_tshirt(item))
    answer = caller.find(product_id=shirt.id, top_k=3)
    assert len(answer.products) == 3
    own = caller.find(product_id=shirt.id, scope=search_pb2.SEARCH_SCOPE_PREDICTED_TYPE, top_k=20)
    assert list(own.applied.derived_types) == ["Tshirts"]
    assert len(own.products) == own.applied.eligible_count == 9
    named = caller.find(product_id=shirt.id, derived_types=["Dresses"], scope=search_pb2.SEARCH_SCOPE_DERIVED_TYPES)
    assert {each.product.derived_type for each in named.products} == {"Dresses"}


@pytest.mark.parametrize("derived_type", ["Men Tshirts", "Women Dresses", "Unisex Backpacks"])
def test_a_photograph_is_recognised_and_searched_by_its_article_type(caller: Caller, derived_type: str) -> None:
    article_type = derived_type.split(" ", 1)[1]
    answer = caller.find(image=types_pb2.Image(content=photograph(derived_type, "Blue", 10)), top_k=10)
    best = answer.classification.derived_types[0]
    assert (best.label, best.article_type, best.gender) == (article_type, article_type, types_pb2.GENDER_UNSPECIFIED)
    assert article_type in answer.applied.derived_types
    assert answer.products[0].product.article_type == article_type


def test_an_unknown_gender_is_in_no_any_of_and_in_every_none_of(caller: Caller, mixed: Caller) -> None:
    men = [types_pb2.GENDER_MEN]
    for shop, of_men in ((caller, 0), (mixed, 5)):
        for condition, expected in (
            (search_pb2.GenderFilter(any_of=men), of_men),
            (search_pb2.GenderFilter(none_of=men), len(items()) - of_men),
        ):
            request = search_pb2.ListProductsRequest(filter=search_pb2.Filter(gender=condition))
            assert shop.search.ListProducts(request, timeout=20).total_size == expected


def test_facets_count_the_genders_that_are_known(caller: Caller, mixed: Caller) -> None:
    for shop, expected in ((caller, {}), (mixed, {"Women": 20, "Unisex": 10, "Men": 5})):
        facets = shop.search.ListFacets(search_pb2.ListFacetsRequest(), timeout=20).facets
        (genders,) = [facet for facet in facets if facet.attribute == search_pb2.ATTRIBUTE_GENDER]
        assert {each.value: each.product_count for each in genders.values} == expected


def test_where_some_genders_are_unknown_both_are_searched(mixed: Caller) -> None:
    answer = mixed.find(image=types_pb2.Image(content=photograph("Men Tshirts", "Blue", 10)), top_k=20)
    assert {"Men Tshirts", "Tshirts"} <= set(answer.applied.derived_types)
    assert {each.product.gender for each in answer.products} >= {
        types_pb2.GENDER_UNSPECIFIED,
        types_pb2.GENDER_MEN,
    }
    known = next(item for item in items() if _is_tshirt(item) and item.shade)
    own = mixed.find(product_id=known.id, scope=search_pb2.SEARCH_SCOPE_PREDICTED_TYPE, top_k=20)
    assert list(own.applied.derived_types) == ["Men Tshirts", "Tshirts"]
    assert len(own.products) == 9


def test_a_gender_can_be_learned_and_forgotten(mixed: Caller) -> None:
    chosen = next(item for item in items() if item.derived_type == "Women Dresses")

    def derived_type(gender: types_pb2.Gender) -> str:
        product = types_pb2.Product(id=chosen.id, gender=gender)
        update = search_pb2.ProductUpdate(product=product, update_mask={"paths": ["gender"]})
        answer = mixed.search.UpdateProducts(search_pb2.UpdateProductsRequest(updates=[update]), timeout=20)
        assert [each.status.code for each in answer.results] == [0]
        return mixed.search.GetProduct(
            search_pb2.GetProductRequest(product_id=chosen.id), timeout=20
        ).product.derived_type

    assert derived_type(types_pb2.GENDER_UNSPECIFIED) == "Dresses"
    assert derived_type(types_pb2.GENDER_WOMEN) == "Women Dresses"


def test_a_stack_that_starts_again_knows_as_much(tmp_path: Path) -> None:
    image = types_pb2.Image(content=photograph("Men Tshirts", "Blue", 10))
    with stack_in_thread(stack_settings(tmp_path)) as stack, calling(stack.target) as caller:
        caller.upsert([_without_gender(row) for row in rows()])
        before = caller.find(image=image), caller.index().candidates_version
    with stack_in_thread(stack_settings(tmp_path)) as stack, calling(stack.target) as caller:
        after = caller.find(image=image), caller.index().candidates_version
        assert [each.label for each in caller.index().derived_types] == TYPES
    assert [each.product.id for each in after[0].products] == [each.product.id for each in before[0].products]
    assert after[1] == before[1] != ""
