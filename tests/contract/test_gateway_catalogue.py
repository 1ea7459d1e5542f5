"""The catalogue over HTTP: products written over gRPC are read as JSON, photographs in the requested sizes."""

import io
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from PIL import Image

from fashion.v1 import search_pb2, types_pb2
from tests.support.gateways import Shop, problem, shop
from tests.support.small_shop import COLOURS, items, photograph, rows
from tests.support.waiting import eventually

MARKUP = "<script>alert('x')</script> & \"Söhne\" \u2028"
FULL = types_pb2.Product(
    id="full/№1%2F+&?#",
    gender=types_pb2.GENDER_GIRLS,
    master_category="Apparel",
    sub_category="Topwear",
    article_type="Tops",
    base_colour="Sea Green",
    brand="Söhne & Co.",
    season="Summer",
    year=2012,
    usage="Casual",
    name=MARKUP,
    url="https://shop.example/p/1?colour=sea%20green",
    image_url="http://cdn.example/1.jpg",
    price=types_pb2.Price(currency_code="EUR", units=19, nanos=990_000_000),
    in_stock=False,
    parent_id="full",
    attributes={
        "material": types_pb2.AttributeValue(labels=types_pb2.Labels(values=["Cotton", "Elastane"])),
        "heel_mm": types_pb2.AttributeValue(number=40.5),
        "organic": types_pb2.AttributeValue(flag=False),
    },
)
FULL_PATH = "/v1/products/full%2F%E2%84%961%252F%2B%26%3F%23"
LARGE = "large"


def _large() -> bytes:
    picture = Image.linear_gradient("L").resize((1000, 1500)).convert("RGB")
    content = io.BytesIO()
    picture.save(content, "JPEG")
    return content.getvalue()


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop")) as found:
        found.grpc.upsert(rows())
        image = types_pb2.Image(content=photograph("Men Tshirts", "Blue", 3, form="JPEG"))
        bare = types_pb2.Product(id="bare", gender=types_pb2.GENDER_BOYS, sub_category="Bags", article_type="Backpacks")
        large = types_pb2.Product(id=LARGE, gender=types_pb2.GENDER_MEN, sub_category="Bags", article_type="Clutches")
        embedding = found.grpc.search.GetProduct(
            search_pb2.GetProductRequest(product_id=items()[0].id, include_embedding=True), timeout=20
        ).embedding
        written = found.grpc.upsert(
            [
                search_pb2.ProductRow(product=FULL, image=image),
                search_pb2.ProductRow(product=bare, embedding=embedding),
                search_pb2.ProductRow(product=large, image=types_pb2.Image(content=_large())),
            ]
        )
        assert not any(each.status.code for each in written.results)
        yield found


def test_the_index_says_what_is_usual(catalogue: Shop) -> None:
    eventually(lambda: catalogue.grpc.index().HasField("nearest_similarity"), "it was not measured")
    answer, index = catalogue.http.get("/v1/index"), catalogue.grpc.index()
    assert answer.headers["cache-control"] == "public, max-age=60"
    told = answer.json()
    measured = told.pop("nearest_similarity")
    assert [(each["share"], each["similarity"]) for each in measured["quantiles"]] == [
        (pytest.approx(each.share), pytest.approx(each.similarity)) for each in index.nearest_similarity.quantiles
    ]
    assert len(measured["quantiles"]) == 7 and measured["product_count"] == index.nearest_similarity.product_count
    names = ("product_count", "available_count", "model_version", "index_version", "approximate")
    assert told == {**{name: getattr(index, name) for name in names}, "unsure_below": pytest.approx(index.unsure_below)}


