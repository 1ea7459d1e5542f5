"""Own attributes and prices over gRPC and over HTTP: filters, facets, partial writes, and what is refused by name."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import MAX_ATTRIBUTE_NAMES
from tests.support.gateways import Shop, problem, shop
from tests.support.running import refusal
from tests.support.small_shop import items

MATERIALS = (["Cotton"], ["Wool"], ["Cotton", "Elastane"], None)


def _labels(*values: str) -> types_pb2.AttributeValue:
    return types_pb2.AttributeValue(labels=types_pb2.Labels(values=values))


def _product(number: int) -> types_pb2.Product:
    """Describes a product of the small shop: some without a material, a heel or a price, some priced in dollars."""
    product = items()[number].product()
    if (materials := MATERIALS[number % 4]) is not None:
        product.attributes["material"].CopyFrom(_labels(*materials))
    if number % 3:
        product.attributes["heel_mm"].number = number + 0.5
    product.attributes["organic"].flag = number % 2 == 0
    if number % 7:
        product.price.currency_code = "USD" if number % 5 == 0 else "EUR"
        product.price.units, product.price.nanos = number, 990_000_000
    return product


PRODUCTS = tuple(_product(number) for number in range(len(items())))


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("named")) as running:
        rows = [
            search_pb2.ProductRow(product=product, image=types_pb2.Image(content=item.photograph()))
            for product, item in zip(PRODUCTS, items(), strict=True)
        ]
        assert not any(each.status.code for each in running.grpc.upsert(rows).results)
        yield running


def _amount(product: types_pb2.Product) -> Decimal:
    return product.price.units + Decimal(product.price.nanos) / 10**9


def _is_cotton(product: types_pb2.Product) -> bool:
    return "Cotton" in product.attributes["material"].labels.values if "material" in product.attributes else False


def _heel(product: types_pb2.Product) -> float | None:
    return product.attributes["heel_mm"].number if "heel_mm" in product.attributes else None


CASES: list[tuple[dict[str, Any], Any]] = [
    ({"attribute": "material:Cotton"}, _is_cotton),
    ({"attribute": ["material:Wool", "material=Cotton"]}, lambda each: "material" in each.attributes),
    ({"excluded_attribute": "material:Cotton"}, lambda each: not _is_cotton(each)),
    ({"attribute": "heel_mm:10..20.5"}, lambda each: (_heel(each) or 0) >= 10 and (_heel(each) or 99) <= 20.5),
    ({"attribute": "heel_mm:..3"}, lambda each: (_heel(each) or 99) <= 3),
    ({"attribute": "organic:true"}, lambda each: each.attributes["organic"].flag),
    (
        {"attribute": ["organic:false", "material:Wool"], "excluded_attribute": "material:Elastane"},
        lambda each: (
            not each.attributes["organic"].flag
            and "material" in each.attributes
            and "Wool" in each.attributes["material"].labels.values
        ),
    ),
    (
        {"price": "4.99..10.99 EUR"},
        lambda each: each.price.currency_code == "EUR" and Decimal("4.99") <= _amount(each) <= Decimal("10.99"),
    ),
    ({"price": "..USD"}, lambda each: each.price.currency_code == "USD"),
    (
        {"price": "5..EUR", "attribute": "material:Cotton"},
        lambda each: each.price.currency_code == "EUR" and _amount(each) >= 5 and _is_cotton(each),
    ),
]


@pytest.mark.parametrize(("parameters", "passes"), CASES)
def test_a_filter_leaves_what_it_says_everywhere(named: Shop, parameters: dict[str, Any], passes: Any) -> None:
    expected = sorted(each.id for each in PRODUCTS if passes(each))
    assert 0 < len(expected) < len(PRODUCTS)
    listed = named.http.get("/v1/products", params={**parameters, "page_size": 100}).json()
    assert [each["id"] for each in listed["products"]] == expected
    assert named.http.get("/v1/facets", params=parameters).json()["total_count"] == len(expected)
    query = next(each.id for each in PRODUCTS if each.id not in expected)
    similar = named.http.get(f"/v1/products/{query}/similar", params={**parameters, "limit": 100}).json()
    assert sorted(each["product"]["id"] for each in similar["products"]) == expected
    # The same in a body of JSON.
    lists = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
    body = {**(lists | {"price": parameters["price"]} if "price" in parameters else lists), "product_id": query}
    answer = named.http.post("/v1/similar", json={**body, "limit": 100})
    assert sorted(each["product"]["id"] for each in answer.json()["products"]) == expected
    if "price" in parameters:
        others = {each["currency"]: each["count"] for each in similar["applied"]["other_currencies"]}
        assert others == {each["currency"]: each["count"] for each in listed["other_currencies"]}
        other = {"USD": "EUR", "EUR": "USD"}[parameters["price"][-3:]]
        without = parameters.keys() - {"price"}
        assert set(others) == {other}
        assert others[other] == sum(
            each.price.currency_code == other and (not without or _is_cotton(each)) for each in PRODUCTS
        )
    else:
        assert similar["applied"]["other_currencies"] == listed["other_currencies"] == []


def test_facets_tell_what_to_ask_for(named: Shop) -> None:
    """Whatever a facet offers, asking for it gives as many products as it says."""
    facets = named.http.get("/v1/facets").json()["facets"]
    described = {each["attribute"]: each for each in facets}
    own = ["attributes.organic", "attributes.material", "attributes.heel_mm"]
    assert list(described)[-4:] == ["price", *own]
    assert [described[name]["kind"] for name in own] == ["flag", "label", "number"]
    assert [described[name]["label"] for name in own] == ["Organic", "Material", "Heel mm"]
    assert described["price"]["currency"] == "EUR"
    assert (described["price"]["min"], described["price"]["max"]) == ("1.99", "39.99")
    assert described["price"]["other_currencies"] == [
        {"currency": "USD", "count": sum(each.price.currency_code == "USD" for each in PRODUCTS)}
    ]
    asked = 0
    for facet in facets:
        for value in facet["values"] if facet["parameter"] else ():
            listed = named.http.get("/v1/products", params={facet["parameter"]: value["condition"]}).json()
            assert listed["total_count"] == value["count"], value
            asked += 1
    assert asked > 20


def test_a_facet_counts_without_its_own_condition(named: Shop) -> None:
    def values(parameters: dict[str, Any], attribute: str) -> dict[str, int]:
        facets = named.http.get("/v1/facets", params=parameters).json()["facets"]
        found = next(each for each in facets if each["attribute"] == attribute)
        return {each["value"]: each["count"] for each in found["values"]}

    chosen = {"attribute": "material:Wool", "price": "..10 EUR"}
    assert values(chosen, "attributes.material") == values({"price": "..10 EUR"}, "attributes.material")
    assert values(chosen, "price") == values({"attribute": "material:Wool"}, "price")
    assert values(chosen, "attributes.organic") == {"false": 2}


def test_a_mask_replaces_all_own_attributes_or_one(named: Shop) -> None:
    product = PRODUCTS[0]

    def write(attributes: dict[str, types_pb2.AttributeValue], *paths: str) -> dict[str, Any]:
        sent = types_pb2.Product(
            id=product.id, gender=product.gender, sub_category=product.sub_category, attributes=attributes
        )
        sent.article_type = product.article_type
        request = search_pb2.UpsertProductsRequest(
            rows=[search_pb2.ProductRow(product=sent)], update_mask=FieldMask(paths=paths)
        )
        (result,) = named.grpc.search.UpsertProducts(request, timeout=20).results
        assert result.status.code == 0, result
        told: dict[str, Any] = named.http.get(f"/v1/products/{product.id}").json()["attributes"]
        return told

    try:
        flag = types_pb2.AttributeValue(flag=False)
        assert write({"vegan": flag}, "attributes.vegan") == {"material": ["Cotton"], "organic": True, "vegan": False}
        assert write({}, "attributes.vegan", "attributes.organic") == {"material": ["Cotton"]}
        assert write({"fit": _labels("Slim")}, "name") == {"material": ["Cotton"]}
        assert write({"fit": _labels("Slim")}, "attributes") == {"fit": ["Slim"]}
        # Nobody has these names any more.
        problem(named.http.get("/v1/products", params={"attribute": "vegan:true"}), 400, "FILTER_VALUE_UNKNOWN")
        assert write({}, "attributes") == {}
    finally:
        write(dict(product.attributes), "attributes")


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Material": _labels("Cotton")}, "ATTRIBUTE_INVALID"),
        ({"1st": _labels("Cotton")}, "ATTRIBUTE_INVALID"),
        ({"": _labels("Cotton")}, "ATTRIBUTE_INVALID"),
        ({"a" * 65: _labels("Cotton")}, "ATTRIBUTE_INVALID"),
        ({"shoe width": _labels("Cotton")}, "ATTRIBUTE_INVALID"),
        ({"material": types_pb2.AttributeValue()}, "ATTRIBUTE_INVALID"),
        ({"material": _labels()}, "ATTRIBUTE_INVALID"),
        ({"material": _labels(" ")}, "ATTRIBUTE_INVALID"),
        ({"material": _labels("a\nb")}, "ATTRIBUTE_INVALID"),
        ({"material": _labels("x" * 129)}, "ATTRIBUTE_INVALID"),
        ({"material": _labels("Cotton", "Cotton")}, "ATTRIBUTE_INVALID"),
        ({"material": _labels(*map(str, range(21)))}, "ATTRIBUTE_INVALID"),
        ({"heel": types_pb2.AttributeValue(number=float("nan"))}, "ATTRIBUTE_INVALID"),
        ({"heel": types_pb2.AttributeValue(number=float("inf"))}, "ATTRIBUTE_INVALID"),
        ({f"a{n}": _labels("x") for n in range(51)}, "TOO_MANY_ATTRIBUTES"),
    ],
)
def test_a_row_that_breaks_a_limit_is_refused_alone(
    named: Shop, attributes: dict[str, types_pb2.AttributeValue], reason: str
) -> None:
    bad = items()[0].row(id="bad", attributes=attributes)
    good = items()[1].row(id="good", attributes={"größe": _labels("38")})
    answer = named.grpc.upsert([bad, good])
    assert [each.status.reason for each in answer.results] == [reason, ""]
    assert re.search(r"attribute|own", answer.results[0].status.message)
    named.grpc.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=["good"]), timeout=20)


def test_a_catalogue_takes_a_number_of_names_and_no_more(named: Shop) -> None:
    free = MAX_ATTRIBUTE_NAMES - 3
    chunks = [range(start, min(start + 50, free)) for start in range(0, free, 50)]
    rows = [
        items()[0].row(id=f"wide-{place}", attributes={f"a{n}": _labels("x") for n in chunk})
        for place, chunk in enumerate(chunks)
    ]
    try:
        assert not any(each.status.code for each in named.grpc.upsert(rows).results)
        over = [items()[0].row(id=name, attributes={name: _labels("x")}) for name in ("over", "a0")]
        answer = named.grpc.upsert(over)
        assert [each.status.reason for each in answer.results] == ["TOO_MANY_ATTRIBUTES", ""]
        assert "256" in answer.results[0].status.message and '"over"' in answer.results[0].status.message
        assert len(named.http.get("/v1/facets").json()["facets"]) > MAX_ATTRIBUTE_NAMES
    finally:
        ids = [*(row.product.id for row in rows), "over", "a0"]
        named.grpc.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=ids), timeout=20)


@pytest.mark.parametrize(
    ("parameters", "reason", "text"),
    [
        ({"attribute": "materiel:Cotton"}, "FILTER_VALUE_UNKNOWN", '"material"'),
        ({"attribute": "material:Coton"}, "FILTER_VALUE_UNKNOWN", '"Cotton"'),
        ({"excluded_attribute": "material:Coton"}, "FILTER_VALUE_UNKNOWN", '"Cotton"'),
        ({"attribute": "heel_mm:40"}, "ATTRIBUTE_KIND_MISMATCH", "range of numbers"),
        ({"attribute": "material:true"}, "ATTRIBUTE_KIND_MISMATCH", "a label"),
        ({"attribute": "heel_mm:9..3"}, "NUMBER_RANGE_INVALID", "9"),
        ({"attribute": ["heel_mm:1..2", "heel_mm:3..4"]}, "ATTRIBUTE_FILTER_INVALID", "heel_mm"),
        ({"attribute": "material"}, "REQUEST_INVALID", "attribute"),
        ({"price": "10..5 EUR"}, "PRICE_RANGE_INVALID", "below"),
        ({"price": "10 EUR"}, "REQUEST_INVALID", "price"),
        ({"price": "1..2 eur"}, "REQUEST_INVALID", "price"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    named: Shop, parameters: dict[str, Any], reason: str, text: str
) -> None:
    for path in ("/v1/products", "/v1/facets", f"/v1/products/{PRODUCTS[0].id}/similar"):
        told = problem(named.http.get(path, params=parameters), 400, reason)
        assert text in told["detail"], told


def test_a_currency_that_nobody_has_leaves_nothing_and_says_so(named: Shop) -> None:
    request = search_pb2.FindSimilarRequest(
        product_id=PRODUCTS[1].id, filter=search_pb2.Filter(price=search_pb2.PriceRange(currency_code="GBP"))
    )
    found = named.grpc.search.FindSimilar(request, timeout=20)
    assert not found.products and found.applied.eligible_count == 0
    assert [each.currency_code for each in found.applied.other_currencies] == ["EUR", "USD"]
    with pytest.raises(grpc.RpcError) as error:
        named.grpc.search.ListProducts(
            search_pb2.ListProductsRequest(filter=search_pb2.Filter(price=search_pb2.PriceRange())), timeout=20
        )
    assert refusal(error.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "PRICE_INVALID")


def test_pages_go_on_under_a_filter_of_an_own_attribute(named: Shop) -> None:
    asked = {"attribute": "material:Cotton", "price": "..EUR", "page_size": 5}
    first = named.http.get("/v1/products", params=asked).json()
    second = named.http.get("/v1/products", params={**asked, "page_token": first["next_page_token"]}).json()
    assert not {each["id"] for each in first["products"]} & {each["id"] for each in second["products"]}
    other = {**asked, "attribute": "material:Wool", "page_token": first["next_page_token"]}
    problem(named.http.get("/v1/products", params=other), 400, "PAGE_TOKEN_INVALID")


def test_the_document_describes_the_parameters(named: Shop) -> None:
    document = named.http.get("/openapi.json").json()
    parameters = {each["name"]: each for each in document["paths"]["/v1/products"]["get"]["parameters"]}
    assert parameters["attribute"]["schema"]["type"] == "array"
    assert re.fullmatch(parameters["price"]["schema"]["pattern"], "10..49.99 EUR")
    assert re.fullmatch(parameters["attribute"]["schema"]["items"]["pattern"], "material:Cotton")
