"""What is to be drawn: a product with the data set's labels, and the cut that gives it its shape."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProductSpec:
    """A product of the drawn catalogue.

    Attributes:
        id: product id.
        gender, master_category, sub_category, article_type, base_colour: labels, as the data set writes them.
        season, year, usage, name: what a shop adds.
        pattern: one of `offline.drawn.patterns.PATTERNS`.
        cut: the shape within the article type; see `offline.drawn.assortment`.
        seed: decides all other variation; colourways of one product share it.
    """

    id: str
    gender: str
    master_category: str
    sub_category: str
    article_type: str
    base_colour: str
    season: str
    year: int
    usage: str
    name: str
    pattern: str
    cut: str
    seed: int
