"""Keeps the reduced index's projection between starts, so that it is not trained again each time."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from services.bundle.tensors import read_tensors, write_tensors
from services.search.indexes.shards import Reduction

_log = structlog.stdlib.get_logger(__name__)

FILE: Final = "reduction.safetensors"
_FORMAT: Final = "fashion-reduction-1"
# How far from orthonormal columns of float32 may be.
_ORTHONORMAL_WITHIN: Final = 1e-3


class ReductionFile:
    """A projection in a file of the data directory, of one model.

    It is derived and never the truth: products are projected afresh at every start, and whatever is missing, damaged,
    or another model's is trained again. A projection that the catalogue has moved away from chooses less well, never
    wrongly; the index trains a new one once it has outgrown it.
    """

    def __init__(self, directory: Path, model_version: str) -> None:
        """Takes the data directory, and the model whose embeddings are projected."""
        self._path = directory / FILE
        self._model_version = model_version

    def load(self, dimension: int, components: int) -> Reduction | None:
        """Reads the projection of embeddings of `dimension` onto `components`; None where there is no usable one."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the projection cannot be read, and is trained again", why=str(error))
            return None
        try:
            return self._parsed(content, dimension, components)
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("the projection is not usable, and is trained again", file=self._path.name, why=str(error))
            return None

    def save(self, reduction: Reduction) -> None:
        """Keeps a projection; that it cannot be is logged, and costs the next start a second."""
        basis = np.ascontiguousarray(reduction.basis, dtype=np.float32)
        metadata = {
            "format": _FORMAT,
            "model_version": self._model_version,
            "trained_on": str(reduction.trained_on),
            "sha256": hashlib.sha256(basis.tobytes()).hexdigest(),
        }
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            fresh.write_bytes(write_tensors({"basis": basis}, metadata))
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("the projection cannot be kept", why=str(error))

    def _parsed(self, content: bytes, dimension: int, components: int) -> Reduction:
        tensors, metadata = read_tensors(content)
        basis = tensors["basis"]
        if metadata["format"] != _FORMAT:
            raise ValueError(f"the format is {metadata['format']!r}")
        if metadata["model_version"] != self._model_version:
            raise ValueError(f"it is of model version {metadata['model_version']}")
        if hashlib.sha256(basis.tobytes()).hexdigest() != metadata["sha256"]:
            raise ValueError("its SHA-256 is another")
        if basis.dtype != np.float32 or basis.shape != (dimension, min(components, dimension)):
            raise ValueError(f"its basis is {basis.dtype} {basis.shape}")
        if np.abs(basis.T @ basis - np.eye(basis.shape[1], dtype=np.float32)).max() > _ORTHONORMAL_WITHIN:
            raise ValueError("its columns are not orthonormal")
        return Reduction(basis, int(metadata["trained_on"]))
