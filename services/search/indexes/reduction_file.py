"""Keeps the reduced index's projection between starts, so that it is not trained again each time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.bundle.derived_file import DerivedFile
from services.search.indexes.shards import Reduction

FILE: Final = "reduction.safetensors"
_FORMAT: Final = "fashion-reduction-2"
# Tolerance for the columns of float32 to be orthonormal.
_ORTHONORMAL_WITHIN: Final = 1e-3


class ReductionFile:
    """A projection in a file of the data directory, of one model and any state of the catalogue.

    Products are projected afresh at every start. An old projection chooses less well, never wrongly. The index trains
    a new one once the catalogue has outgrown it.
    """

    def __init__(self, directory: Path, model_version: str) -> None:
        """Takes the data directory, and the model whose embeddings are projected."""
        self._file = DerivedFile(directory / FILE, format=_FORMAT, model_version=model_version)

    def load(self, dimension: int, components: int) -> Reduction | None:
        """Reads the projection of embeddings of `dimension` onto `components`; None if there is no usable one."""

        def parse(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Reduction:
            basis = tensors["basis"]
            if basis.dtype != np.float32 or basis.shape != (dimension, min(components, dimension)):
                raise ValueError(f"its basis is {basis.dtype} {basis.shape}")
            if np.abs(basis.T @ basis - np.eye(basis.shape[1], dtype=np.float32)).max() > _ORTHONORMAL_WITHIN:
                raise ValueError("its columns are not orthonormal")
            centres = tensors.get("centres")
            if centres is not None and (centres.dtype != np.float32 or centres.ndim != 2 or not len(centres)):
                raise ValueError(f"its centres are {centres.dtype} {centres.shape}")
            return Reduction(basis, int(metadata["trained_on"]), centres)

        return self._file.read(parse)

    def save(self, reduction: Reduction) -> None:
        """Keeps a projection; a failure is logged."""
        tensors = {"basis": reduction.basis.astype(np.float32)}
        if reduction.centres is not None:
            tensors["centres"] = reduction.centres
        self._file.write(tensors, {"trained_on": str(reduction.trained_on)})
