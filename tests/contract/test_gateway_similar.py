"""Similar products over HTTP: the same answers as over gRPC, for products, photographs and JSON bodies."""

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from fashion.v1 import search_pb2, types_pb2
from tests.support.gateways import KEY, Shop, bearer, problem, shop
from tests.support.small_shop import items, photograph, rows

SHIRT = "men-tshirts-blue-0"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), token_key=KEY, max_image_bytes=100_000) as found:
        found.grpc.upsert(rows())
        found.grpc.dislike("ada", "Blue")
        yield found


def _ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["product"]["id"] for each in answer.json()["products"]]


def _expected(found: search_pb2.FindSimilarResponse) -> list[str]:
    return [each.product.id for each in found.products]


def test_similar_to_a_product_is_what_grpc_answers(catalogue: Shop) -> None:
    answer = catalogue.http.get(f"/v1/products/{SHIRT}/similar")
    found = catalogue.grpc.find(product_id=SHIRT)
    assert _ids(answer) == _expected(found)
    told = answer.json()
    assert [each["similarity"] for each in told["products"]] == pytest.approx(
        [each.similarity for each in found.products], abs=1e-6
    )
    assert told["applied"] == {
        "scope": "inventory",
        "derived_types": [],
        "excluded_colours": [],
        "eligible_count": len(items()) - 1,
        "model_version": found.applied.model_version,
        "index_version": found.applied.index_version,
        "degraded": [],
        "below_min_similarity": 0,
        "other_currencies": [],
        "counts": {
            "requested_count": 10,
            "searched_count": len(items()),
            "filtered_count": 0,
            "out_of_stock_count": 0,
            "disliked_count": 0,
            "excluded_count": 1,
            "variant_count": 0,
            "dissimilar_count": 0,
            "surplus_count": len(items()) - 11,
            "returned_count": 10,
        },
        "rungs": [],
    }
    assert told["classification"] is None and told["timings"] == told["before_colours"] == []
    assert answer.headers["cache-control"] == "public, max-age=60"


def test_all_parameters_reach_search(catalogue: Shop) -> None:
    parameters: dict[str, Any] = {
        "limit": 4,
        "liked": ["women-dresses-red-0", "women-dresses-red-25"],
        "disliked": ["men-tshirts-black-0"],
        "excluded": ["men-tshirts-red-0"],
        "derived_type": ["Men Tshirts", "Women Dresses"],
        "gender": ["Men", "Women"],
        "base_colour": ["Red", "Navy Blue"],
        "year_first": 2016,
        "year_last": 2016,
        "include_out_of_stock": True,
        "preference_policy": "required",
        "min_similarity": 0.5,
        "boost": ["1.5 base_colour=Navy+Blue&gender=Men", "0.5 year_first=2016"],
        "diversity": 0.25,
    }
    found = catalogue.grpc.find(
        product_id=SHIRT,
        top_k=4,
        liked_product_ids=parameters["liked"],
        disliked_product_ids=parameters["disliked"],
        excluded_product_ids=parameters["excluded"],
        scope=search_pb2.SEARCH_SCOPE_DERIVED_TYPES,
        derived_types=parameters["derived_type"],
        filter=search_pb2.Filter(
            gender=search_pb2.GenderFilter(any_of=[types_pb2.GENDER_MEN, types_pb2.GENDER_WOMEN]),
            base_colour=search_pb2.ColourFilter(any_of=parameters["base_colour"]),
        ),
        min_similarity=0.5,
        boosts=[
            {
                "condition": {"gender": {"any_of": [types_pb2.GENDER_MEN]}, "base_colour": {"any_of": ["Navy Blue"]}},
                "factor": 1.5,
            },
            {"condition": {"year": {"first": 2016}}, "factor": 0.5},
        ],
        diversity=0.25,
    )
    assert found.applied.below_min_similarity == 4 - len(found.products)
    by_query = catalogue.http.get(f"/v1/products/{SHIRT}/similar", params=parameters)
    by_json = catalogue.http.post("/v1/similar", json={"product_id": SHIRT, **parameters})
    assert _ids(by_query) == _ids(by_json) == _expected(found)
    assert by_query.json()["applied"] == by_json.json()["applied"]
    assert by_query.json()["applied"]["scope"] == "derived_types"
    assert by_query.json()["applied"]["below_min_similarity"] == found.applied.below_min_similarity
    assert by_json.headers["cache-control"] == "private, no-store"
    scores = [each["rank_score"] for each in by_query.json()["products"]]
    assert scores == [each.rank_score for each in found.products]
    assert scores != [each.similarity for each in found.products]


