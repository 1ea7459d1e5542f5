"""The parts of the index in FAISS: exact ones per derived type, and a reduced one over all products."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.search.indexes.cells import Cells, cells_of
from services.search.indexes.eligible_rows import (
    EligibleRows,
    eligible_count_of,
    eligible_mask_of,
    eligible_rows_of,
    eligible_span_of,
)
from services.search.indexes.flat_index import FlatIndex, nearest_of

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
# For an estimate of how many products to choose: a surplus, which is cheaper than another search, and limits that keep
# the numbers finite.
_SURPLUS = 1.25
_LEAST_HALVING = 2.0**-23
# Eligible rows are copied together where they are fewer than one in so many.
_SPARSE = 40
_MAX_DOUBLINGS = 40.0


class Projections(NamedTuple):
    """Projections of embeddings.

    Attributes:
        components: float16, shape (n, components).
        cells: uint16, shape (n,); None without cells.
    """

    components: NDArray[np.float16]
    cells: NDArray[np.uint16] | None = None


class ReducedRows(NamedTuple):
    """Rows of a reduced index.

    Attributes:
        first: their first components, float16, shape (n, a).
        refining: their further ones, float16, shape (n, b).
        cells: uint16, shape (n,); None without cells.
    """

    first: NDArray[np.float16]
    refining: NDArray[np.float16]
    cells: NDArray[np.uint16] | None = None


class Embeddings(Protocol):
    """Embeddings of which the nearest are found; see `FlatIndex`."""

    def __len__(self) -> int: ...

    def read(self, positions: NDArray[np.int64] | slice) -> NDArray[np.float16]:
        """See `FlatIndex.read`."""
        ...

    def overwrite(self, position: int, vector: NDArray[np.float16]) -> None:
        """See `FlatIndex.overwrite`."""
        ...

    def append(self, vectors: NDArray[np.float16]) -> None:
        """See `FlatIndex.append`."""
        ...

    def remove(self, positions: Sequence[int]) -> None:
        """See `FlatIndex.remove`."""
        ...

    def nearest(
        self, query: NDArray[np.float32], k: int, eligible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `FlatIndex.nearest`."""
        ...


class Shard:
    """The products of one derived type: their embeddings, and their rows in the columns."""

    def __init__(self, embeddings: Embeddings) -> None:
        """Takes where the embeddings are kept; there are none yet."""
        self.embeddings = embeddings
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


class ShardSearch:
    """A search of one shard that can be continued to less similar products."""

    def __init__(self, shard: Shard, query: NDArray[np.float32], eligible: NDArray[np.bool_]) -> None:
        self._shard = shard
        self._query = query
        self._eligible = eligible
        self._count = int(np.count_nonzero(eligible))
        self.similarities: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def fetch(self, k: int) -> int:
        """Fetches the `k` most similar products, or all eligible ones; returns their number."""
        k = min(k, self._count)
        if k:
            self.similarities, positions = self._shard.embeddings.nearest(self._query, k, self._eligible)
            self.rows = self._shard.members[positions]
        return k

    def fetch_down_to(self, floor: float) -> None:
        """Fetches all products with a similarity of at least `floor`."""
        while len(self.rows) < self._count and self.similarities[-1] >= floor:
            self.fetch(2 * len(self.rows))


