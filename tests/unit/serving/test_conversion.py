"""Messages of fashion.v1 convert to values and back."""

import numpy as np
import pytest

from fashion.v1 import types_pb2
from services.contract.values import (
    Box,
    Classification,
    ClassificationMethod,
    DerivedTypePrediction,
    Embedding,
    Gender,
    ModelInfo,
    Photograph,
    SubCategoryPrediction,
)
from services.serving import conversion

CLASSIFICATION = Classification(
    sub_categories=(SubCategoryPrediction("Kimonos", None), SubCategoryPrediction("Topwear", 0.5)),
    derived_types=(
        DerivedTypePrediction(Gender.MEN, "Tshirts", "Topwear", 0.75, 0.25),
        DerivedTypePrediction(Gender.UNISEX, "Caps", None, 0.5, None),
    ),
    method=ClassificationMethod.CANDIDATES,
    model_version="m",
    candidates_version="",
)


@pytest.mark.parametrize("gender", Gender)
def test_every_gender_goes_there_and_back(gender: Gender) -> None:
    packed = conversion.gender_to_proto(gender)

    assert types_pb2.Gender.Name(packed) == f"GENDER_{gender.name}"
    assert conversion.gender_from_proto(packed) is gender


@pytest.mark.parametrize("value", [0, 99])
def test_a_gender_not_stated_or_unknown_is_none(value: int) -> None:
    assert conversion.gender_from_proto(value) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("photograph", [Photograph(b"x"), Photograph(b"", Box(0.0, 0.25, 0.5, 1.0))])
def test_photographs_go_there_and_back(photograph: Photograph) -> None:
    assert conversion.photograph_from_proto(conversion.photograph_to_proto(photograph)) == photograph


def test_a_region_of_zeros_is_a_region() -> None:
    # The check of regions refuses an empty box; the conversion must not make the whole photograph of it.
    assert conversion.photograph_from_proto(types_pb2.Image(content=b"x", region=types_pb2.Box())).region == Box(
        0, 0, 0, 0
    )


def test_embeddings_keep_every_bit() -> None:
    values = np.random.default_rng(0).standard_normal(2048).astype(np.float32)

    back = conversion.embedding_from_proto(conversion.embedding_to_proto(Embedding(values, "m")))

    assert back.model_version == "m"
    assert back.values.dtype == np.float32
    assert np.array_equal(back.values, values)


def test_models_go_there_and_back() -> None:
    model = ModelInfo("name", "version", 2048, 80, 60, "tensorflow", "float32", "bfloat16")

    assert conversion.model_from_proto(conversion.model_to_proto(model)) == model


def test_classifications_go_there_and_back_absences_included() -> None:
    packed = conversion.classification_to_proto(CLASSIFICATION)

    assert packed.derived_types[0].label == "Men Tshirts"
    assert not packed.sub_categories[0].HasField("probability")
    assert conversion.classification_from_proto(packed) == CLASSIFICATION


def test_a_probability_of_zero_is_one() -> None:
    packed = types_pb2.Classification(method=types_pb2.CLASSIFICATION_METHOD_MODEL_LABELS)
    packed.sub_categories.add(label="Topwear", probability=0.0)

    assert conversion.classification_from_proto(packed).sub_categories[0].probability == 0.0


def test_what_a_newer_classifier_may_say_is_refused() -> None:
    packed = conversion.classification_to_proto(CLASSIFICATION)
    packed.derived_types[0].gender = 77  # type: ignore[assignment]
    with pytest.raises(ValueError, match="gender 77"):
        conversion.classification_from_proto(packed)
    with pytest.raises(ValueError, match="method 0"):
        conversion.classification_from_proto(types_pb2.Classification())
