"""Which colours belong together, and which ones a dislike covers.

A family is named by a colour, and that colour stands for all of its family: who dislikes "Blue" is shown no "Navy Blue"
either. The name of a member stands for that member alone: who dislikes "Navy Blue" may well want a sky-blue shirt.
"Multi" belongs to nobody: a dislike of yellow says nothing about a garment of many colours.

A shop's own colour, which the table does not know, belongs to the family that its first part names last ("Royal Blue",
"Blue/White"), since that is how shades are named; otherwise it is a family of its own. Dislikes are stricter: every
word counts, so that who dislikes white is shown no "Blue/White" either.
"""

import difflib
import functools
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.contract.errors import InvalidInput

# The one table. The base colours of the data set, and words that other shops use for the same; each colour stands once.
FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Beige": ("Champagne", "Khaki", "Nude", "Sand", "Skin"),
        "Black": ("Ebony", "Jet"),
        "Blue": (
            "Aqua",
            "Azure",
            "Cobalt",
            "Cyan",
            "Denim",
            "Indigo",
            "Navy",
            "Navy Blue",
            "Petrol",
            "Sapphire",
            "Teal",
            "Turquoise",
            "Turquoise Blue",
        ),
        "Brown": ("Camel", "Chocolate", "Coffee Brown", "Cognac", "Mocha", "Mushroom Brown", "Tan", "Taupe"),
        "Green": ("Emerald", "Fluorescent Green", "Jade", "Lime Green", "Mint", "Olive", "Sea Green"),
        "Grey": ("Anthracite", "Charcoal", "Graphite", "Grey Melange"),
        "Metallic": ("Bronze", "Copper", "Gold", "Rose Gold", "Silver", "Steel"),
        "Multi": ("Multicolour",),
        "Orange": ("Apricot", "Coral", "Peach", "Rust", "Tangerine"),
        "Pink": ("Fuchsia", "Magenta", "Rose", "Salmon"),
        "Purple": ("Aubergine", "Lavender", "Lilac", "Mauve", "Plum", "Violet"),
        "Red": ("Bordeaux", "Burgundy", "Crimson", "Maroon", "Scarlet", "Vermilion"),
        "White": ("Cream", "Ecru", "Ivory", "Off White"),
        "Yellow": ("Lemon", "Mustard"),
    }
)
# Number of near colours that an error names.
NEAREST_NAMED = 3

