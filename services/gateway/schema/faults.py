"""What is wrong with a parameter, in plain words: pydantic's own name types of Python and regular expressions."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from services.contract.attributes import ATTRIBUTE_PATTERN, PRICE_PATTERN
from services.gateway.schema.parameters import BOOST_PATTERN, CURRENCY_PATTERN, PHOTOGRAPH_PATTERN, REGION_PATTERN

# What a value has to be, by kind of error. A value that may be one of several fails once for each.
_NOUNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
        **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
        **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
        **dict.fromkeys(("decimal_type", "decimal_parsing"), "a decimal number such as 19.99"),
        **dict.fromkeys(("string_type", "string_unicode", "string_sub_type"), "a text"),
        **dict.fromkeys(("list_type", "tuple_type"), "a list"),
        **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "an object"),
        **dict.fromkeys(("enum", "literal_error"), "{expected}"),
    }
)
_SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "missing": "it is missing",
        "extra_forbidden": "nothing of this name is known here",
        "string_too_short": "it must have at least {min_length} characters",
        "string_too_long": "it must have at most {max_length} characters",
        "too_short": "it must have {min_length} or more values",
        "too_long": "it must have at most {max_length} values",
        "greater_than_equal": "it must be at least {ge}",
        "greater_than": "it must be more than {gt}",
        "less_than_equal": "it must be at most {le}",
        "less_than": "it must be less than {lt}",
        "decimal_max_places": "it must have at most {decimal_places} decimals",
        "decimal_max_digits": "it must have at most {max_digits} digits",
        "decimal_whole_digits": "it must have at most {whole_digits} digits before the point",
    }
)
# What a text of a form looks like, by the regular expression of the form.
EXAMPLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ATTRIBUTE_PATTERN: "material:Cotton or heel_mm:..40",
        BOOST_PATTERN: "1.2 season=Summer",
        CURRENCY_PATTERN: "EUR",
        PRICE_PATTERN: "10..49.99 EUR",
        PHOTOGRAPH_PATTERN: "0, or the SHA-256 of its file",
        REGION_PATTERN: "0.1,0.2,0.9,0.8",
    }
)
# Objects of which people tend to write another form.
_OBJECTS: Final = MappingProxyType({"PriceChange": '{"amount": "19.99", "currency": "EUR"}'})
# The members of a union and the keys of a mapping, as pydantic names them within a path.
_INTERNAL: Final = frozenset({"str", "bool", "int", "float", "decimal", "none", "[key]"})
_INTERNAL_MARKS: Final = frozenset("-[(")


def fault_of(errors: Sequence[Any]) -> tuple[str, str]:
    """Returns what is wrong with the first invalid parameter.

    Args:
        errors: the errors of a validation, as pydantic lists them.

    Returns:
        The name of the parameter, such as "price" or "updates.3.year", or "body" for all of them; and what is wrong, as
        the end of a sentence.
    """
    path = _path(errors[0]["loc"])
    own = [each for each in errors if _path(each["loc"]) == path and each["type"] != "none_required"] or errors[:1]
    other = next((each for each in own if each["type"] not in _NOUNS), None)
    if other is not None:
        return path or "body", _sentence(other)
    nouns = dict.fromkeys(_NOUNS[each["type"]].format_map(each.get("ctx", {})) for each in own)
    example = _OBJECTS.get(own[0].get("ctx", {}).get("class_name", ""))
    *others, last = nouns
    one_of = f"{', '.join(others)} or {last}" if others else last
    return path or "body", f"it must be {one_of}" + (f" such as {example}" if example else "")


def _path(loc: Sequence[str | int]) -> str:
    """Returns the path to a value as callers know it; which value of a list is wrong does not count."""
    parts = [part for part in loc if part not in {"query", "path", "body"}]
    parts = [
        part
        for place, part in enumerate(parts)
        if place == 0 or isinstance(part, int) or not (part in _INTERNAL or _INTERNAL_MARKS.intersection(part))
    ]
    while parts and isinstance(parts[-1], int):
        parts.pop()
    return ".".join(map(str, parts))


def _sentence(error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch" and context.get("pattern") in EXAMPLES:
        return f"write it like {EXAMPLES[context['pattern']]}"
    if kind == "string_too_short" and context.get("min_length") == 1:
        return "it must not be empty"
    return _SENTENCES.get(kind, "it cannot be read").format_map(context)
