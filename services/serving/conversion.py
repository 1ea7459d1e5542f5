"""Converts messages of fashion.v1 that several services share to values of `services.contract.values`, and back."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from fashion.v1 import embedder_pb2, types_pb2
from services.contract.errors import FashionError, InvalidInput
from services.contract.own_attributes import AttributeValue, Flag, OwnAttributes
from services.contract.values import (
    Box,
    Classification,
    ClassificationMethod,
    DerivedTypePrediction,
    Embedding,
    Garment,
    Gender,
    ModelInfo,
    Photograph,
    SubCategoryPrediction,
    Subject,
    View,
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

_SUBJECTS: Final = MappingProxyType(
    {
        types_pb2.SUBJECT_WHOLE: Subject.WHOLE,
        types_pb2.SUBJECT_AUTO: Subject.AUTO,
    }
)
SUBJECTS_TO_PROTO: Final = MappingProxyType(
    {Subject.WHOLE: types_pb2.SUBJECT_WHOLE, Subject.AUTO: types_pb2.SUBJECT_AUTO}
)

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


def gender_to_proto(value: Gender | None) -> types_pb2.Gender:
    """Packs a gender; UNSPECIFIED for an unknown one."""
    return types_pb2.GENDER_UNSPECIFIED if value is None else _GENDERS_TO_PROTO[value]


def own_attributes_from_proto(messages: Mapping[str, types_pb2.AttributeValue]) -> OwnAttributes:
    """Unpacks the shop's own attributes, unchecked. One of no kind has no labels, which the check refuses."""
    return {name: _attribute_value_from_proto(message) for name, message in messages.items()}


def _attribute_value_from_proto(message: types_pb2.AttributeValue) -> AttributeValue:
    match message.WhichOneof("kind"):
        case "number":
            return message.number
        case "flag":
            return Flag(message.flag)
        case _:
            return tuple(message.labels.values)


def own_attributes_to_proto(attributes: OwnAttributes) -> dict[str, types_pb2.AttributeValue]:
    """Packs the shop's own attributes."""
    return {name: _attribute_value_to_proto(value) for name, value in attributes.items()}


def _attribute_value_to_proto(value: AttributeValue) -> types_pb2.AttributeValue:
    match value:
        case Flag():
            return types_pb2.AttributeValue(flag=value.value)
        case float():
            return types_pb2.AttributeValue(number=value)
        case _:
            return types_pb2.AttributeValue(labels=types_pb2.Labels(values=value))


def photograph_from_proto(message: types_pb2.Image, default: Subject = Subject.WHOLE) -> Photograph:
    """Unpacks an image, unchecked but for its subject.

    Args:
        message: the image.
        default: its subject where the caller names none.

    Raises:
        InvalidInput: SUBJECT_INVALID; the subject is unknown.
    """
    subject = default if message.subject == types_pb2.SUBJECT_UNSPECIFIED else _SUBJECTS.get(message.subject)
    if subject is None:
        raise InvalidInput(
            f"The subject {message.subject} is unknown; send SUBJECT_WHOLE or SUBJECT_AUTO.",
            reason="SUBJECT_INVALID",
            metadata={"field": "subject"},
        )
    region = box_from_proto(message.region) if message.HasField("region") else None
    return Photograph(message.content, region, subject)


def photograph_to_proto(value: Photograph) -> types_pb2.Image:
    """Packs a photograph."""
    region = None if value.region is None else box_to_proto(value.region)
    return types_pb2.Image(content=value.content, region=region, subject=SUBJECTS_TO_PROTO[value.subject])


def box_from_proto(message: types_pb2.Box) -> Box:
    """Unpacks a box, unchecked."""
    return Box(message.left, message.top, message.right, message.bottom)


def box_to_proto(value: Box) -> types_pb2.Box:
    """Packs a box."""
    return types_pb2.Box(left=value.left, top=value.top, right=value.right, bottom=value.bottom)


def garments_from_proto(messages: Iterable[types_pb2.Garment]) -> tuple[Garment, ...]:
    """Unpacks the garments of a photograph."""
    return tuple(Garment(box_from_proto(each.box), each.sub_category, each.confidence) for each in messages)


def garments_to_proto(values: Iterable[Garment]) -> list[types_pb2.Garment]:
    """Packs the garments of a photograph."""
    return [
        types_pb2.Garment(box=box_to_proto(each.box), sub_category=each.sub_category, confidence=each.confidence)
        for each in values
    ]


def view_from_proto(message: types_pb2.PhotographView) -> View:
    """Unpacks what of a photograph was looked at."""
    region = box_from_proto(message.region) if message.HasField("region") else None
    return View(region, message.quarter_turns, garments_from_proto(message.garments))


def view_to_proto(value: View | None) -> types_pb2.PhotographView | None:
    """Packs what of a photograph was looked at; None where that is not known."""
    if value is None:
        return None
    return types_pb2.PhotographView(
        region=None if value.region is None else box_to_proto(value.region),
        quarter_turns=value.quarter_turns,
        garments=garments_to_proto(value.garments),
    )


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


def row_error_from_proto(status: types_pb2.RowStatus, metadata: Mapping[str, str] | None = None) -> FashionError | None:
    """Unpacks the outcome of a row: its error, or None for OK.

    Args:
        status: the outcome.
        metadata: what the row says of the error beside its status.
    """
    if status.code == 0:
        return None
    category = category_of(status.code) or FashionError
    return category(status.message, reason=status.reason, metadata=metadata)


def _derived_type_from_proto(message: types_pb2.DerivedTypePrediction) -> DerivedTypePrediction:
    known = gender_from_proto(message.gender)
    if known is None and message.gender != types_pb2.GENDER_UNSPECIFIED:
        raise ValueError(f"gender {message.gender} is unknown")
    return DerivedTypePrediction(
        gender=known,
        article_type=message.article_type,
        sub_category=message.sub_category or None,
        similarity=message.similarity,
        margin=message.margin if message.HasField("margin") else None,
        probability=message.probability if message.HasField("probability") else None,
    )