@dataclass(frozen=True, slots=True)
class Reduction:
    """A projection onto the principal components of a catalogue's embeddings.

    Attributes:
        basis: float32, shape (dimension, components), orthonormal columns.
        trained_on: number of products in the catalogue at the training.
        centres: of the cells, by their first components: float32, shape (cells, m); None for no cells.
    """

    basis: NDArray[np.float32]
    trained_on: int
    centres: NDArray[np.float32] | None = None

    def project(self, vectors: NDArray[np.float16] | NDArray[np.float32]) -> Projections:
        """Projects vectors, shape (n, dimension)."""
        components = (vectors.astype(np.float32) @ self.basis).astype(np.float16)
        if self.centres is None:
            return Projections(components)
        # The last components matter most.
        return Projections(components, cells_of(components[:, -self.centres.shape[1] :], self.centres))


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
    place, the inner product of two rows is an upper bound of that of the whole embeddings (Cauchy and Schwarz). For the
    products that may be nearest by this, further components give a lower bound of the same kind.

    Attributes:
        reduction: the projection.
        cells: of the rows; None where all are looked at.
    """

    def __init__(self, reduction: Reduction, components: int, rows: int, *, with_cells: bool = True) -> None:
        """Makes an index of rows at zero.

        Args:
            reduction: the projection.
            components: number of the components that are compared for all products; the others refine.
            rows: number of rows.
            with_cells: whether rows are in the cells of the projection, where it has any.
        """
        self.reduction = reduction
        self.cells = Cells(reduction.centres, 0) if with_cells and reduction.centres is not None else None
        # The last components matter most.
        self._split = max(reduction.basis.shape[1] - components, 0)
        self._components = reduction.basis.shape[1] - self._split
        # Further components, the norm that all of them leave out, and the norm that the first ones leave out.
        self._index = FlatIndex(_padded(self._components + 1))
        self._refining = FlatIndex(_padded(self._split + 2))
        self.extend(rows)

    def extend(self, rows: int) -> None:
        """Adds rows at zero."""
        for index in (self._index, self._refining):
            index.append(np.zeros((rows, index.dimension), dtype=np.float16))
        if self.cells is not None:
            self.cells.append(np.zeros(rows, dtype=np.uint16))

    def divide(self, centres: NDArray[np.float32], part_rows: int) -> None:
        """Puts all rows into cells, which it has had none of: centres as of a `Reduction`."""
        self.reduction = replace(self.reduction, centres=centres)
        self.cells = Cells(centres, len(self._index))
        for start in range(0, len(self._index), part_rows):
            part = self._index.rows()[start : start + part_rows, : self._components]
            self.cells.write(np.arange(start, start + len(part)), cells_of(part, centres))

    def projections(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the first components of some rows: float32, shape (n, m)."""
        return self._index.rows()[rows, : self._components].astype(np.float32)

    def write(self, rows: Sequence[int] | NDArray[np.int64], projections: Projections) -> None:
        """Overwrites rows with projections of embeddings of norm 1."""
        components = projections.components
        vectors = np.zeros((len(components), self._index.dimension), dtype=np.float16)
        refining = np.zeros((len(components), self._refining.dimension), dtype=np.float16)
        squares = np.square(components.astype(np.float32))
        left_out = _MAX_SQUARED_NORM - squares[:, self._split :].sum(axis=1)
        vectors[:, : self._components] = components[:, self._split :]
        vectors[:, self._components] = np.sqrt(np.maximum(left_out, 0.0))
        refining[:, : self._split] = components[:, : self._split]
        refining[:, self._split] = np.sqrt(np.maximum(left_out - squares[:, : self._split].sum(axis=1), 0.0))
        refining[:, self._split + 1] = vectors[:, self._components]
        self._index.rows()[rows] = vectors
        self._refining.rows()[rows] = refining
        if self.cells is not None:
            assert projections.cells is not None, "They are of the same reduction."
            self.cells.write(rows, projections.cells)

    def append(self, count: int, places: NDArray[np.int64], rows: ReducedRows) -> None:
        """Adds rows as `copied` returned them.

        Args:
            count: how many rows to add.
            places: of those that are not at zero, among the new ones: int64, shape (n,), ascending.
            rows: these, n of them.
        """
        for index, vectors in ((self._index, rows.first), (self._refining, rows.refining)):
            if len(places) < count:
                padded = np.zeros((count, index.dimension), dtype=np.float16)
                padded[places] = vectors
                vectors = padded
            index.append(vectors)
        if self.cells is not None:
            assert rows.cells is not None, "The rows are of an index of the same reduction."
            cells = np.zeros(count, dtype=np.uint16)
            cells[places] = rows.cells
            self.cells.append(cells)

    def copied(self, rows: NDArray[np.int64]) -> ReducedRows:
        """Copies some rows."""
        cells = None if self.cells is None else self.cells.copied(rows)
        return ReducedRows(self._index.rows()[rows], self._refining.rows()[rows], cells)

    @property
    def widths(self) -> tuple[int, int]:
        """The lengths of the two parts of a row."""
        return self._index.dimension, self._refining.dimension

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
        reduced_queries = np.zeros((len(queries), self._index.dimension), dtype=np.float32)
        projections = queries @ self.reduction.basis[:, self._split :]
        reduced_queries[:, : self._components] = projections
        left_out = np.square(queries).sum(axis=1) - np.square(projections).sum(axis=1)
        reduced_queries[:, self._components] = np.sqrt(np.maximum(left_out, 0.0))
        bounds: NDArray[np.float32] = reduced_queries @ rows.T
        bounds += np.float32(_BOUND_ROUNDING)
        return bounds

    def move(self, moves: Sequence[tuple[int, int]], length: int) -> None:
        """Moves rows as `Columns.remove` did, then removes all from `length` on."""
        for index in (self._index, self._refining):
            vectors = index.rows()
            for new, old in moves:
                vectors[new] = vectors[old]
            index.truncate(length)
        if self.cells is not None:
            self.cells.move(moves, length)

    def search(self, query: NDArray[np.float32]) -> "ReducedSearch":
        """Projects a query, float32, shape (dimension,), of norm 1."""
        # Unlike `@`, einsum starts no threads, which would take longer than the work for a single vector.
        projection = np.einsum("i,ij->j", query, self.reduction.basis)
        squares = np.square(projection)
        left_out = max(float(np.square(query).sum() - squares[self._split :].sum()), 0.0)
        vector = np.zeros(self._index.dimension, dtype=np.float32)
        vector[: self._components] = projection[self._split :]
        vector[self._components] = math.sqrt(left_out)
        refining = np.zeros(self._refining.dimension, dtype=np.float32)
        refining[: self._split] = projection[: self._split]
        refining[self._split] = math.sqrt(max(left_out - float(squares[: self._split].sum()), 0.0))
        # Takes the part of the first bound away that the other two replace.
        refining[self._split + 1] = -vector[self._components]
        return ReducedSearch(self._index, self._refining, vector, refining, left_out, self.cells)


