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
# What joins several categories in one: "Bags & Clutches", "Kleider und Röcke".
_JOINT: Final = re.compile(r"\s*[&+,;]\s*|\s+(?:and|und|et|y|e|en)\s+", re.IGNORECASE)
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
class _Found:
    """What a category path means.

    Attributes:
        category: the category, unless a name says more.
        wide: broad categories, whose master category a name has to keep.
        choices: categories that the path joins, among which a name chooses.
    """

    category: Category
    wide: Sequence[Category] = ()
    choices: Sequence[Category] = ()

    @property
    def is_broad(self) -> bool:
        """Whether a name may say more."""
        return bool(self.wide or self.choices)

    def allows(self, named: Category) -> bool:
        """Tells whether a category that a name means is one of the path."""
        return named in self.choices or any(named.master_category == each.master_category for each in self.wide)


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
    broad: _Found | None = None
    for path in paths:
        found = _in_path(path)
        if found is not None and not found.is_broad:
            return found.category
        broad = broad or found
    # "Sneakers with belt" are no belt.
    by_name = _in_words(without_genders(_WITH.split(name, maxsplit=1)[0]), last=True)
    if broad is not None:
        return by_name if by_name is not None and broad.allows(by_name) else broad.category
    for path in paths:
        own = [part for part in segments(path) if key(part) not in _EMPTY_SEGMENTS and not part.isdigit()]
        own = [part for part in own if without_genders(part)]
        if own:
            return _own_words(own)
    return by_name


def _own_words(parts: Sequence[str]) -> Category:
    plain = [part[:128].strip() for part in parts]
    return Category(plain[0] if len(plain) > 2 else None, plain[-2] if len(plain) > 1 else plain[-1], plain[-1], False)


def _in_path(path: str) -> _Found | None:
    """Returns what the last part of a path with a known word means; None where no part has one."""
    if path.strip().isdigit():
        category = _table().google.get(path.strip())
        return None if category is None else _Found(category, wide=(category,))
    for part in reversed(segments(path)):
        if key(part) in _EMPTY_SEGMENTS:
            continue
        own = without_genders(part)
        if (category := _in_words(own)) is not None:
            wide, choices = _joined(part)
            if _is_broad(own):
                wide.append(category)
            return _Found(category, wide, choices)
    return None


def _joined(part: str) -> tuple[list[Category], list[Category]]:
    """Returns the categories that a part of a path joins, broad ones and others; none where they are all one."""
    wide: list[Category] = []
    choices: list[Category] = []
    parts = _JOINT.split(part)
    for own in map(without_genders, parts if len(parts) > 1 else ()):
        if (category := _in_words(own)) is not None:
            (wide if _is_broad(own) else choices).append(category)
    return (wide, choices) if wide or len(set(choices)) > 1 else ([], [])


def _is_broad(own: Sequence[str]) -> bool:
    return _stem(" ".join(own)) in _table().broad


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
