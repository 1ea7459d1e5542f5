"""What the gateway answers: the JSON of every response, with descriptions and examples for OpenAPI."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.contract.attributes import BY_NAME, LABELLED, Kind
from services.contract.values import Gender
from services.gateway.schema.parameters import Scope

_PRODUCT: dict[str, JsonValue] = {
    "id": "10133",
    **{each.name: each.example for each in LABELLED},
    "year": 2018,
    "name": "Junipero Men Blue Tshirt",
    "url": None,
    "image_url": None,
    "price": {"amount": "19.99", "currency": "EUR"},
    "in_stock": True,
    "parent_id": None,
    "attributes": {"material": ["Cotton", "Elastane"], "weight_g": 180.0, "organic": True},
    "image": "/v1/products/10133/image",
    "images": ["/v1/products/10133/image", "/v1/products/10133/photographs/1"],
}


def _attribute(name: str) -> Any:
    """Describes the field of an attribute."""
    return Field(description=f"{BY_NAME[name].description}.")


class Answer(BaseModel):
    """What all answers have in common: they are made once and never changed."""

    model_config = ConfigDict(frozen=True)


class Price(Answer):
    """An amount of money."""

    amount: str = Field(description="A decimal number, exact.", examples=["19.99"], pattern=r"^\d+(\.\d{1,9})?$")
    currency: str = Field(description="ISO 4217.", examples=["EUR"], pattern=r"^[A-Z]{3}$")


class Product(Answer):
    """A product of the catalogue. What is unknown is null."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_PRODUCT]})

    id: str = Field(description="The shop's own identifier.")
    gender: Gender | None = _attribute("gender")
    master_category: str | None = _attribute("master_category")
    sub_category: str = _attribute("sub_category")
    article_type: str = _attribute("article_type")
    base_colour: str | None = _attribute("base_colour")
    brand: str | None = _attribute("brand")
    season: str | None = _attribute("season")
    usage: str | None = _attribute("usage")
    year: int | None = _attribute("year")
    name: str | None = _attribute("name")
    derived_type: str = _attribute("derived_type")
    url: str | None = _attribute("url")
    image_url: str | None = _attribute("image_url")
    price: Price | None = _attribute("price")
    in_stock: bool | None = _attribute("in_stock")
    parent_id: str | None = _attribute("parent_id")
    attributes: dict[str, list[str] | bool | float] = Field(
        description="The shop's own attributes by name: labels as a list, a number, or yes and no as true and false."
    )
    image: str | None = Field(description="Path of its first photograph at this gateway; null where none is kept.")
    images: list[str] = Field(description="Paths of all its photographs at this gateway; empty where none is kept.")


class Variant(Answer):
    """Another variant of a product that was found."""

    id: str = Field(description="The shop's own identifier.")
    base_colour: str | None = _attribute("base_colour")
    swatch: str | None = Field(description="CSS colour to paint it in; null if it is unknown.", examples=["#2f62b5"])
    price: Price | None = _attribute("price")
    in_stock: bool | None = _attribute("in_stock")
    similarity: float | None = Field(description="In [-1, 1]; null where it cannot be compared.", examples=[0.91])


Rung = Literal["derived_type", "article_type", "sub_category", "master_category"]


class SimilarProduct(Answer):
    """A product that was found."""

    product: Product
    similarity: float = Field(description="In [-1, 1], higher is closer.", examples=[0.93])
    image: str | None = Field(
        default=None,
        description="Path of the photograph that is the most similar one; null where none is kept.",
        examples=["/v1/products/10133/photographs/1"],
    )
    photograph_index: int = Field(default=0, description="Which of its photographs that is, counted from 0.")
    rank_score: float | None = Field(
        default=None, description="The value that ranked it where there are boosts, else null.", examples=[1.116]
    )
    rung: Rung | None = Field(
        default=None, description="With `widen`: the lowest rung of the ladder that it is on, else null."
    )
    variants: list[Variant] = Field(
        default_factory=list,
        description="The other variants that it stands for: first one of each colour; at most 20.",
    )
    variant_count: int = Field(default=0, description="How many other variants there are.")
    derived: bool = Field(
        default=False, description="Whether they are known by name and looks (`collapse=designs`), not by parent_id."
    )


