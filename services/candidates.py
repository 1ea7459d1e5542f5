"""Computes candidates: for each derived type within each subCategory, the product most like the others of its kind."""

import hashlib
import struct
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.contract import CandidateSet, Gender, derived_type

GroupT = TypeVar("GroupT", bound=Hashable)

# Sums of similarities that differ by less than this share of their number are equal: twins of one photograph differ by
# rounding alone, and the answer must not depend on the order of the rows.
_EQUAL_WITHIN = 1e-9

# Rows converted to float64 at a time: 2048 of them with 2048 dimensions are 32 MiB.
_ROWS_AT_A_TIME = 2048


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """The medoid of a derived type within a subCategory.

    Attributes:
        sub_category: such as "Topwear".
        gender: of the derived type.
        article_type: of the derived type.
        product_id: the product that it is.
        embedding: floating, shape (dimension,), L2 norm 1 but for rounding.
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


def _unit_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    rows = embeddings.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (norms > 0).all():  # false for NaN too
        raise ValueError("an embedding is zero or not a number: it has no direction")
    rows /= norms
    return rows


def medoid(embeddings: NDArray[np.floating], product_ids: Sequence[str]) -> int:
    """Finds the product with the highest sum of cosine similarities to the others.

    That sum is the inner product with the sum of all, less the product's similarity to itself, which is 1: the work
    grows with n, not with n².

    Args:
        embeddings: any floating type, shape (n, dimension), n at least 1; rows are normalised here.
        product_ids: shape (n,); of equal sums, the smallest id wins.

    Returns:
        The row, 0..n-1.

    Raises:
        ValueError: there are no rows, the lengths differ, or a row has no direction.
    """
    n = len(product_ids)
    if embeddings.ndim != 2 or embeddings.shape[0] != n or n == 0:
        raise ValueError(f"expected {n} > 0 embeddings, one a product, got an array of shape {embeddings.shape}")
    starts = range(0, n, _ROWS_AT_A_TIME)
    total = np.zeros(embeddings.shape[1])
    for start in starts:
        total += _unit_rows(embeddings[start : start + _ROWS_AT_A_TIME]).sum(axis=0)
    sums = np.concatenate([_unit_rows(embeddings[start : start + _ROWS_AT_A_TIME]) @ total for start in starts])
    best = np.flatnonzero(sums >= sums.max() - _EQUAL_WITHIN * n)
    return min(best.tolist(), key=lambda row: product_ids[row])


def medoids(
    embeddings: NDArray[np.floating], product_ids: Sequence[str], groups: Sequence[GroupT]
) -> Mapping[GroupT, int]:
    """Finds the medoid of each group.

    Args:
        embeddings: any floating type, shape (n, dimension); n may be 0.
        product_ids: shape (n,).
        groups: shape (n,), what each product belongs to, such as (subCategory, gender, article type).

    Returns:
        The row of each group's medoid, in the order in which the groups first occur.

    Raises:
        ValueError: the lengths differ, or a row has no direction.
    """
    if not len(embeddings) == len(product_ids) == len(groups):
        raise ValueError(f"{len(embeddings)} embeddings, {len(product_ids)} products and {len(groups)} groups")
    rows_of: dict[GroupT, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    return {
        group: rows[medoid(embeddings[rows], [product_ids[row] for row in rows])] for group, rows in rows_of.items()
    }


def candidate_set(model_version: str, dimension: int, candidates: Iterable[Candidate]) -> CandidateSet:
    """Puts candidates together, ordered by subCategory and derived type, under a version that is their content's hash.

    Args:
        model_version: of the embeddings.
        dimension: floats in an embedding; it shapes the array where there are no candidates.
        candidates: at most one for each derived type within a subCategory.

    Raises:
        ValueError: two candidates are of the same derived type and subCategory, or an embedding has no direction.
    """
    ordered = sorted(candidates, key=lambda candidate: (candidate.sub_category, candidate.derived_type))
    kinds = {(candidate.sub_category, candidate.derived_type) for candidate in ordered}
    if len(kinds) != len(ordered):
        raise ValueError("two candidates are of the same derived type within a subCategory")
    rows = np.array([candidate.embedding for candidate in ordered], dtype=np.float32).reshape(len(ordered), dimension)
    embeddings = _unit_rows(rows).astype(np.float32) if ordered else rows
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
    kinds = list(zip(sub_categories, genders, article_types, strict=True))
    return candidate_set(
        model_version,
        embeddings.shape[1],
        (
            Candidate(sub_category, gender, article_type, product_ids[row], embeddings[row])
            for (sub_category, gender, article_type), row in medoids(embeddings, product_ids, kinds).items()
        ),
    )
