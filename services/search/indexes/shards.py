"""The parts of the index in FAISS: exact ones per derived type, and a reduced one over all products."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

# Parameters of the randomised subspace iteration. Usual are 5 to 10 additional columns and 1 to 3 rounds; here both are
# cheap.
_OVERSAMPLING = 32
_ITERATIONS = 3
# Share of the mean eigenvalue; it keeps the condition number low enough for the simple orthonormalisation below.
_REGULARISATION = 0.01
# What the rounding of embeddings and projections to float16 can add to an upper bound: each has a relative error of
# 2^-11 per component, and so has the norm.
_BOUND_ROUNDING = 4 * 2.0**-11
# Of an embedding of norm 1, with the same errors of the embedding and of its projection.
_MAX_SQUARED_NORM = 1.0 + 4 * 2.0**-11


class FlatIndex:
    """An exact inner-product index of float16 vectors, whose rows can be read and overwritten in place.

    It has the only copy of the vectors. It is not thread-safe.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._faiss = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    def rows(self) -> NDArray[np.float16]:
        """Returns a view of the vectors: float16, shape (n, dimension); valid until rows are added or removed."""
        size = len(self) * self._dimension * 2
        if size == 0:
            return np.empty((0, self._dimension), dtype=np.float16)
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(self._faiss.codes.data(), size)
        return codes.view(np.float16).reshape(-1, self._dimension)

    def append(self, vectors: NDArray[np.float16]) -> None:
        """Adds vectors: float16, shape (n, dimension), which are the very codes of QT_fp16."""
        self._faiss.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8))

    def remove(self, positions: Sequence[int]) -> None:
        """Removes vectors; later ones move up, in their order."""
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[positions] = True
        self._faiss.remove_ids(_selector(mask))

    def truncate(self, length: int) -> None:
        """Removes all vectors from a position on."""
        self._faiss.remove_ids(faiss.IDSelectorRange(length, len(self)))

    def nearest(
        self, query: NDArray[np.float32], k: int, eligible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Finds the `k` eligible vectors of the highest inner product with a query.

        Args:
            query: float32, shape (dimension,).
            k: at most the number of eligible vectors.
            eligible: bool, shape (n,).

        Returns:
            Inner products, float32, shape (k,), descending; and positions, int64, shape (k,).
        """
        parameters = None
        if not eligible.all():
            parameters = faiss.SearchParameters()
            parameters.sel = selector = _selector(eligible)  # noqa: F841 - FAISS does not keep it alive
        similarities, positions = self._faiss.search(query[np.newaxis], k, params=parameters)
        return similarities[0], positions[0]


def _selector(mask: NDArray[np.bool_]) -> faiss.IDSelector:
    """Selects the vectors where a mask, bool, shape (n,), is true."""
    # The stubs describe the constructor of C++. The one of Python takes only the array, and keeps it alive.
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[call-arg, arg-type]


class Shard:
    """The products of one derived type: their embeddings, and their rows in the columns."""

    def __init__(self, dimension: int) -> None:
        self.embeddings = FlatIndex(dimension)
        self.members: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.members)

    def append(self, rows: Sequence[int] | NDArray[np.int64], embeddings: NDArray[np.float16]) -> None:
        """Adds products: their rows, and float16 embeddings, shape (n, dimension)."""
        self.embeddings.append(embeddings)
        self.members = np.concatenate([self.members, np.asarray(rows, dtype=np.int64)])

    def remove(self, positions: Sequence[int]) -> None:
        """Removes products; later ones move up, in their order."""
        self.embeddings.remove(positions)
        self.members = np.delete(self.members, positions)


@dataclass(frozen=True, slots=True)
class Reduction:
    """A projection onto the principal components of a catalogue's embeddings.

    Attributes:
        basis: float32, shape (dimension, components), orthonormal columns.
        trained_on: number of products in the catalogue at the training.
    """

    basis: NDArray[np.float32]
    trained_on: int

    def project(self, vectors: NDArray[np.float16] | NDArray[np.float32]) -> NDArray[np.float16]:
        """Projects vectors, shape (n, dimension); returns float16, shape (n, components)."""
        return (vectors.astype(np.float32) @ self.basis).astype(np.float16)


def train_reduction(sample: NDArray[np.float16], components: int, trained_on: int, seed: int) -> Reduction:
    """Computes the principal components of a sample.

    They are those of the second moment, not of the covariance: this basis loses least of the inner products of
    uncentred vectors. The method is randomised subspace iteration (Halko, Martinsson and Tropp, "Finding structure with
    randomness", 2011, algorithm 4.4), which needs only matrix products. It takes one second; a full eigendecomposition
    in 2048 dimensions takes half a minute on busy cores.

    Args:
        sample: float16, shape (n, dimension).
        components: maximum number of components; never more than the dimension.
        trained_on: number of products in the catalogue.
        seed: of the random start; the same seed gives the same result.
    """
    rows = sample.astype(np.float32)
    dimension = rows.shape[1]
    basis = np.random.default_rng(seed).normal(size=(dimension, min(components + _OVERSAMPLING, dimension)))
    # A small multiple of the identity changes no component, and completes the basis if the sample has fewer directions.
    regularisation = _REGULARISATION * float(np.square(rows).sum()) / dimension
    for _ in range(_ITERATIONS):
        product = rows.T @ (rows @ basis.astype(np.float32))
        basis = _orthonormal(product + regularisation * basis)
    within = rows @ basis.astype(np.float32)
    _, directions = np.linalg.eigh((within.T @ within).astype(np.float64))
    # Ascending eigenvalues: the last columns matter most.
    principal = basis @ directions[:, -components:]
    return Reduction(np.ascontiguousarray(principal, dtype=np.float32), trained_on)


def _orthonormal(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns an orthonormal basis of the span of columns of full rank: float64, the same shape."""
    squares, directions = np.linalg.eigh(vectors.T @ vectors)
    basis: NDArray[np.float64] = vectors @ (directions / np.sqrt(squares))
    return basis


class ReducedIndex:
    """All products in few dimensions, in the rows of the columns; a product without an embedding is at zero.

    Beside its projection each row holds the norm of what the projection leaves out. With the query's own in the same
    place, the inner product of two rows is an upper bound of that of the whole embeddings (Cauchy and Schwarz).
    """

    def __init__(self, reduction: Reduction, rows: int) -> None:
        self.reduction = reduction
        self._components = reduction.basis.shape[1]
        # FAISS is fast where the dimension is a multiple of 8.
        self._dimension = 8 * math.ceil((self._components + 1) / 8)
        self._index = FlatIndex(self._dimension)
        self.extend(rows)

    def extend(self, rows: int) -> None:
        """Adds rows at zero."""
        self._index.append(np.zeros((rows, self._dimension), dtype=np.float16))

    def write(self, rows: Sequence[int] | NDArray[np.int64], projections: NDArray[np.float16]) -> None:
        """Overwrites rows with projections of embeddings of norm 1: float16, shape (n, components)."""
        vectors = np.zeros((len(projections), self._dimension), dtype=np.float16)
        vectors[:, : self._components] = projections
        squares = np.square(projections.astype(np.float32)).sum(axis=1)
        vectors[:, self._components] = np.sqrt(np.maximum(_MAX_SQUARED_NORM - squares, 0.0))
        self._index.rows()[rows] = vectors

    def rows(self) -> NDArray[np.float16]:
        """Returns a view of the rows: float16, shape (n, m); valid until a row is added or removed."""
        return self._index.rows()

    def upper_bounds(self, queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns upper bounds of the similarities of queries with products.

        Args:
            queries: float32, shape (l, dimension), L2-normalised rows.
            rows: from `rows`, as float32, shape (n, m).

        Returns:
            float32, shape (l, n).
        """
        reduced_queries = np.zeros((len(queries), self._dimension), dtype=np.float32)
        projections = queries @ self.reduction.basis
        reduced_queries[:, : self._components] = projections
        left_out = np.square(queries).sum(axis=1) - np.square(projections).sum(axis=1)
        reduced_queries[:, self._components] = np.sqrt(np.maximum(left_out, 0.0))
        bounds: NDArray[np.float32] = reduced_queries @ rows.T
        bounds += np.float32(_BOUND_ROUNDING)
        return bounds

    def move(self, moves: Sequence[tuple[int, int]], length: int) -> None:
        """Moves rows as `Columns.remove` did, then removes all from `length` on."""
        vectors = self._index.rows()
        for new, old in moves:
            vectors[new] = vectors[old]
        self._index.truncate(length)

    def nearest(
        self, query: NDArray[np.float32], k: int, eligible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], float]:
        """Returns the rows of the `k` eligible products that may be nearest to a query of norm 1.

        Returns:
            The rows, int64, shape (k,), and a bound: no other product has a higher similarity.
        """
        reduced_query = np.zeros(self._dimension, dtype=np.float32)
        # Unlike `@`, einsum starts no threads, which would take longer than the work for a single vector.
        projection = np.einsum("i,ij->j", query, self.reduction.basis)
        reduced_query[: self._components] = projection
        left_out = float(np.square(query).sum() - np.square(projection).sum())
        reduced_query[self._components] = math.sqrt(max(left_out, 0.0))
        bounds, rows = self._index.nearest(reduced_query, k, eligible)
        return rows, float(bounds[-1]) + _BOUND_ROUNDING
