"""Which colours belong together, and which ones a dislike covers.

A family is named by a colour, and that colour stands for all of its family: who dislikes "Blue" is shown no "Navy Blue"
either. The name of a member stands for that member alone: who dislikes "Navy Blue" may well want a sky-blue shirt.
"Multi" belongs to nobody: a dislike of yellow says nothing about a garment of many colours.

A shop's own colour, which the table does not know, belongs to the family that its last word names ("Royal Blue"), since
that is how shades are named; otherwise it is a family of its own.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.contract.errors import InvalidInput

# The one table. The base colours of the data set, and words that other shops use for the same; each colour stands once.
FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Beige": ("Khaki", "Nude", "Sand", "Skin"),
        "Black": (),
        "Blue": ("Aqua", "Cyan", "Denim", "Indigo", "Navy", "Navy Blue", "Teal", "Turquoise", "Turquoise Blue"),
        "Brown": ("Camel", "Chocolate", "Coffee Brown", "Mushroom Brown", "Tan", "Taupe"),
        "Green": ("Fluorescent Green", "Lime Green", "Mint", "Olive", "Sea Green"),
        "Grey": ("Anthracite", "Charcoal", "Grey Melange"),
        "Metallic": ("Bronze", "Copper", "Gold", "Rose Gold", "Silver", "Steel"),
        "Multi": ("Multicolour",),
        "Orange": ("Apricot", "Coral", "Peach", "Rust"),
        "Pink": ("Fuchsia", "Magenta", "Rose"),
        "Purple": ("Lavender", "Lilac", "Mauve", "Violet"),
        "Red": ("Burgundy", "Maroon"),
        "White": ("Cream", "Ecru", "Ivory", "Off White"),
        "Yellow": ("Mustard",),
    }
)
# Number of near colours that an error names.
NEAREST_NAMED = 3

# Words, then whole names, that mean the same.
_SAME_WORDS = MappingProxyType(
    {"gray": "grey", "multicolor": "multi", "multicolored": "multi", "multicolour": "multi", "multicoloured": "multi"}
)
_SAME_NAMES = MappingProxyType({"navy": "navy blue", "turquoise": "turquoise blue", "multi colour": "multi"})


@dataclass(frozen=True, slots=True)
class DislikedColour:
    """A colour that a user dislikes: with all that it stands for, or this very colour alone where `exact`."""

    colour: str
    exact: bool = False


def normalise(colour: str) -> str:
    """Returns what the spellings of one colour have in common: "NAVY-BLUE" is "Navy Blue" to a shopper."""
    words = colour.casefold().replace("-", " ").replace("_", " ").split()
    name = " ".join(_SAME_WORDS.get(word, word) for word in words)
    return _SAME_NAMES.get(name, name)


def table_colours() -> frozenset[str]:
    """Returns every colour of the table, families and members."""
    return frozenset(FAMILIES) | {member for members in FAMILIES.values() for member in members}


def family_of(colour: str) -> str:
    """Returns the name of the family that a colour belongs to: its own where it is none of the table's."""
    words = normalise(colour)
    family = _FAMILY_BY_NAME.get(words)
    if family is None:
        family = _FAMILY_BY_NAME.get(words.rpartition(" ")[2])
    return colour if family is None else family


def covered(named: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """Returns those of some known colours that any of the named ones stands for, whatever their spelling."""
    names = {normalise(colour) for colour in named}
    families = names & _NAMES_OF_FAMILIES
    return frozenset(
        colour for colour in known if normalise(colour) in names or normalise(family_of(colour)) in families
    )


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
        covered((dislike.colour for dislike in disliked if not dislike.exact), known)
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


_NAMES_OF_FAMILIES = frozenset(normalise(family) for family in FAMILIES)
_FAMILY_BY_NAME = MappingProxyType(
    {normalise(family): family for family in FAMILIES}
    | {normalise(member): family for family, members in FAMILIES.items() for member in members}
)
