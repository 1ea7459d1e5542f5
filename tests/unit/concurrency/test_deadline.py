"""Deadlines are inherited, shortened and enforced."""

import asyncio
import time

import pytest

from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded


def test_there_is_none_at_first() -> None:
    assert deadline.current() is None
    assert deadline.remaining_s() is None
    assert not deadline.passed(deadline.current())


def test_the_nearer_one_wins_and_the_farther_returns() -> None:
    with deadline.at_most(100):
        outer = deadline.current()
        with deadline.at_most(1000):
            assert deadline.current() == outer
        with deadline.at_most(10):
            left = deadline.remaining_s()
            assert left is not None
            assert left <= 10
        assert deadline.current() == outer
    assert deadline.current() is None


async def test_tasks_inherit_it_and_threads_are_handed_it() -> None:
    async def inherited() -> float | None:
        return deadline.current()

    with deadline.at_most(50):
        assert await asyncio.create_task(inherited()) == deadline.current()
        handed = deadline.current()
        assert not await asyncio.to_thread(deadline.passed, handed)
    assert deadline.passed(time.monotonic() - 1)


async def test_what_is_too_slow_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(DeadlineExceeded) as caught, deadline.at_most(0.02):
        async with deadline.enforced():
            await slow()
    assert cancelled.is_set()
    assert caught.value.reason == "DEADLINE_EXCEEDED"


async def test_what_is_past_it_does_not_begin() -> None:
    with pytest.raises(DeadlineExceeded), deadline.at_most(0):
        async with deadline.enforced():
            pytest.fail("began")


async def test_a_timeout_of_the_work_itself_stays_one() -> None:
    with pytest.raises(TimeoutError), deadline.at_most(100):
        async with deadline.enforced():
            raise TimeoutError


async def test_a_cancelled_caller_is_not_told_of_deadlines() -> None:
    async def call() -> None:
        with deadline.at_most(100):
            async with deadline.enforced():
                await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
