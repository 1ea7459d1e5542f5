"""Computes candidates: groups the products of each derived type within a subCategory by their looks."""

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

# More groups per kind did not improve recognition (docs/decisions/0004), and each costs time with every photograph.
MAX_CLUSTERS: Final = 32
_ROUNDS: Final = 6
# Of more products than this an even sample is as good, and keeps writes to a large type from waiting.
_MAX_SAMPLE: Final = 1024
# Below this mean distance all rows are equal but for rounding.
_EQUAL_WITHIN: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A group of similar products of one derived type within one subCategory.

    Attributes:
        sub_category: such as "Topwear".
        gender: of the derived type; None if it is unknown.
        article_type: of the derived type.
        product_id: the product that is most similar to the group's mean.
        embedding: floating, shape (dimension,), the mean, of L2 norm 1 but for rounding.
    """

    sub_category: str
    gender: Gender | None
    article_type: str
    product_id: str
    embedding: NDArray[np.floating]

    @property
    def derived_type(self) -> str:
        """Such as "Men Tshirts"."""
        return derived_type(self.gender, self.article_type)


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """A group of similar products of one kind.

    Attributes:
        row: the row of the product that is most similar to the mean.
        direction: float32, shape (dimension,), the normalised mean.
    """

    row: int
    direction: NDArray[np.float32]


def clusters(embeddings: NDArray[np.floating], product_ids: Sequence[str]) -> list[Cluster]:
    """Groups n products of one kind into about sqrt(n) groups by spherical k-means (Dhillon and Modha 2001).

    A kind is seldom one cloud: shirts are white or checked, folded or worn. A single mean or medoid would resemble none
    of them. The same products give the same groups, whatever their order.

    Args:
        embeddings: any floating type, shape (n, dimension), n at least 1; they are normalised here.
        product_ids: shape (n,), unique.

    Returns:
        1 to `MAX_CLUSTERS` groups; of very many products, the groups of an even sample.

    Raises:
        ValueError: there are no rows, the lengths differ, or a row has no direction.
    """
    n = len(product_ids)
    if embeddings.ndim != 2 or embeddings.shape[0] != n or n == 0:
        raise ValueError(f"{n} products need as many embeddings, at least 1, not an array of shape {embeddings.shape}.")
    order = sorted(range(n), key=lambda row: product_ids[row])
    order = order[:: -(-n // _MAX_SAMPLE)]
    rows = renormalised(embeddings[order])
    means = _first_means(rows, min(MAX_CLUSTERS, math.isqrt(n)))
    for _ in range(_ROUNDS):
        means = _means(rows, (rows @ means.T).argmax(axis=1), means)
    similar = rows @ means.T
    nearest = similar.argmax(axis=1)
    groups = []
    for group in range(len(means)):
        members = np.flatnonzero(nearest == group)
        if len(members):
            groups.append(Cluster(order[members[similar[members, group].argmax()]], means[group]))
    return groups


def _first_means(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Draws rows that are far from one another, as k-means++ does (Arthur and Vassilvitskii 2007)."""
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
        # A group without members, or whose members cancel out, keeps its mean.
        if norm > 0:
            means[group] = total / norm
    return means


def candidates_of(
    embeddings: NDArray[np.floating],
    product_ids: Sequence[str],
    sub_categories: Sequence[str],
    genders: Sequence[Gender | None],
    article_types: Sequence[str],
) -> list[Candidate]:
    """Computes the candidates of products, kind by kind.

    Args:
        embeddings: any floating type, shape (n, dimension); n may be 0.
        product_ids: shape (n,).
        sub_categories: shape (n,).
        genders: shape (n,); None where it is unknown.
        article_types: shape (n,).

    Raises:
        ValueError: the lengths differ, or an embedding has no direction.
    """
    if len(embeddings) != len(product_ids):
        raise ValueError(f"{len(embeddings)} embeddings do not match {len(product_ids)} products.")
    rows_of: dict[tuple[str, Gender | None, str], list[int]] = {}
    for row, kind in enumerate(zip(sub_categories, genders, article_types, strict=True)):
        rows_of.setdefault(kind, []).append(row)
    return [
        Candidate(*kind, product_ids[rows[cluster.row]], cluster.direction)
        for kind, rows in rows_of.items()
        for cluster in clusters(embeddings[rows], [product_ids[row] for row in rows])
    ]


def candidate_set(model_version: str, dimension: int, candidates: Iterable[Candidate]) -> CandidateSet:
    """Builds a set of candidates, ordered by subCategory and derived type; its version is the hash of its content.

    Args:
        model_version: the model of the embeddings.
        dimension: floats in an embedding; needed if there are no candidates.
        candidates: one or more per derived type within a subCategory.

    Raises:
        ValueError: two candidates have the same product, or an embedding has no direction.
    """
    ordered = sorted(candidates, key=lambda each: (each.sub_category, each.derived_type, each.product_id))
    if len({candidate.product_id for candidate in ordered}) != len(ordered):
        raise ValueError("Two candidates have the same product.")
    rows = np.array([candidate.embedding for candidate in ordered], dtype=np.float32).reshape(len(ordered), dimension)
    embeddings = renormalised(rows) if ordered else rows
    digest = hashlib.sha256()
    for text in (model_version, *(text for candidate in ordered for text in _texts(candidate))):
        content = text.encode()
        digest.update(struct.pack("<Q", len(content)) + content)
    # The same bytes on every processor, and no copy of them on most.
    digest.update(np.ascontiguousarray(embeddings, dtype="<f4").data)
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
    gender = "" if candidate.gender is None else candidate.gender.value
    return candidate.sub_category, gender, candidate.article_type, candidate.product_id


def compute_candidates(
    model_version: str,
    *,
    embeddings: NDArray[np.floating],
    product_ids: Sequence[str],
    sub_categories: Sequence[str],
    genders: Sequence[Gender | None],
    article_types: Sequence[str],
) -> CandidateSet:
    """Computes the candidates of a whole catalogue.

    Args:
        model_version: the model of the embeddings.
        embeddings: any floating type, shape (n, dimension); n may be 0.
        product_ids: shape (n,).
        sub_categories: shape (n,).
        genders: shape (n,); None where it is unknown.
        article_types: shape (n,).

    Raises:
        ValueError: the lengths differ, or an embedding has no direction.
    """
    return candidate_set(
        model_version,
        embeddings.shape[1],
        candidates_of(embeddings, product_ids, sub_categories, genders, article_types),
    )
