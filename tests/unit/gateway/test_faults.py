"""What is wrong with a parameter, in words that name neither Python nor pydantic."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from services.contract.errors import InvalidInput
from services.gateway.schema import faults
from services.gateway.schema.parameters import (
    AddedPhotographParameters,
    FilterParameters,
    ListParameters,
    PhotographParameters,
    SimilarBody,
)
from services.gateway.schema.problems import validated
from services.gateway.schema.product_changes import BatchUpdate, NamedChange

CURRENT = {"amount": "1", "currency": "EUR"}


@pytest.mark.parametrize(
    ("model", "values", "field", "words"),
    [
        (FilterParameters, {"price": "abc"}, "price", "write it like 10..49.99 EUR"),
        (FilterParameters, {"gender": ["Wo"]}, "gender", "it must be 'Men', 'Women', 'Boys', 'Girls' or 'Unisex'"),
        (FilterParameters, {"foo": "Summer"}, "foo", "nothing of this name is known here"),
        (FilterParameters, {"year_first": "x"}, "year_first", "it must be a whole number"),
        (FilterParameters, {"year_first": 1}, "year_first", "it must be at least 1900"),
        (FilterParameters, {"brand": ["A", ""]}, "brand", "it must not be empty"),
        (FilterParameters, {"words": "x" * 201}, "words", "it must have at most 200 characters"),
        (FilterParameters, {"attribute": ["bad"]}, "attribute", "write it like material:Cotton or heel_mm:..40"),
        (SimilarBody, {}, "product_id", "it is missing"),
        (SimilarBody, {"product_id": "1", "boost": ["x"]}, "boost", "write it like 1.2 season=Summer"),
        (
            NamedChange,
            {"id": "1", "price": "5 EUR"},
            "price",
            'it must be an object such as {"amount": "19.99", "currency": "EUR"}',
        ),
        (NamedChange, {"id": "1", "price": CURRENT | {"currency": "e"}}, "price.currency", "write it like EUR"),
        (NamedChange, {"id": "1", "price": CURRENT | {"amount": -1}}, "price.amount", "it must be at least 0"),
        (NamedChange, {"id": "1", "in_stock": "nein"}, "in_stock", "it must be true or false"),
        (
            NamedChange,
            {"id": "1", "attributes": {"heel": {}}},
            "attributes.heel",
            "it must be true or false, a number, a text or a list",
        ),
        (BatchUpdate, {"updates": [{"id": "1"}, {"id": 2}]}, "updates.1.id", "it must be a text"),
        (BatchUpdate, {"updates": []}, "updates", "it must have 1 or more values"),
        (NamedChange, [], "body", "it must be an object"),
    ],
)
def test_a_fault_is_told_in_plain_words(model: type[BaseModel], values: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        validated(model, values)
    assert refused.value.message == f'The parameter "{field}" is wrong: {words}.'
    assert refused.value.metadata["field"] == field


@pytest.mark.parametrize(
    "model", [AddedPhotographParameters, BatchUpdate, ListParameters, PhotographParameters, SimilarBody]
)
def test_each_form_of_a_text_has_an_example(model: type[BaseModel]) -> None:
    def patterns(schema: Any) -> set[str]:
        if isinstance(schema, dict):
            own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
            return own.union(*map(patterns, schema.values()))
        return set().union(*map(patterns, schema)) if isinstance(schema, list) else set()

    assert patterns(json.loads(json.dumps(model.model_json_schema()))) <= faults.EXAMPLES.keys()
