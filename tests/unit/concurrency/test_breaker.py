"""A breaker: calls without an answer open it, one at a time passes then, and any answer closes it."""

import asyncio

import pytest

from services.concurrency.breaker import MAX_UNANSWERED, Breaker, Unanswered


async def _hangs(breaker: Breaker, seconds: float = 0.02) -> None:
    with breaker.passing():
        await asyncio.sleep(seconds)


def _answers(breaker: Breaker) -> None:
    with breaker.passing() as answered:
        answered()


@pytest.fixture
def changes() -> list[bool]:
    return []


@pytest.fixture
def breaker(changes: list[bool]) -> Breaker:
    return Breaker(patience_s=0.01, changed=changes.append)


async def test_calls_without_an_answer_open_it_and_one_at_a_time_passes(breaker: Breaker, changes: list[bool]) -> None:
    await asyncio.gather(*(_hangs(breaker) for _ in range(MAX_UNANSWERED - 1)))
    assert not breaker.open
    await _hangs(breaker)
    assert breaker.open and changes == [True]
    waiting = asyncio.create_task(_hangs(breaker))
    await asyncio.sleep(0)
    for _ in range(10):
        with pytest.raises(Unanswered), breaker.passing():
            raise AssertionError("passed")
    await waiting
    # The next one may wait, also after one that was cancelled.
    waiting = asyncio.create_task(_hangs(breaker, 10))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await _hangs(breaker)


async def test_an_answer_closes_it_at_once(breaker: Breaker, changes: list[bool]) -> None:
    await asyncio.gather(*(_hangs(breaker) for _ in range(20)))
    assert breaker.open
    _answers(breaker)
    assert not breaker.open and changes == [True, False]
    await asyncio.gather(*(_hangs(breaker) for _ in range(MAX_UNANSWERED - 1)))
    _answers(breaker)
    await asyncio.gather(*(_hangs(breaker) for _ in range(MAX_UNANSWERED - 1)))
    assert not breaker.open


async def test_callers_who_give_up_soon_say_nothing(breaker: Breaker) -> None:
    for _ in range(20):
        await _hangs(breaker, 0)
    assert not breaker.open


async def test_a_failure_at_once_is_an_answer(breaker: Breaker) -> None:
    for _ in range(20):
        with pytest.raises(OSError), breaker.passing() as answered:
            await asyncio.sleep(0.02)
            answered()
            raise OSError("connection refused")
    assert not breaker.open
