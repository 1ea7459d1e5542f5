"""Embeddings in a nameless file, for catalogues that are too large for the memory: read as they are compared."""

import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from services.search.indexes.flat_index import nearest_among

# Rows that are read and compared at once: 16 MiB.
_COMPARED: Final = 4096

_log = structlog.stdlib.get_logger(__name__)


class RowsFile:
    """Rows of float16 in a file that ends with this object; freed rows are used again.

    The system keeps what it has room for in memory. Rows that the disk does not take stay in the process's own. Any
    number of threads may read while none writes.
    """

    def __init__(self, folder: Path | None, dimension: int) -> None:
        """Makes an empty file.

        Args:
            folder: where it lies, without a name; None for the system's folder of temporary files.
            dimension: floats in a row.

        Raises:
            OSError: no file can be made there.
        """
        self.dimension = dimension
        self._descriptor, name = tempfile.mkstemp(dir=folder)
        Path(name).unlink()
        weakref.finalize(self, os.close, self._descriptor)
        self._row_bytes = 2 * dimension
        self._end = 0
        self._free: list[int] = []
        # Rows that the disk did not take, by place.
        self._held: dict[int, NDArray[np.float16]] = {}

    def add(self, rows: NDArray[np.float16]) -> NDArray[np.int64]:
        """Adds rows, float16, shape (n, dimension); returns their places: int64, shape (n,)."""
        reused = [self._free.pop() for _ in range(min(len(self._free), len(rows)))]
        new = len(rows) - len(reused)
        places = np.array([*sorted(reused), *range(self._end, self._end + new)], dtype=np.int64)
        self._end += new
        self.write(places, rows)
        return places

    def write(self, places: NDArray[np.int64], rows: NDArray[np.float16]) -> None:
        """Overwrites rows."""
        rows = np.ascontiguousarray(rows)
        for start, end in _runs(places):
            content = rows[start:end].reshape(-1).view(np.uint8).data
            offset = int(places[start]) * self._row_bytes
            try:
                while content:
                    written = os.pwrite(self._descriptor, content, offset)
                    content, offset = content[written:], offset + written
                for place in places[start:end].tolist() if self._held else ():
                    self._held.pop(place, None)
            except OSError as error:
                if not self._held:
                    _log.warning("embeddings stay in memory: the disk does not take them", why=str(error))
                self._held |= zip(places[start:end].tolist(), rows[start:end].copy(), strict=True)

    def free(self, places: NDArray[np.int64]) -> None:
        """Gives rows free, to be used again."""
        self._free += places.tolist()
        for place in places.tolist() if self._held else ():
            self._held.pop(place, None)

    def read(self, places: NDArray[np.int64]) -> NDArray[np.float16]:
        """Reads rows: float16, shape (n, dimension).

        Raises:
            OSError: the disk does not give them back.
        """
        rows = np.zeros((len(places), self.dimension), dtype=np.float16)
        whole, size = rows.reshape(-1).view(np.uint8).data, self._row_bytes
        for start, end in _runs(places):
            content = whole[start * size : end * size]
            offset = int(places[start]) * size
            while content:
                count = os.preadv(self._descriptor, [content], offset)
                if not count:
                    # Beyond its end are only rows that the disk did not take.
                    break
                content, offset = content[count:], offset + count
        if self._held:
            for at, place in enumerate(places.tolist()):
                if (held := self._held.get(place)) is not None:
                    rows[at] = held
        return rows


def _runs(places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Returns where runs of successive places begin and end."""
    if not len(places):
        return []
    breaks = (np.flatnonzero(np.diff(places) != 1) + 1).tolist()
    return list(zip([0, *breaks], [*breaks, len(places)], strict=True))


class StoredIndex:
    """An exact inner-product index like `FlatIndex`, whose vectors are in a file."""

    def __init__(self, file: RowsFile) -> None:
        """Makes an empty one; others may have rows in the same file."""
        self._file = file
        self._places = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def places(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns where some vectors are in the file."""
        return self._places[positions]

    def read(self, positions: NDArray[np.int64] | slice) -> NDArray[np.float16]:
        """See `FlatIndex.read`."""
        return self._file.read(self._places[positions])

    def overwrite(self, position: int, vector: NDArray[np.float16]) -> None:
        """See `FlatIndex.overwrite`."""
        self._file.write(self._places[position : position + 1], vector[np.newaxis])

    def append(self, vectors: NDArray[np.float16]) -> None:
        """See `FlatIndex.append`."""
        self._places = np.concatenate([self._places, self._file.add(vectors)])

    def remove(self, positions: Sequence[int]) -> None:
        """See `FlatIndex.remove`."""
        self._file.free(self._places[positions])
        self._places = np.delete(self._places, positions)

    def nearest(
        self, query: NDArray[np.float32], k: int, eligible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `FlatIndex.nearest`."""
        similarities = np.empty(0, dtype=np.float32)
        positions = np.empty(0, dtype=np.int64)
        candidates = np.flatnonzero(eligible)
        for start in range(0, len(candidates), _COMPARED):
            part = candidates[start : start + _COMPARED]
            found, order = nearest_among(self.read(part), query, min(k, len(part)))
            similarities = np.concatenate([similarities, found])
            positions = np.concatenate([positions, part[order]])
            best = np.argsort(-similarities, kind="stable")[:k]
            similarities, positions = similarities[best], positions[best]
        return similarities, positions
