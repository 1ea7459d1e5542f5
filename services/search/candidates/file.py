"""Keeps the computed candidates between starts, so that a start need not wait for them."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from services.bundle.tensors import read_tensors, write_tensors
from services.contract.protocols import EmbeddingSpace
from services.contract.values import Gender
from services.search.candidates.clusters import Candidate, candidate_set

_log = structlog.stdlib.get_logger(__name__)

FILE: Final = "candidates.safetensors"
_FORMAT: Final = "fashion-kept-candidates-1"


@dataclass(frozen=True, slots=True)
class KeptType:
    """A derived type's candidates.

    Attributes:
        candidates: of each of its kinds.
        count: of products that they were computed of.
        changed: ids of the products that were created, changed or deleted since.
    """

    candidates: tuple[Candidate, ...]
    count: int
    changed: frozenset[str]


class CandidateFile:
    """Candidates in a file of the data directory, of one model.

    It is derived and never the truth: whatever is missing, damaged, another model's or of another state of the
    catalogue is computed again.
    """

    def __init__(self, directory: Path, space: EmbeddingSpace) -> None:
        """Takes the data directory, and the model of whose embeddings the candidates are means."""
        self._path = directory / FILE
        self._space = space

    def load(self, index_version: int) -> Mapping[str, KeptType] | None:
        """Reads the candidates that were kept of a state of the catalogue; None where there are none to be used.

        Those of another state are deleted: a catalogue that was restored may reach that version again as another one.
        """
        try:
            return self._parsed(self._path.read_bytes(), index_version)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.info("the kept candidates are not usable, and are computed again", why=str(error))
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            return None

    def save(self, types: Mapping[str, KeptType], index_version: int) -> None:
        """Keeps candidates; that they cannot be is logged, and costs the next start a second."""
        candidates = [candidate for each in types.values() for candidate in each.candidates]
        directions = np.array([each.embedding for each in candidates], dtype=np.float32)
        described = json.dumps({label: [each.count, sorted(each.changed)] for label, each in types.items()})
        metadata = {
            "format": _FORMAT,
            "model_version": self._space.model_version,
            "index_version": str(index_version),
            "sha256": self._digest(candidates, described),
            "types": described,
            "candidates": json.dumps(
                [[each.sub_category, each.gender.value, each.article_type, each.product_id] for each in candidates]
            ),
        }
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            directions = directions.reshape(len(candidates), self._space.dimension)
            fresh.write_bytes(write_tensors({"directions": directions}, metadata))
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("the candidates cannot be kept", why=str(error))

    def _parsed(self, content: bytes, index_version: int) -> Mapping[str, KeptType]:
        tensors, metadata = read_tensors(content)
        if metadata["format"] != _FORMAT:
            raise ValueError(f"the format is {metadata['format']!r}")
        if metadata["model_version"] != self._space.model_version:
            raise ValueError(f"they are of model version {metadata['model_version']}")
        if metadata["index_version"] != str(index_version):
            raise ValueError(f"they are of index version {metadata['index_version']}, not {index_version}")
        directions = tensors["directions"]
        candidates = [
            Candidate(sub_category, Gender(gender), article_type, product_id, direction)
            for (sub_category, gender, article_type, product_id), direction in zip(
                json.loads(metadata["candidates"]), directions, strict=True
            )
        ]
        if self._digest(candidates, metadata["types"]) != metadata["sha256"]:
            raise ValueError("their SHA-256 is another")
        by_type: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            by_type.setdefault(candidate.derived_type, []).append(candidate)
        return {
            label: KeptType(tuple(by_type.get(label, ())), int(count), frozenset(changed))
            for label, (count, changed) in json.loads(metadata["types"]).items()
        }

    def _digest(self, candidates: list[Candidate], types: str) -> str:
        # A version is a hash of all that the candidates are.
        version = candidate_set(self._space.model_version, self._space.dimension, candidates).version
        return hashlib.sha256(f"{version}\n{types}".encode()).hexdigest()
