"""The subCategories and derived types that the classifier can recognise."""

from collections import defaultdict
from dataclasses import dataclass

from services.classifier.candidate_index import CandidateIndex
from services.classifier.recognition import ClassifierModel
from services.contract.values import ClassificationMethod


@dataclass(frozen=True, slots=True)
class RecognisedSubCategory:
    """A subCategory that can be recognised.

    Attributes:
        label: such as "Topwear"; "" for derived types that the model knows without a subCategory.
        trained: whether the head was trained on it; otherwise only candidates recognise it.
        derived_types: in alphabetical order.
    """

    label: str
    trained: bool
    derived_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """All that the classifier can recognise.

    Attributes:
        sub_categories: in alphabetical order.
        method: how derived types are recognised.
        model_version: version of the served model.
        candidates_version: "" without candidates.
    """

    sub_categories: tuple[RecognisedSubCategory, ...]
    method: ClassificationMethod
    model_version: str
    candidates_version: str


def taxonomy(model: ClassifierModel, index: CandidateIndex | None) -> Taxonomy:
    """Lists what a model recognises with candidates, or by its own labels without any."""
    trained = set(model.sub_category.labels)
    derived_types: defaultdict[str, set[str]] = defaultdict(set)
    for label in trained:
        derived_types[label] = set()
    if index is None:
        if model.derived_type.labels:
            # The head's derived types have no subCategory: the two heads were trained independently.
            derived_types[""] = set(model.derived_type.labels)
    else:
        for sub_category, label in zip(index.candidates.sub_categories, index.labels, strict=True):
            derived_types[sub_category].add(label)
    return Taxonomy(
        sub_categories=tuple(
            # Without candidates all labels are the model's own, so it was trained on them.
            RecognisedSubCategory(label, index is None or label in trained, tuple(sorted(derived_types[label])))
            for label in sorted(derived_types)
        ),
        method=ClassificationMethod.MODEL_LABELS if index is None else ClassificationMethod.CANDIDATES,
        model_version=model.model_version,
        candidates_version="" if index is None else index.candidates.version,
    )