def test_a_product_is_told_whole_and_what_is_unknown_is_null(catalogue: Shop) -> None:
    answer = catalogue.http.get(FULL_PATH)
    assert answer.status_code == 200
    # Markup in a name is text in JSON, and no browser takes it for a page.
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json() == {
        "id": FULL.id,
        "gender": "Girls",
        "master_category": "Apparel",
        "sub_category": "Topwear",
        "article_type": "Tops",
        "base_colour": "Sea Green",
        "brand": "Söhne & Co.",
        "season": "Summer",
        "year": 2012,
        "usage": "Casual",
        "name": MARKUP,
        "derived_type": "Girls Tops",
        "url": FULL.url,
        "image_url": FULL.image_url,
        "price": {"amount": "19.99", "currency": "EUR"},
        "in_stock": False,
        "parent_id": "full",
        "attributes": {"heel_mm": 40.5, "material": ["Cotton", "Elastane"], "organic": False},
        "image": f"{FULL_PATH}/image",
        "images": [f"{FULL_PATH}/image"],
    }
    bare = catalogue.http.get("/v1/products/bare").json()
    known = {"id", "gender", "sub_category", "article_type", "derived_type"}
    assert {name for name, value in bare.items() if value not in (None, {}, [])} == known


def test_an_image_is_named_only_where_there_is_one(catalogue: Shop) -> None:
    listed = catalogue.http.get("/v1/products", params={"gender": ["Boys", "Girls"]}).json()["products"]
    similar = catalogue.http.get(f"{FULL_PATH}/similar", params={"limit": 50}).json()["products"]
    products = {each["id"]: each for each in (*listed, *(found["product"] for found in similar))}
    assert {"bare", LARGE} < products.keys()
    for product_id, product in products.items():
        status = catalogue.http.get(f"/v1/products/{quote(product_id, safe='')}/image").status_code
        assert (product["image"] is not None) == (status == 200) == (product_id != "bare")


def test_a_photograph_that_comes_later_is_named(catalogue: Shop) -> None:
    embedding = catalogue.grpc.search.GetProduct(
        search_pb2.GetProductRequest(product_id=LARGE, include_embedding=True), timeout=20
    ).embedding
    image = types_pb2.Image(content=photograph("Men Tshirts", "Blue", 3, form="JPEG"))
    product = types_pb2.Product(id="late", gender=types_pb2.GENDER_MEN, sub_category="Bags", article_type="Clutches")
    told = []
    renamed = types_pb2.Product(name="Late")
    renamed.MergeFrom(product)
    contents: list[dict[str, object]] = [{"embedding": embedding}, {"image": image}, {}, {"embedding": embedding}]
    for content, written in zip(contents, (product, product, renamed, renamed), strict=True):
        catalogue.grpc.upsert([search_pb2.ProductRow(product=written, **content)])  # type: ignore[arg-type]
        told.append(catalogue.http.get("/v1/products/late").json()["image"])
    catalogue.grpc.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=["late"]), timeout=20)
    there = "/v1/products/late/image"
    assert told == [None, there, there, None]


def test_the_path_of_a_photograph_leads_to_it_whatever_the_id(catalogue: Shop) -> None:
    told = catalogue.http.get(FULL_PATH).json()["image"]
    answer = catalogue.http.get(told)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == photograph("Men Tshirts", "Blue", 3, form="JPEG")
    similar = catalogue.http.get(f"{FULL_PATH}/similar", params={"limit": 1})
    assert similar.status_code == 200 and len(similar.json()["products"]) == 1


def test_products_are_listed_by_filter_a_page_at_a_time(catalogue: Shop) -> None:
    asked: dict[str, object] = {"base_colour": "Blue", "colour_by_family": "true", "gender": ["Men", "Unisex"]}
    first = catalogue.http.get("/v1/products", params={**asked, "page_size": 5}).json()
    assert (len(first["products"]), first["total_count"]) == (5, 8)
    token = first["next_page_token"]
    second = catalogue.http.get("/v1/products", params={**asked, "page_size": 5, "page_token": token}).json()
    assert (len(second["products"]), second["next_page_token"]) == (3, "")
    told = [each["id"] for each in first["products"] + second["products"]]
    expected = [
        item.id
        for item in items()
        if "Blue" in item.colour and item.derived_type in ("Men Tshirts", "Unisex Backpacks")
    ]
    assert told == expected
    other = catalogue.http.get("/v1/products", params={"gender": "Men", "page_token": token})
    problem(other, 400, "PAGE_TOKEN_INVALID")
    one: tuple[dict[str, object], ...] = ({"year_first": 2012, "year_last": 2012}, {"brand": FULL.brand})
    for only in one:
        listed = catalogue.http.get("/v1/products", params=only).json()
        assert [each["id"] for each in listed["products"]] == [FULL.id]


