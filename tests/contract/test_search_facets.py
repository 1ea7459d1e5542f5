"""ListFacets, explanations and the colours that dislikes cover, over gRPC."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fashion.v1 import search_pb2, types_pb2
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import COLOURS, SHAPES, items, photograph, rows


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    data_dir: Path = tmp_path_factory.mktemp("shop")
    with stack_in_thread(stack_settings(data_dir)) as stack, calling(stack.target) as connected:
        connected.upsert(rows())
        yield connected


def _facets(caller: Caller, **filter: object) -> tuple[dict[str, dict[str, int]], search_pb2.ListFacetsResponse]:
    request = search_pb2.ListFacetsRequest(filter=search_pb2.Filter(**filter))
    answer = caller.search.ListFacets(request, timeout=20)
    return {
        search_pb2.Attribute.Name(facet.attribute): {each.value: each.product_count for each in facet.values}
        for facet in answer.facets
    }, answer


def test_facets_count_the_catalogue_by_attribute(caller: Caller) -> None:
    counted, answer = _facets(caller)
    assert answer.total_size == len(items())
    declared = [value.number for value in search_pb2.Attribute.DESCRIPTOR.values]
    assert [0, *(facet.attribute for facet in answer.facets)] == declared
    assert counted["ATTRIBUTE_GENDER"] == {"Women": 20, "Men": 10, "Unisex": 10}
    assert list(counted["ATTRIBUTE_GENDER"]) == ["Women", "Men", "Unisex"]
    assert counted["ATTRIBUTE_DERIVED_TYPE"] == dict.fromkeys(sorted(SHAPES), 10)
    assert counted["ATTRIBUTE_YEAR"] == {"2016": 40}
    assert counted["ATTRIBUTE_SEASON"] == counted["ATTRIBUTE_MASTER_CATEGORY"] == {}
    colours = next(each for each in answer.facets if each.attribute == search_pb2.ATTRIBUTE_BASE_COLOUR)
    assert {each.value: each.colour_family for each in colours.values} == {
        colour: "Blue" if colour == "Navy Blue" else colour for colour in COLOURS
    }


def test_a_facet_is_not_narrowed_by_its_own_part_of_the_filter(caller: Caller) -> None:
    counted, answer = _facets(
        caller,
        gender=search_pb2.GenderFilter(any_of=[types_pb2.GENDER_MEN]),
        base_colour=search_pb2.ColourFilter(any_of=["Blue"], by_family=True),
    )
    assert answer.total_size == 4
    assert counted["ATTRIBUTE_GENDER"] == {"Women": 8, "Men": 4, "Unisex": 4}
    assert counted["ATTRIBUTE_BASE_COLOUR"] == dict.fromkeys(sorted(COLOURS), 2)
    assert counted["ATTRIBUTE_ARTICLE_TYPE"] == {"Tshirts": 4}


def test_words_that_are_too_long_and_an_unknown_order_are_refused(caller: Caller) -> None:
    for request, reason in (
        (search_pb2.ListProductsRequest(filter=search_pb2.Filter(words="x" * 201)), "WORDS_TOO_LONG"),
        (search_pb2.ListProductsRequest(order=99), "ORDER_INVALID"),  # type: ignore[arg-type]
    ):
        with pytest.raises(grpc.RpcError) as refused:
            caller.search.ListProducts(request, timeout=20)
        assert refusal(refused.value)[1] == reason


def test_an_unknown_value_is_refused_by_name(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _facets(caller, article_type=search_pb2.LabelFilter(any_of=["Tshirt"]))
    code, reason, _, metadata = refusal(refused.value)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FILTER_VALUE_UNKNOWN")
    assert metadata["nearest"].startswith("Tshirts")


def test_nothing_is_explained_unless_asked_for(caller: Caller) -> None:
    assert not caller.find(product_id=items()[0].id).HasField("explanation")


def test_an_explanation_tells_the_steps_and_the_list_before_the_colours(caller: Caller) -> None:
    image = types_pb2.Image(content=photograph("Men Tshirts", "Blue", 7))
    nobody = caller.find(image=image, top_k=5, explain=True)
    steps = [search_pb2.SearchStep.Name(each.step) for each in nobody.explanation.timings]
    assert steps == ["SEARCH_STEP_TOTAL", "SEARCH_STEP_EMBED", "SEARCH_STEP_CLASSIFY", "SEARCH_STEP_SEARCH"]
    assert not nobody.explanation.products_before_colours
    total, *parts = nobody.explanation.timings
    for part in parts:
        assert 0 < part.duration.ToNanoseconds() <= total.duration.ToNanoseconds()
        ended = part.start_offset.ToNanoseconds() + part.duration.ToNanoseconds()
        assert ended <= total.duration.ToNanoseconds()

    caller.dislike("explained", "Blue")
    somebody = caller.find(image=image, top_k=5, explain=True, user_id="explained")
    assert list(somebody.explanation.products_before_colours) == list(nobody.products)
    assert {each.product.base_colour for each in somebody.products}.isdisjoint({"Blue", "Navy Blue"})
    steps = [search_pb2.SearchStep.Name(each.step) for each in somebody.explanation.timings]
    assert steps[0] == "SEARCH_STEP_TOTAL" and steps[-1] == "SEARCH_STEP_EXPLAIN"
    assert "SEARCH_STEP_READ_DISLIKES" in steps


def test_a_dislike_tells_the_colours_of_the_catalogue_that_it_stands_for(caller: Caller) -> None:
    caller.dislike("spelt", "Blue", "Pink")
    added = caller.dislike("spelt", "Red", exact=True)
    listed = caller.search.ListDislikedColours(search_pb2.ListDislikedColoursRequest(user_id="spelt"), timeout=20)
    told = {each.colour: list(each.covered_colours) for each in listed.colours}
    # Pink is a known colour that no product has.
    assert told == {"Blue": ["Blue", "Navy Blue"], "Pink": [], "Red": ["Red"]}
    assert list(added.colours) == list(listed.colours)
