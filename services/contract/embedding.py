"""Checks embeddings against the model that is served, and restores their norm."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import InvalidInput, ModelMismatch
from services.contract.protocols import EmbeddingSpace
from services.contract.values import Embedding

# The tolerance that proto `Embedding.values` promises: a norm this close to 1 is rounding, and is corrected.
NORM_TOLERANCE = 1e-3

_MAX_SHOWN_VERSION_CHARACTERS = 80


def check_model_version(model_version: str, *, expected: EmbeddingSpace) -> None:
    """Refuses an embedding of another model.

    Raises:
        ModelMismatch: MODEL_VERSION_MISMATCH; the text names both versions.
    """
    if model_version == expected.model_version:
        return
    given = model_version[:_MAX_SHOWN_VERSION_CHARACTERS]
    fault = f"The embedding is of model version {given!r}" if given else "The embedding names no model version"
    raise ModelMismatch(
        f"{fault}; this service serves {expected.model_version!r}, and embeddings of two models cannot be compared.",
        reason="MODEL_VERSION_MISMATCH",
        metadata={"given": given, "served": expected.model_version},
    )


def checked_embedding(
    values: Sequence[float] | NDArray[np.floating], model_version: str, *, expected: EmbeddingSpace
) -> Embedding:
    """Checks an embedding and normalises it, since its norm may be off by rounding.

    Args:
        values: as sent; must be `expected.dimension` finite floats with an L2 norm within 1e-3 of 1.
        model_version: as sent.
        expected: the model that is served.

    Returns:
        The embedding: float32, L2 norm 1.

    Raises:
        ModelMismatch: MODEL_VERSION_MISMATCH; checked first, since another model's embedding may have another shape.
        InvalidInput: EMBEDDING_INVALID; the text says which condition failed.
    """
    check_model_version(model_version, expected=expected)
    # In float64 the sum of squares of any finite float32 is finite too.
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (expected.dimension,):
        raise _invalid(f"The embedding has {array.size} values instead of {expected.dimension}.")
    if not np.isfinite(array).all():
        position = int(np.flatnonzero(~np.isfinite(array))[0])
        raise _invalid(f"Value {position} of the embedding is {array[position]}, not a finite number.")
    norm = float(np.linalg.norm(array))
    if abs(norm - 1.0) > NORM_TOLERANCE:
        raise _invalid(f"The embedding has an L2 norm of {norm:.6g} instead of 1 (within {NORM_TOLERANCE:g}).")
    return Embedding((array / norm).astype(np.float32), model_version)


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, reason="EMBEDDING_INVALID", metadata={"field": "embedding.values"})


def renormalised(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns embeddings with an L2 norm of 1 again, which rounding or averaging takes from them.

    Args:
        embeddings: any floating type, shape (..., dimension).

    Returns:
        float32, the same shape.

    Raises:
        ValueError: an embedding is zero or not a number.
    """
    rows = embeddings.astype(np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    if not (norms > 0).all():  # false for NaN too
        raise ValueError("An embedding is zero or not a number, so it has no direction.")
    rows /= norms
    return rows


def check_served_model(embedding: Embedding, model_version: str) -> None:
    """Refuses an embedding from an embedder that serves another model than search.

    The caller is not to blame: the embedder was given another bundle while search was running.

    Raises:
        ModelMismatch: MODEL_VERSION_MISMATCH; the text names both versions.
    """
    if embedding.model_version != model_version:
        raise ModelMismatch(
            f"The embedder serves model {embedding.model_version!r}, but search compares embeddings of "
            f"{model_version!r}. Give the embedder the bundle of search's model, or change the model with "
            "`fashion reindex`.",
            reason="MODEL_VERSION_MISMATCH",
            metadata={"given": embedding.model_version, "served": model_version},
        )


def inner_products(embeddings: NDArray[np.float16], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the inner product of each embedding with a query; equal embeddings have the same one to the last bit.

    A matrix product would not promise that.

    Args:
        embeddings: float16, shape (n, dimension).
        query: float32, shape (dimension,).

    Returns:
        float64, shape (n,).
    """
    products = embeddings.astype(np.float64)
    # In place: the memory of a second array would take longer than the arithmetic.
    products *= query
    sums: NDArray[np.float64] = products.sum(axis=1)
    return sums
