"""The parameters of requests: one set of models for the query, form fields and JSON bodies."""

from enum import StrEnum
from typing import Annotated, Any, Final, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from services.contract.attributes import (
    ATTRIBUTE_PATTERN,
    BY_NAME,
    MAX_FILTER_VALUES,
    MAX_LABEL_CHARACTERS,
    PRICE_PATTERN,
    YEARS,
)
from services.contract.values import MAX_PHOTOGRAPHS, Gender, Subject

# Search checks the characters of an identifier. JSON Schema can only limit its length.
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LABEL_CHARACTERS)]
Year = Annotated[int, Field(ge=YEARS.start, le=YEARS.stop - 1)]
Labels = Annotated[list[Label], Field(max_length=MAX_FILTER_VALUES)]
# A name, a mark, a label in quotes.
AttributeConditions = Annotated[
    list[Annotated[str, StringConstraints(max_length=256, pattern=ATTRIBUTE_PATTERN)]],
    Field(max_length=MAX_FILTER_VALUES),
]

BOOST_PATTERN: Final = r"^[0-9](?:\.[0-9]{1,6})? +[a-z_]+=.+$"
BoostText = Annotated[str, StringConstraints(max_length=1024, pattern=BOOST_PATTERN)]

_SHARE = r"(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?)"
REGION_PATTERN: Final = rf"^{_SHARE},{_SHARE},{_SHARE},{_SHARE}$"
Region = Annotated[str, StringConstraints(pattern=REGION_PATTERN)]

# A place, or a SHA-256.
PHOTOGRAPH_PATTERN: Final = r"^([0-7]|[0-9a-f]{64})$"
# ISO 4217.
CURRENCY_PATTERN: Final = r"^[A-Z]{3}$"


class Scope(StrEnum):
    """Where to search."""

    PREDICTED_TYPE = "predicted_type"
    INVENTORY = "inventory"
    DERIVED_TYPES = "derived_types"


class PreferencePolicy(StrEnum):
    """What to do if the user's dislikes cannot be read."""

    BEST_EFFORT = "best_effort"
    REQUIRED = "required"


class Collapse(StrEnum):
    """What to do with the variants of a product."""

    NONE = "none"
    VARIANTS = "variants"
    DESIGNS = "designs"


class Order(StrEnum):
    """The order of a list."""

    ID = "id"
    NAME = "name"
    PRICE = "price"
    PRICE_DESCENDING = "price_descending"
    NEWEST = "newest"


def _any_of(name: str) -> Any:
    """Returns the field of a parameter that lists accepted values of an attribute."""
    attribute = BY_NAME[name]
    return Field(
        default_factory=list, description=f"{attribute.description}: any of these.", examples=[[attribute.example]]
    )


