"""The taxonomy: at first the model's labels, then those of the catalogue."""

import numpy as np

from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.classifier.taxonomy import RecognisedSubCategory, taxonomy
from services.contract.values import ClassificationMethod, parse_derived_type
from services.search.candidates.clusters import Candidate, candidate_set


def _head(*labels: str) -> LabelHead:
    return LabelHead(labels, np.eye(len(labels), 4, dtype=np.float32), 1.0)


def _model(*derived_types: str) -> ClassifierModel:
    kinds = tuple(parse_derived_type(label) for label in derived_types)
    return ClassifierModel("v1", 4, _head("Topwear", "Bags"), _head(*derived_types), kinds)


def test_the_models_own_labels_stand_side_by_side() -> None:
    found = taxonomy(_model("Women Tops", "Men Shirts"), None)
    assert found.sub_categories == (
        RecognisedSubCategory("", True, ("Men Shirts", "Women Tops")),
        RecognisedSubCategory("Bags", True, ()),
        RecognisedSubCategory("Topwear", True, ()),
    )
    assert found.method is ClassificationMethod.MODEL_LABELS
    assert (found.model_version, found.candidates_version) == ("v1", "")


def test_a_model_without_derived_types_names_none() -> None:
    assert [found.label for found in taxonomy(_model(), None).sub_categories] == ["Bags", "Topwear"]


def test_candidates_bring_the_catalogues_types_and_sub_categories() -> None:
    model = _model("Women Tops")
    row = np.array([1.0, 0, 0, 0])
    candidates = candidate_set(
        "v1",
        4,
        [
            Candidate("Topwear", *parse_derived_type("Women Tops"), "1", row),
            Candidate("Topwear", *parse_derived_type("Men Shirts"), "2", row),
            Candidate("Dirndl", *parse_derived_type("Girls Dirndl"), "3", row),
        ],
    )
    found = taxonomy(model, model.index(candidates))
    assert found.sub_categories == (
        RecognisedSubCategory("Bags", True, ()),
        RecognisedSubCategory("Dirndl", False, ("Girls Dirndl",)),
        RecognisedSubCategory("Topwear", True, ("Men Shirts", "Women Tops")),
    )
    assert found.method is ClassificationMethod.CANDIDATES
    assert found.candidates_version == candidates.version
