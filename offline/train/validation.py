"""What a model can do with products that it has not learned from, measured cheaply after a pass."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from offline.dataset.rows import Row
from offline.measure.metrics import TOP_K, all_right, mean_where, precision, right_results
from offline.measure.neighbours import nearest
from offline.train.config import HEADS
from offline.train.data import UNKNOWN, Pictures, encode_labels

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def embed_all(embed: Embed, pixels: NDArray[np.uint8], batch: int = 128) -> NDArray[np.float32]:
    """Embed any number of pictures in equal batches, so that one shape is compiled.

    Args:
        embed: (batch, height, width, 3) uint8 to (batch, dimension) float32.
        pixels: (n, height, width, 3), uint8.
        batch: pictures a call.

    Returns:
        (n, dimension), float32.
    """
    rows = []
    for start in range(0, len(pixels), batch):
        piece = pixels[start : start + batch]
        missing = batch - len(piece)
        padded = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)]) if missing else piece
        rows.append(embed(padded)[: len(piece)])
    return np.concatenate(rows)


def retrieval(queries: Sequence[Row], catalogue: Sequence[Row], found: NDArray[np.int64]) -> dict[str, float]:
    """Shares of queries whose results are all right, and of results that are right.

    Args:
        queries: products asked for.
        catalogue: products answered.
        found: (queries, k) indices into the catalogue.
    """
    right, _ = right_results([row.derived_type for row in queries], [row.derived_type for row in catalogue], found)
    same, coloured = right_results([row.base_colour for row in queries], [row.base_colour for row in catalogue], found)
    return {
        "all_top_10_right": float(all_right(right, found).mean()),
        "precision_at_10": float(precision(right, found).mean()),
        "colour_agreement_at_10": mean_where(precision(same, found), coloured),
    }


def head_accuracies(
    embeddings: NDArray[np.float32],
    rows: Sequence[Row],
    heads: Mapping[str, NDArray[np.float32]],
    names: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """Share of products that each head labels rightly; a label that the head does not know counts as wrong.

    Args:
        embeddings: (n, dimension), float32, L2-normalised.
        rows: the n products.
        heads: weights (dimension, labels) by head.
        names: labels by head.
    """
    labels = encode_labels(rows, names)
    accuracies = {}
    for column, head in enumerate(HEADS):
        directions = heads[head] / np.linalg.norm(heads[head], axis=0, keepdims=True)
        answers = np.argmax(embeddings @ directions, axis=1)
        asked = np.array([head != "baseColour" or row.base_colour is not None for row in rows])
        right = (answers == labels[:, column]) & (labels[:, column] != UNKNOWN)
        accuracies[f"{head}_accuracy"] = float(right[asked].mean()) if asked.any() else 0.0
    return accuracies


def validate(
    embed: Embed,
    queries: Pictures,
    catalogue: Pictures,
    heads: Mapping[str, NDArray[np.float32]],
    names: Mapping[str, Sequence[str]],
    size: tuple[int, int],
) -> dict[str, float]:
    """All figures of a validation: retrieval of `queries` in `catalogue`, and each head's accuracy.

    Args:
        embed: (n, height, width, 3) uint8 to (n, dimension) float32, L2-normalised.
        queries: products asked for.
        catalogue: products to be found.
        heads: weights (dimension, labels) by head.
        names: labels by head.
        size: height and width that the network has come to, in pixels.
    """
    asked = embed_all(embed, queries.resized(*size))
    answered = embed_all(embed, catalogue.resized(*size))
    found = nearest(asked, answered, TOP_K)
    return {
        **retrieval(queries.rows, catalogue.rows, found),
        **head_accuracies(asked, queries.rows, heads, names),
    }