class ComparedProduct(SimilarProduct):
    """A product of the list before the user's disliked colours were left out."""

    left_out: bool = Field(description="Whether it was left out for its colour.")


DegradedReason = Literal[
    "PREFERENCES_UNAVAILABLE", "CLASSIFIER_UNAVAILABLE", "PREDICTED_TYPE_NOT_IN_CATALOGUE", "UNSURE", "UNKNOWN"
]


class CurrencyCount(Answer):
    """How many products have their price in a currency."""

    currency: str = Field(description="ISO 4217.", examples=["USD"])
    count: int


_OTHER_CURRENCIES: Any = Field(
    description="With `price`: the products that were left out for their price's currency alone."
)


class ResultCounts(Answer):
    """What became of the products in scope: `searched_count` is the sum of all that follow it.

    Each product counts once, for the first reason that holds, in this order.
    """

    requested_count: int = Field(description="How many products were asked for.")
    searched_count: int = Field(description="The products of the derived types searched, or of the whole inventory.")
    filtered_count: int = Field(description="Do not pass the filter.")
    out_of_stock_count: int = Field(description="Are out of stock.")
    disliked_count: int = Field(description="Are of a colour that the user dislikes.")
    excluded_count: int = Field(
        description="Are the query's product or its variants, liked, disliked or excluded ones."
    )
    variant_count: int = Field(description="Are variants for which a more similar one stands.")
    dissimilar_count: int = Field(
        description="Are less similar than `min_similarity`. Counted where places stayed empty for it; else 0."
    )
    surplus_count: int = Field(description="Are eligible, but the products returned rank higher and fill all places.")
    returned_count: int = Field(description="Are in the answer.")


class SearchedRung(Answer):
    """A rung of the ladder that was searched; it holds the products of those below it too."""

    rung: Rung
    labels: list[str] = Field(description="What it adds; empty where nothing is known.", examples=[["Tshirts"]])
    returned_count: int = Field(description="How many products of the answer are on it, and on none below.")


class Applied(Answer):
    """What was applied to a search."""

    scope: Scope = Field(description="Where it searched.")
    derived_types: list[str] = Field(description="The derived types searched; empty for the whole inventory.")
    excluded_colours: list[str] = Field(description="The colours left out for the user's sake, families spelt out.")
    eligible_count: int = Field(description="How many products were eligible.")
    model_version: str = Field(description="The model whose embeddings were compared.")
    index_version: int = Field(description="The version of the catalogue; grows with every write.")
    degraded: list[DegradedReason] = Field(
        description="Whatever was left out of the normal way; empty where all went well. With UNSURE, it is doubtful "
        "what the photograph shows, and the two likeliest derived types were searched: offer `classification`."
    )
    other_currencies: list[CurrencyCount] = _OTHER_CURRENCIES
    below_min_similarity: int = Field(
        description="How many of the most similar products were left out as less similar than `min_similarity`."
    )
    counts: ResultCounts
    rungs: list[SearchedRung] = Field(
        default_factory=list,
        description="With `widen`: the rungs that were searched, from the lowest to the one that filled the answer, "
        "which `counts` are about.",
    )


class SubCategoryPrediction(Answer):
    """A subCategory that a photograph may belong to."""

    label: str = Field(examples=["Topwear"])
    probability: float | None = Field(
        description="In 0..1; null for one that the classifier was not trained on.", examples=[0.97]
    )


class DerivedTypePrediction(Answer):
    """A derived type that a photograph may belong to."""

    label: str = Field(examples=["Men Tshirts"])
    similarity: float = Field(description="In [-1, 1], higher is closer.")
    margin: float | None = Field(description="By how much that exceeds the next one's; null where there is no next.")
    probability: float | None = Field(
        description="In 0..1, among all derived types that could be answered.", examples=[0.81]
    )


class Classification(Answer):
    """What a photograph was recognised as, the likeliest first."""

    sub_categories: list[SubCategoryPrediction]
    derived_types: list[DerivedTypePrediction]


StepName = Literal["total", "read_dislikes", "embed", "classify", "search", "explain", "unknown"]


class StepTiming(Answer):
    """How long a step took; steps overlap."""

    step: StepName
    start_milliseconds: float = Field(description="When it began, since the request was taken up.")
    milliseconds: float = Field(description="How long it took, waiting included.")


