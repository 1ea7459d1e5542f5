"""How often a call is made: three times at most, within a budget, and nothing of it is left behind."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest
from grpc.aio import Metadata
from prometheus_client import REGISTRY

from services.clients.tries import MAX_BUDGET, MAX_FAILURES, MAX_TRIES, Tries
from services.clients.watch import CallWatch
from services.concurrency.breaker import MAX_UNANSWERED, Unanswered
from services.contract.errors import DeadlineExceeded

Call = Callable[[float], Coroutine[Any, Any, str]]


def failure(code: grpc.StatusCode, **metadata: str) -> grpc.aio.AioRpcError:
    trailing = Metadata(*((key.replace("_", "-"), value) for key, value in metadata.items()))
    return grpc.aio.AioRpcError(code, Metadata(), trailing)


UNAVAILABLE = failure(grpc.StatusCode.UNAVAILABLE)


class Scripted:
    """Calls that end one after another as the script says: with an answer, with an error, or after a wait."""

    def __init__(self, *script: str | float | Exception) -> None:
        self.script = list(script)
        self.made = 0
        self.left_s: list[float] = []

    async def __call__(self, left_s: float) -> str:
        self.made += 1
        self.left_s.append(left_s)
        step = self.script[min(self.made, len(self.script)) - 1]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            try:
                async with asyncio.timeout(left_s):
                    await asyncio.sleep(step)
            except TimeoutError:
                raise failure(grpc.StatusCode.DEADLINE_EXCEEDED) from None
            return "late"
        return step


@pytest.fixture
def tries() -> Tries:
    return Tries(patience_s=0.02, watch=CallWatch("tested"))


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_what_fails_is_asked_again_up_to_three_times(tries: Tries, code: grpc.StatusCode) -> None:
    call = Scripted(failure(code), failure(code), "answer")
    assert await tries.make(call, timeout_s=5) == "answer"
    failing = Scripted(failure(code))
    with pytest.raises(grpc.aio.AioRpcError):
        await tries.make(failing, timeout_s=5)
    assert failing.made == MAX_FAILURES
    # All tries together have the time of one.
    assert failing.left_s == sorted(failing.left_s, reverse=True) and failing.left_s[-1] < 5


@pytest.mark.parametrize(
    "error",
    [
        failure(grpc.StatusCode.UNAVAILABLE, grpc_retry_pushback_ms="-1"),
        failure(grpc.StatusCode.INVALID_ARGUMENT),
        failure(grpc.StatusCode.RESOURCE_EXHAUSTED),
        failure(grpc.StatusCode.INTERNAL),
        DeadlineExceeded("Too late.", reason="DEADLINE_EXCEEDED"),
    ],
    ids=["pushback", "invalid", "full", "internal", "deadline"],
)
async def test_what_no_second_try_mends_is_asked_once(tries: Tries, error: Exception) -> None:
    call = Scripted(error)
    with pytest.raises(type(error)):
        await tries.make(call, timeout_s=5, slow_s=1)
    assert call.made == 1


async def test_a_slow_replica_and_failures_of_others_share_one_count(tries: Tries) -> None:
    call = Scripted(10.0, UNAVAILABLE)
    with pytest.raises(grpc.aio.AioRpcError):
        await tries.make(call, timeout_s=1, slow_s=0.05)
    assert call.made == 1 + MAX_FAILURES
    slow = Scripted(10.0)
    with pytest.raises(grpc.aio.AioRpcError):
        await tries.make(slow, timeout_s=1, slow_s=0.05)
    assert slow.made == MAX_TRIES


async def test_a_full_replica_decides_nothing_while_another_may_answer(tries: Tries) -> None:
    call = Scripted(0.1, failure(grpc.StatusCode.RESOURCE_EXHAUSTED))
    assert await tries.make(call, timeout_s=5, slow_s=0.05) == "late"


async def test_a_service_that_keeps_failing_gets_each_call_once(tries: Tries) -> None:
    call = Scripted(UNAVAILABLE)
    for _ in range(100):
        with pytest.raises(grpc.aio.AioRpcError):
            await tries.make(call, timeout_s=5)
    assert call.made == 100 + MAX_BUDGET
    # Each answer allows one more.
    answering = Scripted("answer")
    for _ in range(3):
        await tries.make(answering, timeout_s=5)
    for _ in range(10):
        with pytest.raises(grpc.aio.AioRpcError):
            await tries.make(call, timeout_s=5)
    assert call.made == 100 + MAX_BUDGET + 10 + 3


async def test_while_nothing_answers_one_call_at_a_time_waits(tries: Tries) -> None:
    hanging = Scripted(60.0)

    async def ask() -> type[BaseException] | None:
        try:
            await tries.make(hanging, timeout_s=0.05)
        except (grpc.aio.AioRpcError, Unanswered) as error:
            return type(error)
        return None

    for _ in range(MAX_UNANSWERED):
        assert await ask() is grpc.aio.AioRpcError
    began = time.monotonic()
    outcomes = await asyncio.gather(*(ask() for _ in range(100)))
    assert outcomes.count(Unanswered) == 99
    # One after another they would take 5 s.
    assert time.monotonic() - began < 2.5
    assert hanging.made == MAX_UNANSWERED + 1
    # The first answer ends that.
    assert await tries.make(Scripted("answer"), timeout_s=1) == "answer"
    assert await asyncio.gather(*(tries.make(Scripted("answer"), timeout_s=1) for _ in range(9))) == ["answer"] * 9


async def test_operators_see_what_happens(tries: Tries) -> None:
    def value(name: str) -> float:
        return REGISTRY.get_sample_value(name, {"service": "tested"}) or 0.0

    before = value("fashion_further_tries_total")
    await tries.make(Scripted(UNAVAILABLE, UNAVAILABLE, "answer"), timeout_s=5)
    assert value("fashion_further_tries_total") == before + 2
    for _ in range(MAX_UNANSWERED):
        with pytest.raises(grpc.aio.AioRpcError):
            await tries.make(Scripted(60.0), timeout_s=0.05)
    assert value("fashion_breaker_open") == 1
    await tries.make(Scripted("answer"), timeout_s=5)
    assert value("fashion_breaker_open") == 0


async def test_one_who_gives_up_leaves_no_task_behind(tries: Tries) -> None:
    call = Scripted(60.0)
    before = asyncio.all_tasks()
    asking = asyncio.create_task(tries.make(call, timeout_s=60, slow_s=0.01))
    while call.made < MAX_TRIES:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert asyncio.all_tasks() == before
