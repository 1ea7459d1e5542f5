"""The values that the services exchange, free of any transport."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # At run time, callers of the services need no arrays.
    import numpy as np
    from numpy.typing import NDArray

# How many photographs a product can have.
MAX_PHOTOGRAPHS: Final = 8


class Gender(Enum):
    """The people that a product is made for; the value is the data set's label."""

    MEN = "Men"
    WOMEN = "Women"
    BOYS = "Boys"
    GIRLS = "Girls"
    UNISEX = "Unisex"


def derived_type(gender: Gender | None, article_type: str) -> str:
    """Names a derived type, such as "Men Tshirts"; without a gender it is the article type alone."""
    return article_type if gender is None else f"{gender.value} {article_type}"


def parse_derived_type(label: str, article_types: Collection[str] = ()) -> tuple[Gender | None, str]:
    """Parts a derived type, such as "Men Tshirts", into gender and article type; the gender is None for "Tshirts".

    Args:
        label: the derived type.
        article_types: known ones. One of them has no gender, even where it begins with the word for one.

    Raises:
        ValueError: the label is empty.
    """
    if not label:
        raise ValueError("an empty label is no derived type, which has an article type")
    for gender in Gender if label not in article_types else ():
        article_type = label.removeprefix(f"{gender.value} ")
        if article_type and article_type != label:
            return gender, article_type
    return None, label


def matching_types(gender: Gender | None, article_type: str) -> tuple[str, ...]:
    """Returns the derived types that a product of one may belong to, where genders are unknown on either side."""
    genders = (None, *Gender) if gender is None else (gender, None)
    return tuple(derived_type(each, article_type) for each in genders)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a photograph, in shares (0..1) of its width and height; left < right, top < bottom."""

    left: float
    top: float
    right: float
    bottom: float


class Subject(Enum):
    """Which part of a photograph counts where the caller names no region."""

    WHOLE = "whole"
    AUTO = "auto"
    """The largest garment that is found, and the whole with it; the whole alone where none is found or one fills it."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """An encoded photograph (JPEG, PNG, WebP or AVIF), or the part of it in `region`."""

    content: bytes
    region: Box | None = None
    subject: Subject = Subject.WHOLE


@dataclass(frozen=True, slots=True)
class Garment:
    """A garment in a photograph.

    Attributes:
        box: its place, in shares of the whole photograph as it was sent.
        sub_category: its likeliest subCategory.
        confidence: how likely there is a garment in the box, 0..1.
    """

    box: Box
    sub_category: str
    confidence: float


@dataclass(frozen=True, slots=True)
class View:
    """What an encoder looked at in a photograph.

    Attributes:
        region: the caller's region, or the box of the garment that was found; None for the whole photograph.
        quarter_turns: quarter turns clockwise by which the photograph was turned upright, 0..3.
        garments: the garments that were found, the largest first; empty where nobody looked for them.
    """

    region: Box | None = None
    quarter_turns: int = 0
    garments: tuple[Garment, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The vector that an encoder computes from a photograph.

    Attributes:
        values: float32, shape (dimension,), L2 norm 1.
        model_version: the content hash of the bundle that computed it.
        view: what of the photograph it was computed from; None where that is not known.
    """

    values: "NDArray[np.float32]"
    model_version: str
    view: View | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as it is served.

    Attributes:
        name: the bundle's name.
        model_version: the bundle's content hash.
        dimension: floats in an embedding.
        input_height: pixels.
        input_width: pixels.
        runtime: the library that runs it, such as "tensorflow".
        precision: the number format that it is computed in, such as "float32".
        reference_precision: the number format in which the bundle's figures were measured.
    """

    name: str
    model_version: str
    dimension: int
    input_height: int
    input_width: int
    runtime: str
    precision: str
    reference_precision: str


class ClassificationMethod(Enum):
    """The way in which derived types were recognised."""

    CANDIDATES = "candidates"
    MODEL_LABELS = "model labels"
    NEIGHBOURS = "neighbours"


@dataclass(frozen=True, slots=True)
class SubCategoryPrediction:
    """A subCategory; `probability` in 0..1, or None for one that the classifier was never trained on."""

    label: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class DerivedTypePrediction:
    """A derived type.

    Attributes:
        gender: the people it is made for; None if that is unknown.
        article_type: such as "Tshirts".
        sub_category: the candidate's; None if the model's own labels were used.
        similarity: in [-1, 1], higher is closer.
        margin: the difference to the similarity of the next one, at least 0; None for the last.
        probability: in [0, 1], among all derived types that could be answered; None if the classifier does not say.
    """

    gender: Gender | None
    article_type: str
    sub_category: str | None
    similarity: float
    margin: float | None
    probability: float | None = None

    @property
    def label(self) -> str:
        """Such as "Men Tshirts"."""
        return derived_type(self.gender, self.article_type)


@dataclass(frozen=True, slots=True)
class Classification:
    """The recognised labels.

    Attributes:
        sub_categories: the likeliest first.
        derived_types: the likeliest first.
        method: the way in which the derived types were recognised.
        model_version: of the embedding.
        candidates_version: "" if there are no candidates.
        confidence: in [0, 1], the probability that the article type of the first derived type is right, whoever it is
            for; None if there is no derived type, or the classifier does not say.
    """

    sub_categories: tuple[SubCategoryPrediction, ...]
    derived_types: tuple[DerivedTypePrediction, ...]
    method: ClassificationMethod
    model_version: str
    candidates_version: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CandidateSet:
    """The candidates of a catalogue: per derived type within a subCategory, the means of its groups.

    Attributes:
        version: changes whenever the candidates do.
        model_version: of the embeddings.
        sub_categories: shape (n,), one per candidate.
        genders: shape (n,); None where it is unknown.
        article_types: shape (n,).
        product_ids: shape (n,), unique, the product most similar to each mean.
        embeddings: float32, shape (n, dimension), L2-normalised rows.
    """

    version: str
    model_version: str
    sub_categories: tuple[str, ...]
    genders: tuple[Gender | None, ...]
    article_types: tuple[str, ...]
    product_ids: tuple[str, ...]
    embeddings: "NDArray[np.float32]"