class UpdateResult(Answer):
    """What became of one row."""

    id: str = Field(description="The product, as sent.")
    outcome: Literal["updated", "unchanged"] | None = Field(description="What was done; null where it failed.")
    reason: str = Field(description="Why it failed; empty where it did not.", examples=["PRODUCT_NOT_FOUND"])
    message: str = Field(description="One sentence for people; empty where it did not fail.")


class UpdateResults(Answer):
    """The results of changes, in their order."""

    results: list[UpdateResult]
    index_version: int = Field(description="The version of the catalogue after the write.")


class AddedPhotograph(Answer):
    """A product with a photograph more."""

    product: Product
    index: int = Field(description="The place of the photograph, counted from 0.", examples=[1])
    outcome: Literal["updated", "unchanged"] = Field(description="`unchanged` where the product had it already.")
    index_version: int = Field(description="The version of the catalogue after the write.")


class Garment(Answer):
    """A garment in a photograph."""

    region: str = Field(
        description="Its box, as the parameter `region` that searches for it.", examples=["0.1000,0.0000,0.9000,0.8000"]
    )
    sub_category: str = Field(description="The subCategory that it looks like most.", examples=["Topwear"])
    confidence: float = Field(description="How likely there is a garment in the box, in 0..1.", examples=[0.83])


class Garments(Answer):
    """The garments in a photograph, the largest first; none where none is found."""

    garments: list[Garment]


class PhotographView(Answer):
    """What of a photograph was searched."""

    region: str | None = Field(description="The region or garment that was searched; null for the whole photograph.")
    quarter_turns: int = Field(description="The quarter turns clockwise that set it upright, 0..3.")
    garments: list[Garment] = Field(description="The garments that it shows, the largest first.")


class SimilarProducts(Answer):
    """The most similar products, the most similar first."""

    products: list[SimilarProduct]
    applied: Applied
    classification: Classification | None = Field(
        description="What the photograph was recognised as; null for a product, or where the classifier did not answer."
    )
    confidence: float | None = Field(
        description="How far the recognition can be believed, in 0..1: the probability that the article type is right. "
        "Null for a product, and where nothing was recognised.",
        examples=[0.87],
    )
    view: PhotographView | None = Field(description="What of the photograph was searched; null for a product.")
    timings: list[StepTiming] = Field(description="With `explain`: the steps in the order in which they began.")
    before_colours: list[ComparedProduct] = Field(
        description="With `explain`, where the user dislikes colours: the same list before these were left out."
    )


class ProductPage(Answer):
    """A page of products."""

    products: list[Product]
    next_page_token: str = Field(description="What to send for the next page; empty on the last.")
    total_count: int = Field(description="How many products the filter lets through, on all pages.")
    other_currencies: list[CurrencyCount] = _OTHER_CURRENCIES


class FacetValue(Answer):
    """A value that products have, or a range of values."""

    value: str = Field(
        description="The label; a year in digits; a range as `20.00..49.99`, either end open; `true` or `false`.",
        examples=["Navy Blue"],
    )
    count: int = Field(description="How many products have it, by all of the filter but its part on this attribute.")
    condition: str = Field(
        description="What the facet's `parameter` takes for it.", examples=["Navy Blue", "material:Cotton"]
    )
    family: str | None = Field(default=None, description="For a colour: its family.", examples=["Blue"])
    swatch: str | None = Field(
        default=None,
        description="For a colour: how to paint it, as CSS hexadecimal; null where unknown, and for many colours.",
        examples=["#1f2a52"],
    )


class Facet(Answer):
    """The values of an attribute, the most frequent first; years from the newest, ranges from the lowest.

    Any attribute can be offered by its values alone: ask with `parameter` and a value's `condition`. Several labels
    mean any of these; of ranges, and of yes and no, one counts.
    """

    attribute: str = Field(
        description="The attribute's name; `attributes.` stands before those that the shop has named.",
        examples=["base_colour", "attributes.material"],
    )
    label: str = Field(description="Its heading for people.", examples=["Colour"])
    kind: Kind = Field(description="What its values are.")
    filtered: bool = Field(description="Whether products can be filtered by it; a year by its first and last.")
    parameter: str | None = Field(
        description="The parameter that takes the `condition` of a value; null where none does.",
        examples=["base_colour", "attribute"],
    )
    values: list[FacetValue] = Field(description="Of an attribute that the shop has named, at most 100 labels.")
    value_count: int = Field(description="How many different values there are.")
    min: str | None = Field(default=None, description="The lowest price or number.", examples=["9.95"])
    max: str | None = Field(default=None, description="The highest price or number.", examples=["119.00"])
    currency: str | None = Field(
        default=None, description="For prices: that of the filter, else the most frequent.", examples=["EUR"]
    )
    other_currencies: list[CurrencyCount] = Field(
        default_factory=list, description="For prices: how many products have one in another currency."
    )


