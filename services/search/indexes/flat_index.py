"""An exact index of float16 vectors in FAISS, and searches of vectors that lie elsewhere."""

import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

# Floats that a thread keeps room for to copy rows together: those of 32,768 rows of the reduced index, 16 MiB.
_KEPT_FLOATS = 8 << 20
# It begins with room for 128 embeddings.
_LEAST_FLOATS = 256 << 10

# Vectors, float16, shape (m, dimension), and some of their rows, int64, shape (n,).
SomeRows: TypeAlias = tuple[NDArray[np.float16], NDArray[np.int64]]


class FlatIndex:
    """An exact inner-product index of float16 vectors, whose rows can be read and overwritten in place.

    It has the only copy of the vectors. It is not thread-safe.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._faiss = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        # Making the view takes as long as reading ten rows.
        self._rows: NDArray[np.float16] | None = None

    @classmethod
    def over(cls, vectors: NDArray[np.float16]) -> "FlatIndex":
        """Returns an index of vectors that are not copied, for searches alone: float16, shape (n, dimension)."""
        index = cls(vectors.shape[1])
        index._rows = np.ascontiguousarray(vectors)
        content = index._rows.reshape(-1).view(np.uint8)
        # The stubs take them for a plain vector.
        codes: Any = index._faiss.codes
        index._faiss.codes = codes.create_view(faiss.swig_ptr(content), content.size, codes.owner)
        index._faiss.ntotal = len(vectors)
        return index

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    def show(self, count: int) -> None:
        """Has the first vectors alone from now on, of those that it is `over`."""
        self._faiss.ntotal = count

    def rows(self) -> NDArray[np.float16]:
        """Returns a view of the vectors: float16, shape (n, dimension); valid until rows are added or removed."""
        rows = self._rows
        if rows is None:
            size = len(self) * self.dimension * 2
            codes = faiss.rev_swig_ptr(self._faiss.codes.data(), size) if size else np.empty(0, dtype=np.uint8)
            rows = self._rows = codes.view(np.float16).reshape(-1, self.dimension)
        return rows

    def read(self, positions: NDArray[np.int64] | slice) -> NDArray[np.float16]:
        """Returns some vectors: float16, shape (n, dimension); of a slice it may be a view, as `rows` is."""
        return self.rows()[positions]

    def overwrite(self, position: int, vector: NDArray[np.float16]) -> None:
        """Replaces a vector: float16, shape (dimension,)."""
        self.rows()[position] = vector

    def append(self, vectors: NDArray[np.float16]) -> None:
        """Adds vectors: float16, shape (n, dimension), which are the very codes of QT_fp16."""
        self._rows = None
        self._faiss.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8))

    def remove(self, positions: Sequence[int]) -> None:
        """Removes vectors; later ones move up, in their order."""
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[positions] = True
        self._rows = None
        self._faiss.remove_ids(_selector(mask))

    def truncate(self, length: int) -> None:
        """Removes all vectors from a position on."""
        self._rows = None
        self._faiss.remove_ids(faiss.IDSelectorRange(length, len(self)))

    def nearest(
        self, query: NDArray[np.float32], k: int, eligible: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Finds the `k` eligible vectors of the highest inner product with a query.

        Args:
            query: float32, shape (dimension,).
            k: at most the number of eligible vectors.
            eligible: bool, shape (n,); None for all.

        Returns:
            Inner products, float32, shape (k,), descending; and positions, int64, shape (k,).
        """
        parameters = None
        if eligible is not None and not eligible.all():
            parameters = faiss.SearchParameters()
            parameters.sel = selector = _selector(eligible)  # noqa: F841 - FAISS does not keep it alive
        similarities, positions = self._faiss.search(query[np.newaxis], k, params=parameters)
        return similarities[0], positions[0]


def nearest_among(
    vectors: NDArray[np.float16], query: NDArray[np.float32], k: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Finds the `k` nearest of some vectors, of all of them where it is not given; see `FlatIndex.nearest`.

    FAISS reads float16 as it is; NumPy would convert it first, which takes four times as long.

    Args:
        vectors: float16, shape (n, dimension).
        query: float32, shape (dimension,).
        k: at most n.
    """
    return FlatIndex.over(vectors).nearest(query, len(vectors) if k is None else k)


class _Room(threading.local):
    """Where a thread copies rows together, and searches them.

    New memory for each search would take longer than the copy, and a new index of FAISS half as long as a search of
    some rows. Each also lets go of the interpreter, which another thread may then keep.
    """

    def __init__(self) -> None:
        self._floats = np.empty(0, dtype=np.float16)
        # Over all of the floats, by the dimension of its vectors.
        self._indexes: dict[int, FlatIndex] = {}

    def index(self, parts: Sequence[SomeRows], dimension: int) -> FlatIndex:
        """Returns an index of copies of some rows; valid until the next call in this thread."""
        count = sum(len(rows) for _, rows in parts)
        size = count * dimension
        if size > _KEPT_FLOATS:
            return FlatIndex.over(np.concatenate([vectors[rows] for vectors, rows in parts]))
        if size > len(self._floats):
            self._floats = np.empty(max(size, _LEAST_FLOATS), dtype=np.float16)
            self._indexes = {}
        copies, at = self._floats[:size].reshape(count, dimension), 0
        for vectors, rows in parts:
            # With another mode, NumPy copies them twice.
            np.take(vectors, rows, axis=0, out=copies[at : at + len(rows)], mode="clip")
            at += len(rows)
        if (index := self._indexes.get(dimension)) is None:
            most = len(self._floats) // dimension
            index = self._indexes[dimension] = FlatIndex.over(self._floats[: most * dimension].reshape(most, dimension))
        index.show(count)
        return index


_room = _Room()


def nearest_of(
    parts: Sequence[SomeRows], query: NDArray[np.float32], k: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Finds the `k` nearest of some rows of vectors, which are numbered in their order; see `nearest_among`.

    It is the faster form.
    """
    index = _room.index(parts, len(query))
    return index.nearest(query, len(index) if k is None else k)


def _selector(mask: NDArray[np.bool_]) -> faiss.IDSelector:
    """Selects the vectors where a mask, bool, shape (n,), is true."""
    # The stubs describe the constructor of C++. The one of Python takes only the array, and keeps it alive.
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[call-arg, arg-type]
