"""The values of feeds as people and programs write them: text in HTML, numbers, stock, dates, words."""

import html
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from html.parser import HTMLParser
from importlib import resources
from typing import Any, Final

from offline.dataset.amounts import NUMBER, plain_number
from offline.dataset.cells import GENDER_OF_WORD
from services.search.filters.colours import FAMILIES, normalise

_TAG: Final = re.compile(r"<[a-zA-Z/!][^<>]*>")
# Of a longer text with tags, the rest is left out: reading tags that never end takes time by the square of its length.
_MAX_HTML: Final = 1024
# How often a text may be escaped; beyond it, what looks like tags is left out.
_MAX_ESCAPES: Final = 8
# A number that is no character: Python refuses to read one of thousands of digits.
_LONG_REFERENCE: Final = re.compile(r"&#[xX]?[0-9a-fA-F]{9,};?")
_BLOCKS: Final = frozenset(
    {
        "address",
        "article",
        "br",
        "dd",
        "div",
        "dt",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "section",
    }
    | {"table", "td", "th", "tr", "ul"}
)
_UNSHOWN: Final = frozenset({"script", "style", "template", "head", "iframe", "noscript"})
# Marks of numbers begin no unit: of "7.5", ".5" is none.
_NUMBER_WITH_UNIT: Final = re.compile(rf"(?P<sign>-?)\s*(?P<number>{NUMBER.pattern})(?:\s*[^\d\s.,'’_].{{0,15}})?")
_COLOUR_PARTS: Final = re.compile(r"(\s*[/|,;+&]\s*)")


def key(text: str) -> str:
    """Returns what the spellings of a name have in common: letters and digits alone, without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(each for each in plain if each.isalnum())


def words(text: str) -> list[str]:
    """Returns the words of a text in lower case, without accents, "women's" as one word."""
    plain = unicodedata.normalize("NFKD", text.replace("'", "").replace("’", "")).casefold()
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    return re.findall(r"[^\W_]+", plain)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unshown = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._unshown += tag in _UNSHOWN
        if tag in _BLOCKS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._unshown = max(0, self._unshown - (tag in _UNSHOWN))
        if tag in _BLOCKS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._unshown:
            self.parts.append(data)


def plain_text(text: str) -> str:
    """Returns HTML as text in one line; text that is none keeps its "<" and "&"."""
    if _TAG.search(text):
        parser = _Text()
        text = _LONG_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", text[:_MAX_HTML])
        # Behind the last ">" there is no tag, whatever begins there.
        end = text.rfind(">") + 1
        parser.feed(text[:end])
        parser.close()
        text = "".join(parser.parts) + text[end:]
    for _ in range(_MAX_ESCAPES):
        # Feeds often escape twice: "&amp;amp;".
        text = _unescaped(_unescaped(text))
        if not _TAG.search(text):
            break
        text = _TAG.sub(" ", text)
    return " ".join(text.split())


def _unescaped(text: str) -> str:
    return html.unescape(_LONG_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", text)) if "&" in text else text


def decimal_of(text: str) -> Decimal | None:
    """Reads a number as people write it, with or without a unit behind it: "40", "1,5 cm", "-2.5".

    Of two different marks the last is the decimal one. One mark before exactly three digits parts thousands.

    Returns:
        The number without its unit; None for what is no number.
    """
    plain = plain_text(unicodedata.normalize("NFKC", text).replace("−", "-"))
    match = _NUMBER_WITH_UNIT.fullmatch(plain)
    if match is None:
        return None
    try:
        return Decimal(f"{match['sign']}{plain_number(match['number'], '')}")
    except InvalidOperation:
        return None


def is_current(interval: str, now: datetime | None = None) -> bool:
    """Tells whether a time lies in an interval such as "2026-01-01T00:00+0100/2026-02-01"; true where it is none.

    Args:
        interval: two times of ISO 8601, either of which may be empty; the second is no longer in it, but a day is.
        now: the time; the present without one.
    """
    now = now or datetime.now(UTC)
    start, end = (part.strip() for part in interval.partition("/")[::2])
    first, last = _time(start), _time(end)
    if last is not None and len(end) <= 10:
        last = last.replace(hour=23, minute=59, second=59)
    return (first is None or first <= now) and (last is None or now <= last)


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@cache
def known_words() -> Mapping[str, Any]:
    """Returns the words of `words.toml`."""
    return tomllib.loads(resources.files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))


@cache
def _by_word(table: str) -> Mapping[str, str]:
    return {key(word): meaning for meaning, spelt in known_words()[table].items() for word in (meaning, *spelt)}


@cache
def _genders() -> Mapping[str, str]:
    return {**GENDER_OF_WORD, **_by_word("genders")}


def in_stock(text: str, own: Mapping[str, bool] | None = None) -> bool | None:
    """Tells whether a word for availability means that the product can be bought now; None for an unknown word.

    Args:
        text: such as "in_stock", "preorder", "https://schema.org/OutOfStock", "auf Lager", "1", "TRUE".
        own: the shop's own words.
    """
    word = key(text.rsplit("/", 1)[-1] if "schema.org" in text else text)
    mine = {key(spelt): meaning for spelt, meaning in (own or {}).items()}
    if word in mine:
        return mine[word]
    known = _by_word("availability").get(word)
    return None if known is None else known == "yes"


def has_stock(text: str) -> bool | None:
    """Tells whether a number of pieces is more than none; None for what is no number."""
    try:
        return Decimal(text.strip().replace(",", ".")) > 0
    except InvalidOperation:
        return None


def gender_of_word(text: str) -> str | None:
    """Returns the gender that a value means as a whole, such as "female", "Herren" or "women's"; None for another."""
    return _genders().get(key(text))


def genders_in(text: str) -> set[str]:
    """Returns the genders that the words of a text name, single letters aside."""
    named = {gender for word in words(text) if len(word) > 1 and (gender := _genders().get(word))}
    # "Boys & men" names two; "unisex men" is for everybody.
    return {"Unisex"} if "Unisex" in named else named


def without_genders(text: str) -> list[str]:
    """Returns the words of a text that name no gender and no age."""
    return [word for word in words(text) if word not in _genders() and not is_for_children(word)]


def is_for_children(text: str) -> bool:
    """Tells whether an age group, or any word of a text, is a child's."""
    return not _children().isdisjoint(words(text))


