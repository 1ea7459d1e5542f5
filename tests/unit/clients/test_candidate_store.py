"""Both candidate stores, memory and a real Redis, behave alike; broken content differs from none."""

import json
from collections.abc import AsyncIterator

import numpy as np
import pytest
import redis
import safetensors.numpy

from services.clients.candidate_store import (
    RedisCandidateStore,
    candidates_key,
    decode_candidates,
    encode_candidates,
)
from services.contract.errors import Upstream
from services.contract.fakes import MemoryCandidateStore
from services.contract.protocols import CandidateStore
from services.contract.values import CandidateSet, Gender
from services.search.candidates.clusters import Candidate, candidate_set


def _candidates(*ids: str, model_version: str = "v1") -> CandidateSet:
    rng = np.random.default_rng(len(ids))
    return candidate_set(
        model_version,
        8,
        (
            Candidate("Top wear", list(Gender)[row % 5], f"Tshirts {row}", id_, rng.normal(size=8))
            for row, id_ in enumerate(ids)
        ),
    )


def _same(left: CandidateSet | None, right: CandidateSet | None) -> bool:
    if left is None or right is None:
        return left is right
    names = ("version", "model_version", "sub_categories", "genders", "article_types", "product_ids")
    return all(getattr(left, name) == getattr(right, name) for name in names) and np.array_equal(
        left.embeddings, right.embeddings
    )


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CandidateStore]:
    if request.param == "memory":
        yield MemoryCandidateStore()
        return
    found = RedisCandidateStore(request.getfixturevalue("redis_url"), timeout_s=2.0)
    yield found
    await found.close()


async def test_there_are_none_at_first(store: CandidateStore) -> None:
    assert await store.version("v1") is None
    assert await store.read("v1") is None


async def test_what_is_published_is_read(store: CandidateStore) -> None:
    published = _candidates("1", "é2", "3")
    await store.publish(published)
    assert await store.version("v1") == published.version
    found = await store.read("v1")
    assert _same(found, published)
    assert found is not None and found.embeddings.dtype == np.float32


async def test_the_newest_replaces_the_older(store: CandidateStore) -> None:
    await store.publish(_candidates("1", "2", "3"))
    newest = _candidates("4")
    await store.publish(newest)
    assert await store.version("v1") == newest.version
    assert _same(await store.read("v1"), newest)


async def test_models_do_not_mix(store: CandidateStore) -> None:
    first, second = _candidates("1"), _candidates("2", model_version="v2")
    await store.publish(first)
    await store.publish(second)
    assert _same(await store.read("v1"), first)
    assert _same(await store.read("v2"), second)


async def test_an_empty_set_is_a_set(store: CandidateStore) -> None:
    await store.publish(_candidates())
    found = await store.read("v1")
    assert found is not None and found.embeddings.shape == (0, 8)


async def test_another_client_sees_the_version_that_belongs_to_the_content(redis_url: str) -> None:
    published = _candidates("1", "2")
    store = RedisCandidateStore(redis_url, timeout_s=2.0)
    await store.publish(published)
    await store.close()
    with redis.Redis.from_url(redis_url) as client:
        fields = client.hgetall("fashion:candidates:v1")
    assert fields[b"version"].decode() == published.version
    assert _same(decode_candidates(fields[b"safetensors"]), published)


def _with(**changes: str) -> bytes:
    content = encode_candidates(_candidates("1", "2"))
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size])["__metadata__"] | changes
    return safetensors.numpy.save(safetensors.numpy.load(content), metadata=metadata)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not safetensors at all",
        encode_candidates(_candidates("1", "2"))[:-1],
        safetensors.numpy.save({"embeddings": np.ones((1, 8), np.float32)}),
        safetensors.numpy.save({"other": np.ones((1, 8), np.float32)}, metadata={"format": "fashion-candidates-1"}),
        _with(format="fashion-candidates-9"),
        _with(genders=json.dumps(["Men", "Nobody"])),
        _with(product_ids=json.dumps(["1"])),
        _with(article_types="{"),
        _with(model_version="v2"),
    ],
)
async def test_content_that_cannot_be_read_is_an_error_and_not_none(redis_url: str, content: bytes) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(candidates_key("v1"), mapping={"version": "x", "safetensors": content})
    store = RedisCandidateStore(redis_url, timeout_s=2.0)
    with pytest.raises(Upstream, match="cannot be read") as raised:
        await store.read("v1")
    assert raised.value.reason == "CANDIDATES_UNAVAILABLE"
    await store.close()


async def test_a_key_of_another_kind_is_an_error(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(candidates_key("v1"), "text")
    store = RedisCandidateStore(redis_url, timeout_s=2.0)
    with pytest.raises(Upstream) as raised:
        await store.version("v1")
    assert raised.value.reason == "CANDIDATES_UNAVAILABLE"
    await store.close()
