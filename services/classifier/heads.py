"""The trained heads of a bundle, applied to embeddings: similarities to the labels, and their softmax."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from services.contract.values import parse_derived_type

SUB_CATEGORY: Final = "subCategory"
DERIVED_TYPE: Final = "derivedType"
GENDER: Final = "gender"
ARTICLE_TYPE: Final = "articleType"


@dataclass(frozen=True, slots=True, eq=False)
class LabelHead:
    """Cosine softmax: one direction per label, a penalty for rare labels, a scale.

    Attributes:
        labels: shape (c,), unique; none if the bundle has no such head.
        weights: float32, shape (c, dimension), rows of norm 1, or less if several directions were averaged.
        scale: factor on the similarities before the softmax, greater than 0.
        handicap: float32, shape (c,), at least 0, subtracted from the similarity; 0 where not given.
        columns: the position of each label.
        alphabetical: int64, shape (c,), positions in `labels` in alphabetical order.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    scale: float
    handicap: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    columns: Mapping[str, int] = field(init=False)
    alphabetical: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Refuses parts that do not fit together."""
        if self.weights.ndim != 2 or self.weights.shape[0] != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels do not go with weights of shape {self.weights.shape}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if not self.scale > 0:
            raise ValueError(f"the scale is {self.scale}, not greater than 0")
        if not self.handicap.size:
            object.__setattr__(self, "handicap", np.zeros(len(self.labels), dtype=np.float32))
        if self.handicap.shape != (len(self.labels),) or not (self.handicap >= 0).all():
            raise ValueError(f"{len(self.labels)} labels need as many handicaps, none below 0")
        columns = {label: column for column, label in enumerate(self.labels)}
        object.__setattr__(self, "columns", columns)
        object.__setattr__(
            self, "alphabetical", np.array([columns[label] for label in sorted(columns)], dtype=np.int64)
        )

    def only(self, positions: Sequence[int]) -> Self:
        """Returns the head of some labels.

        Args:
            positions: positions of the labels, none twice.
        """
        rows = [*positions]
        return type(self)(tuple(self.labels[row] for row in rows), self.weights[rows], self.scale, self.handicap[rows])


def no_head(dimension: int) -> LabelHead:
    """Returns a head without labels."""
    return LabelHead((), np.zeros((0, dimension), dtype=np.float32), 1.0)


def load_head(bundle: Bundle, name: str) -> LabelHead:
    """Loads a head in the form in which the bundle says that it decides best.

    A logit is `scale` times a similarity to the label's own direction. For a derived type, the bundle may add shares of
    the logits of its article type and of its gender, from their heads. It may also add a share of the logarithm of the
    label's number of training products (logit adjustment, Menon et al. 2021), because directions of norm 1 cannot
    express that a label is rare.

    Args:
        bundle: the model.
        name: name of the head; one that the bundle lacks has no labels.

    Raises:
        InvalidInput: the file of the heads is not what the bundle says.
        ValueError: a label is not a derived type, or its gender or article type is unknown to that head.
    """
    if name not in bundle.labels:
        return no_head(bundle.dimension)
    own = bundle.head(name)
    weights, parts = own.weights, 1.0
    for other, share in own.shares.items():
        part = bundle.head(other)
        place = {label: row for row, label in enumerate(part.labels)}
        rows = [place.get(_part(label, other, part.labels), -1) for label in own.labels]
        if min(rows) < 0:
            raise ValueError(f"the head {other!r} lacks the {other} of {own.labels[rows.index(-1)]!r}")
        weights = weights + share * part.weights[rows]
        parts += share
    scale = own.scale * parts
    handicap = np.zeros(len(own.labels), dtype=np.float32)
    if own.products:
        counts = np.maximum(np.array(own.products, dtype=np.float32), 1.0)
        handicap = own.prior * np.log(counts.max() / counts) / scale
    return LabelHead(own.labels, (weights / parts).astype(np.float32), scale, handicap.astype(np.float32))


def _part(label: str, head: str, labels: Collection[str]) -> str:
    gender, article_type = parse_derived_type(label, labels if head == ARTICLE_TYPE else ())
    return article_type if head == ARTICLE_TYPE else "" if gender is None else gender.value


def similarities(embeddings: NDArray[np.float32], head: LabelHead) -> NDArray[np.float32]:
    """Compares embeddings with the direction of each label, minus its handicap.

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised rows.
        head: the head to compare with.

    Returns:
        float32, shape (n, c), in [-1, 1].
    """
    cosines: NDArray[np.float32] = np.clip(embeddings @ head.weights.T - head.handicap, -1.0, 1.0)
    return cosines


def probabilities(embeddings: NDArray[np.float32], head: LabelHead) -> NDArray[np.float32]:
    """Computes the probability of each label: the softmax of the scaled similarities.

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised rows.
        head: the head to apply.

    Returns:
        float32, shape (n, c), in [0, 1]; rows sum to 1 if c > 0.
    """
    shares: NDArray[np.float32] = np.exp(log_softmax(head.scale * similarities(embeddings, head)))
    return shares


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the logarithm of the softmax of each row of logits: float32, the same shape, at most 0.

    A logit of minus infinity has no share; a row of them has no shares at all.
    """
    # Subtracting the maximum avoids overflow; `initial` is the maximum without labels.
    highest = logits.max(axis=1, keepdims=True, initial=-np.inf)
    below = logits - np.where(np.isfinite(highest), highest, 0.0)
    sums = np.exp(below).sum(axis=1, keepdims=True)
    shares: NDArray[np.float32] = (below - np.log(np.where(sums > 0, sums, 1.0))).astype(np.float32)
    return shares


def ranking(values: NDArray[np.float32], head: LabelHead) -> NDArray[np.int64]:
    """Orders labels by similarity or probability; equal ones by label.

    Args:
        values: float32, shape (n, c).
        head: the head of the labels.

    Returns:
        int64, shape (n, c), positions in `head.labels`, the highest value first.
    """
    order: NDArray[np.int64] = head.alphabetical[np.argsort(-values[:, head.alphabetical], axis=1, kind="stable")]
    return order


def most_similar(embeddings: NDArray[np.float32], head: LabelHead) -> list[str]:
    """Returns the most similar label of each embedding.

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised rows.
        head: a head with at least one label.
    """
    return [head.labels[column] for column in ranking(similarities(embeddings, head), head)[:, 0].tolist()]