@pytest.mark.parametrize("order", ["id", "name", "price", "price_descending", "newest"])
def test_words_and_orders_go_with_pages_facets_and_similar_products(catalogue: Shop, order: str) -> None:
    asked: dict[str, object] = {"words": "BLUE t-shirt"}
    expected = sorted(item.id for item in items() if "Blue" in item.colour and item.derived_type == "Men Tshirts")
    listed: list[str] = []
    token = ""
    while len(listed) < len(expected):
        parameters = {**asked, "order": order, "page_size": 3, "page_token": token}
        page = catalogue.http.get("/v1/products", params=parameters).json()
        assert page["total_count"] == len(expected)
        listed += [each["id"] for each in page["products"]]
        token = page["next_page_token"]
    assert (listed, token) == (expected, "")
    facets = catalogue.http.get("/v1/facets", params=asked).json()
    assert facets["total_count"] == len(expected)
    assert {each["value"] for each in facets["facets"][0]["values"]} == {"Men"}
    similar = catalogue.http.get(f"{FULL_PATH}/similar", params={**asked, "limit": 50}).json()["products"]
    assert sorted(each["product"]["id"] for each in similar) == expected
    whole = [each["id"] for each in catalogue.http.get("/v1/products", params={"order": order}).json()["products"]]
    assert (whole[0] == FULL.id) == (order in {"name", "price", "price_descending"})


@pytest.mark.parametrize(("family", "left"), [("false", {"Navy Blue", "Red", "Yellow"}), ("true", {"Red", "Yellow"})])
def test_colours_can_be_left_out_of_a_list(catalogue: Shop, family: str, left: set[str]) -> None:
    asked: dict[str, object] = {
        "article_type": "Tshirts",
        "excluded_colour": ["Blue", "Black"],
        "colour_by_family": family,
    }
    told = catalogue.http.get("/v1/products", params=asked).json()
    assert {each["base_colour"] for each in told["products"]} == left
    similar = catalogue.http.get(f"/v1/products/{items()[0].id}/similar", params={**asked, "limit": 50}).json()
    assert {each["product"]["base_colour"] for each in similar["products"]} == left


