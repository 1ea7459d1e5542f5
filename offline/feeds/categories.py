"""Which master category, subCategory and article type a shop's category path and a product's name mean."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

from offline.feeds.values import key, plain_text, without_genders, words

PATH_MARK: Final = re.compile(r"\s*(?:>|»|›|/|::|\|)\s*")
_WITH: Final = re.compile(r"\b(?:with|for|mit|für|avec|pour|con|para|met|voor)\b", re.IGNORECASE)
_MAX_WORDS: Final = 4
# Segments that say nothing of what a product is.
_EMPTY_SEGMENTS: Final = frozenset(
    key(each)
    for each in (
        "sale", "new", "new in", "new arrivals", "home", "shop", "all", "all products", "products", "uncategorized",
        "unkategorisiert", "non classé", "featured", "bestsellers", "outlet", "frontpage", "collections", "startseite",
        "fashion", "clothing", "apparel", "apparel & accessories", "accessories", "clothing accessories", "bekleidung",
        "mode", "kleidung", "vêtements", "ropa", "abbigliamento", "kleding", "luggage & bags", "accessoires",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Category:
    """What a product is, in the words of the catalogue.

    Attributes:
        master_category: such as "Apparel"; None where nothing says it.
        sub_category: such as "Topwear".
        article_type: such as "Tshirts".
        known: whether the words are the data set's, rather than the shop's own.
    """

    master_category: str | None
    sub_category: str
    article_type: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class _Words:
    by_word: Mapping[str, Category]
    broad: frozenset[str]
    google: Mapping[str, Category | None]


@cache
def _table() -> _Words:
    text = resources.files(__package__).joinpath("categories.toml").read_text(encoding="utf-8")
    document: dict[str, Any] = tomllib.loads(text)
    by_word: dict[str, Category] = {}
    types: dict[str, Category] = {}
    for master, subs in document["types"].items():
        for sub, articles in subs.items():
            for article, spelt in articles.items():
                types[article] = category = Category(master, sub, article)
                for each in (article, *spelt):
                    by_word.setdefault(_stem(each), category)
    # A type's own name is never another's word.
    by_word |= {_stem(article): category for article, category in types.items()}
    return _Words(
        by_word,
        frozenset(map(_stem, document["broad"]["words"])),
        {number: types.get(article) for number, article in document["google"].items()},
    )


@lru_cache(maxsize=16384)
def _stem(text: str) -> str:
    """Returns the words of a text joined, each without a plural's ending."""
    return "".join(_singular(word) for word in words(text) if word != "and")


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def segments(path: str) -> list[str]:
    """Returns the parts of a category path such as "Apparel > Tops > T-Shirts"."""
    return [part for part in PATH_MARK.split(plain_text(path)) if part]


def category_of(paths: Sequence[str], name: str = "") -> Category | None:
    """Returns what a product is by its category paths, the most telling first, and by its name.

    Where no word is known, the shop's own words count: the last part of the path is the article type, the one before it
    the subCategory.

    Args:
        paths: category paths, or numbers of Google's taxonomy.
        name: the product's name.

    Returns:
        The category; None where neither says what the product is.
    """
    broad: Category | None = None
    for path in paths:
        named, is_broad = _in_path(path)
        if named is not None and not is_broad:
            return named
        broad = broad or named
    # "Sneakers with belt" are no belt.
    by_name = _in_words(without_genders(_WITH.split(name, maxsplit=1)[0]), last=True)
    if broad is not None:
        return by_name if by_name is not None and by_name.master_category == broad.master_category else broad
    for path in paths:
        own = [part for part in segments(path) if key(part) not in _EMPTY_SEGMENTS and not part.isdigit()]
        own = [part for part in own if without_genders(part)]
        if own:
            return _own_words(own)
    return by_name


def _own_words(parts: Sequence[str]) -> Category:
    plain = [part[:128].strip() for part in parts]
    return Category(plain[0] if len(plain) > 2 else None, plain[-2] if len(plain) > 1 else plain[-1], plain[-1], False)


def _in_path(path: str) -> tuple[Category | None, bool]:
    """Returns the category that the last part of a path with a known word means, and whether it is broad."""
    table = _table()
    if path.strip().isdigit():
        return table.google.get(path.strip()), True
    for part in reversed(segments(path)):
        if key(part) in _EMPTY_SEGMENTS:
            continue
        own = without_genders(part)
        if (category := _in_words(own)) is not None:
            return category, _stem(" ".join(own)) in table.broad
    return None, False


def _in_words(own: Sequence[str], *, last: bool = False) -> Category | None:
    """Returns the category that some words name: the whole of them, else the longest part of them, of two the last."""
    by_word = _table().by_word
    if not last and (category := by_word.get(_stem(" ".join(own)))) is not None:
        return category
    return next((by_word[stem] for stem in _parts(own) if stem in by_word), None)


def _parts(own: Sequence[str]) -> Iterator[str]:
    for length in range(min(_MAX_WORDS, len(own)), 0, -1):
        for start in range(len(own) - length, -1, -1):
            yield _stem(" ".join(own[start : start + length]))
