"""What a model can do with products that it has not learned from, measured cheaply after a pass."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from offline.dataset.rows import Row
from offline.train.config import HEADS
from offline.train.data import UNKNOWN, Pictures, encode_labels

TOP_K = 10
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


def nearest(queries: NDArray[np.float32], catalogue: NDArray[np.float32], k: int = TOP_K) -> NDArray[np.int64]:
    """Indices (queries, k) of the catalogue's most similar embeddings, most similar first."""
    found = []
    for start in range(0, len(queries), 512):
        similarities = queries[start : start + 512] @ catalogue.T
        part = np.argpartition(-similarities, min(k, len(catalogue)) - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarities, part, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(part, order, axis=1))
    return np.concatenate(found).astype(np.int64)


def others(embeddings: NDArray[np.float32], k: int = TOP_K) -> NDArray[np.int64]:
    """Indices (n, k) of the most similar of the other embeddings, most similar first."""
    found = nearest(embeddings, embeddings, k + 1)
    # Of two that are alike, the other may come first; where many are, oneself may not be among them.
    itself = found == np.arange(len(embeddings))[:, None]
    itself[~itself.any(axis=1), -1] = True
    kept: NDArray[np.int64] = found[~itself].reshape(len(embeddings), -1)
    return kept


def retrieval(queries: Sequence[Row], catalogue: Sequence[Row], found: NDArray[np.int64]) -> dict[str, float]:
    """Shares of queries whose results are all right, and of results that are right.

    Args:
        queries: products asked for.
        catalogue: products answered.
        found: (queries, k) indices into the catalogue.
    """
    query_types = np.array([row.derived_type for row in queries])
    types = np.array([row.derived_type for row in catalogue])
    right = types[found] == query_types[:, None]
    colours = np.array([row.base_colour or "" for row in catalogue])
    asked = np.array([row.base_colour or "" for row in queries])
    coloured = asked != ""
    return {
        "all_top_10_right": float(right.all(axis=1).mean()),
        "precision_at_10": float(right.mean()),
        "colour_agreement_at_10": float((colours[found] == asked[:, None])[coloured].mean()) if coloured.any() else 0.0,
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
    found = nearest(asked, answered)
    return {
        **retrieval(queries.rows, catalogue.rows, found),
        **head_accuracies(asked, queries.rows, heads, names),
    }
