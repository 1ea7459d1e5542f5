"""The shop's own attributes in a feed: their names, and their values as people and programs write them."""

import json
import math
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from offline.dataset.cells import EMPTY_WORDS, FLAG_OF_WORD, clean
from offline.feeds.values import decimal_of, key, plain_text
from services.contract.attributes import (
    MAX_ATTRIBUTE_LABELS,
    MAX_ATTRIBUTE_NAME_CHARACTERS,
    MAX_ATTRIBUTES,
    MAX_LABEL_CHARACTERS,
    OWN_PREFIX,
    is_attribute_name,
)
from services.contract.own_attributes import AttributeValue, Flag, OwnAttributes

# The column, or the object of JSON, that holds all of them, as `fashion export catalogue` writes it.
WHOLE: Final = "attributes"
# Attributes that come in without a mapping: names of their columns, whatever the case, accents and marks.
KNOWN_COLUMNS: Final = MappingProxyType(
    {
        WHOLE: (WHOLE,),
        f"{OWN_PREFIX}material": ("material", "materials", "fabric", "stoff", "matière", "materiale", "materiaal"),
        f"{OWN_PREFIX}size": ("size", "größe", "taille", "talla", "taglia", "maat"),
        f"{OWN_PREFIX}pattern": ("pattern", "muster", "motif", "patrón", "fantasia", "patroon"),
        f"{OWN_PREFIX}age_group": ("age_group", "google shopping / age group", "altersgruppe"),
        f"{OWN_PREFIX}size_type": ("size_type",),
        f"{OWN_PREFIX}size_system": ("size_system",),
    }
)
_FLAG_OF_WORD: Final = MappingProxyType(
    {
        **FLAG_OF_WORD,
        **dict.fromkeys(("y", "on", "ja", "oui", "si", "wahr", "vrai", "x"), True),
        **dict.fromkeys(("n", "off", "nein", "non", "nee", "falsch", "faux"), False),
    }
)


class AttributeKind(StrEnum):
    """What the cells of an own attribute are, as a mapping names it."""

    LABELS = "labels"
    NUMBER = "number"
    FLAG = "yes or no"


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """How the cells of an own attribute are read.

    Attributes:
        kind: what they are.
        separator: what stands between the labels of a cell; empty for a cell that is one label; None for ";" and "|",
            and "/" too between materials.
    """

    kind: AttributeKind = AttributeKind.LABELS
    separator: str | None = None


def attribute_name(text: str) -> str:
    """Returns the name that an attribute can have: "shoe_width" for "Shoe width"; empty where nothing is left."""
    plain = unicodedata.normalize("NFKC", text).lower().removeprefix("pa_")
    name = "".join(each if f"a{each}".isidentifier() else "_" for each in plain)
    name = re.sub(r"_+", "_", name).strip("_")[:MAX_ATTRIBUTE_NAME_CHARACTERS].rstrip("_")
    if name and not is_attribute_name(name):
        # Such as a digit at the beginning.
        name = f"no_{name}"[:MAX_ATTRIBUTE_NAME_CHARACTERS]
    return name if is_attribute_name(name or "_") else ""


def read_attributes(
    values: Mapping[str, Sequence[str]], rules: Mapping[str, AttributeRule], repairs: list[str]
) -> OwnAttributes:
    """Reads the own attributes of a row.

    Args:
        values: its cells by field: "attributes.NAME" for an own attribute, "attributes" for all of them in one.
        rules: how the cells of an attribute are read, by its name.
        repairs: takes what was left out.

    Returns:
        Within the limits of a product.
    """
    attributes: dict[str, AttributeValue] = {}
    for field, cells in values.items():
        if field == WHOLE:
            attributes |= _whole(cells[0], repairs)
    for field, cells in values.items():
        if field.startswith(OWN_PREFIX):
            name = field.removeprefix(OWN_PREFIX)
            value = _value(name, cells, rules.get(name, AttributeRule()), repairs)
            if value is not None:
                attributes[name] = value
    if len(attributes) > MAX_ATTRIBUTES:
        repairs.append(f"{len(attributes)} own attributes, more than {MAX_ATTRIBUTES}: the last ones are left out")
        attributes = dict(list(attributes.items())[:MAX_ATTRIBUTES])
    return dict(sorted(attributes.items()))


def _whole(cell: str, repairs: list[str]) -> dict[str, AttributeValue]:
    """Reads a JSON object: texts and lists of them are labels, numbers and booleans what they are."""
    try:
        document = json.loads(cell)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        repairs.append(f"attributes {cell[:64]!r} are no JSON object: left out")
        return {}
    attributes: dict[str, AttributeValue] = {}
    for own, content in document.items():
        name = attribute_name(own)
        value = _of_json(name, content, repairs) if name else None
        if value is not None:
            attributes[name] = value
        elif content not in (None, "", []):
            repairs.append(f"attribute {own[:64]!r} has no value that can be read: left out")
    return attributes


def _of_json(name: str, content: Any, repairs: list[str]) -> AttributeValue | None:
    match content:
        case bool():
            return Flag(content)
        case int() | float() if abs(content) <= sys.float_info.max:
            return float(content)
        case str():
            return _labels(name, [content], repairs)
        case list() if all(isinstance(each, str) for each in content):
            return _labels(name, content, repairs)
    return None


def _value(name: str, cells: Sequence[str], rule: AttributeRule, repairs: list[str]) -> AttributeValue | None:
    match rule.kind:
        case AttributeKind.LABELS:
            return _labels(name, [part for cell in cells for part in _parts(name, cell, rule.separator)], repairs)
        case AttributeKind.NUMBER:
            number = decimal_of(cells[0])
            if number is not None and math.isfinite(float(number)):
                return float(number) + 0.0
        case AttributeKind.FLAG:
            flag = _FLAG_OF_WORD.get(key(cells[0]))
            if flag is not None:
                return Flag(flag)
    repairs.append(f"{name} {cells[0][:64]!r} is no {rule.kind}: left out")
    return None


def _parts(name: str, cell: str, separator: str | None) -> Iterator[str]:
    if separator is None:
        yield from re.split(r"[;|/]" if name == "material" else r"[;|]", plain_text(cell))
    else:
        yield from plain_text(cell).split(separator) if separator else (plain_text(cell),)


def _labels(name: str, texts: Sequence[str], repairs: list[str]) -> tuple[str, ...] | None:
    labels: dict[str, None] = {}
    for text in texts:
        label = clean(plain_text(text), name, repairs)
        if label in EMPTY_WORDS:
            continue
        if len(label) > MAX_LABEL_CHARACTERS:
            repairs.append(f"{name} has {len(label):,} characters, more than {MAX_LABEL_CHARACTERS}: left out")
            continue
        labels[label] = None
    if len(labels) > MAX_ATTRIBUTE_LABELS:
        repairs.append(f"{name} has {len(labels)} labels, more than {MAX_ATTRIBUTE_LABELS}: the last ones are left out")
    return tuple(labels)[:MAX_ATTRIBUTE_LABELS] or None
