"""The attributes of a product: storage, filters, facets, the APIs and the command line derive from this table."""

import unicodedata
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

MAX_LABEL_CHARACTERS: Final = 128
MAX_FILTER_VALUES: Final = 100
YEARS: Final = range(1900, 2201)
# Those of the shop's own attributes. Each name is a column in memory, so that a catalogue cannot have any number.
MAX_ATTRIBUTES: Final = 50
MAX_ATTRIBUTE_NAMES: Final = 256
MAX_ATTRIBUTE_NAME_CHARACTERS: Final = 64
MAX_ATTRIBUTE_LABELS: Final = 20
MAX_ATTRIBUTE_CONDITIONS: Final = 20
# Before the name of one of them, where it stands beside names of this table.
OWN_PREFIX: Final = "attributes."

_AMOUNT: Final = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
# How people write a range of prices, and a condition on an own attribute: "10..49.99 EUR", "material:Cotton".
PRICE_PATTERN: Final = rf"^({_AMOUNT})?\.\.({_AMOUNT})? ?([A-Z]{{3}})$"
ATTRIBUTE_PATTERN: Final = r"^[^:=]+[:=].+$"


class Kind(Enum):
    """What an attribute's values are: decides how they are checked, stored, filtered, counted and shown."""

    LABEL = "label"
    """Free text that is matched exactly."""
    COLOUR = "colour"
    """A label that belongs to a family of colours."""
    GENDER = "gender"
    """One of `Gender`."""
    YEAR = "year"
    """One of `YEARS`; filtered by a range."""
    TEXT = "text"
    """Free text that is only shown."""
    URL = "url"
    """An http or https URL."""
    IDENTIFIER = "identifier"
    """Printable characters without white space."""
    PRICE = "price"
    """An amount of money."""
    FLAG = "flag"
    """Yes or no."""
    NUMBER = "number"
    """A number that the shop has named; filtered by a range."""
    OWN = "own"
    """The shop's own attributes, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """One attribute of a product.

    Attributes:
        name: the name of its field in `Product`, in the messages, in JSON, and in the table of products.
        kind: what its values are.
        label: its heading for people.
        description: a noun phrase for the documentation of the APIs and of the command line.
        example: a value.
        required: whether a product must have it.
        stored: whether it is stored; otherwise it follows from others.
        filtered: whether a filter may have a condition on it, under the same name.
        faceted: whether its values are counted as labels are; prices and own attributes have facets of their own.
        searched: whether a shopper's words are looked for in it.
        max_characters: how long a text may be.
    """

    name: str
    kind: Kind
    label: str
    description: str
    example: str
    required: bool = False
    stored: bool = True
    filtered: bool = True
    faceted: bool = True
    searched: bool = False
    max_characters: int = MAX_LABEL_CHARACTERS


def _shown(
    name: str,
    kind: Kind,
    description: str,
    example: str,
    max_characters: int = 0,
    searched: bool = False,
    filtered: bool = False,
) -> Attribute:
    """Describes an attribute that is stored and shown, and is none of `FACETED`."""
    label = name.replace("_", " ").capitalize()
    return Attribute(
        name,
        kind,
        label,
        description,
        example,
        filtered=filtered,
        faceted=False,
        searched=searched,
        max_characters=max_characters,
    )


BASE_COLOUR: Final = Attribute("base_colour", Kind.COLOUR, "Colour", "The main colour", "Blue", searched=True)
DERIVED_TYPE: Final = Attribute(
    "derived_type",
    Kind.LABEL,
    "Type",
    "Gender and article type, or the article type alone",
    "Men Tshirts",
    stored=False,
    filtered=False,
    searched=True,
)

# In the order in which people see them. The id is no attribute: it names the product.
ATTRIBUTES: Final = (
    Attribute("gender", Kind.GENDER, "Gender", "Whom it is made for", "Men"),
    Attribute("master_category", Kind.LABEL, "Category", "The broadest category", "Apparel"),
    Attribute("sub_category", Kind.LABEL, "Subcategory", "The category below it", "Topwear", required=True),
    Attribute("article_type", Kind.LABEL, "Article", "The kind of article", "Tshirts", required=True),
    BASE_COLOUR,
    Attribute("brand", Kind.LABEL, "Brand", "The brand", "Junipero", searched=True),
    Attribute("season", Kind.LABEL, "Season", "The season of its collection", "Summer"),
    Attribute("usage", Kind.LABEL, "Occasion", "The occasion it is meant for", "Casual"),
    Attribute("year", Kind.YEAR, "Year", "The year of its collection", "2018"),
    DERIVED_TYPE,
    _shown(
        "name", Kind.TEXT, "The name that shoppers see: text, not HTML", "Junipero Men Blue Tshirt", 512, searched=True
    ),
    _shown("url", Kind.URL, "Its page in the shop, an http or https URL", "https://shop.example/p/10133", 2048),
    _shown(
        "image_url", Kind.URL, "A picture of it in the shop, an http or https URL", "https://shop.example/1.jpg", 2048
    ),
    _shown("price", Kind.PRICE, "What it costs", "19.99 EUR", filtered=True),
    _shown("in_stock", Kind.FLAG, "Whether it can be bought now", "yes"),
    _shown("parent_id", Kind.IDENTIFIER, "The product that this one is a variant of", "10130", MAX_LABEL_CHARACTERS),
    _shown("attributes", Kind.OWN, "The shop's own attributes, by name", "material Cotton", filtered=True),
)

BY_NAME: Final = MappingProxyType({attribute.name: attribute for attribute in ATTRIBUTES})
STORED: Final = tuple(attribute for attribute in ATTRIBUTES if attribute.stored)
FILTERED: Final = tuple(attribute for attribute in ATTRIBUTES if attribute.filtered)
FACETED: Final = tuple(attribute for attribute in ATTRIBUTES if attribute.faceted)
SEARCHED: Final = tuple(attribute for attribute in ATTRIBUTES if attribute.searched)
# Those whose values are labels, gender included.
LABELLED: Final = tuple(
    attribute for attribute in ATTRIBUTES if attribute.kind in {Kind.LABEL, Kind.COLOUR, Kind.GENDER}
)


def is_attribute_name(text: str) -> bool:
    """Tells whether a text can name an own attribute: see `fashion.v1.Product.attributes`."""
    return (
        len(text) <= MAX_ATTRIBUTE_NAME_CHARACTERS
        and text.isidentifier()
        and text[0] != "_"
        and text == unicodedata.normalize("NFKC", text).lower()
    )


def attribute_label(name: str) -> str:
    """Returns the heading of an own attribute for people, such as "Heel mm"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
