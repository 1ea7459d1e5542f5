"""A file of arrays that is derived from other data, so that a start need not compute them again."""

import hashlib
import json
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from numpy.typing import NDArray

from services.bundle.tensors import read_tensors, write_tensors

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)

_CHECKSUM: Final = "sha256"


class DerivedFile:
    """Arrays and metadata in one file, of one format, model version and state of the data that they are derived from.

    The file is never the truth. One that is damaged, or of another format, model or state, is deleted and its content
    computed again. Left there, it might fit by chance: restored data can reach the same state with another content.
    """

    def __init__(self, path: Path, *, format: str, model_version: str) -> None:
        """Names the file; nothing is read yet.

        Args:
            path: in a folder that exists.
            format: name and version of what the arrays mean.
            model_version: the model of the embeddings.
        """
        self._path = path
        self._seal = {"format": format, "model_version": model_version}

    def read(
        self, parse: Callable[[Mapping[str, NDArray[Any]], Mapping[str, str]], T], states: Container[str] = ("",)
    ) -> T | None:
        """Reads the file.

        Args:
            parse: makes the content of arrays and metadata; it may raise ValueError, KeyError or TypeError.
            states: those of the data that the content is of use for, such as the one now.

        Returns:
            What `parse` makes; None if there is no usable file, which is logged unless there is none at all.
        """
        try:
            tensors, metadata = read_tensors(self._path.read_bytes())
            for name, wanted in {**self._seal, _CHECKSUM: _checksum(tensors, metadata)}.items():
                if metadata[name] != wanted:
                    raise ValueError(f"its {name} is {metadata[name]!r} instead of {wanted!r}")
            if metadata["state"] not in states:
                raise ValueError(f"it is of another state, {metadata['state']!r}")
            return parse(tensors, metadata)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.info("derived file is not usable; its content is computed again", file=str(self._path), why=str(error))
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            return None

    def write(self, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], state: str = "") -> None:
        """Replaces the file in one step; a failure is logged, and costs the next start the time to compute it again."""
        sealed = {**metadata, **self._seal, "state": state}
        sealed[_CHECKSUM] = _checksum(tensors, sealed)
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            fresh.write_bytes(write_tensors(tensors, sealed))
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("derived file cannot be written", file=str(self._path), why=str(error))


def _checksum(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    described = [
        sorted((name, text) for name, text in metadata.items() if name != _CHECKSUM),
        sorted((name, str(values.dtype), values.shape) for name, values in tensors.items()),
    ]
    digest = hashlib.sha256(json.dumps(described).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
