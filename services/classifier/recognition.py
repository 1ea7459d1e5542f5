"""Combines heads and candidates: batches of embeddings in, classifications out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.classifier import candidate_index as by_candidate
from services.classifier import heads
from services.classifier.candidate_index import CandidateIndex, compared, predicted_sub_categories
from services.classifier.heads import LabelHead
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

# Similarities of 1,024 embeddings to 1,000 candidates take 4 MiB.
_ROWS_PER_STEP = 1024


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierModel:
    """The heads of a bundle.

    Attributes:
        model_version: content hash of the bundle.
        dimension: floats in an embedding.
        sub_category: the head over subCategories.
        derived_type: the head over derived types.
        kinds: shape (c,), gender and article type of each label of `derived_type`.
    """

    model_version: str
    dimension: int
    sub_category: LabelHead
    derived_type: LabelHead
    kinds: tuple[tuple[Gender, str], ...]

    def __post_init__(self) -> None:
        """Refuses heads of another dimension."""
        for head in (self.sub_category, self.derived_type):
            if head.weights.shape[1] != self.dimension:
                raise ValueError(f"a head of dimension {head.weights.shape[1]} in a model of {self.dimension}")
        if len(self.kinds) != len(self.derived_type.labels):
            raise ValueError(f"{len(self.kinds)} kinds for {len(self.derived_type.labels)} derived types")

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Loads the heads of a bundle; one that it lacks has no labels.

        Raises:
            InvalidInput: the file of the heads is not what the bundle says.
            ValueError: a label of the head over derived types is not a derived type.
        """
        sub_category, derived_type = (
            heads.load_head(bundle, name) for name in (heads.SUB_CATEGORY, heads.DERIVED_TYPE)
        )
        kinds = tuple(parse_derived_type(label) for label in derived_type.labels)
        return cls(bundle.model_version, bundle.dimension, sub_category, derived_type, kinds)

    @classmethod
    def without_heads(cls, space: EmbeddingSpace) -> Self:
        """Makes the model of an encoder without heads: only candidates recognise anything."""
        nothing = heads.no_head(space.dimension)
        return cls(space.model_version, space.dimension, nothing, nothing, ())

    def index(self, candidates: CandidateSet) -> CandidateIndex:
        """Prepares candidates for comparison, beside these heads."""
        return CandidateIndex.of(candidates, self.sub_category.labels, self.derived_type.labels)


def classify_batch(
    model: ClassifierModel, index: CandidateIndex | None, embeddings: NDArray[np.float32], top_k: int
) -> list[Classification]:
    """Classifies embeddings.

    The subCategory is that of its head. The derived type is that of its head, among the labels that the catalogue has;
    without candidates, among all its labels.

    Derived types that the head was never trained on are recognised by candidates. The candidates compared are those of
    the most probable subCategory that has any, and those of untrained subCategories. If the most similar one is of an
    untrained derived type, the candidates decide. Its subCategory goes first if the head was not trained on it.

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
        for row, places, (method, derived_types) in zip(probable, order, recognised, strict=True):
            classifications.append(
                Classification(
                    sub_categories=_sub_categories(model, row, places, derived_types[:1], top_k),
                    derived_types=derived_types,
                    method=method,
                    model_version=model.model_version,
                    candidates_version="" if index is None else index.candidates.version,
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
) -> list[tuple[ClassificationMethod, tuple[DerivedTypePrediction, ...]]]:
    by_head = ClassificationMethod.MODEL_LABELS
    if index is None:
        every = model.derived_type.alphabetical
        return [(by_head, types) for types in _by_head(model, None, every, embeddings, probable, top_k)]
    if not index.unknown:
        return [(by_head, types) for types in _by_head(model, index, index.known, embeddings, probable, top_k)]
    # Elsewhere the head decides whatever the candidates say, and comparing is slower than the head.
    codes = predicted_sub_categories(probable, model.sub_category.labels, index)
    contested = np.flatnonzero(index.contested[codes])
    compared_with = _by_candidates(index, codes[contested], embeddings[contested], top_k)
    by_candidates = {
        row: types
        for row, types in zip(contested.tolist(), compared_with, strict=True)
        if not types or types[0].label in index.unknown
    }
    familiar = [row for row in range(len(embeddings)) if row not in by_candidates]
    heads = _by_head(model, index, index.known, embeddings[familiar], probable[familiar], top_k)
    by_heads = dict(zip(familiar, heads, strict=True))
    return [
        (ClassificationMethod.CANDIDATES, by_candidates[row]) if row in by_candidates else (by_head, by_heads[row])
        for row in range(len(embeddings))
    ]


def _by_head(
    model: ClassifierModel,
    index: CandidateIndex | None,
    eligible: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    probable: NDArray[np.float32],
    top_k: int,
) -> list[tuple[DerivedTypePrediction, ...]]:
    """Ranks labels of the head, each with its most probable subCategory in the catalogue.

    `eligible` is in alphabetical order, which decides between equals.
    """
    head = model.derived_type
    similar = heads.similarities(embeddings, head)[:, eligible]
    probability = model.sub_category.columns
    order = np.argsort(-similar, axis=1, kind="stable")
    predictions = []
    for row, places, likely in zip(similar, order, probable, strict=True):
        best: list[tuple[Gender, str, str | None, float]] = []
        for place in places[: top_k + 1].tolist():
            column = int(eligible[place])
            within = None
            if index is not None:
                within = max(
                    index.places[head.labels[column]],
                    key=lambda label: likely[probability[label]] if label in probability else 0.0,
                )
            best.append((*model.kinds[column], within, float(row[place])))
        predictions.append(_with_margins(best, top_k))
    return predictions


def _by_candidates(
    index: CandidateIndex, codes: NDArray[np.int64], embeddings: NDArray[np.float32], top_k: int
) -> list[tuple[DerivedTypePrediction, ...]]:
    allowed = compared(codes, index)
    columns = np.flatnonzero(allowed.any(axis=0))
    allowed = allowed[:, columns]
    similar = by_candidate.similarities(embeddings, index, columns)
    candidates = index.candidates
    predictions = []
    for row, order, count in zip(similar, by_candidate.ranking(similar, allowed), allowed.sum(axis=1), strict=True):
        best: dict[str, tuple[Gender, str, str, float]] = {}
        for column in order[:count].tolist():
            place = int(columns[column])
            # A derived type in several subCategories counts once, by its most similar candidate.
            if index.labels[place] not in best:
                kind = (candidates.genders[place], candidates.article_types[place], candidates.sub_categories[place])
                best[index.labels[place]] = (*kind, float(row[column]))
            if len(best) > top_k:
                break
        predictions.append(_with_margins(list(best.values()), top_k))
    return predictions


def _with_margins(
    best: Sequence[tuple[Gender, str, str | None, float]], top_k: int
) -> tuple[DerivedTypePrediction, ...]:
    """Makes predictions of the best `top_k`; `best` holds one more, if there is one, for the last margin."""
    margins: list[float | None] = [first[3] - second[3] for first, second in pairwise(best)]
    return tuple(
        DerivedTypePrediction(gender, article_type, sub_category, similarity, margin)
        for (gender, article_type, sub_category, similarity), margin in zip(best, [*margins, None], strict=False)
    )[:top_k]
