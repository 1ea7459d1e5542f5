"""Tells which subCategories and derived types can be recognised."""

from collections import defaultdict
from dataclasses import dataclass

from services.classifier.candidate_index import CandidateIndex
from services.classifier.recognition import ClassifierModel
from services.contract.values import ClassificationMethod


@dataclass(frozen=True, slots=True)
class RecognisedSubCategory:
    """A subCategory that can be recognised.

    Attributes:
        label: such as "Topwear"; "" for the derived types that the model knows without a subCategory.
        trained: whether the head was trained on it; otherwise it is recognised by candidates alone.
        derived_types: in alphabetical order.
    """

    label: str
    trained: bool
    derived_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """All that can be recognised.

    Attributes:
        sub_categories: in alphabetical order.
        method: where the derived types come from.
        model_version: of the model that is served.
        candidates_version: "" where there are none.
    """

    sub_categories: tuple[RecognisedSubCategory, ...]
    method: ClassificationMethod
    model_version: str
    candidates_version: str


def taxonomy(model: ClassifierModel, index: CandidateIndex | None) -> Taxonomy:
    """Lists what a model recognises with these candidates, or by its own labels where there are none."""
    trained = set(model.sub_category.labels)
    derived_types: defaultdict[str, set[str]] = defaultdict(set)
    for label in trained:
        derived_types[label] = set()
    if index is None:
        if model.derived_type.labels:
            # The model's derived types belong to no subCategory: the heads were trained side by side.
            derived_types[""] = set(model.derived_type.labels)
    else:
        for sub_category, label in zip(index.candidates.sub_categories, index.labels, strict=True):
            derived_types[sub_category].add(label)
    return Taxonomy(
        sub_categories=tuple(
            # The model was trained on its own labels, whatever they belong to.
            RecognisedSubCategory(label, index is None or label in trained, tuple(sorted(derived_types[label])))
            for label in sorted(derived_types)
        ),
        method=ClassificationMethod.MODEL_LABELS if index is None else ClassificationMethod.CANDIDATES,
        model_version=model.model_version,
        candidates_version="" if index is None else index.candidates.version,
    )