class Facets(Answer):
    """What a list can be narrowed down by."""

    facets: list[Facet]
    total_count: int = Field(description="How many products the whole filter lets through.")


class SimilarityQuantile(Answer):
    """A quantile of similarities."""

    share: float = Field(description="The share of products, in 0..1.", examples=[0.01])
    similarity: float = Field(
        description="This share of products has a nearest other one of at most this similarity.", examples=[0.58]
    )


class SimilarityDistribution(Answer):
    """How similar products of the catalogue are to their nearest, variants aside."""

    quantiles: list[SimilarityQuantile] = Field(description="In ascending order.")
    product_count: int = Field(description="How many random products were measured.")


class Index(Answer):
    """Facts about the catalogue that is searched."""

    product_count: int = Field(description="How many products there are.")
    available_count: int = Field(description="How many of them are not out of stock.")
    model_version: str = Field(description="The model whose embeddings are compared.")
    index_version: int = Field(description="The version of the catalogue; grows with every write.")
    approximate: bool = Field(
        description="Whether a search of the whole inventory may miss one of the most similar products, as it may in "
        "very large catalogues. Searches of derived types miss none."
    )
    unsure_below: float | None = Field(
        description="The `confidence` below which a photograph's answer says UNSURE; null before it is measured.",
        examples=[0.38],
    )
    nearest_similarity: SimilarityDistribution | None = Field(
        description="What is usual for a `similarity`: where the first result is less similar than nearly all of "
        "these, nothing is really like it. Null before it is measured."
    )


class DislikedColour(Answer):
    """A colour that a user dislikes."""

    colour: str = Field(examples=["Blue"])
    exact: bool = Field(description="Whether only this very colour is meant, not its family.")
    covers: list[str] = Field(description="The colours of the catalogue that it stands for.", examples=[["Navy Blue"]])


class DislikedColours(Answer):
    """All that a user dislikes, in alphabetical order."""

    colours: list[DislikedColour]


class ForgottenUser(Answer):
    """What erasing a user found."""

    existed: bool = Field(description="Whether anything was known about the user.")


class Session(Answer):
    """A token for a shopper of the storefront."""

    user_id: str = Field(examples=["demo-5f2c"])
    token: str = Field(description="A JWT for the header `Authorization: Bearer`.")
    expires_at: str = Field(description="When it ends, RFC 3339.", examples=["2026-01-31T12:00:00Z"])


class Health(Answer):
    """Whether a probe is content."""

    status: Literal["ok", "starting", "draining", "unavailable"]
    degraded: list[Literal["PREFERENCES_UNAVAILABLE"]] = Field(
        default=[],
        description="What does not work, while requests are answered all the same: disliked colours cannot be read "
        "(PREFERENCES_UNAVAILABLE), so that the last known ones are applied.",
    )


class Problem(Answer):
    """What went wrong: a problem document of RFC 9457."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:fashion:problem:not-found",
                    "title": "Not found",
                    "status": 404,
                    "detail": 'the catalogue has no product "nothing"',
                    "reason": "PRODUCT_NOT_FOUND",
                    "metadata": {"product_id": "nothing"},
                    "request_id": "5a1f2c",
                }
            ]
        },
    )

    type: str = Field(description="A URI for the kind of problem; the same for the same `status` and category.")
    title: str = Field(description="The kind of problem for people.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong this time, one sentence.")
    reason: str = Field(description="UPPER_SNAKE_CASE and stable, the same as over gRPC; for programs.")
    metadata: dict[str, str] = Field(description="Further facts, such as the field's name.")
    request_id: str = Field(description="What the logs of all services know this request by.")
