"""Stores the candidates between starts, so that a start need not wait for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.bundle.derived_file import DerivedFile
from services.contract.protocols import EmbeddingSpace
from services.contract.values import Gender
from services.search.candidates.clusters import Candidate

FILE: Final = "candidates.safetensors"
_FORMAT: Final = "fashion-kept-candidates-2"


@dataclass(frozen=True, slots=True)
class StoredType:
    """A derived type's candidates.

    Attributes:
        candidates: of each of its kinds.
        count: number of products that they were computed of.
        changed: ids of the products that were created, changed or deleted since.
    """

    candidates: tuple[Candidate, ...]
    count: int
    changed: frozenset[str]


class CandidateFile:
    """Candidates in a file of the data directory, of one model and one state of the catalogue."""

    def __init__(self, directory: Path, space: EmbeddingSpace) -> None:
        """Takes the data directory, and the model of whose embeddings the candidates are means."""
        self._file = DerivedFile(directory / FILE, format=_FORMAT, model_version=space.model_version)
        self._dimension = space.dimension

    def load(self, index_version: int, since: int | None = None) -> tuple[int, Mapping[str, StoredType]] | None:
        """Reads the candidates.

        Args:
            index_version: of the catalogue.
            since: an earlier version, from which on candidates are of use too; None for none.

        Returns:
            Their version, and the candidates by derived type; None if there are no usable ones.
        """
        versions = range(index_version if since is None else since, index_version + 1)

        def parse(
            tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
        ) -> tuple[int, Mapping[str, StoredType]]:
            return int(metadata["state"]), _types_from(tensors, metadata)

        return self._file.read(parse, {str(version) for version in versions})

    def save(self, types: Mapping[str, StoredType], index_version: int) -> None:
        """Stores the candidates of a version of the catalogue; a failure is logged."""
        candidates = [candidate for each in types.values() for candidate in each.candidates]
        directions = np.array([each.embedding for each in candidates], dtype=np.float32)
        metadata = {
            "types": json.dumps({label: [each.count, sorted(each.changed)] for label, each in types.items()}),
            "candidates": json.dumps(
                [
                    [each.sub_category, each.gender and each.gender.value, each.article_type, each.product_id]
                    for each in candidates
                ]
            ),
        }
        directions = directions.reshape(len(candidates), self._dimension)
        self._file.write({"directions": directions}, metadata, str(index_version))


def _types_from(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Mapping[str, StoredType]:
    by_type: dict[str, list[Candidate]] = {}
    for (sub_category, gender, article_type, product_id), direction in zip(
        json.loads(metadata["candidates"]), tensors["directions"], strict=True
    ):
        candidate = Candidate(sub_category, gender and Gender(gender), article_type, product_id, direction)
        by_type.setdefault(candidate.derived_type, []).append(candidate)
    return {
        label: StoredType(tuple(by_type.get(label, ())), int(count), frozenset(changed))
        for label, (count, changed) in json.loads(metadata["types"]).items()
    }
