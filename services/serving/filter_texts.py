"""Conditions on prices and own attributes as people write them: "10..49.99 EUR", "material:Cotton", "heel:40..80"."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import PRICE_PATTERN
from services.contract.errors import InvalidInput

_NUMBER: Final = r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?"
_RANGE: Final = re.compile(rf"({_NUMBER})?\.\.({_NUMBER})?")
_FLAGS: Final = {"true": True, "false": False}


def price_range(text: str) -> search_pb2.PriceRange:
    """Reads a range of prices, such as "10..49.99 EUR" or "..20 EUR", both ends inclusive.

    Raises:
        InvalidInput: PRICE_RANGE_INVALID.
    """
    match = re.fullmatch(PRICE_PATTERN, text)
    if match is None:
        raise InvalidInput(
            f'The price "{text[:64]}" is no range: write it as "10..49.99 EUR"; either end may be left out.',
            reason="PRICE_RANGE_INVALID",
            metadata={"field": "price"},
        )
    low, high, currency = match.groups()
    return search_pb2.PriceRange(currency_code=currency, min=_amount(low), max=_amount(high))


def attribute_filters(chosen: Iterable[str], excluded: Iterable[str]) -> dict[str, search_pb2.AttributeFilter]:
    """Reads conditions on own attributes.

    Args:
        chosen: what a product must have. "material:Cotton" is a label, of which several of one name mean any of these;
            "heel_mm:40..80" a range of numbers, either end of which may be left out; "organic:true" yes. What stands in
            double quotes is a label: 'fit:"true"'.
        excluded: labels that a product must not have, such as "material:Wool".

    Returns:
        By name.

    Raises:
        InvalidInput: ATTRIBUTE_FILTER_INVALID.
    """
    filters: dict[str, search_pb2.AttributeFilter] = {}
    for text in chosen:
        name, value = _parted(text)
        part = _condition(value)
        known = filters.setdefault(name, search_pb2.AttributeFilter())
        if not part.HasField("labels") and known.WhichOneof("condition") is not None:
            raise _invalid(f'The attribute "{name[:64]}" has several conditions: only labels may be several.')
        if part.HasField("labels") and known.WhichOneof("condition") not in {None, "labels"}:
            raise _invalid(f'The attribute "{name[:64]}" has conditions of several kinds: keep one.')
        known.MergeFrom(part)
    for text in excluded:
        name, value = _parted(text)
        known = filters.setdefault(name, search_pb2.AttributeFilter())
        if known.WhichOneof("condition") not in {None, "labels"}:
            raise _invalid(f'The attribute "{name[:64]}" has a condition and an excluded label: keep one.')
        known.labels.none_of.append(_label(value))
    return filters


def price_text(message: search_pb2.PriceRange | search_pb2.PriceFacetRange, currency_code: str) -> str:
    """Writes a range of prices so that `price_range` reads it."""
    low = amount_text(message.min) if message.HasField("min") else ""
    return f"{low}..{amount_text(message.max) if message.HasField('max') else ''} {currency_code}"


def amount_text(amount: types_pb2.Price | search_pb2.Amount) -> str:
    """Writes an amount: at least two decimals, as in most currencies, and up to nine if there are any."""
    return f"{amount.units}.{f'{amount.nanos:09}'.rstrip('0').ljust(2, '0')}"


def number_text(number: float) -> str:
    """Writes a number in decimals without an exponent, so that no digit is lost."""
    return format(Decimal(repr(number)), "f").removesuffix(".0")


def label_text(label: str) -> str:
    """Writes a label of an own attribute so that `attribute_filters` reads it as one."""
    misread = label in _FLAGS or _RANGE.fullmatch(label) or label != label.strip() or label != _label(label)
    return f'"{label}"' if misread else label


def attribute_texts(condition: search_pb2.AttributeFilter) -> list[str]:
    """Describes a condition on an own attribute for people, such as "Cotton or Wool", "40..80" and "not Linen"."""
    match condition.WhichOneof("condition"):
        case "number":
            return [number_range_text(condition.number)]
        case "flag":
            return ["yes" if condition.flag else "no"]
        case _:
            any_of, none_of = condition.labels.any_of, condition.labels.none_of
            texts = [" or ".join(any_of)] if any_of else []
            return [*texts, f"not {' nor '.join(none_of)}"] if none_of else texts


def number_range_text(message: search_pb2.NumberRange | search_pb2.NumberFacetRange) -> str:
    """Writes a range of numbers so that `attribute_filters` reads it."""
    low = number_text(message.min) if message.HasField("min") else ""
    return f"{low}..{number_text(message.max) if message.HasField('max') else ''}"


def _parted(text: str) -> tuple[str, str]:
    match = re.match(r"([^:=]+)[:=](.+)", text, re.DOTALL)
    if match is None:
        raise _invalid(
            f'The condition "{text[:64]}" names no attribute and value: write it as "material:Cotton", '
            '"heel_mm:40..80" or "organic:true".'
        )
    return match[1].strip(), match[2].strip()


def _condition(value: str) -> search_pb2.AttributeFilter:
    if (flag := _FLAGS.get(value)) is not None:
        return search_pb2.AttributeFilter(flag=flag)
    if match := _RANGE.fullmatch(value):
        low, high = (None if bound is None else float(bound) for bound in match.groups())
        return search_pb2.AttributeFilter(number=search_pb2.NumberRange(min=low, max=high))
    return search_pb2.AttributeFilter(labels=search_pb2.LabelFilter(any_of=[_label(value)]))


def _label(value: str) -> str:
    return value[1:-1] if len(value) > 2 and value[0] == value[-1] == '"' else value


def _amount(text: str | None) -> search_pb2.Amount | None:
    if text is None:
        return None
    units, _, decimals = text.partition(".")
    return search_pb2.Amount(units=int(units), nanos=int(decimals.ljust(9, "0")))


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, reason="ATTRIBUTE_FILTER_INVALID", metadata={"field": "attribute"})
