"""Applies the bundle's trained heads to embeddings: cosines with the class directions, and their softmax."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class LabelHead:
    """A normalised softmax classifier: one direction a label, and a scale that sharpens cosines into probabilities.

    Attributes:
        labels: shape (c,), unique; c may be 0, where the bundle has no such head.
        weights: float32, shape (c, dimension), L2-normalised rows.
        scale: what cosines are multiplied by before the softmax, greater than 0.
        columns: where each label stands.
        alphabetical: int64, shape (c,), positions in `labels` in the order of the alphabet.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    scale: float
    columns: Mapping[str, int] = field(init=False)
    alphabetical: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Refuses parts that do not belong together."""
        if self.weights.ndim != 2 or self.weights.shape[0] != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels do not go with weights of shape {self.weights.shape}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if not self.scale > 0:
            raise ValueError(f"the scale is {self.scale}, not greater than 0")
        columns = {label: column for column, label in enumerate(self.labels)}
        object.__setattr__(self, "columns", columns)
        object.__setattr__(
            self, "alphabetical", np.array([columns[label] for label in sorted(columns)], dtype=np.int64)
        )


def cosines(embeddings: NDArray[np.float32], head: LabelHead) -> NDArray[np.float32]:
    """Compares embeddings with the direction of each label.

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised rows.
        head: what to compare with.

    Returns:
        float32, shape (n, c), in [-1, 1].
    """
    found: NDArray[np.float32] = np.clip(embeddings @ head.weights.T, -1.0, 1.0)
    return found


def probabilities(embeddings: NDArray[np.float32], head: LabelHead) -> NDArray[np.float32]:
    """Tells how probable each label is: the softmax of the scaled cosines.

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised rows.
        head: what to apply.

    Returns:
        float32, shape (n, c), in [0, 1]; rows sum to 1 where c > 0.
    """
    logits = head.scale * cosines(embeddings, head)
    # Less the largest, no exponent overflows; `initial` makes the largest of no labels defined.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    found: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return found


def ranking(values: NDArray[np.float32], head: LabelHead) -> NDArray[np.int64]:
    """Orders labels by cosine or probability; equal ones by label.

    Args:
        values: float32, shape (n, c).
        head: whose labels they belong to.

    Returns:
        int64, shape (n, c), positions in `head.labels`, the highest value first.
    """
    found: NDArray[np.int64] = head.alphabetical[np.argsort(-values[:, head.alphabetical], axis=1, kind="stable")]
    return found