@dataclass(frozen=True, slots=True, eq=False)
class ReducedSearch:
    """A search of a reduced index.

    Attributes:
        index: the first components of all products.
        refining_index: their further ones.
        vector: the query, for the first.
        refining_vector: the query, for the further ones.
        left_out: the share of the query's squared norm that the first components leave out, in [0, 1].
        cells: of all products; None for none.
    """

    index: FlatIndex
    refining_index: FlatIndex
    vector: NDArray[np.float32]
    refining_vector: NDArray[np.float32]
    left_out: float
    cells: Cells | None = None

    def near(self, wanted: int, eligible: EligibleRows) -> EligibleRows:
        """See `Cells.near`; without cells, all that are eligible."""
        return eligible if self.cells is None else self.cells.near(self.vector, wanted, eligible)

    def first(self, count: int) -> int:
        """Returns about how many of `count` products the first components cannot exclude.

        The more unlike the catalogue a query is, the more they are. A second search costs more than a larger first one.
        """
        return int(count * self.left_out**3)

    def nearest(self, k: int, eligible: EligibleRows) -> "Candidates":
        """Finds the `k` eligible products that may be nearest by their first components."""
        first, end = eligible_span_of(eligible)
        # Few rows are copied sooner than FAISS looks every row up in a selector.
        if eligible_count_of(eligible) * _SPARSE < end - first:
            some = eligible_rows_of(eligible)
            bounds, places = nearest_of([(self.index.rows(), some)], self.vector, k)
            rows = some[places]
        else:
            whole = end - first == len(self.index)
            within = self.index if whole else FlatIndex.over(self.index.rows()[first:end])
            bounds, rows = within.nearest(self.vector, k, eligible_mask_of(eligible, end)[first:])
            rows = first + rows
        differences, places = nearest_of([(self.refining_index.rows(), rows)], self.refining_vector)
        rows = rows[places]
        refined = bounds[places] + differences
        order = np.argsort(-refined)
        rounding = np.float32(_BOUND_ROUNDING)
        others, middle = float(bounds[-1] + rounding), float(bounds[k // 2] + rounding)
        return Candidates(rows[order], refined[order] + rounding, others, middle)

    def more_than(self, candidates: "Candidates", floor: float, eligible: EligibleRows) -> int:
        """See `Bounds.more_than`; an estimate, which is mostly too high."""
        # Half of the bounds lie between the middle one and the last. The numbers of lower ones grow at most as fast.
        halving = max(candidates.middle - candidates.others, _LEAST_HALVING)
        doublings = min((candidates.others - floor) / halving, _MAX_DOUBLINGS)
        return math.ceil(_SURPLUS * len(candidates.rows) * math.exp2(doublings)) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Products that may be nearest to a query.

    Attributes:
        rows: int64, shape (n,).
        bounds: upper bounds of their similarities, float32, shape (n,), descending.
        others: an upper bound of the similarities of all other products.
        middle: the bound that half of the products were chosen above.
    """

    rows: NDArray[np.int64]
    bounds: NDArray[np.float32]
    others: float
    middle: float


def _padded(dimension: int) -> int:
    # FAISS is fast where the dimension is a multiple of 8.
    return 8 * math.ceil(dimension / 8)
