"""Combines heads and candidates: batches of embeddings in, classifications out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.classifier import candidate_index as by_candidate
from services.classifier import heads
from services.classifier.candidate_index import CandidateIndex, compared, predicted_sub_categories
from services.classifier.heads import LabelHead
from services.classifier.type_head import TypeHead, with_equal_say
from services.contract.errors import InvalidInput
from services.contract.protocols import EmbeddingSpace
from services.contract.values import (
    CandidateSet,
    Classification,
    ClassificationMethod,
    DerivedTypePrediction,
    Gender,
    SubCategoryPrediction,
    parse_derived_type,
)

# Gender, article type, subCategory, similarity and probability of a derived type.
_Ranked: TypeAlias = tuple[Gender | None, str, str | None, float, float]
# Similarities of 1,024 embeddings to 1,000 candidates take 4 MiB.
_ROWS_PER_STEP = 1024
# Factor on the similarities to candidates before the softmax, where no head of derived types has one.
_SCALE: Final = 16.0


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierModel:
    """The heads of a bundle.

    Attributes:
        model_version: content hash of the bundle.
        dimension: floats in an embedding.
        sub_category: the head over subCategories.
        derived_type: the head over derived types.
        kinds: shape (c,), gender and article type of each label of `derived_type`.
        article_type: the head over article types; one without labels does not count.
        types: the heads of derived types and article types together.
    """

    model_version: str
    dimension: int
    sub_category: LabelHead
    derived_type: LabelHead
    kinds: tuple[tuple[Gender | None, str], ...]
    article_type: LabelHead | None = None
    types: TypeHead = field(init=False)

    def __post_init__(self) -> None:
        """Refuses heads of another dimension."""
        article_type = self.article_type or heads.no_head(self.dimension)
        for head in (self.sub_category, self.derived_type, article_type):
            if head.weights.shape[1] != self.dimension:
                raise ValueError(f"a head of dimension {head.weights.shape[1]} in a model of {self.dimension}")
        if len(self.kinds) != len(self.derived_type.labels):
            raise ValueError(f"{len(self.kinds)} kinds for {len(self.derived_type.labels)} derived types")
        object.__setattr__(self, "types", TypeHead.of(self.derived_type, self.kinds, article_type))

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Loads the heads of a bundle; one that it lacks has no labels.

        Raises:
            InvalidInput: BUNDLE_INVALID; the heads are not what the bundle says, or do not fit together.
        """
        try:
            sub_category, derived_type, article_type, gender = (
                heads.load_head(bundle, name)
                for name in (heads.SUB_CATEGORY, heads.DERIVED_TYPE, heads.ARTICLE_TYPE, heads.GENDER)
            )
            kinds = tuple(parse_derived_type(label, article_type.columns) for label in derived_type.labels)
            derived_type = with_equal_say(derived_type, kinds, gender)
            return cls(bundle.model_version, bundle.dimension, sub_category, derived_type, kinds, article_type)
        except ValueError as error:
            raise InvalidInput(
                f"The heads of the bundle {bundle.name!r} do not fit together: {error}.", reason="BUNDLE_INVALID"
            ) from error

    @classmethod
    def without_heads(cls, space: EmbeddingSpace) -> Self:
        """Makes the model of an encoder without heads: only candidates recognise anything."""
        nothing = heads.no_head(space.dimension)
        return cls(space.model_version, space.dimension, nothing, nothing, ())

    def index(self, candidates: CandidateSet, unrecognised: Collection[str] | None = None) -> CandidateIndex:
        """Prepares candidates for comparison, beside these heads; see `CandidateIndex.of`."""
        return CandidateIndex.of(candidates, self.sub_category.labels, self.types, unrecognised)


@dataclass(frozen=True, slots=True)
class _Types:
    """The derived types of one embedding: how they were recognised, the likeliest first, and `confidence`."""

    method: ClassificationMethod
    predictions: tuple[DerivedTypePrediction, ...]
    confidence: float | None


def classify_batch(
    model: ClassifierModel, index: CandidateIndex | None, embeddings: NDArray[np.float32], top_k: int
) -> list[Classification]:
    """Classifies embeddings.

    The subCategory is that of its head. The derived type is that of its head, among the labels that the catalogue has;
    without candidates, among all its labels.

    Derived types that the head was never trained on, or does not recognise in this catalogue, are recognised by
    candidates. The candidates compared are those of the most probable subCategory that has any, and those of untrained
    subCategories. If the most similar one is of such a derived type, the candidates decide. Its subCategory goes first
    if the head was not trained on it.

    Args:
        model: the heads.
        index: the candidates, or None.
        embeddings: float32, shape (n, dimension), L2-normalised rows.
        top_k: maximum subCategories and derived types of a classification, at least 1.

    Returns:
        n classifications.
    """
    classifications: list[Classification] = []
    for start in range(0, len(embeddings), _ROWS_PER_STEP):
        rows = embeddings[start : start + _ROWS_PER_STEP]
        probable = heads.probabilities(rows, model.sub_category)
        recognised = _derived_types(model, index, rows, probable, top_k)
        order = heads.ranking(probable, model.sub_category)
        for row, places, types in zip(probable, order, recognised, strict=True):
            classifications.append(
                Classification(
                    sub_categories=_sub_categories(model, row, places, types.predictions[:1], top_k),
                    derived_types=types.predictions,
                    method=types.method,
                    model_version=model.model_version,
                    candidates_version="" if index is None else index.candidates.version,
                    confidence=types.confidence,
                )
            )
    return classifications


