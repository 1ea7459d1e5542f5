"""What stands in the table of attributes stands in the messages, the domain, storage and HTTP; nothing else does."""

import dataclasses
import sqlite3

import pytest

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import ATTRIBUTES, FACETED, FILTERED, STORED, Attribute, Kind
from services.contract.own_attributes import Flag
from services.contract.values import Gender
from services.gateway.conversion.answers import product_from_proto
from services.gateway.conversion.requests import filter_to_proto
from services.gateway.schema import answers
from services.gateway.schema.parameters import FilterParameters
from services.search.catalogue.database import PRODUCT_COLUMNS, product_of, product_values
from services.search.catalogue.products import Price, Product
from services.search.conversion import filters, products
from services.search.filters.filter import Filter, GenderFilter, LabelFilter

VALUES = {
    Kind.LABEL: "Blue",
    Kind.COLOUR: "Blue",
    Kind.GENDER: Gender.GIRLS,
    Kind.YEAR: 2012,
    Kind.TEXT: "Blue",
    Kind.URL: "https://shop.example/1",
    Kind.IDENTIFIER: "1",
    Kind.PRICE: Price("EUR", 19, 990_000_000),
    Kind.FLAG: False,
    Kind.OWN: {"heel_mm": 40.0, "material": ("Cotton", "Elastane"), "organic": Flag.NO, "vegan": Flag.YES, "year": 1.0},
}
CONDITIONS = {
    Kind.LABEL: search_pb2.LabelFilter.DESCRIPTOR,
    Kind.COLOUR: search_pb2.ColourFilter.DESCRIPTOR,
    Kind.GENDER: search_pb2.GenderFilter.DESCRIPTOR,
    Kind.YEAR: search_pb2.YearRange.DESCRIPTOR,
    Kind.PRICE: search_pb2.PriceRange.DESCRIPTOR,
    Kind.OWN: search_pb2.Filter.DESCRIPTOR.nested_types_by_name["AttributesEntry"],
}
PARAMETERS = {
    Kind.COLOUR: ("base_colour", "excluded_colour", "colour_by_family"),
    Kind.YEAR: ("year_first", "year_last"),
    Kind.OWN: ("attribute", "excluded_attribute"),
}
FULL = Product(id="1", **{each.name: VALUES[each.kind] for each in STORED})
BARE = Product(id="1", **{each.name: VALUES[each.kind] for each in STORED if each.required})


def test_a_product_has_the_attributes_of_the_table() -> None:
    stored, everywhere = {"id", *(each.name for each in STORED)}, {"id", *(each.name for each in ATTRIBUTES)}
    of_photographs = {"photograph_absent", "photograph_count"}
    assert {field.name for field in dataclasses.fields(Product)} == {*stored, *of_photographs}
    assert {field.name for field in types_pb2.Product.DESCRIPTOR.fields} == {*everywhere, *of_photographs}
    assert answers.Product.model_fields.keys() == {*everywhere, "image", "images"}
    required = {
        field.name
        for field in dataclasses.fields(Product)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    assert required == {"id", *(each.name for each in STORED if each.required)}


def test_a_filter_has_a_condition_of_the_right_kind_for_each() -> None:
    fields = {field.name: field.message_type for field in search_pb2.Filter.DESCRIPTOR.fields}
    assert fields == {**{each.name: CONDITIONS[each.kind] for each in FILTERED}, "words": None}
    parameters = {name for each in FILTERED for name in PARAMETERS.get(each.kind, (each.name,))}
    assert FilterParameters.model_fields.keys() == {*parameters, "words"}


def test_facets_come_in_the_order_in_which_the_enumeration_declares_them() -> None:
    declared = [value.name for value in search_pb2.Attribute.DESCRIPTOR.values]
    assert declared == ["ATTRIBUTE_UNSPECIFIED", *(f"ATTRIBUTE_{each.name.upper()}" for each in FACETED)]


@pytest.mark.parametrize("product", [FULL, BARE], ids=["full", "bare"])
def test_a_product_survives_messages_and_storage(product: Product) -> None:
    assert products.product_from_proto(products.product_to_proto(product)) == product
    columns = ", ".join(f"? AS {name}" for name in PRODUCT_COLUMNS)
    with sqlite3.connect(":memory:") as connection:
        row = connection.execute(f"SELECT {columns}", product_values(product)).fetchone()
    assert product_of(row) == product


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda each: each.name)
def test_json_tells_each_attribute(attribute: Attribute) -> None:
    full, bare = (product_from_proto(products.product_to_proto(each)).model_dump(mode="json") for each in (FULL, BARE))
    expected = getattr(FULL, attribute.name)
    match attribute.kind:
        case Kind.GENDER:
            expected = expected.value
        case Kind.PRICE:
            expected = {"amount": "19.99", "currency": "EUR"}
        case Kind.OWN:
            expected = {"heel_mm": 40, "material": ["Cotton", "Elastane"], "organic": False, "vegan": True, "year": 1}
            assert list(map(type, full[attribute.name].values())) == [float, list, bool, bool, float]
    assert full[attribute.name] == expected
    unknown = {} if attribute.kind is Kind.OWN else None
    of_bare = getattr(BARE, attribute.name) if attribute.required or not attribute.stored else unknown
    assert bare[attribute.name] == of_bare


@pytest.mark.parametrize(
    "attribute", [each for each in FILTERED if each.kind is Kind.LABEL], ids=lambda each: each.name
)
def test_a_parameter_becomes_the_condition_of_its_name(attribute: Attribute) -> None:
    parameters = FilterParameters(**{attribute.name: ["Blue", "Red"], "gender": [Gender.MEN]})
    message = filter_to_proto(parameters)
    assert message is not None
    condition = LabelFilter(any_of=("Blue", "Red"))
    expected = Filter(gender=GenderFilter(any_of=(Gender.MEN,)), **{attribute.name: condition})
    assert filters.filter_from_proto(message) == expected