def test_variants_are_collapsed_unless_asked_otherwise(catalogue: Shop) -> None:
    parent = search_pb2.ProductRow(product=types_pb2.Product())
    parent.product.CopyFrom(catalogue.grpc.search.GetProduct(search_pb2.GetProductRequest(product_id=SHIRT)).product)
    variants = [search_pb2.ProductRow(image=types_pb2.Image(content=photograph("Men Tshirts"))) for _ in range(3)]
    for number, row in enumerate(variants):
        row.product.CopyFrom(parent.product)
        row.product.id, row.product.parent_id = f"size-{number}", SHIRT
        row.product.ClearField("derived_type")
    catalogue.grpc.upsert(variants)
    ids = {row.product.id for row in variants}
    try:
        path = f"/v1/products/{SHIRT}/similar"
        assert not ids & {*_ids(catalogue.http.get(path)), *_ids(catalogue.http.get(f"{path}?collapse=variants"))}
        assert ids <= {*_ids(catalogue.http.get(f"{path}?collapse=none&limit=100"))}
        assert catalogue.http.get(f"{path}?collapse=sizes").status_code == 400
        other = next(item.id for item in items() if item.id != SHIRT)
        shown = catalogue.http.get(f"/v1/products/{other}/similar?limit=100&collapse=designs").json()["products"]
        (family,) = (each for each in shown if each["product"]["id"] in {*ids, SHIRT})
        assert {each["id"] for each in family["variants"]} == {*ids, SHIRT} - {family["product"]["id"]}
        assert (family["variant_count"], family["derived"], family["rank_score"]) == (3, False, None)
        assert family["variants"][0]["swatch"].startswith("#")
    finally:
        catalogue.grpc.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=ids))


def test_a_photograph_in_a_form_reaches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda *_: written.append(True))
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1000, 3), dtype=np.uint8)
    photograph = io.BytesIO()
    Image.fromarray(noise).save(photograph, "PNG")
    # Above this size, Starlette's forms go to a temporary file.
    assert len(photograph.getvalue()) > 3 << 20
    with shop(tmp_path) as found:
        answer = found.http.post("/v1/similar", files={"image": photograph.getvalue()}, data={"limit": "1"})
    assert answer.status_code == 200 and not written


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_photograph_may_come_in_a_form_or_alone(catalogue: Shop, form: str) -> None:
    content = photograph("Women Dresses", "Red", 12, form=form)
    found = catalogue.grpc.find(image=types_pb2.Image(content=content), top_k=3, excluded_product_ids=["x", "y"])
    in_form = catalogue.http.post(
        "/v1/similar",
        files={"image": ("named.exe", content, "text/plain")},
        data={"limit": "3", "excluded": ["x", "y"]},
    )
    alone = catalogue.http.post(
        "/v1/similar?limit=3&excluded=x&excluded=y",
        content=content,
        headers={"Content-Type": f"image/{form.lower()}"},
    )
    assert _ids(in_form) == _ids(alone) == _expected(found)
    told = in_form.json()
    assert told["applied"]["scope"] == "predicted_type"
    assert told["applied"]["derived_types"] == [found.classification.derived_types[0].label]
    first = told["classification"]["derived_types"][0]
    assert first["label"] == found.classification.derived_types[0].label
    assert first["margin"] == pytest.approx(found.classification.derived_types[0].margin, abs=1e-6)
    assert told["classification"]["sub_categories"][0]["label"] == found.classification.sub_categories[0].label


def test_the_region_is_what_is_embedded(catalogue: Shop) -> None:
    content = photograph("Women Handbags", "Yellow", 12)
    box = types_pb2.Box(left=0, top=0.5, right=1, bottom=1)
    expected = catalogue.grpc.find(image=types_pb2.Image(content=content, region=box), top_k=1).products[0]
    whole = catalogue.grpc.find(image=types_pb2.Image(content=content), top_k=1).products[0]
    assert expected.similarity != whole.similarity
    for answer in (
        catalogue.http.post("/v1/similar", files={"image": content}, data={"region": "0,0.5,1,1", "limit": "1"}),
        catalogue.http.post(
            "/v1/similar?region=0,0.5,1.0,1&limit=1", content=content, headers={"Content-Type": "image/png"}
        ),
    ):
        assert answer.json()["products"][0]["similarity"] == pytest.approx(expected.similarity, abs=1e-6)