class FilterParameters(BaseModel):
    """Which products are eligible: those that match every given parameter. A repeated one matches by any value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gender: Annotated[list[Gender], Field(max_length=MAX_FILTER_VALUES)] = _any_of("gender")
    master_category: Labels = _any_of("master_category")
    sub_category: Labels = _any_of("sub_category")
    article_type: Labels = _any_of("article_type")
    base_colour: Labels = _any_of("base_colour")
    colour_by_family: bool = Field(
        default=False,
        description='Whether each colour to keep or leave out stands for its family: "Blue" for "Navy Blue" too.',
    )
    excluded_colour: Labels = Field(
        default_factory=list,
        description="Main colours to leave out, such as all that a user's dislikes cover.",
        examples=[["Navy Blue"]],
    )
    brand: Labels = _any_of("brand")
    season: Labels = _any_of("season")
    usage: Labels = _any_of("usage")
    year_first: Year | SkipJsonSchema[None] = Field(
        default=None, description="First year of the collection, inclusive.", examples=[2016]
    )
    year_last: Year | SkipJsonSchema[None] = Field(
        default=None, description="Last year of the collection, inclusive; not before `year_first`.", examples=[2018]
    )
    price: Annotated[str, StringConstraints(pattern=PRICE_PATTERN)] | SkipJsonSchema[None] = Field(
        default=None,
        description=(
            "Prices in one currency, both ends inclusive; either may be left out. Products with a price in another "
            "currency are left out and counted."
        ),
        examples=["10..49.99 EUR"],
    )
    attribute: AttributeConditions = Field(
        default_factory=list,
        description=(
            "Conditions on the shop's own attributes, NAME:VALUE. `material:Cotton` is a label: several of one name "
            "mean any of these. `heel_mm:40..80` is a range of numbers, both ends inclusive; either may be left out. "
            "`organic:true` or `organic:false` is yes or no. A value in double quotes is always a label."
        ),
        examples=[["material:Cotton", "heel_mm:..40"]],
    )
    excluded_attribute: AttributeConditions = Field(
        default_factory=list,
        description="Labels of the shop's own attributes to leave out, NAME:LABEL.",
        examples=[["material:Wool"]],
    )
    words: str = Field(
        default="",
        max_length=200,
        description=(
            "Words that a shopper searches for: each must begin a word of the name, brand, derived type, main colour "
            "or id. Letter case and accents make no difference."
        ),
        examples=["blue t-shirt"],
    )


class ListParameters(FilterParameters):
    """Which page of which products."""

    order: Order = Field(
        default=Order.ID,
        description=(
            "What the list goes by. Products of which that is unknown come last, equal ones by id. Prices of a "
            "currency stand together."
        ),
    )
    page_size: int = Field(
        default=50,
        ge=0,
        le=2**31 - 1,
        description="How many products a page holds at most; 0 for the default. What is above 500 counts as 500.",
    )
    page_token: str = Field(
        default="",
        max_length=4096,
        description="`next_page_token` of the page before; empty for the first. Filters and order must be the same.",
    )


class SimilarParameters(FilterParameters):
    """What to find besides the query itself."""

    limit: int = Field(default=10, ge=1, le=100, description="How many products to return.")
    user_id: Identifier | SkipJsonSchema[None] = Field(
        default=None,
        description="Whose disliked colours are left out; needs a token for this user. Absent: nobody's.",
    )
    liked: Annotated[list[Identifier], Field(max_length=20)] = Field(
        default_factory=list, description="Ids of products that the answer should lean towards."
    )
    disliked: Annotated[list[Identifier], Field(max_length=20)] = Field(
        default_factory=list, description="Ids of products that the answer should lean away from; none also liked."
    )
    excluded: Annotated[list[Identifier], Field(max_length=500)] = Field(
        default_factory=list, description="Ids of further products to leave out, such as those in the cart."
    )
    scope: Scope | SkipJsonSchema[None] = Field(
        default=None,
        description=(
            "Where to search. Absent: the named derived types where there are any; else the whole inventory for a "
            "product, the predicted derived type for a photograph and with `widen`."
        ),
    )
    derived_type: Labels = Field(
        default_factory=list, description="Derived types to search.", examples=[["Men Tshirts"]]
    )
    include_out_of_stock: bool = Field(default=False, description="Whether products out of stock are eligible too.")
    collapse: Collapse = Field(
        default=Collapse.VARIANTS,
        description=(
            "What to do with variants, which share a parent_id: the most similar one stands for all, and those of the "
            "query's product are left out; or each stands for itself. With `designs`, products without a parent_id "
            "are grouped too, by name and looks."
        ),
    )
    min_similarity: Annotated[float, Field(ge=-1, le=1)] | SkipJsonSchema[None] = Field(
        default=None,
        description="Products of a lower similarity are left out, so that the answer may be shorter.",
        examples=[0.6],
    )
    boost: Annotated[list[BoostText], Field(max_length=10)] = Field(
        default_factory=list,
        description=(
            "Rules that move products up or down: a factor of 0.5 to 2, and filter parameters as in a query. They "
            "change the order alone; `rank_score` says the value that ranked a product."
        ),
        examples=[["1.2 season=Summer", "0.8 brand=Velora&price=50.. EUR"]],
    )
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How much the products should differ from one another; 0 for the most similar ones.",
    )
    widen: bool = Field(
        default=False,
        description=(
            "Whether to go on beyond the derived type while fewer than `limit` products are found: to its article "
            "type, then its subcategory, then its category. Each product says its `rung`; lower ones come first. Not "
            "with `scope=inventory`."
        ),
    )
    preference_policy: PreferencePolicy = Field(
        default=PreferencePolicy.BEST_EFFORT,
        description="Where dislikes cannot be read: answer without them and say so, or answer 503.",
    )
    explain: bool = Field(
        default=False, description="Whether to tell timings, and the list before the user's colours were left out."
    )


_REGION: Final[Any] = Field(
    default=None,
    description=(
        "The part of the photograph that shows the garment, tight around it: left,top,right,bottom as shares of its "
        "width and height in 0..1. The server adds a margin. Absent: all of it."
    ),
    examples=["0.1,0,0.9,0.8"],
)


class PhotographParameters(SimilarParameters):
    """What to find for a photograph."""

    region: Region | SkipJsonSchema[None] = _REGION
    subject: Subject = Field(
        default=Subject.AUTO,
        description=(
            "What counts where no region is given: the largest garment that the model finds (auto), or the whole "
            "photograph."
        ),
    )


class GarmentParameters(BaseModel):
    """Where to look for garments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Region | SkipJsonSchema[None] = _REGION


class AddedPhotographParameters(GarmentParameters):
    """How to add a photograph to a product."""

    index: int | SkipJsonSchema[None] = Field(
        default=None,
        description="Its place among the product's photographs: 0 to be the first, by which the product is searched. "
        "Absent: the last, or where it is already.",
        ge=0,
        lt=MAX_PHOTOGRAPHS,
    )


class SimilarBody(SimilarParameters):
    """What to find for a product, as a JSON body."""

    product_id: Identifier = Field(description="The product to find similar ones for.", examples=["10014"])


def list_fields(model: type[BaseModel]) -> frozenset[str]:
    """Returns the names of the fields that may be repeated."""
    return frozenset(name for name, field in model.model_fields.items() if _is_list(field.annotation))


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list
