"""Changes of products over HTTP: merge patches, from the gateway's own machine alone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateways import Shop, shop
from tests.support.small_shop import items, rows

FIRST, SECOND = (item.id for item in items()[:2])


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop")) as running:
        running.grpc.upsert(rows())
        yield running


def _patch(catalogue: Shop, product_id: str, **change: Any) -> dict[str, Any]:
    answer = catalogue.http.patch(f"/v1/products/{product_id}", json=change)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_a_patch_changes_what_it_names_and_forgets_what_is_null(catalogue: Shop) -> None:
    before = catalogue.http.get(f"/v1/products/{FIRST}").json()
    price = {"amount": "19.99", "currency": "EUR"}
    own = {"material": ["Cotton", "Wool"], "heel_mm": 40, "organic": True, "fit": "Slim"}
    after = _patch(catalogue, FIRST, price=price, in_stock=False, attributes=own, name="Ünder", year=None)
    changes = {"price": price, "in_stock": False, "name": "Ünder", "year": None}
    expected = {**before, **changes, "attributes": {**own, "fit": ["Slim"]}}
    assert after == catalogue.http.get(f"/v1/products/{FIRST}").json() == expected
    # One own attribute, and one forgotten: the others stay.
    after = _patch(catalogue, FIRST, attributes={"heel_mm": None, "organic": False}, in_stock=None)
    assert after["attributes"] == {"material": ["Cotton", "Wool"], "organic": False, "fit": ["Slim"]}
    assert (after["in_stock"], after["price"]) == (None, price)
    assert _patch(catalogue, FIRST) == after
    assert _patch(catalogue, FIRST, price={"amount": 5, "currency": "USD"})["price"]["amount"] == "5.00"
    merge_patch = {"Content-Type": "application/merge-patch+json"}
    answer = catalogue.http.patch(f"/v1/products/{FIRST}", content='{"attributes": null}', headers=merge_patch)
    assert answer.json()["attributes"] == {}
    assert _patch(catalogue, FIRST, gender=None)["derived_type"] == before["article_type"]
    _patch(catalogue, FIRST, gender=before["gender"])


def test_each_change_of_a_batch_has_its_own_result(catalogue: Shop) -> None:
    updates = [
        {"id": FIRST, "in_stock": False},
        {"id": "nobody", "in_stock": False},
        {"id": SECOND, "sub_category": None},
        {"id": FIRST, "in_stock": False},
    ]
    answer = catalogue.http.post("/v1/products:batchUpdate", json={"updates": updates})
    assert answer.status_code == 200
    document = answer.json()
    assert [(each["id"], each["outcome"], each["reason"]) for each in document["results"]] == [
        (FIRST, "updated", ""),
        ("nobody", None, "PRODUCT_NOT_FOUND"),
        (SECOND, None, "SUB_CATEGORY_MISSING"),
        (FIRST, "unchanged", ""),
    ]
    assert document["index_version"] == catalogue.grpc.index().index_version


@pytest.mark.parametrize(
    ("product_id", "body", "status", "reason"),
    [
        ("nobody", {"year": 2020}, 404, "PRODUCT_NOT_FOUND"),
        (FIRST, {"colour": "Blue"}, 400, "REQUEST_INVALID"),
        (FIRST, {"derived_type": "Men Tops"}, 400, "REQUEST_INVALID"),
        (FIRST, {"gender": "Robots"}, 400, "REQUEST_INVALID"),
        (FIRST, {"year": 10**12}, 400, "REQUEST_INVALID"),
        (FIRST, {"year": "2020"}, 400, "REQUEST_INVALID"),
        (FIRST, {"in_stock": 0}, 400, "REQUEST_INVALID"),
        (FIRST, {"price": {"amount": "cheap", "currency": "EUR"}}, 400, "REQUEST_INVALID"),
        (FIRST, {"price": {"amount": 10**30, "currency": "EUR"}}, 400, "REQUEST_INVALID"),
        (FIRST, {"price": {"amount": "-1", "currency": "EUR"}}, 400, "REQUEST_INVALID"),
        (FIRST, {"price": {"amount": "19.9999999999", "currency": "EUR"}}, 400, "REQUEST_INVALID"),
        (FIRST, {"name": "\ud800"}, 400, "BODY_MALFORMED"),
        (FIRST, {"name": " "}, 400, "LABEL_INVALID"),
        (FIRST, {"article_type": None}, 400, "ARTICLE_TYPE_MISSING"),
        (FIRST, {"attributes": {"Not a name": 1}}, 400, "UPDATE_MASK_INVALID"),
        (FIRST, [], 400, "BODY_MALFORMED"),
    ],
)
def test_a_bad_patch_changes_nothing(catalogue: Shop, product_id: str, body: object, status: int, reason: str) -> None:
    version = catalogue.grpc.index().index_version
    # Escaped, since JSON can name half of a surrogate pair, which UTF-8 cannot.
    headers = {"Content-Type": "application/json"}
    answer = catalogue.http.patch(f"/v1/products/{product_id}", content=json.dumps(body), headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert catalogue.grpc.index().index_version == version


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Host": "shop.example"},
        {"Origin": "https://elsewhere.example"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_who_is_not_plainly_on_this_machine_changes_nothing(catalogue: Shop, headers: dict[str, str]) -> None:
    version = catalogue.grpc.index().index_version
    for method, path, body in (
        ("PATCH", f"/v1/products/{FIRST}", {"year": 2021}),
        ("POST", "/v1/products:batchUpdate", {"updates": [{"id": FIRST, "year": 2021}]}),
    ):
        answer = catalogue.http.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (403, "WRITES_ARE_LOCAL")
    assert catalogue.grpc.index().index_version == version


def test_a_form_of_another_page_is_no_change(catalogue: Shop) -> None:
    answer = catalogue.http.post("/v1/products:batchUpdate", content="{}", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["reason"]) == (415, "BODY_TYPE_UNSUPPORTED")
