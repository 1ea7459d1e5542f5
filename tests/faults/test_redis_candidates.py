"""The candidate store when Redis is down, hangs, or comes back."""

import asyncio
import socket
from pathlib import Path

import numpy as np
import pytest

from services.clients.candidate_store import RedisCandidateStore
from services.contract.errors import Upstream
from services.contract.values import Gender
from services.search.candidates.clusters import Candidate, candidate_set
from services.stack.embedded_redis import embedded_redis

_CANDIDATES = candidate_set("v1", 2, [Candidate("Topwear", Gender.MEN, "Tshirts", "1", np.array([1.0, 0.0]))])


async def _assert_unavailable(store: RedisCandidateStore) -> None:
    for answer in (store.version("v1"), store.read("v1"), store.publish(_CANDIDATES)):
        with pytest.raises(Upstream) as raised:
            await answer
        assert raised.value.reason == "CANDIDATES_UNAVAILABLE"


async def test_no_redis_at_all(tmp_path: Path) -> None:
    store = RedisCandidateStore(f"unix://{tmp_path}/none.sock", timeout_s=1.0)
    await _assert_unavailable(store)
    await store.close()


async def test_a_name_that_does_not_resolve() -> None:
    store = RedisCandidateStore("redis://redis.invalid:6379", timeout_s=1.0)
    with pytest.raises(Upstream):
        await store.version("v1")
    await store.close()


async def test_one_that_accepts_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        store = RedisCandidateStore(f"redis://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.2)
        async with asyncio.timeout(20):
            await _assert_unavailable(store)
        await store.close()


async def test_a_restart_is_survived_and_nothing_is_lost(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as server:
        store = RedisCandidateStore(server.url, timeout_s=2.0)
        await store.publish(_CANDIDATES)
    await _assert_unavailable(store)
    with embedded_redis(tmp_path):
        assert await store.version("v1") == _CANDIDATES.version
        found = await store.read("v1")
        assert found is not None and found.product_ids == ("1",)
        # The pool holds a connection to the server that is gone; the next call has to be answered all the same.
    with embedded_redis(tmp_path):
        assert await store.version("v1") == _CANDIDATES.version
    await store.close()
