"""Conversion of filters and orders."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import OWN_PREFIX
from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.products import Price
from services.search.filters.filter import (
    ColourFilter,
    Condition,
    Filter,
    FlagFilter,
    GenderFilter,
    LabelFilter,
    NumberRange,
    OwnCondition,
    PriceRange,
    Words,
    YearRange,
    unknown_value,
)
from services.search.filters.order import Order
from services.serving import conversion

_ORDERS: Final = MappingProxyType(
    {
        search_pb2.PRODUCT_ORDER_UNSPECIFIED: Order.ID,
        **{search_pb2.ProductOrder.Value(f"PRODUCT_ORDER_{order.name}"): order for order in Order},
    }
)


def filter_from_proto(message: search_pb2.Filter) -> Filter:
    """Unpacks a filter. `filters.evaluate` checks its labels.

    Raises:
        InvalidInput: FILTER_VALUE_UNKNOWN: a gender is not stated, or unknown; ATTRIBUTE_FILTER_INVALID: a
            condition on an own attribute is missing.
    """
    conditions: dict[str, Condition] = {}
    for field, part in message.ListFields():
        if field.name == "attributes":
            # In an order, so that equal filters are evaluated alike.
            for name in sorted(part):
                conditions[f"{OWN_PREFIX}{name}"] = _own_condition_from_proto(name, part[name])
        else:
            conditions[field.name] = _condition_from_proto(part)
    return Filter(**conditions)


def _condition_from_proto(
    part: search_pb2.LabelFilter
    | search_pb2.ColourFilter
    | search_pb2.GenderFilter
    | search_pb2.YearRange
    | search_pb2.PriceRange
    | str,
) -> Condition:
    match part:
        case search_pb2.LabelFilter():
            return LabelFilter(tuple(part.any_of), tuple(part.none_of))
        case search_pb2.ColourFilter():
            return ColourFilter(tuple(part.any_of), tuple(part.none_of), part.by_family)
        case search_pb2.GenderFilter():
            return GenderFilter(_genders(part.any_of), _genders(part.none_of))
        case search_pb2.YearRange():
            return YearRange(*((getattr(part, end) if part.HasField(end) else None) for end in ("first", "last")))
        case search_pb2.PriceRange():
            low, high = (
                Price(part.currency_code, bound.units, bound.nanos) if part.HasField(end) else None
                for end, bound in (("min", part.min), ("max", part.max))
            )
            return PriceRange(part.currency_code, low, high)
        case str():
            return Words(part)


def _own_condition_from_proto(name: str, message: search_pb2.AttributeFilter) -> OwnCondition:
    match message.WhichOneof("condition"):
        case "labels":
            return LabelFilter(tuple(message.labels.any_of), tuple(message.labels.none_of))
        case "number":
            part = message.number
            return NumberRange(*((getattr(part, end) if part.HasField(end) else None) for end in ("min", "max")))
        case "flag":
            return FlagFilter(message.flag)
        case _:
            # Or of a kind that a newer client knows: letting all products through would widen its answer in silence.
            raise InvalidInput(
                f'The condition on the attribute "{name}" is missing: send labels, number or flag.',
                reason="ATTRIBUTE_FILTER_INVALID",
                metadata={"field": "filter"},
            )


def order_from_proto(value: search_pb2.ProductOrder) -> Order:
    """Unpacks the order of a list.

    Raises:
        InvalidInput: ORDER_INVALID.
    """
    if value not in _ORDERS:
        raise InvalidInput(
            f"The order {value} is unknown: send a value of ProductOrder.",
            reason="ORDER_INVALID",
            metadata={"field": "order"},
        )
    return _ORDERS[value]


def _genders(values: Iterable[types_pb2.Gender]) -> tuple[Gender, ...]:
    genders: list[Gender] = []
    for value in values:
        gender = conversion.gender_from_proto(value)
        if gender is None:
            name = types_pb2.Gender.Name(value) if value in types_pb2.Gender.values() else str(value)
            raise unknown_value("gender", name, [types_pb2.Gender.Name(known) for known in _known_genders()])
        genders.append(gender)
    return tuple(genders)


def _known_genders() -> Iterable[types_pb2.Gender]:
    return (conversion.gender_to_proto(gender) for gender in Gender)
