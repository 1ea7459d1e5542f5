"""Every bad input gets the documented code, reason and text, and the service goes on serving."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from fashion.v1 import search_pb2, types_pb2
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import items, photograph, rows

INVALID = grpc.StatusCode.INVALID_ARGUMENT
KNOWN = items()[0].id


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with stack_in_thread(stack_settings(tmp_path_factory.mktemp("shop"))) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        yield caller


@pytest.fixture
def caller(shared: Caller) -> Iterator[Caller]:
    """Yields a caller of the small shop; after the test the service has to answer as before."""
    before = shared.index()
    yield shared
    health = health_pb2_grpc.HealthStub(shared.channel)
    for service in ("", "fashion.v1.SearchService", "fashion.v1.EmbedderService", "fashion.v1.ClassifierService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    found = shared.find(image=types_pb2.Image(content=photograph("Men Tshirts", "Red")), top_k=1)
    assert found.products[0].product.id == "men-tshirts-red-0"
    assert shared.index().product_count == before.product_count


def _png_header(width: int, height: int) -> bytes:
    """Returns a PNG that announces a size and has no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def _tiny() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (1, 1)).save(content, "PNG")
    return content.getvalue()


IMAGES = {
    "not an image": (b"%PDF-1.7 no picture at all", "IMAGE_FORMAT_UNSUPPORTED", ["JPEG, PNG or WebP"]),
    "truncated": (photograph("Men Tshirts", form="JPEG", size=400)[:-700], "IMAGE_UNREADABLE", ["JPEG", "broken"]),
    "1x1": (_tiny(), "IMAGE_TOO_SMALL", ["1 x 1"]),
    "30,000x30,000": (_png_header(30_000, 30_000), "IMAGE_TOO_MANY_PIXELS", ["pixels"]),
    "11 MiB": (photograph("Men Tshirts") + bytes(11 << 20), "IMAGE_TOO_LARGE", ["bytes", str(10 << 20)]),
    "empty": (b"", "IMAGE_EMPTY", ["empty"]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_photograph_that_cannot_be_used_is_refused_with_its_reason(caller: Caller, name: str) -> None:
    content, reason, words = IMAGES[name]
    with pytest.raises(grpc.RpcError) as error:
        caller.find(image=types_pb2.Image(content=content))
    code, told, text, _ = refusal(error.value)
    assert (code, told) == (INVALID, reason)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("name", IMAGES)
def test_a_photograph_that_cannot_be_used_fails_its_row_alone(caller: Caller, name: str) -> None:
    content, reason, words = IMAGES[name]
    bad = search_pb2.ProductRow(product=items()[0].product(id="bad"), image=types_pb2.Image(content=content))
    answer = caller.upsert([bad, items()[1].row()])
    assert (answer.results[0].status.code, answer.results[0].status.reason) == (INVALID.value[0], reason)
    assert all(word in answer.results[0].status.message for word in words)
    assert answer.results[0].outcome == search_pb2.UPSERT_OUTCOME_UNSPECIFIED
    assert answer.results[1].outcome == search_pb2.UPSERT_OUTCOME_UNCHANGED


def test_a_message_beyond_32_mib_is_refused(caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as error:
        caller.find(image=types_pb2.Image(content=bytes(33 << 20)))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in error.value.details()


@dataclass(frozen=True)
class Refused:
    """A request of FindSimilar, and its error; `words` must be in the text, `metadata` in the details."""

    request: dict[str, object]
    code: grpc.StatusCode
    reason: str
    words: tuple[str, ...]
    metadata: dict[str, str] = field(default_factory=dict)


def _filter(**parts: object) -> search_pb2.Filter:
    return search_pb2.Filter(**parts)


def _any_of(*labels: str) -> search_pb2.LabelFilter:
    return search_pb2.LabelFilter(any_of=labels)


def _embedding(scale: float = 1.0, dimension: int = 2048, version: str = "fake-2048-80x60-0") -> types_pb2.Embedding:
    return types_pb2.Embedding(values=np.full(dimension, scale * dimension**-0.5), model_version=version)


NOT_FOUND, PRECONDITION = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION
REFUSED = {
    "nothing asked": Refused({}, INVALID, "QUERY_MISSING", ("query",)),
    "unknown product": Refused(
        {"product_id": "no-such"}, NOT_FOUND, "PRODUCT_NOT_FOUND", ("no-such",), {"product_id": "no-such"}
    ),
    "unknown liked product": Refused(
        {"product_id": KNOWN, "liked_product_ids": ["gone"]}, NOT_FOUND, "PRODUCT_NOT_FOUND", ("gone",)
    ),
    "unknown disliked product": Refused(
        {"product_id": KNOWN, "disliked_product_ids": ["gone"]}, NOT_FOUND, "PRODUCT_NOT_FOUND", ("gone",)
    ),
    "no product id": Refused({"product_id": ""}, INVALID, "PRODUCT_ID_INVALID", ("product_id", "128")),
    "top_k 0": Refused({"product_id": KNOWN, "top_k": 0}, INVALID, "TOP_K_OUT_OF_RANGE", ("1 to 100", "0")),
    "top_k 101": Refused({"product_id": KNOWN, "top_k": 101}, INVALID, "TOP_K_OUT_OF_RANGE", ("1 to 100", "101")),
    "min_similarity 2": Refused(
        {"product_id": KNOWN, "min_similarity": 2}, INVALID, "MIN_SIMILARITY_OUT_OF_RANGE", ("-1 to 1", "2")
    ),
    "boost 2.5": Refused(
        {"product_id": KNOWN, "boosts": [{"condition": {"words": "red"}, "factor": 2.5}]},
        INVALID,
        "BOOST_INVALID",
        ("0.5 to 2", "2.5"),
        {"field": "boosts[0].factor"},
    ),
    "boost without factor": Refused(
        {"product_id": KNOWN, "boosts": [{"condition": {"words": "red"}}]}, INVALID, "BOOST_INVALID", ("0.5 to 2",)
    ),
    "boost of everything": Refused(
        {"product_id": KNOWN, "boosts": [{"condition": {}, "factor": 2}]},
        INVALID,
        "BOOST_INVALID",
        ("no condition",),
        {"field": "boosts[0].condition"},
    ),
    "boost by an empty condition": Refused(
        {"product_id": KNOWN, "boosts": [{"condition": {"season": {}, "words": "!!"}, "factor": 2}]},
        INVALID,
        "BOOST_INVALID",
        ("no condition",),
        {"field": "boosts[0].condition"},
    ),
    "own attribute without condition": Refused(
        {"product_id": KNOWN, "filter": {"attributes": {"material": {}}}},
        INVALID,
        "ATTRIBUTE_FILTER_INVALID",
        ("material", "labels, number or flag"),
        {"field": "filter"},
    ),
    "boost of nobody": Refused(
        {"product_id": KNOWN, "boosts": [{"condition": {"season": {"any_of": ["Sumer"]}}, "factor": 2}]},
        INVALID,
        "FILTER_VALUE_UNKNOWN",
        ("Sumer",),
    ),
    "11 boosts": Refused(
        {"product_id": KNOWN, "boosts": [{"condition": {"words": "red"}, "factor": 2}] * 11},
        INVALID,
        "TOO_MANY_BOOSTS",
        ("11", "10"),
    ),
    "diversity 1.1": Refused({"product_id": KNOWN, "diversity": 1.1}, INVALID, "DIVERSITY_OUT_OF_RANGE", ("0 to 1",)),
    "diversity -1": Refused({"product_id": KNOWN, "diversity": -1}, INVALID, "DIVERSITY_OUT_OF_RANGE", ("0 to 1",)),
    "top_k -1": Refused({"product_id": KNOWN, "top_k": -1}, INVALID, "TOP_K_OUT_OF_RANGE", ("-1",)),
    "unknown colour": Refused(
        {"product_id": KNOWN, "filter": _filter(base_colour=search_pb2.ColourFilter(any_of=["Bleu"]))},
        INVALID,
        "FILTER_VALUE_UNKNOWN",
        ("base_colour", '"Bleu"', '"Blue"'),
        {"attribute": "base_colour", "value": "Bleu"},
    ),
    "unknown article type": Refused(
        {"product_id": KNOWN, "filter": _filter(article_type=_any_of("Tshirt"))},
        INVALID,
        "FILTER_VALUE_UNKNOWN",
        ("article_type", '"Tshirt"', '"Tshirts"'),
        {"attribute": "article_type", "value": "Tshirt"},
    ),
    "unknown subCategory": Refused(
        {"product_id": KNOWN, "filter": _filter(sub_category=_any_of("topwear"))},
        INVALID,
        "FILTER_VALUE_UNKNOWN",
        ("sub_category", '"Topwear"'),
    ),
    "unknown brand": Refused(
        {"product_id": KNOWN, "filter": _filter(brand=_any_of("Nobody"))},
        INVALID,
        "FILTER_VALUE_UNKNOWN",
        ("brand", "none is known"),
    ),
    "unknown season": Refused(
        {"product_id": KNOWN, "filter": _filter(season=_any_of("Summer"))},
        INVALID,
        "FILTER_VALUE_UNKNOWN",
        ("season", "none is known"),
    ),
    "unknown gender in a filter": Refused(
        {"product_id": KNOWN, "filter": _filter(gender=search_pb2.GenderFilter(any_of=[77]))},
        INVALID,
        "FILTER_VALUE_UNKNOWN",
        ("gender", "77"),
    ),
    "years the wrong way round": Refused(
        {"product_id": KNOWN, "filter": _filter(year=search_pb2.YearRange(first=2018, last=2012))},
        INVALID,
        "YEAR_RANGE_INVALID",
        ("2012", "2018"),
    ),
    "derived types without their scope": Refused(
        {"product_id": KNOWN, "derived_types": ["Men Tshirts"]}, INVALID, "SCOPE_INVALID", ("derived_types",)
    ),
    "the scope without derived types": Refused(
        {"product_id": KNOWN, "scope": search_pb2.SEARCH_SCOPE_DERIVED_TYPES}, INVALID, "SCOPE_INVALID", ("1 to 100",)
    ),
    "unknown collapse": Refused({"product_id": KNOWN, "collapse": 9}, INVALID, "COLLAPSE_INVALID", ("9",)),
    "unknown scope": Refused({"product_id": KNOWN, "scope": 9}, INVALID, "SCOPE_INVALID", ("9",)),
    "unknown policy": Refused(
        {"product_id": KNOWN, "preference_policy": 9}, INVALID, "PREFERENCE_POLICY_INVALID", ("9",)
    ),
    "unknown derived type": Refused(
        {"product_id": KNOWN, "scope": search_pb2.SEARCH_SCOPE_DERIVED_TYPES, "derived_types": ["Man Tshirt"]},
        INVALID,
        "DERIVED_TYPE_UNKNOWN",
        ('"Man Tshirt"', '"Men Tshirts"'),
    ),
    "too many liked": Refused(
        {"product_id": KNOWN, "liked_product_ids": [f"p{number}" for number in range(21)]},
        INVALID,
        "TOO_MANY_PRODUCTS",
        ("liked_product_ids", "21", "20"),
    ),
    "too many excluded": Refused(
        {"product_id": KNOWN, "excluded_product_ids": [f"p{number}" for number in range(501)]},
        INVALID,
        "TOO_MANY_PRODUCTS",
        ("excluded_product_ids", "501", "500"),
    ),
    "bad user": Refused({"product_id": KNOWN, "user_id": "a b"}, INVALID, "USER_ID_INVALID", ("user_id", "128")),
    "wrong model version": Refused(
        {"embedding": _embedding(version="another-model")},
        PRECONDITION,
        "MODEL_VERSION_MISMATCH",
        ("'another-model'", "'fake-2048-80x60-0'"),
        {"given": "another-model", "served": "fake-2048-80x60-0"},
    ),
    "no model version": Refused(
        {"embedding": _embedding(version="")}, PRECONDITION, "MODEL_VERSION_MISMATCH", ("names no model version",)
    ),
    "embedding too short": Refused({"embedding": _embedding(dimension=7)}, INVALID, "EMBEDDING_INVALID", ("7", "2048")),
    "embedding not normalised": Refused({"embedding": _embedding(2.0)}, INVALID, "EMBEDDING_INVALID", ("norm",)),
    "embedding not finite": Refused({"embedding": _embedding(float("nan"))}, INVALID, "EMBEDDING_INVALID", ("finite",)),
    "region outside": Refused(
        {
            "image": types_pb2.Image(
                content=photograph("Men Tshirts"), region=types_pb2.Box(left=0.5, right=1.5, bottom=1)
            )
        },
        INVALID,
        "REGION_INVALID",
        ("region.right",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_question_is_refused_with_its_reason(caller: Caller, name: str) -> None:
    refused = REFUSED[name]
    with pytest.raises(grpc.RpcError) as error:
        caller.find(**refused.request)
    code, reason, text, metadata = refusal(error.value)
    assert (code, reason) == (refused.code, refused.reason), text
    assert all(word in text for word in refused.words), text
    assert refused.metadata.items() <= metadata.items()


def test_an_unknown_user_has_no_dislikes(caller: Caller) -> None:
    found = caller.find(product_id=KNOWN, user_id="never-seen", top_k=100)
    assert len(found.products) == len(items()) - 1
    assert not found.applied.excluded_colours
    assert not found.applied.degraded


def test_a_filter_that_leaves_nothing_is_an_empty_answer_with_its_counts(caller: Caller) -> None:
    nothing = _filter(article_type=_any_of("Dresses"), gender=search_pb2.GenderFilter(any_of=[types_pb2.GENDER_MEN]))
    found = caller.find(product_id=KNOWN, filter=nothing)
    assert not found.products
    assert found.applied.eligible_count == 0
    assert found.applied.scope == search_pb2.SEARCH_SCOPE_INVENTORY
    assert found.applied.index_version == caller.index().index_version


ROWS = {
    "no id": (items()[0].row(id=""), "PRODUCT_ID_INVALID", "128"),
    "an id with white space": (items()[0].row(id="a b"), "PRODUCT_ID_INVALID", "white space"),
    "an unknown gender": (items()[0].row(id="x", gender=42), "GENDER_INVALID", "gender"),
    "no subCategory": (items()[0].row(id="x", sub_category=""), "SUB_CATEGORY_MISSING", "sub_category"),
    "no article type": (items()[0].row(id="x", article_type=""), "ARTICLE_TYPE_MISSING", "article_type"),
    "a label too long": (items()[0].row(id="x", base_colour="b" * 129), "LABEL_INVALID", "base_colour"),
    "a year out of range": (items()[0].row(id="x", year=1066), "YEAR_INVALID", "1900"),
    "another protocol": (items()[0].row(id="x", url="file:///etc/passwd"), "URL_INVALID", "http"),
    "a price without currency": (items()[0].row(id="x", price=types_pb2.Price(units=5)), "PRICE_INVALID", "currency"),
    "a photograph of an unknown subject": (
        search_pb2.ProductRow(
            product=items()[0].product(id="x"),
            image=types_pb2.Image(content=photograph("Men Tshirts", "Red", 1), subject=42),
        ),
        "SUBJECT_INVALID",
        "subject",
    ),
    "a further photograph of an unknown subject": (
        search_pb2.ProductRow(
            product=items()[0].product(id="x"),
            image=types_pb2.Image(content=photograph("Men Tshirts", "Red", 1)),
            further_images=[types_pb2.Image(content=photograph("Men Tshirts", "Red", 1), subject=42)],
        ),
        "SUBJECT_INVALID",
        "subject",
    ),
    "nothing to look at": (search_pb2.ProductRow(product=items()[0].product(id="x")), "PHOTOGRAPH_MISSING", "x"),
    "a bad embedding": (
        search_pb2.ProductRow(product=items()[0].product(id="x"), embedding=_embedding(3.0)),
        "EMBEDDING_INVALID",
        "norm",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_fails_alone(caller: Caller, name: str) -> None:
    row, reason, word = ROWS[name]
    answer = caller.upsert([items()[2].row(), row, items()[3].row()])
    assert [each.product_id for each in answer.results] == [items()[2].id, row.product.id, items()[3].id]
    bad = answer.results[1]
    assert (bad.status.code, bad.status.reason) == (INVALID.value[0], reason), bad
    assert word in bad.status.message
    assert [answer.results[place].outcome for place in (0, 2)] == [search_pb2.UPSERT_OUTCOME_UNCHANGED] * 2


@pytest.mark.parametrize("wrong", [{"gender": 42}, {"year": 1066}, {"url": "file:///etc/passwd"}])
def test_what_a_mask_leaves_out_spoils_no_update(caller: Caller, wrong: dict[str, Any]) -> None:
    product = items()[0].product(**wrong)
    for mask, refused in ((["season"], False), (["season", *wrong], True)):
        request = search_pb2.UpdateProductsRequest(
            updates=[search_pb2.ProductUpdate(product=product)], update_mask=FieldMask(paths=mask)
        )
        (result,) = caller.search.UpdateProducts(request, timeout=20).results
        assert bool(result.status.reason) == refused, result


def test_a_row_of_another_model_is_refused_alone(caller: Caller) -> None:
    row = search_pb2.ProductRow(product=items()[0].product(id="x"), embedding=_embedding(version="another"))
    (result,) = caller.upsert([row]).results
    assert (result.status.code, result.status.reason) == (PRECONDITION.value[0], "MODEL_VERSION_MISMATCH")


def test_of_rows_with_the_same_id_the_first_counts(caller: Caller) -> None:
    answer = caller.upsert([items()[4].row(), items()[5].row(), items()[4].row(year=2019)])
    assert [each.status.reason for each in answer.results] == ["", "", "PRODUCT_ID_DUPLICATE"]
    assert "row 0" in answer.results[2].status.message
    kept = caller.search.GetProduct(search_pb2.GetProductRequest(product_id=items()[4].id), timeout=20).product
    assert kept.year == 2016


@pytest.mark.parametrize("path", ["id", "derived_type", "price.units", "colour", "*", ""])
def test_a_mask_of_no_field_is_refused_whole(caller: Caller, path: str) -> None:
    request = search_pb2.UpsertProductsRequest(
        rows=[items()[0].row(year=1999)], update_mask=FieldMask(paths=["year", path])
    )
    with pytest.raises(grpc.RpcError) as error:
        caller.search.UpsertProducts(request, timeout=20)
    assert refusal(error.value)[:2] == (INVALID, "UPDATE_MASK_INVALID")
    kept = caller.search.GetProduct(search_pb2.GetProductRequest(product_id=items()[0].id), timeout=20).product
    assert kept.year == items()[0].product().year


@pytest.mark.parametrize(("count", "reason"), [(0, "BATCH_EMPTY"), (501, "BATCH_TOO_LARGE")], ids=["empty", "501 rows"])
def test_a_batch_that_is_no_batch_is_refused_whole(caller: Caller, count: int, reason: str) -> None:
    calls = (
        lambda: caller.upsert([search_pb2.ProductRow(product=types_pb2.Product(id=str(n))) for n in range(count)]),
        lambda: caller.search.DeleteProducts(
            search_pb2.DeleteProductsRequest(product_ids=map(str, range(count))), timeout=20
        ),
        lambda: caller.search.UpdateProducts(
            search_pb2.UpdateProductsRequest(updates=[search_pb2.ProductUpdate()] * count), timeout=20
        ),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert refusal(error.value)[:2] == (INVALID, reason)


def test_deleting_what_is_not_there_is_told_row_by_row(caller: Caller) -> None:
    request = search_pb2.DeleteProductsRequest(product_ids=["no-such", "a b"])
    answer = caller.search.DeleteProducts(request, timeout=20)
    assert [(each.status.code, each.status.reason) for each in answer.results] == [
        (NOT_FOUND.value[0], "PRODUCT_NOT_FOUND"),
        (INVALID.value[0], "PRODUCT_ID_INVALID"),
    ]


def test_unknown_products_have_neither_attributes_nor_photograph(caller: Caller) -> None:
    for call, request in (
        (caller.search.GetProduct, search_pb2.GetProductRequest(product_id="no-such")),
        (caller.search.GetProduct, search_pb2.GetProductRequest(product_id="no-such", include_embedding=True)),
        (caller.search.GetPhotograph, search_pb2.GetPhotographRequest(product_id="no-such")),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call(request, timeout=20)
        code, reason, text, _ = refusal(error.value)
        assert (code, reason) == (NOT_FOUND, "PRODUCT_NOT_FOUND")
        assert "no-such" in text


PAGES = {
    "a negative page_size": ({"page_size": -1}, "PAGE_SIZE_OUT_OF_RANGE"),
    "a made-up token": ({"page_token": "second page please"}, "PAGE_TOKEN_INVALID"),
    "a token of base64": ({"page_token": "AAAA"}, "PAGE_TOKEN_INVALID"),
    "a token beyond all bounds": ({"page_token": "A" * 100_000}, "PAGE_TOKEN_INVALID"),
    "an unknown label": ({"filter": _filter(usage=_any_of("Casual"))}, "FILTER_VALUE_UNKNOWN"),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_bad_page_is_refused(caller: Caller, name: str) -> None:
    request, reason = PAGES[name]
    with pytest.raises(grpc.RpcError) as error:
        caller.search.ListProducts(search_pb2.ListProductsRequest(**request), timeout=20)
    assert refusal(error.value)[:2] == (INVALID, reason)


def test_a_page_token_is_good_for_its_filter_alone(caller: Caller) -> None:
    token = caller.search.ListProducts(search_pb2.ListProductsRequest(page_size=3), timeout=20).next_page_token
    other = search_pb2.ListProductsRequest(page_token=token, filter=_filter(sub_category=_any_of("Bags")))
    with pytest.raises(grpc.RpcError) as error:
        caller.search.ListProducts(other, timeout=20)
    assert refusal(error.value)[:2] == (INVALID, "PAGE_TOKEN_INVALID")


DISLIKES = {
    "no user": (
        search_pb2.AddDislikedColoursRequest(colours=[search_pb2.DislikedColour(colour="Red")]),
        "USER_ID_INVALID",
        "user_id",
    ),
    "no colours": (search_pb2.AddDislikedColoursRequest(user_id="ann"), "COLOURS_MISSING", "colours"),
    "101 colours": (
        search_pb2.AddDislikedColoursRequest(user_id="ann", colours=[search_pb2.DislikedColour(colour="Red")] * 101),
        "TOO_MANY_COLOURS",
        "100",
    ),
    "an unknown colour": (
        search_pb2.AddDislikedColoursRequest(user_id="ann", colours=[search_pb2.DislikedColour(colour="Yelow")]),
        "COLOUR_UNKNOWN",
        '"Yellow"',
    ),
}


@pytest.mark.parametrize("name", DISLIKES)
def test_dislikes_that_mean_nothing_are_refused(caller: Caller, name: str) -> None:
    request, reason, word = DISLIKES[name]
    with pytest.raises(grpc.RpcError) as error:
        caller.search.AddDislikedColours(request, timeout=20)
    code, told, text, _ = refusal(error.value)
    assert (code, told) == (INVALID, reason)
    assert word in text
    known = caller.search.ListDislikedColours(search_pb2.ListDislikedColoursRequest(user_id="ann"), timeout=20)
    assert not known.colours


def test_a_request_of_another_type_is_refused(caller: Caller) -> None:
    call = caller.channel.unary_unary("/fashion.v1.SearchService/FindSimilar")
    with pytest.raises(grpc.RpcError) as error:
        call(b"\xff\xff\xff", timeout=20)
    assert refusal(error.value)[:2] == (INVALID, "REQUEST_MALFORMED")
