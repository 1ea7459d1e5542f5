"""Several photographs of a product, over gRPC and HTTP: written, found, shown, added and taken away."""

import hashlib
import io
import json
from collections.abc import Iterator

import grpc
import httpx
import pytest
from PIL import Image

from fashion.v1 import search_pb2, types_pb2
from tests.support.gateways import Shop, problem, shop
from tests.support.running import refusal
from tests.support.small_shop import items, photograph, rows

BAG = types_pb2.Product(id="bag/1", gender=types_pb2.GENDER_WOMEN, sub_category="Bags", article_type="Handbags")
PATH = "/v1/products/bag%2F1"
FRONT, BACK, SIDE = (photograph("Women Handbags", colour, 7) for colour in ("Blue", "Yellow", "Black"))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop")) as found:
        found.grpc.upsert(rows())
        yield found


@pytest.fixture
def bag(catalogue: Shop) -> Iterator[Shop]:
    images = [types_pb2.Image(content=each) for each in (FRONT, BACK, SIDE)]
    row = search_pb2.ProductRow(product=BAG, image=images[0], further_images=images[1:])
    (result,) = catalogue.grpc.upsert([row]).results
    assert result.outcome == search_pb2.UPSERT_OUTCOME_CREATED, result
    yield catalogue
    catalogue.grpc.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=[BAG.id]), timeout=20)


def find(catalogue: Shop, content: bytes, top_k: int = 100) -> search_pb2.FindSimilarResponse:
    request = search_pb2.FindSimilarRequest(
        image=types_pb2.Image(content=content), scope=search_pb2.SEARCH_SCOPE_INVENTORY, top_k=top_k
    )
    return catalogue.grpc.search.FindSimilar(request, timeout=20)


def files(catalogue: Shop) -> list[bytes]:
    product = catalogue.grpc.search.GetProduct(search_pb2.GetProductRequest(product_id=BAG.id), timeout=20).product
    request = search_pb2.GetPhotographRequest
    return [
        catalogue.grpc.search.GetPhotograph(request(product_id=BAG.id, index=index), timeout=20).content
        for index in range(product.photograph_count)
    ]


def test_a_product_comes_once_as_similar_as_its_most_similar_photograph_which_is_named(bag: Shop) -> None:
    assert files(bag) == [FRONT, BACK, SIDE]
    for index, content in enumerate((FRONT, BACK, SIDE)):
        answer = find(bag, content)
        ids = [each.product.id for each in answer.products]
        assert len(ids) == len(set(ids)) == answer.applied.eligible_count == len(items()) + 1
        hit = next(each for each in answer.products if each.product.id == BAG.id)
        assert (hit.photograph_index, hit.product.photograph_count) == (index, 3)
        assert hit.similarity == pytest.approx(1, abs=1e-3)
    # Of the product that is asked for, the first photograph counts.
    by_id = search_pb2.FindSimilarRequest(product_id=BAG.id, top_k=5)
    by_image = [each.product.id for each in find(bag, FRONT, 6).products if each.product.id != BAG.id]
    similar = bag.grpc.search.FindSimilar(by_id, timeout=20)
    assert [each.product.id for each in similar.products] == by_image
    # Lists in advance name it too.
    batch = search_pb2.BatchFindSimilarRequest(
        product_ids=[items()[0].id], options=search_pb2.FindSimilarRequest(top_k=100)
    )
    one = bag.grpc.search.FindSimilar(search_pb2.FindSimilarRequest(product_id=items()[0].id, top_k=100), timeout=20)
    (listed,) = bag.grpc.search.BatchFindSimilar(batch, timeout=20).lists
    assert {each.product_id: each.photograph_index for each in listed.products} == {
        each.product.id: each.photograph_index for each in one.products
    }


