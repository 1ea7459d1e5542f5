"""Workers: a bounded queue, in order with one thread, and no work past its deadline."""

import asyncio
import threading
import time

import pytest

from services.concurrency import deadline
from services.concurrency.workers import Workers
from services.contract.errors import DeadlineExceeded, Overloaded


async def test_work_runs_in_a_thread_and_hands_back_its_result_or_error() -> None:
    workers = Workers("w", threads=1, max_pending=1)
    assert await workers.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 1, 0)
    workers.close()


async def test_more_than_may_wait_is_refused_and_room_comes_back() -> None:
    workers = Workers("w", threads=1, max_pending=2)
    gate = threading.Event()
    waiting = [asyncio.create_task(workers.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as error:
        await workers.run(gate.wait)
    assert error.value.reason == "QUEUE_FULL"
    gate.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await workers.run(gate.wait)
    workers.close()


async def test_a_caller_that_gives_up_leaves_what_is_under_way_to_its_end() -> None:
    workers = Workers("w", threads=1, max_pending=1)
    begun, gate, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait()
        done.set()

    task = asyncio.create_task(workers.run(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # It keeps its place until the thread is done.
    with pytest.raises(Overloaded):
        await workers.run(gate.wait)
    gate.set()
    await asyncio.to_thread(done.wait)
    workers.close()


async def test_what_comes_to_its_turn_too_late_is_dropped() -> None:
    workers = Workers("w", threads=1, max_pending=2)
    gate, ran = threading.Event(), threading.Event()
    first = asyncio.create_task(workers.run(gate.wait))
    with deadline.at_most(0.001):
        until = deadline.current()
        late = asyncio.create_task(workers.run(ran.set))
    await asyncio.sleep(0)
    assert until is not None
    while time.monotonic() < until:
        await asyncio.sleep(0)
    gate.set()
    await first
    with pytest.raises(DeadlineExceeded):
        await late
    assert not ran.is_set()
    workers.close()
