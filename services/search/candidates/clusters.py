"""Computes candidates: what the products of each derived type within each subCategory look like, group by group."""

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.embedding import renormalised
from services.contract.values import CandidateSet, Gender, derived_type

# More groups of a kind were no better recognised (docs/decisions/0004), and each costs time with every photograph.
MAX_CLUSTERS: Final = 32
_ROUNDS: Final = 6
# Of more products every second, third, … is taken: as good, and a write to a large type does not wait for it.
_SAMPLE: Final = 1024
# Distances that sum up to less than this share of their number are rounding: all rows are twins.
_EQUAL_WITHIN: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A group of alike products of a derived type within a subCategory.

    Attributes:
        sub_category: such as "Topwear".
        gender: of the derived type.
        article_type: of the derived type.
        product_id: the product that is most like the group's mean.
        embedding: floating, shape (dimension,), the mean, L2 norm 1 but for rounding.
    """

    sub_category: str
    gender: Gender
    article_type: str
    product_id: str
    embedding: NDArray[np.floating]

    @property
    def derived_type(self) -> str:
        """Such as "Men Tshirts"."""
        return derived_type(self.gender, self.article_type)


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Products of one kind that look alike.

    Attributes:
        row: of the product closest to their mean.
        direction: float32, shape (dimension,), their normalised mean.
    """

    row: int
    direction: NDArray[np.float32]


def clusters(embeddings: NDArray[np.floating], product_ids: Sequence[str]) -> list[Cluster]:
    """Groups products of one kind by spherical k-means (Dhillon and Modha 2001), about the root of n groups of n.

    A kind is seldom one cloud: shirts are white or checked, folded or worn. One mean, or one medoid, stands for none of
    them. The same products give the same groups, in whatever order they come.

    Args:
        embeddings: any floating type, shape (n, dimension), n at least 1; rows are normalised here.
        product_ids: shape (n,), unique.

    Returns:
        1 to `MAX_CLUSTERS` groups; of very many products, those of an even sample.

    Raises:
        ValueError: there are no rows, the lengths differ, or a row has no direction.
    """
    n = len(product_ids)
    if embeddings.ndim != 2 or embeddings.shape[0] != n or n == 0:
        raise ValueError(f"expected {n} > 0 embeddings, one a product, got an array of shape {embeddings.shape}")
    order = sorted(range(n), key=lambda row: product_ids[row])
    order = order[:: -(-n // _SAMPLE)]
    rows = renormalised(embeddings[order])
    means = _first_means(rows, min(MAX_CLUSTERS, math.isqrt(n)))
    for _ in range(_ROUNDS):
        means = _means(rows, (rows @ means.T).argmax(axis=1), means)
    similar = rows @ means.T
    nearest = similar.argmax(axis=1)
    found = []
    for group in range(len(means)):
        members = np.flatnonzero(nearest == group)
        if len(members):
            found.append(Cluster(order[members[similar[members, group].argmax()]], means[group]))
    return found


def _first_means(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Rows far from one another, drawn as k-means++ does (Arthur and Vassilvitskii 2007)."""
    random = np.random.default_rng(0)
    chosen = [int(random.integers(len(rows)))]
    distance = 1.0 - rows @ rows[chosen[0]]
    while len(chosen) < count:
        weight = np.maximum(distance.astype(np.float64), 0.0)
        if weight.sum() <= _EQUAL_WITHIN * len(rows):
            break
        chosen.append(int(random.choice(len(rows), p=weight / weight.sum())))
        distance = np.minimum(distance, 1.0 - rows @ rows[chosen[-1]])
    return rows[chosen].copy()


def _means(rows: NDArray[np.float32], nearest: NDArray[np.int64], before: NDArray[np.float32]) -> NDArray[np.float32]:
    means = before.copy()
    for group in range(len(before)):
        total = rows[nearest == group].sum(axis=0)
        norm = np.linalg.norm(total)
        # A group that nothing is nearest to, or whose members cancel out, stays where it was.
        if norm > 0:
            means[group] = total / norm
    return means


def candidates_of(
    embeddings: NDArray[np.floating],
    product_ids: Sequence[str],
    sub_categories: Sequence[str],
    genders: Sequence[Gender],
    article_types: Sequence[str],
) -> list[Candidate]:
    """Computes the candidates of products, each kind's by itself.

    Args:
        embeddings: any floating type, shape (n, dimension); n may be 0.
        product_ids: shape (n,).
        sub_categories: shape (n,).
        genders: shape (n,).
        article_types: shape (n,).

    Raises:
        ValueError: the lengths differ, or an embedding has no direction.
    """
    if len(embeddings) != len(product_ids):
        raise ValueError(f"{len(embeddings)} embeddings and {len(product_ids)} products")
    rows_of: dict[tuple[str, Gender, str], list[int]] = {}
    for row, kind in enumerate(zip(sub_categories, genders, article_types, strict=True)):
        rows_of.setdefault(kind, []).append(row)
    return [
        Candidate(*kind, product_ids[rows[cluster.row]], cluster.direction)
        for kind, rows in rows_of.items()
        for cluster in clusters(embeddings[rows], [product_ids[row] for row in rows])
    ]


def candidate_set(model_version: str, dimension: int, candidates: Iterable[Candidate]) -> CandidateSet:
    """Puts candidates together, ordered by subCategory and derived type, under a version that is their content's hash.

    Args:
        model_version: of the embeddings.
        dimension: floats in an embedding; it shapes the array where there are no candidates.
        candidates: one or more for each derived type within a subCategory.

    Raises:
        ValueError: two candidates have the same product, or an embedding has no direction.
    """
    ordered = sorted(candidates, key=lambda each: (each.sub_category, each.derived_type, each.product_id))
    if len({candidate.product_id for candidate in ordered}) != len(ordered):
        raise ValueError("two candidates have the same product")
    rows = np.array([candidate.embedding for candidate in ordered], dtype=np.float32).reshape(len(ordered), dimension)
    embeddings = renormalised(rows) if ordered else rows
    digest = hashlib.sha256()
    for text in (model_version, *(text for candidate in ordered for text in _texts(candidate))):
        content = text.encode()
        digest.update(struct.pack("<Q", len(content)) + content)
    digest.update(embeddings.astype("<f4").tobytes())
    return CandidateSet(
        version=digest.hexdigest()[:16],
        model_version=model_version,
        sub_categories=tuple(candidate.sub_category for candidate in ordered),
        genders=tuple(candidate.gender for candidate in ordered),
        article_types=tuple(candidate.article_type for candidate in ordered),
        product_ids=tuple(candidate.product_id for candidate in ordered),
        embeddings=embeddings,
    )


def _texts(candidate: Candidate) -> tuple[str, ...]:
    return candidate.sub_category, candidate.gender.value, candidate.article_type, candidate.product_id


def compute_candidates(
    model_version: str,
    *,
    embeddings: NDArray[np.floating],
    product_ids: Sequence[str],
    sub_categories: Sequence[str],
    genders: Sequence[Gender],
    article_types: Sequence[str],
) -> CandidateSet:
    """Computes the candidates of a whole catalogue.

    Args:
        model_version: of the embeddings.
        embeddings: any floating type, shape (n, dimension); n may be 0.
        product_ids: shape (n,).
        sub_categories: shape (n,).
        genders: shape (n,).
        article_types: shape (n,).

    Raises:
        ValueError: the lengths differ, or an embedding has no direction.
    """
    return candidate_set(
        model_version,
        embeddings.shape[1],
        candidates_of(embeddings, product_ids, sub_categories, genders, article_types),
    )
