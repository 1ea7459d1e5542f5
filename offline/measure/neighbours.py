"""The exact nearest neighbours of embeddings, without an index."""

import numpy as np
from numpy.typing import NDArray

_QUERIES_AT_ONCE = 512


def nearest(queries: NDArray[np.float32], catalogue: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Finds the most similar rows of a catalogue.

    Args:
        queries: float32, shape (n, dimension), L2-normalised.
        catalogue: float32, shape (m, dimension), L2-normalised.
        k: the number of results per query.

    Returns:
        int64, shape (n, min(k, m)), rows of the catalogue, the most similar first.
    """
    results = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        similarities = queries[start : start + _QUERIES_AT_ONCE] @ catalogue.T
        part = np.argpartition(-similarities, min(k, len(catalogue)) - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarities, part, axis=1), axis=1, kind="stable")
        results.append(np.take_along_axis(part, order, axis=1))
    return np.concatenate(results).astype(np.int64)


def nearest_others(embeddings: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Finds the most similar of the other rows, for each row.

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised.
        k: the number of results per row.

    Returns:
        int64, shape (n, min(k, n - 1)), rows, the most similar first.
    """
    results = nearest(embeddings, embeddings, k + 1)
    # Of two equal embeddings the other may come first; of more than k, the row itself may be missing.
    itself = results == np.arange(len(embeddings))[:, None]
    itself[~itself.any(axis=1), -1] = True
    others: NDArray[np.int64] = results[~itself].reshape(len(embeddings), -1)
    return others