def test_a_photograph_is_added_and_taken_away_alone(bag: Shop) -> None:
    more = photograph("Women Handbags", "Red", 9)
    add = search_pb2.AddPhotographRequest(product_id=BAG.id, image=types_pb2.Image(content=more), index=1)
    added = bag.grpc.search.AddPhotograph(add, timeout=20)
    assert (added.index, added.outcome, added.product.photograph_count) == (1, search_pb2.UPSERT_OUTCOME_UPDATED, 4)
    assert files(bag) == [FRONT, more, BACK, SIDE]
    again = bag.grpc.search.AddPhotograph(add, timeout=20)
    assert (again.outcome, again.index_version) == (search_pb2.UPSERT_OUTCOME_UNCHANGED, added.index_version)
    remove = search_pb2.RemovePhotographRequest
    by_hash = remove(product_id=BAG.id, sha256=hashlib.sha256(BACK).hexdigest())
    assert bag.grpc.search.RemovePhotograph(by_hash, timeout=20).product.photograph_count == 3
    bag.grpc.search.RemovePhotograph(remove(product_id=BAG.id, index=0), timeout=20)
    assert files(bag) == [more, SIDE]
    for request, code, reason in (
        (by_hash, grpc.StatusCode.NOT_FOUND, "PHOTOGRAPH_NOT_FOUND"),
        (remove(product_id=BAG.id), grpc.StatusCode.INVALID_ARGUMENT, "PHOTOGRAPH_MISSING"),
        (remove(product_id="nobody", index=0), grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND"),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            bag.grpc.search.RemovePhotograph(request, timeout=20)
        assert refusal(refused.value)[:2] == (code, reason)
    with pytest.raises(grpc.RpcError) as missing:
        bag.grpc.search.AddPhotograph(search_pb2.AddPhotographRequest(product_id=BAG.id), timeout=20)
    assert refusal(missing.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "PHOTOGRAPH_MISSING")


def test_a_file_is_taken_away_whole_so_that_the_call_may_be_repeated(bag: Shop) -> None:
    regions = [types_pb2.Box(top=top, left=0, bottom=top + 0.5, right=1) for top in (0, 0.5)]
    shots = [types_pb2.Image(content=BACK, region=region) for region in regions]
    row = search_pb2.ProductRow(product=BAG, image=shots[0], further_images=[types_pb2.Image(content=SIDE), shots[1]])
    bag.grpc.upsert([row])
    assert files(bag) == [BACK, SIDE, BACK]
    back, side = (
        search_pb2.RemovePhotographRequest(product_id=BAG.id, sha256=hashlib.sha256(each).hexdigest())
        for each in (BACK, SIDE)
    )
    assert bag.grpc.search.RemovePhotograph(back, timeout=20).product.photograph_count == 1
    with pytest.raises(grpc.RpcError) as repeated:
        bag.grpc.search.RemovePhotograph(back, timeout=20)
    assert refusal(repeated.value)[:2] == (grpc.StatusCode.NOT_FOUND, "PHOTOGRAPH_NOT_FOUND")
    assert files(bag) == [SIDE]
    # A product whose photographs are all of one file keeps them.
    bag.grpc.upsert([search_pb2.ProductRow(product=BAG, image=shots[0], further_images=shots[1:])])
    for request, reason in ((back, "LAST_PHOTOGRAPH"), (back, "LAST_PHOTOGRAPH"), (side, "PHOTOGRAPH_NOT_FOUND")):
        with pytest.raises(grpc.RpcError) as refused:
            bag.grpc.search.RemovePhotograph(request, timeout=20)
        assert refusal(refused.value)[1] == reason
    assert files(bag) == [BACK, BACK]


def test_a_row_names_the_photograph_that_it_fails_for(catalogue: Shop) -> None:
    images = [types_pb2.Image(content=each) for each in (BACK, b"no picture")]
    row = search_pb2.ProductRow(product=BAG, image=types_pb2.Image(content=FRONT), further_images=images)
    (result,) = catalogue.grpc.upsert([row]).results
    assert (result.status.reason, result.photograph_index) == ("IMAGE_FORMAT_UNSUPPORTED", 2)
    first = search_pb2.ProductRow(product=BAG, image=types_pb2.Image(content=b"no picture"))
    (result,) = catalogue.grpc.upsert([first]).results
    assert result.status.reason and not result.HasField("photograph_index")


def test_over_http_each_photograph_has_an_address_and_a_result_that_of_the_similar_one(bag: Shop) -> None:
    product = bag.http.get(PATH).json()
    assert product["images"] == [f"{PATH}/image", f"{PATH}/photographs/1", f"{PATH}/photographs/2"]
    assert product["image"] == product["images"][0]
    assert [bag.http.get(each).content for each in product["images"]] == [FRONT, BACK, SIDE]
    assert bag.http.get(f"{PATH}/photographs/0").content == FRONT
    thumbnail = bag.http.get(f"{PATH}/photographs/1?width=120", headers={"Accept": "image/webp"})
    assert thumbnail.headers["content-type"] == "image/webp"
    shown = Image.open(io.BytesIO(thumbnail.content)).convert("RGB")
    # Yellow is the back.
    red, _, blue = shown.getpixel((shown.width // 2, shown.height * 3 // 4))  # type: ignore[misc]
    assert red > 150 > blue
    answer = bag.http.post(
        "/v1/similar?scope=inventory&limit=50", content=BACK, headers={"Content-Type": "image/png"}
    ).json()
    hit = next(each for each in answer["products"] if each["product"]["id"] == BAG.id)
    assert (hit["photograph_index"], hit["image"]) == (1, f"{PATH}/photographs/1")
    others = [each for each in answer["products"] if each["product"]["id"] != BAG.id]
    assert all(each["photograph_index"] == 0 and each["image"] == each["product"]["image"] for each in others)
    problem(bag.http.get(f"{PATH}/photographs/3"), 404, "PHOTOGRAPH_NOT_FOUND")
    problem(bag.http.get(f"{PATH}/photographs/8"), 400, "REQUEST_INVALID")


def test_over_http_a_photograph_is_added_and_taken_away(bag: Shop) -> None:
    def post(content: bytes, query: str = "", media_type: str = "image/png") -> httpx.Response:
        return bag.http.post(f"{PATH}/photographs{query}", content=content, headers={"Content-Type": media_type})

    more = photograph("Women Handbags", "Red", 11)
    added = post(more, "?index=0").json()
    assert (added["index"], added["outcome"], len(added["product"]["images"])) == (0, "updated", 4)
    assert files(bag)[0] == more
    assert post(more).json()["outcome"] == "unchanged"
    removed = bag.http.delete(f"{PATH}/photographs/0")
    assert (removed.status_code, len(removed.json()["images"])) == (200, 3)
    by_hash = f"{PATH}/photographs/{hashlib.sha256(BACK).hexdigest()}"
    assert len(bag.http.delete(by_hash).json()["images"]) == 2
    problem(bag.http.delete(by_hash), 404, "PHOTOGRAPH_NOT_FOUND")
    bag.http.delete(f"{PATH}/photographs/1")
    problem(bag.http.delete(f"{PATH}/photographs/0"), 400, "LAST_PHOTOGRAPH")
    problem(bag.http.delete(f"{PATH}/photographs/x"), 400, "REQUEST_INVALID")
    problem(post(b"text", media_type="text/plain"), 415, "BODY_TYPE_UNSUPPORTED")
    # A page of another site can send a form without asking.
    form = bag.http.post(f"{PATH}/photographs", files={"image": more})
    problem(form, 415, "BODY_TYPE_UNSUPPORTED")
    problem(post(b"no picture"), 415, "IMAGE_FORMAT_UNSUPPORTED")
    problem(post(more, "?index=9"), 400, "REQUEST_INVALID")
    problem(post(more, "?index=5"), 400, "PHOTOGRAPH_INDEX_INVALID")
    # Not from elsewhere, as through a proxy.
    foreign = bag.http.post(
        f"{PATH}/photographs", content=more, headers={"Content-Type": "image/png", "X-Forwarded-For": "203.0.113.7"}
    )
    problem(foreign, 403, "WRITES_ARE_LOCAL")
    document = json.loads(bag.http.get("/openapi.json").content)
    assert set(document["paths"]["/v1/products/{product_id}/photographs"]) == {"post"}
    assert set(document["paths"]["/v1/products/{product_id}/photographs/{photograph}"]) == {"get", "delete"}