def test_disliked_colours_are_left_out_for_whoever_may_say_so(catalogue: Shop) -> None:
    path = f"/v1/products/{SHIRT}/similar"
    answer = catalogue.http.get(path, params={"user_id": "ada", "limit": 100}, headers=bearer("ada"))
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.json()["applied"]["excluded_colours"] == ["Blue", "Navy Blue"]
    assert not any("blue" in product_id for product_id in _ids(answer))
    for refused in (
        catalogue.http.get(path, params={"user_id": "ada"}),
        catalogue.http.post("/v1/similar", json={"product_id": SHIRT, "user_id": "ada"}),
        catalogue.http.post("/v1/similar", files={"image": items()[0].photograph()}, data={"user_id": "ada"}),
    ):
        problem(refused, 401, "TOKEN_MISSING")
    problem(catalogue.http.get(path, params={"user_id": "ada"}, headers=bearer("bob")), 403, "TOKEN_OF_ANOTHER_USER")


def test_an_explanation_tells_steps_and_what_the_colours_took_away(catalogue: Shop) -> None:
    content = photograph("Men Tshirts", "Blue", 12)
    nobody = catalogue.http.post("/v1/similar", files={"image": content}, data={"explain": "true", "limit": "4"}).json()
    assert [each["step"] for each in nobody["timings"]] == ["total", "embed", "classify", "search"]
    assert all(each["milliseconds"] > 0 for each in nobody["timings"])
    assert nobody["before_colours"] == []
    told = catalogue.http.post(
        "/v1/similar",
        files={"image": content},
        data={"explain": "true", "limit": "4", "user_id": "ada"},
        headers=bearer("ada"),
    ).json()
    before = told["before_colours"]
    assert [each["product"] for each in before] == [each["product"] for each in nobody["products"]]
    assert [each["left_out"] for each in before] == ["Blue" in each["product"]["base_colour"] for each in before]
    assert any(each["left_out"] for each in before)
    product = catalogue.http.get(f"/v1/products/{SHIRT}/similar", params={"explain": "true"})
    assert product.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("limit=0", 400, "REQUEST_INVALID"),
        ("limit=101", 400, "REQUEST_INVALID"),
        ("limit=ten", 400, "REQUEST_INVALID"),
        ("top_k=3", 400, "REQUEST_INVALID"),
        ("scope=everywhere", 400, "REQUEST_INVALID"),
        ("scope=derived_types", 400, "SCOPE_INVALID"),
        ("scope=inventory&derived_type=Men%20Tshirts", 400, "SCOPE_INVALID"),
        ("derived_type=Men%20Tshirt", 400, "DERIVED_TYPE_UNKNOWN"),
        ("liked=x", 404, "PRODUCT_NOT_FOUND"),
        ("liked=men-tshirts-red-0&disliked=men-tshirts-red-0", 400, "PRODUCT_ID_DUPLICATE"),
        ("&".join(["liked=x"] * 21), 400, "REQUEST_INVALID"),
        ("excluded=a%20b", 400, "PRODUCT_ID_INVALID"),
        ("min_similarity=1.01", 400, "REQUEST_INVALID"),
        ("diversity=1.01", 400, "REQUEST_INVALID"),
        ("boost=3%20season%3DSummer", 400, "BOOST_INVALID"),
        ("boost=season%3DSummer", 400, "REQUEST_INVALID"),
        ("boost=1.5%20sesson%3DSummer", 400, "REQUEST_INVALID"),
        ("boost=1.5%20base_colour%3DBleu", 400, "FILTER_VALUE_UNKNOWN"),
        ("&".join(["boost=1.5%20base_colour%3DBlue"] * 11), 400, "REQUEST_INVALID"),
        ("user_id=a%20b", 401, "TOKEN_MISSING"),
        ("base_colour=Bleu", 400, "FILTER_VALUE_UNKNOWN"),
        ("year_first=2017&year_last=2016", 400, "YEAR_RANGE_INVALID"),
    ],
)
def test_a_bad_parameter_is_refused_by_name_in_the_query_and_in_json(
    catalogue: Shop, query: str, status: int, reason: str
) -> None:
    problem(catalogue.http.get(f"/v1/products/{SHIRT}/similar?{query}"), status, reason)
    body: dict[str, Any] = {"product_id": SHIRT}
    for name, value in httpx.QueryParams(query).multi_items():
        if name in ("liked", "disliked", "excluded", "derived_type", "base_colour", "boost"):
            body.setdefault(name, []).append(value)
        else:
            body[name] = value
    problem(catalogue.http.post("/v1/similar", json=body), status, reason)


