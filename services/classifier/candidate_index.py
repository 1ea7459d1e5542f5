"""Ranks derived types by the similarity of embeddings to the candidates of the catalogue."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.classifier.type_head import TypeHead
from services.contract.values import CandidateSet, derived_type

NO_SUB_CATEGORY = -1
# One-sided 95 %: by so many standard errors the other candidates have to name a type better than the head does.
_SIGNIFICANT: Final = 1.64


@dataclass(frozen=True, slots=True, eq=False)
class CandidateIndex:
    """Candidates prepared for comparison, ordered by derived type, then by subCategory.

    Attributes:
        candidates: the m candidates in that order.
        labels: shape (m,), the derived type of each candidate.
        sub_categories: the s distinct subCategories in alphabetical order.
        codes: int64, shape (m,), the subCategory of each candidate as a position in `sub_categories`.
        untrained: bool, shape (m,), whether the head was never trained on the candidate's subCategory.
        head: the head of the derived types that it recognises in this catalogue.
        unknown: derived types of the catalogue that the head was never trained on, or does not recognise in it.
        contested: bool, shape (s + 1,), by position of a subCategory, and last for none: whether an unknown derived
            type is among the candidates to compare with there.
        places: the subCategories of each derived type in the catalogue, in alphabetical order.
        trained_columns: int64, shape (t,), the labels of the head of subCategories that have candidates, as positions
            among its labels.
        trained_codes: int64, shape (t,), these subCategories as positions in `sub_categories`.
    """

    candidates: CandidateSet
    labels: tuple[str, ...]
    sub_categories: tuple[str, ...]
    codes: NDArray[np.int64]
    untrained: NDArray[np.bool_]
    head: TypeHead
    unknown: frozenset[str]
    contested: NDArray[np.bool_]
    places: Mapping[str, tuple[str, ...]]
    trained_columns: NDArray[np.int64]
    trained_codes: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        candidates: CandidateSet,
        trained: Sequence[str],
        head: TypeHead,
        unrecognised: Collection[str] | None = None,
    ) -> Self:
        """Prepares candidates.

        A head may know a label from a single product, which says nothing of a catalogue that has many. So a derived
        type counts as unknown too if the head takes its candidates for others where the other candidates do not.

        Args:
            candidates: at least one candidate.
            trained: the labels of the head of subCategories, those that it was trained on.
            head: the head of all derived types that it was trained on.
            unrecognised: derived types that the head does not recognise in this catalogue; None to find them out.
        """
        labels = [derived_type(*kind) for kind in zip(candidates.genders, candidates.article_types, strict=True)]
        # Equal similarities are ranked in this order, so that the answer does not depend on the publisher's order.
        order = sorted(
            range(len(labels)),
            key=lambda row: (labels[row], candidates.sub_categories[row], candidates.product_ids[row]),
        )
        ordered = CandidateSet(
            version=candidates.version,
            model_version=candidates.model_version,
            sub_categories=tuple(candidates.sub_categories[row] for row in order),
            genders=tuple(candidates.genders[row] for row in order),
            article_types=tuple(candidates.article_types[row] for row in order),
            product_ids=tuple(candidates.product_ids[row] for row in order),
            embeddings=candidates.embeddings[order],
        )
        sub_categories = tuple(sorted(set(ordered.sub_categories)))
        position = {label: code for code, label in enumerate(sub_categories)}
        places: dict[str, set[str]] = {}
        for row, label in enumerate(labels):
            places.setdefault(label, set()).add(candidates.sub_categories[row])
        head = head.only(places)
        ordered_labels = tuple(labels[row] for row in order)
        if unrecognised is None:
            unrecognised = _unrecognised(ordered.embeddings, ordered_labels, head)
        head = head.only(set(head.labels).difference(unrecognised))
        unknown = frozenset(label for label in places if not head.covers(label))
        codes = np.array([position[label] for label in ordered.sub_categories], dtype=np.int64)
        untrained = np.array([label not in trained for label in ordered.sub_categories], dtype=np.bool_)
        of_unknown = np.array([labels[row] in unknown for row in order], dtype=np.bool_)
        contested = np.full(len(sub_categories) + 1, bool((of_unknown & untrained).any()))
        contested[codes[of_unknown]] = True
        known = [(column, position[label]) for column, label in enumerate(trained) if label in position]
        return cls(
            candidates=ordered,
            labels=ordered_labels,
            sub_categories=sub_categories,
            codes=codes,
            untrained=untrained,
            head=head,
            unknown=unknown,
            contested=contested,
            places={label: tuple(sorted(sub_categories)) for label, sub_categories in places.items()},
            trained_columns=np.array([column for column, _ in known], dtype=np.int64),
            trained_codes=np.array([code for _, code in known], dtype=np.int64),
        )


def _unrecognised(embeddings: NDArray[np.float32], labels: Sequence[str], head: TypeHead) -> set[str]:
    """Returns the derived types that the head misses in this catalogue, and the other candidates find.

    Each candidate is left out in turn: is the most similar of the others of its type, and does the head name it?

    Args:
        embeddings: float32, shape (m, dimension), L2-normalised rows, the candidates.
        labels: shape (m,), the derived type of each.
        head: the head of derived types.
    """
    if not head.labels:
        return set()
    types = np.array(labels)
    missed = np.array(head.labels)[head.scores(embeddings)[1].argmax(axis=1)] != types
    suspects = {label for label, count in zip(*np.unique(types[missed], return_counts=True), strict=True) if count > 2}
    rows = np.flatnonzero(np.isin(types, [*suspects.intersection(head.labels)]))
    similar = embeddings[rows] @ embeddings.T
    similar[np.arange(len(rows)), rows] = -np.inf
    gains = (types[similar.argmax(axis=1)] == types[rows]) - (~missed[rows]).astype(np.float64)
    found = set()
    for label in suspects:
        gain = gains[types[rows] == label]
        if gain.sum() > _SIGNIFICANT * np.sqrt(np.square(gain).sum()):
            found.add(label)
    return found


def similarities(
    embeddings: NDArray[np.float32], index: CandidateIndex, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compares embeddings with candidates.

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised rows.
        index: the candidates.
        rows: int64, shape (m,), positions of the candidates to compare with.

    Returns:
        float32, shape (n, m), in [-1, 1].
    """
    cosines: NDArray[np.float32] = np.clip(embeddings @ index.candidates.embeddings[rows].T, -1.0, 1.0)
    return cosines


def predicted_sub_categories(probabilities: NDArray[np.float32], index: CandidateIndex) -> NDArray[np.int64]:
    """Finds the most probable subCategory that has candidates.

    Args:
        probabilities: float32, shape (n, c), in the order of the labels that the index was made with.
        index: the candidates.

    Returns:
        int64, shape (n,), positions in `index.sub_categories`; NO_SUB_CATEGORY if no trained subCategory has
        candidates.
    """
    if not len(index.trained_columns):
        return np.full(len(probabilities), NO_SUB_CATEGORY, dtype=np.int64)
    predicted: NDArray[np.int64] = index.trained_codes[probabilities[:, index.trained_columns].argmax(axis=1)]
    return predicted


def compared(codes: NDArray[np.int64], index: CandidateIndex) -> NDArray[np.bool_]:
    """Tells which candidates to compare with: those of one subCategory, and those of untrained subCategories.

    Args:
        codes: int64, shape (n,), positions in `index.sub_categories`, or NO_SUB_CATEGORY.
        index: m candidates.

    Returns:
        bool, shape (n, m).
    """
    allowed: NDArray[np.bool_] = np.logical_or(index.codes[None, :] == codes[:, None], index.untrained[None, :])
    return allowed
