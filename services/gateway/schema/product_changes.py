"""Reads the bodies of `PATCH /v1/products/{id}` and `POST /v1/products:batchUpdate`: JSON merge patches (RFC 7396)."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool, create_model
from starlette.requests import Request

from services.contract.attributes import STORED, YEARS, Kind
from services.gateway.schema.answers import Product
from services.gateway.schema.parameters import CURRENCY_PATTERN
from services.gateway.schema.problems import UnsupportedMediaType, validated
from services.gateway.schema.similar_body import json_object, malformed, media_type, within

MERGE_PATCH: Final = "application/merge-patch+json"
MAX_CHANGES: Final = 500
_MAX_BYTES: Final = 4 * 1024 * 1024
_MAX_UNITS: Final = 2**63 - 1


class PriceChange(BaseModel):
    """An amount of money."""

    model_config = ConfigDict(extra="forbid")

    amount: Decimal = Field(
        description="A decimal number, as text or number.", examples=["19.99"], ge=0, le=_MAX_UNITS, decimal_places=9
    )
    currency: str = Field(description="ISO 4217.", examples=["EUR"], pattern=CURRENCY_PATTERN)


# Those that differ from what is answered: null forgets one of the own attributes, and 0 is no false.
_BY_KIND: Final[Mapping[Kind, Any]] = {
    Kind.PRICE: PriceChange,
    Kind.YEAR: Annotated[int, Field(ge=YEARS.start, lt=YEARS.stop, strict=True)],
    Kind.FLAG: StrictBool,
    Kind.OWN: dict[str, StrictBool | float | str | list[str] | None],
}
_FIELDS: Final[dict[str, Any]] = {
    each.name: (
        _BY_KIND.get(each.kind, Product.model_fields[each.name].annotation) | None,
        Field(default=None, description=f"{each.description}."),
    )
    for each in STORED
}
ProductChange: Final = create_model(
    "ProductChange",
    __config__=ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"price": {"amount": "19.99", "currency": "EUR"}, "in_stock": True}]},
    ),
    __doc__="The fields of a product that change. Null forgets a field; what is absent stays.",
    **_FIELDS,
)
NamedChange: Final = create_model(
    "NamedChange",
    __base__=ProductChange,
    __doc__="A product, and its fields that change.",
    id=(str, Field(description="The shop's own identifier.", examples=["10014"])),
)
BatchUpdate: Final = create_model(
    "BatchUpdate",
    __config__=ConfigDict(extra="forbid"),
    __doc__="Changes of several products, in the order in which they count.",
    updates=(list[NamedChange], Field(min_length=1, max_length=MAX_CHANGES)),  # type: ignore[valid-type]
)


async def product_change(request: Request, timeout_s: float) -> Any:
    """Reads a change of one product: a `ProductChange`.

    Raises:
        InvalidInput: REQUEST_INVALID, BODY_MALFORMED.
        PayloadTooLarge: BODY_TOO_LARGE.
        UnsupportedMediaType: BODY_TYPE_UNSUPPORTED.
        RequestTimeout: UPLOAD_TIMEOUT.
    """
    return validated(ProductChange, await _body(request, timeout_s, MERGE_PATCH))


async def batch_update(request: Request, timeout_s: float) -> Any:
    """Reads changes of several products, a `BatchUpdate`; raises as `product_change` does."""
    return validated(BatchUpdate, await _body(request, timeout_s))


async def _body(request: Request, timeout_s: float, *others: str) -> Mapping[str, Any]:
    # A page of another site can send no other type than a form's without asking first.
    types = ("application/json", *others)
    if media_type(request) not in types:
        raise UnsupportedMediaType(f"Send {' or '.join(types)}.", reason="BODY_TYPE_UNSUPPORTED")
    async with within(timeout_s):
        fields = json_object(await request.body(), _MAX_BYTES)
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise malformed("it holds half of a surrogate pair, which is no text") from None
    return fields


def change_bodies(model: type[BaseModel], *others: str) -> dict[str, Any]:
    """Describes the body of an operation that changes products."""
    schema = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return {
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(("application/json", *others), schema),
        }
    }
