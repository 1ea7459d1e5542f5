"""Documents of JSON in parts, so that a long one need not fit into memory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

_STEP: Final = "  "


def document_parts(value: Any, indent: str = "", *, only_ascii: bool = False) -> Iterator[str]:
    """Yields the text of a value as `json.dumps(value, ensure_ascii=False, indent=2)` writes it.

    Data classes become objects with their attributes as keys. A text that no encoding can hold is escaped.

    Args:
        value: a data class, a mapping, a sequence or a plain value.
        indent: white space before its lines.
        only_ascii: whether all other characters are escaped.
    """
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        ends, entries = "{}", ((f"{_plain(str(key), only_ascii)}: ", each) for key, each in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        ends, entries = "[]", (("", each) for each in value)
    else:
        yield _plain(value, only_ascii)
        return
    between = ends[0]
    for before, each in entries:
        yield f"{between}\n{indent}{_STEP}{before}"
        yield from document_parts(each, indent + _STEP, only_ascii=only_ascii)
        between = ","
    yield ends if between == ends[0] else f"\n{indent}{ends[1]}"


def _plain(value: Any, only_ascii: bool) -> str:
    text = json.dumps(value, ensure_ascii=only_ascii)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text
