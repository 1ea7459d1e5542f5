"""Following the candidate store: new candidates, kept candidates, and how often trouble is logged."""

import asyncio

import numpy as np
import pytest
from structlog.testing import capture_logs

from services.classifier.candidate_follower import CandidateFollower
from services.contract.errors import Upstream
from services.contract.fakes import MemoryCandidateStore
from services.contract.values import CandidateSet, Gender
from services.search.candidates.clusters import Candidate, candidate_set


def _candidates(product_id: str, model_version: str = "v1") -> CandidateSet:
    return candidate_set(
        model_version, 2, [Candidate("Topwear", Gender.MEN, "Tshirts", product_id, np.array([1.0, 0.0]))]
    )


async def test_a_new_version_is_taken_once() -> None:
    store, taken = MemoryCandidateStore(), list[CandidateSet]()
    follower = CandidateFollower(store, "v1", taken.append, period_s=2.0)
    assert await follower.look()
    await store.publish(_candidates("other", "v2"))
    assert await follower.look()
    assert taken == [] and store.reads == 0
    for product in ("1", "1", "2"):
        await store.publish(_candidates(product))
        await follower.look()
        await follower.look()
    assert [candidates.product_ids for candidates in taken] == [("1",), ("2",)]
    assert store.reads == 2


async def test_a_store_that_is_down_or_empty_takes_nothing_away_and_is_logged_once() -> None:
    store, taken = MemoryCandidateStore(), list[CandidateSet]()
    follower = CandidateFollower(store, "v1", taken.append, period_s=2.0)
    await store.publish(_candidates("1"))
    with capture_logs() as logs:
        await follower.look()
        store.failure = Upstream("The candidate store (Redis) does not answer.", reason="CANDIDATES_UNAVAILABLE")
        assert [await follower.look() for _ in range(3)] == [False] * 3
        store.failure = None
        assert await follower.look()
    assert [line["log_level"] for line in logs] == ["info", "warning", "info"]
    assert "does not answer" in logs[1]["why"]
    lost = CandidateFollower(MemoryCandidateStore(), "v1", taken.append, period_s=2.0)
    assert await lost.look()
    assert len(taken) == 1


async def test_unfit_candidates_are_logged_once_and_the_next_are_taken() -> None:
    store, taken = MemoryCandidateStore(), list[CandidateSet]()

    def use(candidates: CandidateSet) -> None:
        if candidates.product_ids == ("unfit",):
            raise ValueError("unfit")
        taken.append(candidates)

    follower = CandidateFollower(store, "v1", use, period_s=2.0)
    await store.publish(_candidates("unfit"))
    with capture_logs() as logs:
        await follower.look()
        await follower.look()
    assert [line["log_level"] for line in logs] == ["error"]
    await store.publish(_candidates("fit"))
    await follower.look()
    assert [candidates.product_ids for candidates in taken] == [("fit",)]


async def test_it_follows_until_it_is_cancelled() -> None:
    store, seen = MemoryCandidateStore(), asyncio.Queue[CandidateSet](10)
    following = asyncio.create_task(CandidateFollower(store, "v1", seen.put_nowait, period_s=0.01).run())
    async with asyncio.timeout(20):
        for product in ("1", "2"):
            await store.publish(_candidates(product))
            assert (await seen.get()).product_ids == (product,)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
