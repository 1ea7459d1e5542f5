"""Keeps the published candidates in Redis, where search and classifiers in other processes meet."""

import json
from typing import Final, cast

import numpy as np

from services.bundle.tensors import read_tensors, write_tensors
from services.clients.redis import RedisStore
from services.contract.errors import Upstream
from services.contract.values import CandidateSet, Gender

_FORMAT: Final = "fashion-candidates-1"
_VERSION_FIELD: Final = "version"
_CONTENT_FIELD: Final = "safetensors"


def candidates_key(model_version: str) -> str:
    """Names the Redis key of a model's candidates."""
    return f"fashion:candidates:{model_version}"


def encode_candidates(candidates: CandidateSet) -> bytes:
    """Encodes candidates as safetensors: the embeddings as float32, the rest as metadata."""
    metadata = {
        "format": _FORMAT,
        "version": candidates.version,
        "model_version": candidates.model_version,
        "sub_categories": json.dumps(candidates.sub_categories),
        "genders": json.dumps([gender and gender.value for gender in candidates.genders]),
        "article_types": json.dumps(candidates.article_types),
        "product_ids": json.dumps(candidates.product_ids),
    }
    return write_tensors({"embeddings": candidates.embeddings.astype(np.float32, copy=False)}, metadata)


def decode_candidates(content: bytes) -> CandidateSet:
    """Decodes the content that `encode_candidates` made.

    Raises:
        ValueError: the content is something else, or broken; the text says what.
    """
    try:
        tensors, metadata = read_tensors(content)
        embeddings = tensors["embeddings"]
        if metadata["format"] != _FORMAT:
            raise ValueError(f"the format is {metadata['format']!r}, not {_FORMAT!r}")
        candidates = CandidateSet(
            version=str(metadata["version"]),
            model_version=str(metadata["model_version"]),
            sub_categories=tuple(json.loads(metadata["sub_categories"])),
            genders=tuple(label and Gender(label) for label in json.loads(metadata["genders"])),
            article_types=tuple(json.loads(metadata["article_types"])),
            product_ids=tuple(json.loads(metadata["product_ids"])),
            embeddings=embeddings,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a set of candidates ({type(error).__name__}: {error})") from error
    n = len(candidates.product_ids)
    lengths = {len(candidates.sub_categories), len(candidates.genders), len(candidates.article_types)}
    if embeddings.dtype != np.float32 or embeddings.ndim != 2 or {embeddings.shape[0]} | lengths != {n}:
        raise ValueError(f"{n} candidates do not go with embeddings of {embeddings.dtype} {embeddings.shape}")
    if not np.allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-3):
        raise ValueError("the embeddings are not of norm 1")
    return candidates


class RedisCandidateStore(RedisStore):
    """A `contract.CandidateStore` in Redis.

    The candidates of a model are one hash of version and content, written by one command, so that a reader never sees
    one without the other. Readers often ask for the version, a few bytes, and rarely for the content, some megabytes.
    """

    unavailable_message = "The candidate store (Redis) does not answer; try again later."
    refused_message = "The candidate store (Redis) refuses commands; the server's log says why."
    unavailable_reason = "CANDIDATES_UNAVAILABLE"

    async def _field(self, model_version: str, name: str) -> bytes | None:
        return cast(bytes | None, await self._ask("HGET", self._client.hget(candidates_key(model_version), name)))

    async def publish(self, candidates: CandidateSet) -> None:
        """Replaces the candidates of the set's model version; Redis has written an acknowledged set to its disk.

        Raises:
            Upstream: CANDIDATES_UNAVAILABLE.
        """
        fields: list[str | bytes] = [
            *(_VERSION_FIELD, candidates.version),
            *(_CONTENT_FIELD, encode_candidates(candidates)),
        ]
        await self._ask("HSET", self._client.hset(candidates_key(candidates.model_version), items=fields))

    async def version(self, model_version: str) -> str | None:
        """Returns the version of the candidates published for a model, or None where there are none.

        Raises:
            Upstream: CANDIDATES_UNAVAILABLE.
        """
        version = await self._field(model_version, _VERSION_FIELD)
        return None if version is None else version.decode(errors="replace")

    async def read(self, model_version: str) -> CandidateSet | None:
        """Returns the candidates published for a model, or None where there are none.

        Raises:
            Upstream: CANDIDATES_UNAVAILABLE, also where the content cannot be read; the cause says why.
        """
        content = await self._field(model_version, _CONTENT_FIELD)
        if content is None:
            return None
        try:
            candidates = decode_candidates(content)
            if candidates.model_version != model_version:
                raise ValueError(f"they are of model version {candidates.model_version!r}")
        except ValueError as error:
            raise Upstream(
                f"The candidates in the store cannot be read: {error}.", reason=self.unavailable_reason
            ) from error
        return candidates
