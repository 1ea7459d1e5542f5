"""The shop's own attributes of a product: their values, their limits, and how they are stored."""

import json
import math
import sys
import unicodedata
from collections.abc import Mapping
from enum import Enum
from typing import Final

from services.contract.attributes import (
    MAX_ATTRIBUTE_LABELS,
    MAX_ATTRIBUTE_NAME_CHARACTERS,
    MAX_ATTRIBUTES,
    MAX_LABEL_CHARACTERS,
    OWN_PREFIX,
    is_attribute_name,
)
from services.contract.errors import InvalidInput

# Control characters and lone surrogates: neither can be shown, and the latter cannot be stored as UTF-8.
FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cs"})


class Flag(Enum):
    """Yes or no; no bool, which would equal the numbers 1 and 0."""

    YES = True
    NO = False


AttributeValue = tuple[str, ...] | float | Flag
"""Labels in the shop's order, a number, or yes or no."""

OwnAttributes = Mapping[str, AttributeValue]
"""By name."""


def validate_attributes(attributes: OwnAttributes) -> OwnAttributes:
    """Returns own attributes by name in alphabetical order, within the limits of `fashion.v1.Product`.

    Raises:
        InvalidInput: ATTRIBUTE_INVALID, TOO_MANY_ATTRIBUTES; `field` in its metadata names the attribute.
    """
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidInput(
            f"The product has {len(attributes)} own attributes; at most {MAX_ATTRIBUTES} fit.",
            reason="TOO_MANY_ATTRIBUTES",
            metadata={"field": "attributes", "max_attributes": str(MAX_ATTRIBUTES)},
        )
    return {sys.intern(name): _checked(name, value) for name, value in sorted(attributes.items())}


def plain_attributes(attributes: OwnAttributes) -> dict[str, list[str] | float | bool]:
    """Returns own attributes as JSON has them, in alphabetical order."""
    return {name: _plain(value) for name, value in sorted(attributes.items())}


def _plain(value: AttributeValue) -> list[str] | float | bool:
    match value:
        case Flag():
            return bool(value.value)
        case float():
            return value
        case _:
            return list(value)


def attributes_text(attributes: OwnAttributes) -> str:
    """Returns own attributes as one line of JSON, the same for the same attributes."""
    return json.dumps(plain_attributes(attributes), ensure_ascii=False, separators=(",", ":"))


def attributes_of(text: str) -> OwnAttributes:
    """Reads what `attributes_text` wrote.

    Raises:
        ValueError: it is something else.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"{text[:64]!r} is no JSON object")
    return {sys.intern(name): _value_of(value) for name, value in document.items()}


def _value_of(value: object) -> AttributeValue:
    match value:
        case bool():
            return Flag(value)
        case int() | float():
            try:
                return float(value)
            except OverflowError as error:
                raise ValueError("a number of an own attribute is too large") from error
        case list() if all(isinstance(each, str) for each in value):
            return tuple(map(sys.intern, value))
        case _:
            raise ValueError(f"{str(value)[:64]!r} is no value of an own attribute")


def _checked(name: str, value: AttributeValue) -> AttributeValue:
    field = f"{OWN_PREFIX}{name[:MAX_ATTRIBUTE_NAME_CHARACTERS]}"
    if not is_attribute_name(name):
        raise _invalid(
            field,
            f'"{name[:MAX_ATTRIBUTE_NAME_CHARACTERS]}" cannot name an attribute: use a letter, then letters, digits '
            f"and _, in lower case, at most {MAX_ATTRIBUTE_NAME_CHARACTERS}.",
        )
    match value:
        case Flag():
            return value
        case float():
            if not math.isfinite(value):
                raise _invalid(field, f"{field} is no finite number: leave it absent if it is unknown.")
            # Without the sign of -0.0, which no filter can tell from 0.
            return value + 0.0
        case _:
            return _checked_labels(field, value)


def _checked_labels(field: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    if not labels:
        raise _invalid(field, f"{field} has no value: leave it absent if it is unknown.")
    if len(labels) > MAX_ATTRIBUTE_LABELS:
        raise _invalid(field, f"{field} has {len(labels)} labels; at most {MAX_ATTRIBUTE_LABELS} fit.")
    if len({*labels}) < len(labels):
        raise _invalid(field, f"{field} has a label twice: send each once.")
    for label in labels:
        if not label.strip():
            raise _invalid(field, f"{field} has an empty label: leave it out.")
        if len(label) > MAX_LABEL_CHARACTERS:
            raise _invalid(
                field, f"{field} has a label of {len(label)} characters; at most {MAX_LABEL_CHARACTERS} fit."
            )
        if any(unicodedata.category(character) in FORBIDDEN_CATEGORIES for character in label):
            raise _invalid(field, f"{field} holds a control character: remove it.")
    return tuple(map(sys.intern, labels))


def _invalid(field: str, message: str) -> InvalidInput:
    return InvalidInput(message, reason="ATTRIBUTE_INVALID", metadata={"field": field})
