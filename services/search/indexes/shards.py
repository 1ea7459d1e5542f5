"""What FAISS holds: the float16 embeddings of one derived type, and a reduced copy of all for a first choice."""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

# Of the randomised subspace iteration; their defaults are 5 to 10 more columns and 1 to 3 rounds, here both are cheap.
_OVERSAMPLING = 32
_ITERATIONS = 3
# As a share of the mean eigenvalue; keeps the condition number low enough for the plain way to orthonormalise below.
_REGULARISATION = 0.01


class FlatIndex:
    """An exact inner-product index of float16 vectors, whose rows can be read and overwritten where they lie.

    It is the only copy of them. Not safe for threads by itself.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._faiss = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    def rows(self) -> NDArray[np.float16]:
        """Returns the vectors where they lie: float16, shape (n, dimension); valid until rows come or go."""
        size = len(self) * self._dimension * 2
        if size == 0:
            return np.empty((0, self._dimension), dtype=np.float16)
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(self._faiss.codes.data(), size)
        return codes.view(np.float16).reshape(-1, self._dimension)

    def append(self, vectors: NDArray[np.float16]) -> None:
        """Adds vectors: float16, shape (n, dimension). Codes of QT_fp16 are IEEE half floats already."""
        self._faiss.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8))

    def remove(self, positions: Sequence[int]) -> None:
        """Removes vectors; those behind move up, in their order."""
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
            k: at most as many as are eligible.
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
    """Selects the vectors at which a mask, bool, shape (n,), is true."""
    # The stubs describe the constructor of C++; that of Python takes the array alone, and keeps it.
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[call-arg, arg-type]


class Shard:
    """The products of one derived type: their embeddings, and which rows of the catalogue they are."""

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
        """Removes products; those behind move up, in their order."""
        self.embeddings.remove(positions)
        self.members = np.delete(self.members, positions)


@dataclass(frozen=True, slots=True)
class Reduction:
    """A projection onto the principal components of a catalogue's embeddings.

    Attributes:
        basis: float32, shape (dimension, components), orthonormal columns.
        trained_on: how many products the catalogue had.
    """

    basis: NDArray[np.float32]
    trained_on: int

    def project(self, vectors: NDArray[np.float16] | NDArray[np.float32]) -> NDArray[np.float16]:
        """Projects vectors, shape (n, dimension); returns float16, shape (n, components)."""
        return (vectors.astype(np.float32) @ self.basis).astype(np.float16)


def train_reduction(sample: NDArray[np.float16], components: int, trained_on: int, seed: int) -> Reduction:
    """Finds the principal components of a sample.

    They are those of the second moment, not of the covariance: what is to be kept is the inner product of uncentred
    vectors, and this is the basis that loses least of it. Found by randomised subspace iteration (Halko, Martinsson and
    Tropp, "Finding structure with randomness", 2011, algorithm 4.4), which is nothing but matrix products: a full
    eigendecomposition in 2048 dimensions takes half a minute where other work keeps the cores busy, this one second.

    Args:
        sample: float16, shape (n, dimension).
        components: how many are wanted, at most; never more than the dimension.
        trained_on: how many products the catalogue had.
        seed: makes it give the same again.
    """
    rows = sample.astype(np.float32)
    dimension = rows.shape[1]
    basis = np.random.default_rng(seed).normal(size=(dimension, min(components + _OVERSAMPLING, dimension)))
    # A little of the identity changes no component, and completes the basis where the sample has fewer directions.
    little = _REGULARISATION * float(np.square(rows).sum()) / dimension
    for _ in range(_ITERATIONS):
        product = rows.T @ (rows @ basis.astype(np.float32))
        basis = _orthonormal(product + little * basis)
    within = rows @ basis.astype(np.float32)
    _, directions = np.linalg.eigh((within.T @ within).astype(np.float64))
    # Ascending eigenvalues: the last columns matter most.
    principal = basis @ directions[:, -components:]
    return Reduction(np.ascontiguousarray(principal, dtype=np.float32), trained_on)


def _orthonormal(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns an orthonormal basis of what columns of full rank span: float64, shape as theirs."""
    squares, directions = np.linalg.eigh(vectors.T @ vectors)
    basis: NDArray[np.float64] = vectors @ (directions / np.sqrt(squares))
    return basis


class ReducedIndex:
    """All products in few dimensions, row for row as in the columns; a product without an embedding lies at zero."""

    def __init__(self, reduction: Reduction, rows: int) -> None:
        self.reduction = reduction
        self._index = FlatIndex(reduction.basis.shape[1])
        self._index.append(np.zeros((rows, reduction.basis.shape[1]), dtype=np.float16))

    def extend(self, rows: int) -> None:
        """Adds rows at zero."""
        self._index.append(np.zeros((rows, self.reduction.basis.shape[1]), dtype=np.float16))

    def write(self, rows: Sequence[int] | NDArray[np.int64], projections: NDArray[np.float16]) -> None:
        """Overwrites rows by projections: float16, shape (n, components)."""
        self._index.rows()[rows] = projections

    def move(self, moves: Sequence[tuple[int, int]], length: int) -> None:
        """Follows `Columns.remove`: moves rows, then cuts off those behind `length`."""
        vectors = self._index.rows()
        for new, old in moves:
            vectors[new] = vectors[old]
        self._index.truncate(length)

    def nearest(self, query: NDArray[np.float32], k: int, eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns the rows of the `k` eligible products nearest to a query in the reduced space: int64, shape (k,)."""
        # Unlike `@`, einsum starts no threads, which for a single vector take longer than the work itself.
        reduced_query = np.einsum("i,ij->j", query, self.reduction.basis)
        _, rows = self._index.nearest(reduced_query, k, eligible)
        return rows
