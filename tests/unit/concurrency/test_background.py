"""A background task lasts as long as its context, and reports an end of its own."""

import asyncio

import pytest

from services.concurrency.background import in_background


async def test_the_task_is_cancelled_and_gone_when_the_context_ends() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            steps.append("started")
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            steps.append("gone")

    ends: list[BaseException | None] = []
    async with in_background(work(), ends.append) as task:
        await asyncio.sleep(0)
        assert steps == ["started"]
    assert (steps, ends, task.cancelled()) == (["started", "gone"], [], True)


async def test_it_is_cancelled_where_the_context_fails() -> None:
    with pytest.raises(RuntimeError, match="the other work"):
        async with in_background(asyncio.sleep(3600)) as task:
            raise RuntimeError("the other work failed")
    assert task.cancelled()


@pytest.mark.parametrize("error", [None, RuntimeError("broken")])
async def test_an_end_of_its_own_is_reported_once(error: Exception | None) -> None:
    async def work() -> None:
        if error is not None:
            raise error

    ends: list[BaseException | None] = []
    async with in_background(work(), ends.append):
        await asyncio.sleep(0.01)
    assert ends == [error]