@pytest.mark.parametrize(
    ("content", "media_type", "status", "reason"),
    [
        (b"", "image/png", 400, "IMAGE_EMPTY"),
        (b"GIF89a", "image/gif", 415, "BODY_TYPE_UNSUPPORTED"),
        (b"GIF89a not really", "image/png", 415, "IMAGE_FORMAT_UNSUPPORTED"),
        (photograph("Men Tshirts")[:-40], "image/png", 400, "IMAGE_UNREADABLE"),
        (photograph("Men Tshirts", size=8), "image/png", 400, "IMAGE_TOO_SMALL"),
        (b"\x89PNG" + bytes(100_000), "image/png", 413, "IMAGE_TOO_LARGE"),
        (b"{}", "text/plain", 415, "BODY_TYPE_UNSUPPORTED"),
        (b"{", "application/json", 400, "BODY_MALFORMED"),
        (b"[]", "application/json", 400, "BODY_MALFORMED"),
        (b"[" * 100_000, "application/json", 400, "BODY_MALFORMED"),
        (b"\xff", "application/json", 400, "BODY_MALFORMED"),
        (b"{}", "application/json", 400, "REQUEST_INVALID"),
        (b'{"product_id": 1}', "application/json", 400, "REQUEST_INVALID"),
        (b'{"product_id": "x", "image": "y"}', "application/json", 400, "REQUEST_INVALID"),
        (b'{"product_id": "\\ud800"}', "application/json", 400, "REQUEST_INVALID"),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400, "IMAGE_MISSING"),
        (b"nothing", "multipart/form-data", 400, "BODY_MALFORMED"),
        (b"nothing", "multipart/form-data; boundary=x", 400, "BODY_MALFORMED"),
    ],
)
def test_a_bad_body_is_refused_with_a_reason(
    catalogue: Shop, content: bytes, media_type: str, status: int, reason: str
) -> None:
    answer = catalogue.http.post("/v1/similar", content=content, headers={"Content-Type": media_type})
    problem(answer, status, reason)


def test_a_form_must_hold_one_photograph(catalogue: Shop) -> None:
    content = photograph("Men Tshirts")
    for fields in (
        {"files": {"picture": content}},
        {"files": [("image", content), ("image", content)]},
        {"data": {"image": "text"}, "files": {"other": b"x"}},
        {"files": {"image": content, "limit": b"3"}},
    ):
        answer = catalogue.http.post("/v1/similar", **fields)  # type: ignore[arg-type]
        assert answer.status_code == 400, answer.text
        assert answer.json()["reason"] in {"IMAGE_MISSING", "BODY_MALFORMED", "REQUEST_INVALID"}
    for region in ("0,0,1", "0,0,1,2", "a,b,c,d"):
        answer = catalogue.http.post("/v1/similar", files={"image": content}, data={"region": region})
        problem(answer, 400, "REQUEST_INVALID")
    answer = catalogue.http.post("/v1/similar", files={"image": content}, data={"region": "0.5,0,0.5,1"})
    problem(answer, 400, "REGION_INVALID")


def test_a_model_that_finds_no_garments_says_so_and_answers_the_query(catalogue: Shop) -> None:
    problem(
        catalogue.http.post("/v1/garments", files={"image": photograph("Men Tshirts")}),
        501,
        "GARMENTS_UNSUPPORTED",
    )
    answer = catalogue.http.post(
        "/v1/similar", files={"image": photograph("Men Tshirts")}, data={"subject": "auto"}
    ).json()
    assert answer["view"] == {"region": None, "quarter_turns": 0, "garments": []}


def test_openapi_describes_every_operation_with_its_errors(catalogue: Shop) -> None:
    document = catalogue.http.get("/openapi.json").json()
    assert document["paths"].keys() >= {
        "/v1/products/{product_id}/similar",
        "/v1/similar",
        "/v1/garments",
        "/v1/products",
        "/v1/products/{product_id}",
        "/v1/products/{product_id}/image",
        "/v1/users/{user_id}/disliked-colours",
        "/v1/users/{user_id}/disliked-colours/{colour}",
        "/v1/users/{user_id}",
        "/v1/facets",
        "/healthz",
        "/readyz",
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"] and operation["description"], (method, path)
            assert "422" not in operation["responses"]
            for parameter in operation.get("parameters", ()):
                assert parameter["description"], (method, path, parameter["name"])
            if path.startswith("/v1"):
                assert operation["responses"].keys() >= {"200", "400", "500", "503", "504"}
            if "/users/" in path:
                assert operation["security"] == [{"userToken": []}]
    assert document["paths"]["/v1/similar"]["post"]["requestBody"]["content"].keys() == {
        "multipart/form-data",
        "image/jpeg",
        "image/png",
        "image/webp",
        "image/avif",
        "application/json",
    }
    text = json.dumps(document)
    for name in (part.split('"')[0] for part in text.split("#/components/schemas/")[1:]):
        assert name in document["components"]["schemas"]
