"""Converts messages of fashion.v1 that several services share to values of `services.contract.values`, and back."""

from types import MappingProxyType
from typing import Final

from fashion.v1 import embedder_pb2, types_pb2
from services.contract.errors import FashionError
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
from services.serving.status import category_of, shown

_GENDERS: Final = MappingProxyType(
    {
        types_pb2.GENDER_MEN: Gender.MEN,
        types_pb2.GENDER_WOMEN: Gender.WOMEN,
        types_pb2.GENDER_BOYS: Gender.BOYS,
        types_pb2.GENDER_GIRLS: Gender.GIRLS,
        types_pb2.GENDER_UNISEX: Gender.UNISEX,
    }
)
_GENDERS_TO_PROTO: Final = MappingProxyType({gender: value for value, gender in _GENDERS.items()})

_METHODS: Final = MappingProxyType(
    {
        types_pb2.CLASSIFICATION_METHOD_CANDIDATES: ClassificationMethod.CANDIDATES,
        types_pb2.CLASSIFICATION_METHOD_MODEL_LABELS: ClassificationMethod.MODEL_LABELS,
        types_pb2.CLASSIFICATION_METHOD_NEIGHBOURS: ClassificationMethod.NEIGHBOURS,
    }
)
_METHODS_TO_PROTO: Final = MappingProxyType({method: value for value, method in _METHODS.items()})


def gender_from_proto(value: types_pb2.Gender) -> Gender | None:
    """Unpacks a gender; None for UNSPECIFIED and for unknown values."""
    return _GENDERS.get(value)


def gender_to_proto(value: Gender) -> types_pb2.Gender:
    """Packs a gender."""
    return _GENDERS_TO_PROTO[value]


def photograph_from_proto(message: types_pb2.Image) -> Photograph:
    """Unpacks an image, unchecked."""
    if not message.HasField("region"):
        return Photograph(message.content)
    region = message.region
    return Photograph(message.content, Box(region.left, region.top, region.right, region.bottom))


def photograph_to_proto(value: Photograph) -> types_pb2.Image:
    """Packs a photograph."""
    if value.region is None:
        return types_pb2.Image(content=value.content)
    box = value.region
    region = types_pb2.Box(left=box.left, top=box.top, right=box.right, bottom=box.bottom)
    return types_pb2.Image(content=value.content, region=region)


def embedding_from_proto(message: types_pb2.Embedding) -> Embedding:
    """Unpacks an embedding, unchecked; check those of callers with `services.contract.embedding`."""
    import numpy as np

    return Embedding(np.array(message.values, dtype=np.float32), message.model_version)


def embedding_to_proto(value: Embedding) -> types_pb2.Embedding:
    """Packs an embedding."""
    return types_pb2.Embedding(values=value.values.tolist(), model_version=value.model_version)


def model_from_proto(message: embedder_pb2.Model) -> ModelInfo:
    """Unpacks the description of a model."""
    return ModelInfo(
        name=message.name,
        model_version=message.model_version,
        dimension=message.dimension,
        input_height=message.input_height,
        input_width=message.input_width,
        runtime=message.runtime,
        precision=message.precision,
        reference_precision=message.reference_precision,
    )


def model_to_proto(value: ModelInfo) -> embedder_pb2.Model:
    """Packs the description of a model."""
    return embedder_pb2.Model(
        name=value.name,
        model_version=value.model_version,
        dimension=value.dimension,
        input_height=value.input_height,
        input_width=value.input_width,
        runtime=value.runtime,
        precision=value.precision,
        reference_precision=value.reference_precision,
    )


def method_from_proto(value: types_pb2.ClassificationMethod) -> ClassificationMethod:
    """Unpacks how derived types were found.

    Raises:
        ValueError: the value is unknown.
    """
    if value not in _METHODS:
        raise ValueError(f"classification method {value} is unknown")
    return _METHODS[value]


def method_to_proto(value: ClassificationMethod) -> types_pb2.ClassificationMethod:
    """Packs how derived types were found."""
    return _METHODS_TO_PROTO[value]


def classification_from_proto(message: types_pb2.Classification) -> Classification:
    """Unpacks a classification.

    Raises:
        ValueError: its gender or its method is unknown.
    """
    return Classification(
        sub_categories=tuple(
            SubCategoryPrediction(each.label, each.probability if each.HasField("probability") else None)
            for each in message.sub_categories
        ),
        derived_types=tuple(_derived_type_from_proto(each) for each in message.derived_types),
        method=method_from_proto(message.method),
        model_version=message.model_version,
        candidates_version=message.candidates_version,
        confidence=message.confidence if message.HasField("confidence") else None,
    )


def classification_to_proto(value: Classification) -> types_pb2.Classification:
    """Packs a classification."""
    return types_pb2.Classification(
        sub_categories=[
            types_pb2.SubCategoryPrediction(label=each.label, probability=each.probability)
            for each in value.sub_categories
        ],
        derived_types=[
            types_pb2.DerivedTypePrediction(
                label=each.label,
                gender=gender_to_proto(each.gender),
                article_type=each.article_type,
                sub_category=each.sub_category or "",
                similarity=each.similarity,
                margin=each.margin,
                probability=each.probability,
            )
            for each in value.derived_types
        ],
        method=method_to_proto(value.method),
        model_version=value.model_version,
        candidates_version=value.candidates_version,
        confidence=value.confidence,
    )


def row_error_to_proto(error: BaseException | None) -> types_pb2.RowStatus:
    """Packs the outcome of a row: OK without an error, else the status that a call of its own would get."""
    if error is None:
        return types_pb2.RowStatus()
    code, reason, message = shown(error)
    return types_pb2.RowStatus(code=code, reason=reason, message=message)


def row_error_from_proto(status: types_pb2.RowStatus) -> FashionError | None:
    """Unpacks the outcome of a row: its error, or None for OK."""
    if status.code == 0:
        return None
    category = category_of(status.code) or FashionError
    return category(status.message, reason=status.reason)


def _derived_type_from_proto(message: types_pb2.DerivedTypePrediction) -> DerivedTypePrediction:
    known = gender_from_proto(message.gender)
    if known is None:
        raise ValueError(f"gender {message.gender} is unknown")
    return DerivedTypePrediction(
        gender=known,
        article_type=message.article_type,
        sub_category=message.sub_category or None,
        similarity=message.similarity,
        margin=message.margin if message.HasField("margin") else None,
        probability=message.probability if message.HasField("probability") else None,
    )
