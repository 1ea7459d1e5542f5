"""The draft of a mapping: the columns and words of a feed, counted, and what each becomes; it runs as it is."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from offline.dataset.amounts import price_of
from offline.feeds import values
from offline.feeds.attributes import attribute_name
from offline.feeds.categories import category_of
from offline.feeds.feed import Feed
from offline.feeds.layouts import is_option
from services.contract.attributes import OWN_PREFIX
from services.search.filters.colours import without_family

_MAX_WORDS = 500
_MAX_EXAMPLE = 40
_HEADINGS = {
    "genders": "Words -> gender: Men, Women, Boys, Girls or Unisex.",
    "colours": "Words -> colours; dislikes and facets go by families such as Blue, Grey and Multi.",
    "categories": "Category paths -> [master category, subCategory, article type]; the first may be left out.",
    "availability": "Words -> whether a product can be bought now.",
}


def draft(feed: Feed) -> str:
    """Returns a mapping in TOML that says of a feed what is read without one.

    A line that begins with "#" changes nothing: what is not understood, or what other columns tell better.
    """
    filled = _Filled(feed)
    lines = [
        f"# {_comment(feed.path.name)}: {feed.summary}",
        f"# Use it with: fashion ingest {_comment(feed.path.name)} --mapping FILE",
        f"format = {_text(feed.layout.name)}",
        "",
        *_columns(feed, filled),
        "",
        *_attributes(feed, filled),
        "",
        *_constants(feed),
    ]
    for table, entries in (
        ("genders", _genders(feed)),
        ("colours", _colours(feed)),
        ("categories", _categories(feed)),
        ("availability", _availability(feed)),
    ):
        # Words that differ in control characters alone are spelt alike, and TOML takes each once.
        once = {entry.partition('" = ')[0]: entry for entry in entries}
        lines += ["", f"# {_HEADINGS[table]}", f"[{table}]", *once.values()]
    return "\n".join(lines) + "\n"


class _Filled:
    """How many rows have a value of each field, and the first such value.

    Attributes:
        names: the fields, in the order of their first values.
    """

    def __init__(self, feed: Feed) -> None:
        self._rows = len(feed.items)
        self.names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        for item in feed.items:
            for name in item.values:
                self.names.setdefault(name, "")
                if value := item.first(name):
                    self._counts[name] += 1
                    self.names[name] = self.names[name] or value

    def has(self, name: str) -> bool:
        """Tells whether any row has a value of a field."""
        return self._counts[name] > 0

    def comment(self, name: str) -> str:
        """Says how many rows have a value of a field, and gives an example."""
        example = f", such as {_text(_shortened(self.names[name]))}" if self.has(name) else ""
        return f"# {self._counts[name]:,} of {self._rows:,} rows{_comment(example)}"


def _columns(feed: Feed, filled: _Filled) -> Iterator[str]:
    yield "# Field -> columns of the source: of several, the first that has a value."
    yield '# "{column}" makes a template, as in'
    yield '# url = "https://shop.example/products/{Handle}"'
    yield "[columns]"
    for name in feed.layout.aliases:
        columns = feed.columns.of.get(name)
        if columns is not None and not name.startswith(OWN_PREFIX):
            yield f"{name} = [{', '.join(map(_text, columns))}]  {filled.comment(name)}"
    lacking = [
        name for name in ("gender", "colour", "brand", "price", "image", "category") if name not in feed.columns.of
    ]
    for name in lacking:
        if not filled.has(name):
            yield f'# {name} = ["…"]  # no column is known to hold it'


def _attributes(feed: Feed, filled: _Filled) -> Iterator[str]:
    yield "# The shop's own attributes -> columns. Where it is no label, also the kind, as in"
    yield '# heel_mm = { column = "Heel", kind = "number" }         # or kind = "yes or no"'
    yield '# material = { column = "Fabric", separator = "," }'
    yield "[attributes]"
    names = [name for name in filled.names if name.startswith(OWN_PREFIX)]
    for name in names:
        own, columns = name.removeprefix(OWN_PREFIX), feed.columns.of.get(name)
        if columns is None:
            yield f"# {own}: read from the options of products  {filled.comment(name)}"
        else:
            yield f"{own} = [{', '.join(map(_text, columns))}]  {filled.comment(name)}"
    used = {column for columns in feed.columns.of.values() for column in columns}
    taken = {name.removeprefix(OWN_PREFIX) for name in names}
    for column in feed.header:
        name = attribute_name(column)
        if column.strip() and column not in used and name and not is_option(column):
            yield f"# {name if name not in taken else f'{name}_2'} = {_text(column)}"


def _constants(feed: Feed) -> Iterator[str]:
    yield "# Values for products that have none."
    yield "[constants]"
    prices = (item.first("price") for item in feed.items if item.first("price"))
    without = sum(price_of(each) is None and price_of(each, "EUR") is not None for each in prices)
    if without and "currency" not in feed.columns.of:
        yield f'# currency = "EUR"  # {without:,} prices name none, and are left out without one'
    yield '# gender = "Women"'
    yield '# age_group = "adult"'


def _counted(words: Iterable[str]) -> list[tuple[str, int]]:
    """Returns words with their number, the most frequent first; spellings that count as one together."""
    spelt: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for word in words:
        plain = " ".join(word.split())
        if values.key(plain):
            counts[spelt.setdefault(values.key(plain), plain)] += 1
    return counts.most_common(_MAX_WORDS)


def _entry(word: str, meaning: str | None, count: int, why: str = "", instead: str = "") -> str:
    if meaning is None:
        return f"# {_text(word)} = {instead}  # {count:,} rows: {why}"
    return f"{_text(word)} = {meaning}  # {count:,} {'row' if count == 1 else 'rows'}{why and ': ' + why}"


def _genders(feed: Feed) -> Iterator[str]:
    for word, count in _counted(item.first("gender") for item in feed.items):
        gender = values.gender_of_word(word)
        if gender is None and len(named := values.genders_in(word)) == 1:
            gender = named.pop()
        yield _entry(word, gender and _text(gender), count, "" if gender else "not understood", '"Women"')


def _colours(feed: Feed) -> Iterator[str]:
    for word, count in _counted(values.plain_text(item.first("colour")) for item in feed.items):
        colour = values.colour(word)
        if without_family([colour]):
            yield _entry(word, None, count, "of no family, kept as it is", '"Grey"')
        else:
            yield _entry(word, _text(colour), count)


def _categories(feed: Feed) -> Iterator[str]:
    paths = (path for item in feed.items for path in item.values.get("category", ()))
    counts = Counter(" ".join(values.plain_text(path).split()) for path in paths)
    names: Mapping[str, set[str]] = {path: set() for path in counts}
    for item in feed.items:
        for path in item.values.get("category", ()):
            category = category_of([path], values.plain_text(item.first("name")))
            if category is not None:
                names[" ".join(values.plain_text(path).split())].add(category.article_type)
    for path, count in counts.most_common(_MAX_WORDS):
        category = category_of([path])
        if category is None or names[path] - {category.article_type}:
            shown = sorted(names[path])
            why = f"names say more: {_comment(', '.join(shown[:5]))}" if shown else "says no article type"
            yield _entry(path, None, count, why, '["Apparel", "Topwear", "Tshirts"]')
            continue
        parts = [part for part in (category.master_category, category.sub_category, category.article_type) if part]
        why = "" if category.known else "the shop's own words, which the model was not trained on"
        yield _entry(path, f"[{', '.join(map(_text, parts))}]", count, why)


def _availability(feed: Feed) -> Iterator[str]:
    said = feed.items if "availability" in feed.columns.of else ()
    for word, count in _counted(item.first("availability") for item in said):
        known = values.in_stock(word)
        if known is None and values.has_stock(word) is not None:
            continue
        yield _entry(
            word, None if known is None else str(known).lower(), count, "not understood" * (known is None), "true"
        )


def _text(text: str) -> str:
    """Returns a string of TOML; JSON's are but for the character Delete."""
    return json.dumps(re.sub(r"[\x00-\x1f\x7f]", " ", text), ensure_ascii=False)


def _comment(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", " ", text)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_EXAMPLE else f"{text[:_MAX_EXAMPLE]}…"