def _sub_categories(
    model: ClassifierModel,
    probable: NDArray[np.float32],
    order: NDArray[np.int64],
    winner: Sequence[DerivedTypePrediction],
    top_k: int,
) -> tuple[SubCategoryPrediction, ...]:
    labels = model.sub_category.labels
    predictions = [SubCategoryPrediction(labels[column], float(probable[column])) for column in order[:top_k].tolist()]
    for prediction in winner:
        if prediction.sub_category is not None and prediction.sub_category not in labels:
            predictions.insert(0, SubCategoryPrediction(prediction.sub_category, None))
    return tuple(predictions[:top_k])


def _derived_types(
    model: ClassifierModel,
    index: CandidateIndex | None,
    embeddings: NDArray[np.float32],
    probable: NDArray[np.float32],
    top_k: int,
) -> list[_Types]:
    if index is None or not index.unknown:
        return _by_head(model, index, embeddings, probable, top_k)
    # Elsewhere the head decides whatever the candidates say, and comparing is slower than the head.
    codes = predicted_sub_categories(probable, index)
    contested = np.flatnonzero(index.contested[codes])
    if not len(contested):
        return _by_head(model, index, embeddings, probable, top_k)
    compared_with = _by_candidates(index, codes[contested], embeddings[contested], top_k)
    answers = {
        row: types
        for row, types in zip(contested.tolist(), compared_with, strict=True)
        if not types.predictions or types.predictions[0].label in index.unknown
    }
    familiar = [row for row in range(len(embeddings)) if row not in answers]
    if familiar:
        by_head = _by_head(model, index, embeddings[familiar], probable[familiar], top_k)
        answers.update(zip(familiar, by_head, strict=True))
    return [answers[row] for row in range(len(embeddings))]


def _by_head(
    model: ClassifierModel,
    index: CandidateIndex | None,
    embeddings: NDArray[np.float32],
    probable: NDArray[np.float32],
    top_k: int,
) -> list[_Types]:
    """Ranks labels of the head, each with its most probable subCategory in the catalogue."""
    head = model.types if index is None else index.head
    similar, logarithms = head.scores(embeddings)
    probability = model.sub_category.columns
    order = np.argsort(-similar, axis=1, kind="stable")
    answers = []
    for row, shares, places, likely in zip(similar, np.exp(logarithms), order, probable, strict=True):
        best: list[_Ranked] = []
        for place in places[: top_k + 1].tolist():
            gender, article_type = head.kinds[place]
            within = None
            if index is not None:
                within = max(
                    index.places[head.labels[place]],
                    key=lambda label: likely[probability[label]] if label in probability else 0.0,
                )
            best.append((gender, article_type, within, float(row[place]), float(shares[place])))
        confidence = float(shares[head.groups == head.groups[places[0]]].sum()) if best else None
        answers.append(_answer(ClassificationMethod.MODEL_LABELS, best, confidence, top_k))
    return answers


def _by_candidates(
    index: CandidateIndex, codes: NDArray[np.int64], embeddings: NDArray[np.float32], top_k: int
) -> list[_Types]:
    """Ranks derived types by their most similar candidate; one in several subCategories counts once."""
    allowed = compared(codes, index)
    columns = np.flatnonzero(allowed.any(axis=0))
    similar = np.where(allowed[:, columns], by_candidate.similarities(embeddings, index, columns), np.float32(-np.inf))
    # Candidates are ordered by derived type, so that those of one are side by side.
    labels = np.array([index.labels[column] for column in columns.tolist()], dtype=object)
    starts = np.flatnonzero(labels[1:] != labels[:-1]) + 1 if len(labels) else np.empty(0, dtype=np.int64)
    starts = np.concatenate([np.zeros(min(1, len(labels)), dtype=np.int64), starts])
    nearest = np.maximum.reduceat(similar, starts, axis=1) if len(starts) else similar
    scale = np.float32(index.head.types.scale if index.head.labels else _SCALE)
    shares = np.exp(heads.log_softmax(scale * nearest))
    order = np.argsort(-nearest, axis=1, kind="stable")
    ends = [*starts[1:].tolist(), len(labels)]
    candidates = index.candidates
    articles = np.array([candidates.article_types[columns[start]] for start in starts.tolist()], dtype=object)
    answers = []
    for row, values, share, places in zip(similar, nearest, shares, order, strict=True):
        best: list[_Ranked] = []
        for place in places[: top_k + 1].tolist():
            if not np.isfinite(values[place]):
                break
            start = int(starts[place])
            column = int(columns[start + int(row[start : ends[place]].argmax())])
            best.append(
                (
                    candidates.genders[column],
                    candidates.article_types[column],
                    candidates.sub_categories[column],
                    float(values[place]),
                    float(share[place]),
                )
            )
        confidence = float(share[articles == best[0][1]].sum()) if best else None
        answers.append(_answer(ClassificationMethod.CANDIDATES, best, confidence, top_k))
    return answers


def _answer(method: ClassificationMethod, best: Sequence[_Ranked], confidence: float | None, top_k: int) -> _Types:
    """Adds margins to the best `top_k`; `best` holds one more, if there is one, for the last margin."""
    margins: list[float | None] = [first[3] - second[3] for first, second in pairwise(best)]
    predictions = tuple(
        DerivedTypePrediction(gender, article_type, sub_category, similarity, margin, probability)
        for (gender, article_type, sub_category, similarity, probability), margin in zip(
            best, [*margins, None], strict=False
        )
    )[:top_k]
    # Sums of rounded shares may exceed 1.
    return _Types(method, predictions, None if confidence is None else min(confidence, 1.0))