@cache
def _children() -> frozenset[str]:
    return frozenset(known_words()["children"])


def colour(text: str, own: Mapping[str, str] | None = None) -> str:
    """Returns a colour as our table spells it, each part of several; what it does not know stays as it is.

    Args:
        text: such as "navy", "SCHWARZ" or "Navy / White".
        own: the shop's own words.
    """
    mine = {key(word): meaning for word, meaning in (own or {}).items()}
    if key(text) in mine:
        return mine[key(text)]
    if (whole := _colour_of(text)) is not None:
        return whole
    parts = _COLOUR_PARTS.split(text)
    return "".join(
        re.sub(r"\s", "", part) if place % 2 else mine.get(key(part)) or _colour_of(part) or part
        for place, part in enumerate(parts)
    )


def _colour_of(text: str) -> str | None:
    known = _colours().get(normalise(text))
    return known if known is not None else _by_word("colours").get(key(text))


@cache
def _colours() -> Mapping[str, str]:
    named = (name for family, members in FAMILIES.items() for name in (family, *members))
    # Of "Navy" and "Navy Blue", which are one, the longer one is the data set's.
    return {normalise(name): name for name in sorted(named, key=len)}


def url_list(text: str) -> Iterator[str]:
    """Yields the addresses or file names of a cell that may hold several."""
    text = text.strip()
    if text.startswith(("http://", "https://")):
        # A comma may stand within an address; one before another address parts them.
        # What is looked behind for keeps a long run of marks from being tried from each of them.
        yield from (each.strip(" ,;|") for each in re.split(r"(?<![\s,;|])[\s,;|]+(?=https?://)", text))
    else:
        yield from (each.strip() for each in re.split(r"[|;]|,\s*", text) if each.strip())