# Words, then whole names, that mean the same.
_SAME_WORDS = MappingProxyType(
    {"gray": "grey", "multicolor": "multi", "multicolored": "multi", "multicolour": "multi", "multicoloured": "multi"}
)
_SAME_NAMES = MappingProxyType({"navy": "navy blue", "turquoise": "turquoise blue", "multi colour": "multi"})
# Words that are written together with a colour, as in "darkred" and "skyblue".
_SHADES: Final = frozenset(
    {"baby", "blood", "bright", "cherry", "dark", "deep", "dusty", "electric", "forest", "hot", "ice", "light", "lime"}
    | {"midnight", "neon", "off", "pale", "pastel", "powder", "royal", "ruby", "sea", "sky", "soft", "steel", "wine"}
)
_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_INNER_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
# What stands between the colours of a garment of two.
_SEPARATOR: Final = re.compile(r"[/&+,;|(]|\b(?:and|with)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DislikedColour:
    """A colour that a user dislikes: with all that it stands for, or this very colour alone where `exact`."""

    colour: str
    exact: bool = False


@functools.lru_cache(maxsize=4096)
def normalise(colour: str) -> str:
    """Returns what the spellings of one colour have in common: "NAVY-BLUE" is "Navy Blue" to a shopper."""
    name = " ".join(_words(colour)) or colour.casefold()
    return _SAME_NAMES.get(name, name)


def table_colours() -> frozenset[str]:
    """Returns every colour of the table, families and members."""
    return frozenset(FAMILIES) | {member for members in FAMILIES.values() for member in members}


@functools.lru_cache(maxsize=4096)
def family_of(colour: str) -> str:
    """Returns the name of the family that a colour belongs to: its own where it is none of the table's."""
    if (family := _FAMILY_BY_NAME.get(normalise(colour))) is not None:
        return family
    for part in _SEPARATOR.split(colour):
        if named := list(_named_in(_words(part))):
            return _FAMILY_BY_NAME[named[-1]]
    return colour


def without_family(known: Iterable[str]) -> tuple[str, ...]:
    """Returns the colours that belong to no family of the table, in alphabetical order: no dislike covers them."""
    return tuple(sorted(colour for colour in known if not _names_in(colour)))


def covered(named: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """Returns those of some known colours that any of the named ones stands for, whatever their spelling."""
    names = {normalise(colour) for colour in named}
    families = names & _NAMES_OF_FAMILIES
    return frozenset(
        colour for colour in known if normalise(colour) in names or normalise(family_of(colour)) in families
    )


def touched(named: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """Returns those of some known colours in which any word names what a named colour stands for.

    It is `covered` and more, for leaving out: "Blue/White" is touched by "Blue" and by "White", "Dark Navy" by "Navy".
    """
    names = {normalise(colour) for colour in named}
    families = names & _NAMES_OF_FAMILIES

    def is_touched(colour: str) -> bool:
        if normalise(colour) in names:
            return True
        own = _names_in(colour)
        return not own.isdisjoint(names) or any(normalise(_FAMILY_BY_NAME[name]) in families for name in own)

    return frozenset(colour for colour in known if is_touched(colour))


def words_without_colours(text: str, own_colour: str | None) -> tuple[str, ...]:
    """Returns the words of a text but those that name a colour: "Men Dark-Blue Tee" has "men" and "tee".

    Args:
        text: such as the name of a product.
        own_colour: words of this colour are left out too, whether the table knows them or not.
    """
    words = _words(text)
    own = frozenset(_words(own_colour)) if own_colour is not None else frozenset()
    out = {place for place, word in enumerate(words) if word in own}
    for start, end, _ in _spans(words):
        out.update(range(start, end))
    for place in sorted(out, reverse=True):
        # The word before a shade may be one too: "soft baby blue".
        while place > 0 and words[place - 1] in _SHADES:
            place -= 1
            out.add(place)
    return tuple(word for place, word in enumerate(words) if place not in out)


def expand(dislikes: Iterable[DislikedColour], known: Collection[str]) -> frozenset[str]:
    """Spells out which colours are left out.

    Args:
        dislikes: what a user dislikes.
        known: the colours that products of the catalogue have.

    Returns:
        Every colour of `known` that a dislike covers, whatever its spelling, and the disliked colours themselves,
        whether the catalogue has them or not.
    """
    disliked = tuple(dislikes)
    exact = {normalise(dislike.colour) for dislike in disliked}
    return (
        touched((dislike.colour for dislike in disliked if not dislike.exact), known)
        | {colour for colour in known if normalise(colour) in exact}
        | {dislike.colour for dislike in disliked}
    )


def require_known(colour: str, known: Collection[str]) -> str:
    """Returns a colour that a user names, as it came.

    Args:
        colour: one of the catalogue, or of the table of families.
        known: the colours that products of the catalogue have.

    Raises:
        InvalidInput: COLOUR_UNKNOWN, which names the nearest known ones.
    """
    all_known = frozenset(known) | table_colours()
    if colour in all_known:
        return colour
    near = nearest(colour, all_known)
    quoted = ", ".join(f'"{each}"' for each in near)
    raise InvalidInput(
        f'The catalogue has no colour "{colour[:64]}"; the nearest known ones are {quoted}.',
        reason="COLOUR_UNKNOWN",
        metadata={"value": colour[:64], "nearest": ", ".join(near)},
    )


def nearest(label: str, known: Collection[str]) -> tuple[str, ...]:
    """Returns the known labels that are spelt most like a label, letter case aside, the nearest first."""
    by_folded: dict[str, list[str]] = {}
    for known_label in sorted(known):
        by_folded.setdefault(known_label.casefold(), []).append(known_label)
    folded = difflib.get_close_matches(label[:128].casefold(), by_folded, n=NEAREST_NAMED, cutoff=0.0)
    return tuple(near for key in folded for near in by_folded[key])[:NEAREST_NAMED]


def _table_name(colour: str) -> str:
    """Returns the normalised name of a colour of the table, which is spelt plainly."""
    name = " ".join(_SAME_WORDS.get(word, word) for word in colour.casefold().split())
    return _SAME_NAMES.get(name, name)


_NAMES_OF_FAMILIES = frozenset(map(_table_name, FAMILIES))
_FAMILY_BY_NAME = MappingProxyType(
    {_table_name(family): family for family in FAMILIES}
    | {_table_name(member): family for family, members in FAMILIES.items() for member in members}
)
_LONGEST_NAME: Final = max(len(name.split()) for name in (*_FAMILY_BY_NAME, *_SAME_NAMES))
_COLOUR_WORDS: Final = frozenset(name for name in (*_FAMILY_BY_NAME, *_SAME_NAMES) if " " not in name)


def _words(colour: str) -> list[str]:
    """Splits a name into words without regard to case, accents and what stands between them: "NavyBlue" has two."""
    plain = unicodedata.normalize("NFKD", _INNER_CAPITAL.sub(" ", colour)).casefold()
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    return [part for word in _WORD.findall(plain) for part in _parted(_SAME_WORDS.get(word, word))]


@functools.lru_cache(maxsize=32_768)
def _parted(word: str) -> tuple[str, ...]:
    """Parts what is written together, as "navyblue", and takes endings off: "bluish", "reds"."""
    if word in _COLOUR_WORDS or not word.isalpha():
        return (word,)
    for colour in sorted(_COLOUR_WORDS):
        before = word.removesuffix(colour)
        if before != word and (before in _SHADES or before in _COLOUR_WORDS):
            return before, colour
        if word == f"{colour}s" or (word.endswith("ish") and word[:-3] in {colour, colour[:-1], colour + colour[-1]}):
            return (colour,)
    return (word,)


def _spans(words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yields start, end and name of the table's colours in a sequence of words, the longest first."""
    start = 0
    while start < len(words):
        for length in range(min(_LONGEST_NAME, len(words) - start), 0, -1):
            name = " ".join(words[start : start + length])
            name = _SAME_NAMES.get(name, name)
            if name in _FAMILY_BY_NAME:
                yield start, start + length, name
                start += length
                break
        else:
            start += 1


def _named_in(words: Sequence[str]) -> Iterator[str]:
    """Yields the names of the table in a sequence of words: "rose gold" is no rose."""
    return (name for _, _, name in _spans(words))


@functools.lru_cache(maxsize=4096)
def _names_in(colour: str) -> frozenset[str]:
    """Returns the names of the table that a colour's own name holds."""
    return frozenset(_named_in(_words(colour)))
