"""Parameters of requests over HTTP as messages."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl

from google.protobuf.field_mask_pb2 import FieldMask

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import FILTERED, OWN_PREFIX, Kind
from services.contract.errors import InvalidInput
from services.contract.own_attributes import AttributeValue, Flag
from services.contract.values import Gender, Subject
from services.gateway.schema.parameters import (
    BOOST_PATTERN,
    Collapse,
    FilterParameters,
    Order,
    PhotographParameters,
    PreferencePolicy,
    Scope,
    SimilarParameters,
    list_fields,
)
from services.gateway.schema.problems import validated
from services.gateway.schema.product_changes import PriceChange
from services.serving import conversion
from services.serving.filter_texts import (
    attribute_filters,
    price_range,
)

SCOPES: Final = MappingProxyType(
    {
        Scope.PREDICTED_TYPE: search_pb2.SEARCH_SCOPE_PREDICTED_TYPE,
        Scope.INVENTORY: search_pb2.SEARCH_SCOPE_INVENTORY,
        Scope.DERIVED_TYPES: search_pb2.SEARCH_SCOPE_DERIVED_TYPES,
    }
)
_POLICIES: Final = MappingProxyType(
    {
        PreferencePolicy.BEST_EFFORT: search_pb2.PREFERENCE_POLICY_BEST_EFFORT,
        PreferencePolicy.REQUIRED: search_pb2.PREFERENCE_POLICY_REQUIRED,
    }
)
_COLLAPSES: Final = MappingProxyType(
    {collapse: getattr(search_pb2, f"COLLAPSE_{collapse.name}") for collapse in Collapse}
)
_ORDERS: Final[Mapping[Order, search_pb2.ProductOrder]] = MappingProxyType(
    {order: getattr(search_pb2, f"PRODUCT_ORDER_{order.name}") for order in Order}
)


def filter_to_proto(parameters: FilterParameters) -> search_pb2.Filter | None:
    """Packs a filter; None for one without conditions.

    Raises:
        InvalidInput: PRICE_RANGE_INVALID, ATTRIBUTE_FILTER_INVALID.
    """
    message = search_pb2.Filter()
    for attribute in FILTERED:
        match attribute.kind:
            case Kind.LABEL:
                if labels := getattr(parameters, attribute.name):
                    getattr(message, attribute.name).any_of.extend(labels)
            case Kind.GENDER:
                if parameters.gender:
                    message.gender.any_of.extend(map(conversion.gender_to_proto, parameters.gender))
            case Kind.COLOUR:
                if parameters.base_colour or parameters.excluded_colour:
                    message.base_colour.any_of.extend(parameters.base_colour)
                    message.base_colour.none_of.extend(parameters.excluded_colour)
                    message.base_colour.by_family = parameters.colour_by_family
            case Kind.YEAR:
                if parameters.year_first is not None:
                    message.year.first = parameters.year_first
                if parameters.year_last is not None:
                    message.year.last = parameters.year_last
            case Kind.PRICE:
                if parameters.price is not None:
                    message.price.CopyFrom(price_range(parameters.price))
            case Kind.OWN:
                filters = attribute_filters(parameters.attribute, parameters.excluded_attribute)
                for name, condition in filters.items():
                    message.attributes[name].CopyFrom(condition)
    message.words = parameters.words
    return message if message.ByteSize() else None


def boost_to_proto(text: str) -> search_pb2.Boost:
    """Packs a rule, such as "1.2 season=Summer": a factor, and filter parameters as in a query.

    Raises:
        InvalidInput: BOOST_INVALID, REQUEST_INVALID, PRICE_RANGE_INVALID, ATTRIBUTE_FILTER_INVALID.
    """
    if not re.fullmatch(BOOST_PATTERN, text):
        raise InvalidInput(
            f'The boost "{text[:64]}" is no rule: write a factor and a filter, such as "1.2 season=Summer".',
            reason="BOOST_INVALID",
            metadata={"field": "boost"},
        )
    factor, _, condition = text.partition(" ")
    values: dict[str, Any] = {}
    for name, value in parse_qsl(condition.strip(), keep_blank_values=True):
        values.setdefault(name, []).append(value)
    lists = list_fields(FilterParameters)
    parameters = {name: each if name in lists or len(each) > 1 else each[0] for name, each in values.items()}
    return search_pb2.Boost(
        condition=filter_to_proto(validated(FilterParameters, parameters)) or search_pb2.Filter(), factor=float(factor)
    )


def order_to_proto(order: Order) -> search_pb2.ProductOrder:
    """Packs the order of a list."""
    return _ORDERS[order]


def similar_request_to_proto(parameters: SimilarParameters, query: str | bytes) -> search_pb2.FindSimilarRequest:
    """Packs a request for products similar to a product (its id) or a photograph (its bytes).

    Raises:
        InvalidInput: REGION_INVALID.
    """
    scope = parameters.scope
    if scope is None and parameters.derived_type:
        scope = Scope.DERIVED_TYPES
    request = search_pb2.FindSimilarRequest(
        liked_product_ids=parameters.liked,
        disliked_product_ids=parameters.disliked,
        excluded_product_ids=parameters.excluded,
        user_id=parameters.user_id or "",
        filter=filter_to_proto(parameters),
        top_k=parameters.limit,
        scope=search_pb2.SEARCH_SCOPE_UNSPECIFIED if scope is None else SCOPES[scope],
        derived_types=parameters.derived_type,
        include_out_of_stock=parameters.include_out_of_stock,
        collapse=_COLLAPSES[parameters.collapse],
        preference_policy=_POLICIES[parameters.preference_policy],
        explain=parameters.explain,
        min_similarity=parameters.min_similarity,
        boosts=map(boost_to_proto, parameters.boost),
        diversity=parameters.diversity,
        widen=parameters.widen,
    )
    if isinstance(query, str):
        request.product_id = query
    else:
        chosen = parameters if isinstance(parameters, PhotographParameters) else PhotographParameters()
        request.image.CopyFrom(image_to_proto(query, chosen.region, chosen.subject))
    return request


def image_to_proto(content: bytes, region: str | None, subject: Subject = Subject.WHOLE) -> types_pb2.Image:
    """Packs a photograph, and the part of it that counts.

    Raises:
        InvalidInput: REGION_INVALID.
    """
    return types_pb2.Image(content=content, region=_box(region), subject=conversion.SUBJECTS_TO_PROTO[subject])


def _box(region: str | None) -> types_pb2.Box | None:
    if region is None:
        return None
    left, top, right, bottom = (float(share) for share in region.split(","))
    if left >= right or top >= bottom:
        raise InvalidInput(
            "The region should be left,top,right,bottom with left < right and top < bottom.",
            reason="REGION_INVALID",
            metadata={"field": "region"},
        )
    return types_pb2.Box(left=left, top=top, right=right, bottom=bottom)


def product_update_to_proto(product_id: str, change: Any) -> search_pb2.ProductUpdate:
    """Packs a `ProductChange`: the fields that it names, those that it forgets in the mask alone."""
    product = types_pb2.Product(id=product_id)
    paths: list[str] = []
    for name in sorted(change.model_fields_set - {"id"}):
        value = getattr(change, name)
        if name == "attributes" and value is not None:
            paths += [f"{OWN_PREFIX}{own}" for own in value]
            values = {own: _own_value(each) for own, each in value.items() if each is not None}
            for own, message in conversion.own_attributes_to_proto(values).items():
                product.attributes[own].CopyFrom(message)
            continue
        paths.append(name)
        match value:
            case None:
                pass
            case Gender():
                product.gender = conversion.gender_to_proto(value)
            case PriceChange():
                units = int(value.amount)
                nanos = int((value.amount - units) * 10**9)
                product.price.CopyFrom(types_pb2.Price(currency_code=value.currency, units=units, nanos=nanos))
            case _:
                setattr(product, name, value)
    return search_pb2.ProductUpdate(product=product, update_mask=FieldMask(paths=paths))


def _own_value(value: bool | float | str | list[str]) -> AttributeValue:
    match value:
        case bool():
            return Flag(value)
        case str():
            return (value,)
        case list():
            return tuple(value)
        case _:
            return float(value)