def test_facets_count_and_paint(catalogue: Shop) -> None:
    told = catalogue.http.get("/v1/facets", params={"article_type": "Tshirts"}).json()
    assert told["total_count"] == 10
    facets = {each["attribute"]: each["values"] for each in told["facets"]}
    described = {each["attribute"]: (each["label"], each["kind"], each["filtered"]) for each in told["facets"]}
    assert described["brand"] == ("Brand", "label", True)
    assert described["base_colour"] == ("Colour", "colour", True)
    assert described["year"] == ("Year", "year", True)
    assert described["derived_type"] == ("Type", "label", False)
    assert list(facets) == [
        "gender",
        "master_category",
        "sub_category",
        "article_type",
        "base_colour",
        "brand",
        "season",
        "usage",
        "year",
        "derived_type",
    ]
    assert facets["gender"] == [{"value": "Men", "count": 10, "condition": "Men", "family": None, "swatch": None}]
    assert {each["value"] for each in facets["article_type"]} >= {"Tshirts", "Dresses", "Handbags", "Backpacks"}
    assert {each["value"]: each["family"] for each in facets["base_colour"]} == {
        colour: "Blue" if "Blue" in colour else colour for colour in COLOURS
    }
    assert all(each["swatch"].startswith("#") for each in facets["base_colour"])


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/v1/products/nothing", 404, "PRODUCT_NOT_FOUND"),
        ("/v1/products/a%20b", 400, "PRODUCT_ID_INVALID"),
        ("/v1/products/nothing/image", 404, "PRODUCT_NOT_FOUND"),
        ("/v1/products/bare/image", 404, "PHOTOGRAPH_NOT_FOUND"),
        ("/v1/products/bare/image?width=240", 404, "PHOTOGRAPH_NOT_FOUND"),
        (f"/v1/products/{LARGE}/image?width=241", 400, "REQUEST_INVALID"),
        ("/v1/products?page_size=-1", 400, "REQUEST_INVALID"),
        ("/v1/products?page_token=x", 400, "PAGE_TOKEN_INVALID"),
        ("/v1/products?colour=Blue", 400, "REQUEST_INVALID"),
        ("/v1/products?gender=Robots", 400, "REQUEST_INVALID"),
        ("/v1/products?article_type=Tshirt", 400, "FILTER_VALUE_UNKNOWN"),
        ("/v1/products?year_first=2013&year_last=2012", 400, "YEAR_RANGE_INVALID"),
        ("/v1/products?order=random", 400, "REQUEST_INVALID"),
        (f"/v1/facets?words={'x' * 201}", 400, "REQUEST_INVALID"),
        ("/v1/facets?season=Monsoon", 400, "FILTER_VALUE_UNKNOWN"),
        ("/v1/facets?brand=Nobody", 400, "FILTER_VALUE_UNKNOWN"),
        ("/v1/nothing", 404, "PATH_NOT_FOUND"),
        ("/nothing/at/all", 404, "PATH_NOT_FOUND"),
    ],
)
def test_every_refusal_is_a_problem_document(catalogue: Shop, path: str, status: int, reason: str) -> None:
    told = problem(catalogue.http.get(path), status, reason)
    if reason == "FILTER_VALUE_UNKNOWN" and "Tshirt" in path:
        assert told["metadata"]["nearest"].startswith("Tshirts")


@pytest.mark.parametrize(("accept", "form"), [("image/avif,image/webp,*/*", "WEBP"), ("*/*", "JPEG")])
@pytest.mark.parametrize("width", [120, 240, 480, 960])
def test_thumbnails_come_in_the_size_and_type_asked_for(catalogue: Shop, width: int, accept: str, form: str) -> None:
    answer = catalogue.http.get(f"/v1/products/{LARGE}/image", params={"width": width}, headers={"Accept": accept})
    assert answer.headers["content-type"] == f"image/{form.lower()}"
    assert "Accept" in answer.headers["vary"] and answer.headers["cache-control"] == "public, max-age=3600"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == (form, (width, round(width * 1.5)))


def test_a_small_photograph_is_not_enlarged(catalogue: Shop) -> None:
    answer = catalogue.http.get(f"/v1/products/{items()[0].id}/image", params={"width": 960})
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (60, 80)


def test_a_photograph_is_sent_again_only_once_it_has_changed(catalogue: Shop) -> None:
    path = f"/v1/products/{LARGE}/image"
    tags = set()
    for params, accept in (
        ({}, "*/*"),
        ({"width": 120}, "*/*"),
        ({"width": 120}, "image/webp"),
        ({"width": 240}, "*/*"),
    ):
        first = catalogue.http.get(path, params=params, headers={"Accept": accept})
        tag = first.headers["etag"]
        assert tag.startswith('"')
        tags.add(tag)
        again = catalogue.http.get(path, params=params, headers={"Accept": accept, "If-None-Match": f'"x", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == first.headers["cache-control"]
        other = catalogue.http.get(path, params=params, headers={"Accept": accept, "If-None-Match": '"x"'})
        assert (other.status_code, other.content) == (200, first.content)
    assert len(tags) == 4


def test_head_answers_as_get_does_without_the_body(catalogue: Shop) -> None:
    for path in ("/v1/products/bare", f"/v1/products/{LARGE}/image", "/v1/nothing", "/healthz"):
        got, head = catalogue.http.get(path), catalogue.http.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-length", "content-type", "cache-control"):
            if "nothing" not in path or name != "content-length":
                assert head.headers[name] == got.headers[name]
