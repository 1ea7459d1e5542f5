"""A background task lasts as long as its context, and reports an end of its own."""

import asyncio

import pytest

from services.concurrency import background
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


async def test_a_task_that_loses_its_cancellation_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_CANCEL_AGAIN_S", 0.01)
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    async with asyncio.timeout(10), in_background(work()) as task:
        await asyncio.sleep(0)
    assert (lost, task.cancelled()) == (3, True)


@pytest.mark.parametrize("error", [None, RuntimeError("broken")])
async def test_an_end_of_its_own_is_reported_once(error: Exception | None) -> None:
    async def work() -> None:
        if error is not None:
            raise error

    ends: list[BaseException | None] = []
    async with in_background(work(), ends.append):
        await asyncio.sleep(0.01)
    assert ends == [error]
