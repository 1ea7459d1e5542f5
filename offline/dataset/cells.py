"""The cells of a table: texts without what tools leave in them, genders, years, prices, flags and own attributes."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from offline.dataset.report import DroppedError
from services.contract.attributes import MAX_LABEL_CHARACTERS
from services.contract.errors import InvalidInput
from services.contract.own_attributes import OwnAttributes, attributes_of, attributes_text, validate_attributes
from services.search.catalogue.products import Price

GENDERS: Final = ("Men", "Women", "Boys", "Girls", "Unisex")
EMPTY_WORDS: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null"})
# Answers in lower case, as every table may have them.
FLAG_OF_WORD: Final[Mapping[str, bool]] = {
    "yes": True,
    "true": True,
    "1": True,
    "no": False,
    "false": False,
    "0": False,
}
_YEARS = range(1900, 2201)
# Words for a gender in lower-case letters alone ("Women's", "male"), as every table may have them.
GENDER_OF_WORD: Final[Mapping[str, str]] = {
    word: gender
    for gender, words in {
        "Men": "men man mens mans male males m",
        "Women": "women woman womens womans female females f w ladies",
        "Boys": "boys boy",
        "Girls": "girls girl",
        "Unisex": "unisex",
    }.items()
    for word in words.split()
}
_LINE_BREAKS: Final = re.compile(r"[\r\n]+")
# Control characters, and Unicode's separators of lines and paragraphs, which are white space in a cell. Halves of
# characters too, which JSON can spell and no text can hold.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Invisible characters that tools leave at the ends of cells.
_INVISIBLE: Final = "\ufeff\u200b\u2060"


def price_text(price: Price) -> str:
    """Returns the cell of a price, such as "19.99 EUR": at least two decimals, no digit lost."""
    decimals = f"{price.nanos:09d}".rstrip("0").ljust(2, "0")
    # Three would be read as thousands.
    decimals = decimals.ljust(4, "0") if len(decimals) == 3 else decimals
    return f"{price.units}.{decimals} {price.currency_code}"


def flag_of(cell: str) -> bool | None:
    """Returns the answer in a cell, such as "yes" or "FALSE"; None where it is none."""
    return FLAG_OF_WORD.get(cell.casefold())


def own_attributes_of(cell: str) -> OwnAttributes | None:
    """Returns the own attributes in a cell; None where it holds none, or one that no product can have."""
    try:
        return validate_attributes(attributes_of(cell))
    except (ValueError, InvalidInput, RecursionError):
        return None


def cell_of(value: Price | OwnAttributes | bool | int | str | None) -> str:
    """Returns the cell of a value; empty for none."""
    match value:
        case None:
            return ""
        case Price():
            return price_text(value)
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return attributes_text(value)
        case _:
            return str(value)


def written_id(cell: str) -> str:
    """Returns the id in a cell, without white space and invisible characters around it; empty where there is none."""
    product_id = cell.strip().strip(_INVISIBLE).strip()
    if product_id in EMPTY_WORDS:
        return ""
    if _CONTROL.search(product_id) or len(product_id) > MAX_LABEL_CHARACTERS:
        shown = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", product_id)[:MAX_LABEL_CHARACTERS]
        detail = f"unusable id: more than {MAX_LABEL_CHARACTERS} characters, or a control character among them"
        raise DroppedError(shown, "unusable id", detail)
    return product_id


def clean(cell: str, column: str, repairs: list[str]) -> str:
    """Returns the text of a cell in one line, without control characters."""
    text = cell.strip().strip(_INVISIBLE).strip()
    if len(parts := _LINE_BREAKS.split(text)) > 1:
        text = _in_one_line(parts)
    if len(parts := _CONTROL.split(text)) > 1:
        repairs.append(f"control characters in {column}: spaces in their place")
        text = _in_one_line(parts)
    return text


def _in_one_line(parts: Iterable[str]) -> str:
    return " ".join(part.strip() for part in parts if part.strip())


def year_of(text: str | None, repairs: list[str]) -> int | None:
    """Returns a year; None, and a repair, where the text is none."""
    if text is None:
        return None
    digits = text.removesuffix(".0")  # pandas writes years as floats where some are empty
    if digits.isascii() and digits.isdigit() and len(digits) == 4 and int(digits) in _YEARS:
        return int(digits)
    shown = text if len(text) <= MAX_LABEL_CHARACTERS else f"{text[:MAX_LABEL_CHARACTERS]}…"
    repairs.append(f"unreadable year {shown!r}: left out")
    return None


def gender_of(text: str, repairs: list[str]) -> str | None:
    """Returns a gender, and a repair where it is spelled otherwise; None, and a repair, where the text is none."""
    if text in GENDERS:
        return text
    gender = GENDER_OF_WORD.get(re.sub(r"[^a-z]", "", text.casefold()))
    if gender is None:
        shown = text if len(text) <= MAX_LABEL_CHARACTERS else f"{text[:MAX_LABEL_CHARACTERS]}…"
        repairs.append(f"unknown gender {shown!r}: left out; known are {', '.join(GENDERS)}")
    else:
        repairs.append(f"gender {text!r}: read as {gender}")
    return gender
