"""Some products of an index with all that it holds of them: what a snapshot keeps, and what an index is filled from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.values import MAX_PHOTOGRAPHS
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.shards import ReducedRows

# A product has one photograph in its shard, and up to this many beside it.
MAX_FURTHER: Final = MAX_PHOTOGRAPHS - 1


@dataclass(frozen=True, slots=True, eq=False)
class FurtherPart:
    """The further photographs of some products.

    Attributes:
        places: of the product of each, among those of the part: int64, shape (k,).
        numbers: of the photograph, from 1: int8, shape (k,).
        embeddings: float16, shape (k, dimension).
        reduced: their rows of the reduced index; None without one.
    """

    places: NDArray[np.int64]
    numbers: NDArray[np.int8]
    embeddings: NDArray[np.float16]
    reduced: ReducedRows | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some products.

    Attributes:
        products: n of them, no id twice.
        texts: the searchable text of each; None where it has to be made.
        searchable: whether each has an embedding: bool, shape (n,).
        embeddings: of those that have one: float16, shape (m, dimension).
        reduced: their rows of the reduced index; None without one.
        further: their further photographs; None where none has any.
    """

    products: Sequence[Product]
    texts: Sequence[str] | None
    searchable: NDArray[np.bool_]
    embeddings: NDArray[np.float16]
    reduced: ReducedRows | None = None
    further: FurtherPart | None = None


class SnapshotInterrupted(Exception):
    """All products were projected anew while a snapshot was taken: it has to be taken again."""


def check_indexed(indexed: Sequence[IndexedProduct], dimension: int) -> None:
    """Checks the embeddings of products.

    Raises:
        ValueError: one has another dtype or shape, or is not finite, or there are too many.
    """
    for each in indexed:
        if len(each.further) > (0 if each.embedding is None else MAX_FURTHER):
            raise ValueError(f"The product {each.product.id} has too many photographs.")
        for embedding in (each.embedding, *each.further):
            if embedding is not None and (
                embedding.dtype != np.float16 or embedding.shape != (dimension,) or not np.isfinite(embedding).all()
            ):
                raise ValueError(f"The embedding of {each.product.id} must be {dimension} finite float16 numbers.")


def check_write(
    upserts: Sequence[IndexedProduct], deletes: Collection[str], updates: Sequence[Product], dimension: int
) -> list[str]:
    """Checks what `Index.apply` is given, and returns the ids of all that it changes.

    Raises:
        ValueError: as `check_indexed`, or an id comes twice.
    """
    check_indexed(upserts, dimension)
    ids = [*(row.product.id for row in upserts), *deletes, *(product.id for product in updates)]
    if len(set(ids)) < len(ids):
        raise ValueError("An id comes twice in one write.")
    return ids


def part_of(indexed: Sequence[IndexedProduct], dimension: int) -> Part:
    """Returns a part of products that are not reduced yet."""
    embeddings = [each.embedding for each in indexed if each.embedding is not None]
    further = [
        (place, number, embedding)
        for place, each in enumerate(indexed)
        for number, embedding in enumerate(each.further, start=1)
        if embedding is not None
    ]
    return Part(
        [each.product for each in indexed],
        None,
        np.array([each.embedding is not None for each in indexed], dtype=np.bool_),
        np.stack(embeddings) if embeddings else np.empty((0, dimension), dtype=np.float16),
        further=_further_part(*zip(*further, strict=True)) if further else None,
    )


def _further_part(
    places: Sequence[int], numbers: Sequence[int], embeddings: Sequence[NDArray[np.float16]]
) -> FurtherPart:
    return FurtherPart(np.array(places, dtype=np.int64), np.array(numbers, dtype=np.int8), np.stack(embeddings))
