"""Measures on the catalogue's own products when to doubt an answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.contract.values import Classification, Embedding
from services.search.catalogue.products import Product
from services.search.indexes.base import Eligibility, Index
from services.search.query.recognition import recognised

# The shares of products whose nearest other product is at most as similar as the quantile.
SHARES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
# Products that are measured: enough for the lowest share, and seconds in a catalogue of 40,000.
MAX_SAMPLE: Final = 1024
# Of the catalogue's own products so many are recognised with less confidence than the threshold. Fewer than a hundred
# products cannot tell.
_UNSURE_SHARE: Final = 0.01
MIN_CONFIDENCES: Final = 100
# A recognition that is more likely right than wrong is not doubted.
_MAX_THRESHOLD: Final = 0.5
_SEED: Final = 20261128


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is usual in a catalogue.

    Attributes:
        unsure_below: an answer whose confidence is below this is doubtful, in [0, 0.5]; 0 if fewer than 100 products
            had a confidence.
        similarities: shape (7,), ascending: the quantiles `SHARES` of the similarity of a product to its nearest.
        sample_count: the number of products that were measured.
    """

    unsure_below: float
    similarities: tuple[float, ...]
    sample_count: int

    @classmethod
    def of(cls, confidences: NDArray[np.floating], similarities: NDArray[np.floating]) -> "Doubt | None":
        """Sums up measurements; None without any.

        Args:
            confidences: shape (m,), in [0, 1], of the products that have one.
            similarities: shape (n,), of each product to its nearest.
        """
        if not len(similarities):
            return None
        enough = len(confidences) >= MIN_CONFIDENCES
        threshold = float(np.quantile(confidences, _UNSURE_SHARE)) if enough else 0.0
        quantiles = np.quantile(similarities, SHARES).tolist()
        return cls(min(threshold, _MAX_THRESHOLD), tuple(quantiles), len(similarities))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Returns it as arrays, for a file."""
        return {
            "unsure_below": np.array([self.unsure_below], dtype=np.float64),
            "similarities": np.array(self.similarities, dtype=np.float64),
            "sample_count": np.array([self.sample_count], dtype=np.int64),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "Doubt":
        """Reads what `tensors` returned.

        Raises:
            ValueError, KeyError: it is something else.
        """
        similarities = tuple(map(float, tensors["similarities"]))
        (threshold,), (count,) = tensors["unsure_below"], tensors["sample_count"]
        if len(similarities) != len(SHARES):
            raise ValueError(f"there are {len(similarities)} quantiles instead of {len(SHARES)}")
        return cls(float(threshold), similarities, int(count))


def sample(index: Index) -> Iterator[tuple[Product, NDArray[np.float16]]]:
    """Yields random products with their embeddings, at most 1,024; the same catalogue gives the same ones."""
    counts = index.searchable_types()
    total = sum(counts.values())
    chosen = np.sort(np.random.default_rng(_SEED).choice(total, min(MAX_SAMPLE, total), replace=False))
    start = 0
    for label, count in counts.items():
        rows = chosen[(chosen >= start) & (chosen < start + count)] - start
        start += count
        if len(rows):
            members = index.members(label)
            # Products may have been deleted since they were counted.
            for row in rows[rows < len(members.products)].tolist():
                # A view would keep all embeddings of the type, and the sample those of the whole catalogue.
                yield members.products[row], members.embeddings[row].copy()


def measured(
    index: Index, product: Product, embedding: Embedding, classification: Classification
) -> tuple[float | None, float | None]:
    """Measures a product as if it were a query, and neither it nor its variants were in the catalogue.

    Args:
        index: the products.
        product: one of them.
        embedding: its own, of norm 1.
        classification: what the classifier says of it.

    Returns:
        The confidence of its recognition; None if nothing is recognised. The similarity of its nearest other product;
        None if there is no other.
    """
    others = Eligibility(excluded_families=(product.family,), include_out_of_stock=True)
    confidence = recognised(classification, embedding.values, index, 1, others).confidence
    hits = index.search(embedding.values, 1, others).hits
    return confidence, hits[0].similarity if hits else None
