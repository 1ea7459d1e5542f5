"""A cache of embeddings on disk by photograph: evaluations repeat quickly, and resume after an interruption."""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import InvalidInput
from services.contract.values import ModelInfo

_KEYS_PER_QUERY = 500


class EmbeddingCache:
    """The embeddings of one model in one runtime and precision; a context manager.

    Each model version, version of the garment heads, runtime and precision has a file of its own, as their embeddings
    differ. Two evaluations may use the same file at once.
    """

    def __init__(self, folder: Path, model: ModelInfo, heads: str | None = None) -> None:
        """Opens the file.

        Args:
            folder: is made where it is missing.
            model: the model.
            heads: version of its garment heads, which tell where to look; None without.
        """
        self._dimension = model.dimension
        name = re.sub(
            r"[^\w.-]", "_", "-".join(filter(None, (model.model_version, heads, model.runtime, model.precision)))
        )
        self.path = folder / f"{name}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=60)
            self._database.execute("PRAGMA journal_mode = WAL")
            # A crash may lose the last writes, which costs only time; WAL mode never tears the file.
            self._database.execute("PRAGMA synchronous = NORMAL")
            with self._database:
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS embeddings (sha256 BLOB PRIMARY KEY, vector BLOB NOT NULL) STRICT"
                )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def read(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
        """Yields the known embeddings of some photographs, in any order.

        Args:
            digests: SHA-256 of each photograph's file.

        Yields:
            A digest and its embedding: float32, shape (dimension,).

        Raises:
            InvalidInput: CACHE_UNUSABLE, the file cannot be read, or holds something else.
        """
        for start in range(0, len(digests), _KEYS_PER_QUERY):
            some = digests[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(some))
            try:
                rows = self._database.execute(
                    f"SELECT sha256, vector FROM embeddings WHERE sha256 IN ({marks})", some
                ).fetchall()
            except sqlite3.Error as error:
                raise self._unusable(error) from error
            for digest, content in rows:
                vector = np.frombuffer(content, dtype="<f4")
                if vector.shape != (self._dimension,) or not np.isfinite(vector).all():
                    raise self._unusable(f"an embedding in it does not have {self._dimension} finite floats")
                yield digest, vector.astype(np.float32, copy=False)

    def write(self, embeddings: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Stores embeddings; they are on disk when it returns.

        Args:
            embeddings: float32, shape (dimension,), by SHA-256 of the photograph's file.

        Raises:
            InvalidInput: CACHE_UNUSABLE, the file cannot be written.
        """
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO embeddings VALUES (?, ?)",
                    [(digest, vector.astype("<f4").tobytes()) for digest, vector in embeddings.items()],
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unusable(self, cause: object) -> InvalidInput:
        return InvalidInput(
            f"The embedding cache {self.path} cannot be used ({cause}): remove it, or name another with --cache.",
            reason="CACHE_UNUSABLE",
        )
