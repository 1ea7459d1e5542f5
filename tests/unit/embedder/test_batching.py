"""Batching: order, limits, and an answer for every caller in every case."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded, FashionError, NotReady, Overloaded
from services.embedder import batching
from services.embedder.batching import BatchingLimits, Lane, MicroBatcher, Pixels
from services.embedder.inference_thread import InferenceThread, ThreadDied
from tests.support.waiting import eventually

LIMITS = BatchingLimits(query_places=8, batch_places=16, micro_batch=4, inference_timeout_s=30)


def pixels(value: int) -> Pixels:
    return np.full((2, 2, 3), value, dtype=np.uint8)


def value_of(vector: NDArray[np.float32]) -> int:
    return int(vector[0])


class Gate:
    """An encoder that identifies pixels by their value, can be blocked, and records its batches."""

    def __init__(self, on_batch: Callable[[list[int]], None] = lambda _: None) -> None:
        self.batches: list[list[int]] = []
        self.crowded: list[bool] = []
        self.threads: set[str] = set()
        self._open = threading.Event()
        self._open.set()
        self._inside = threading.Event()
        self._on_batch = on_batch

    def encode(self, batch: Pixels, crowded: bool = False) -> NDArray[np.float32]:
        self.crowded.append(crowded)
        values = [int(each[0, 0, 0]) for each in batch]
        self.batches.append(values)
        self.threads.add(threading.current_thread().name)
        self._inside.set()
        assert self._open.wait(20)
        self._on_batch(values)
        return np.array([[value, 0.0] for value in values], dtype=np.float32)

    def close(self) -> None:
        self._inside.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._inside.wait, 20)


class Clock:
    """A time for the batcher, which passes only as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(batching, "time", clock)
    return clock


async def ask(batcher: MicroBatcher, value: int, lane: Lane = Lane.QUERY) -> int:
    with batcher.admitted(lane, 1):
        return value_of(await batcher.submit(pixels(value), lane))


async def waiting(batcher: MicroBatcher, gate: Gate, *asked: tuple[int, Lane]) -> list["asyncio.Task[int]"]:
    """Blocks the thread in the inference of 0, then queues these in this order."""
    gate.close()
    tasks = [asyncio.create_task(ask(batcher, 0))]
    await gate.entered()
    for value, lane in asked:
        tasks.append(asyncio.create_task(ask(batcher, value, lane)))
    # Each task runs until it waits.
    await asyncio.sleep(0)
    return tasks


async def test_answers_belong_to_their_callers() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        answers = await asyncio.gather(*(ask(batcher, value) for value in range(8)))

    assert answers == list(range(8))
    assert gate.threads == {"inference"}


async def test_what_waits_goes_together_and_no_more_than_the_limit() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate, *((value, Lane.QUERY) for value in range(1, 7)))
        gate.open()
        await asyncio.gather(*tasks)

    assert gate.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_queries_overtake_batches_which_are_not_starved() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        batch = [(value, Lane.BATCH) for value in range(100, 106)]
        queries = [(value, Lane.QUERY) for value in range(1, 6)]
        tasks = await waiting(batcher, gate, *batch, *queries)
        gate.open()
        await asyncio.gather(*tasks)

    assert gate.batches == [[0], [1, 2, 3, 100], [4, 5, 101], [102, 103, 104, 105]]


async def test_a_full_lane_refuses_at_once_and_the_other_does_not() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate, *((value, Lane.QUERY) for value in range(1, 8)))
        with pytest.raises(Overloaded) as caught:
            await ask(batcher, 9)
        assert caught.value.reason == "QUEUE_FULL"
        other = asyncio.create_task(ask(batcher, 10, Lane.BATCH))
        gate.open()
        assert await asyncio.gather(*tasks, other) == [*range(8), 10]

        assert await ask(batcher, 11) == 11


async def test_any_number_is_admitted_where_nobody_waits() -> None:
    async with MicroBatcher(Gate().encode, LIMITS) as batcher:
        with batcher.admitted(Lane.BATCH, 500), pytest.raises(Overloaded), batcher.admitted(Lane.BATCH, 1):
            pytest.fail("admitted")
        with batcher.admitted(Lane.BATCH, 16):
            pass


async def test_those_who_have_gone_are_not_encoded() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate, (1, Lane.QUERY), (2, Lane.QUERY))
        tasks[1].cancel()
        await asyncio.wait({tasks[1]})
        gate.open()
        await asyncio.gather(tasks[0], tasks[2])

    assert gate.batches == [[0], [2]]


async def test_what_is_past_its_deadline_is_not_encoded() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        with deadline.at_most(0.01):
            tasks = await waiting(batcher, gate, (1, Lane.QUERY))
            expires = deadline.current()
        assert expires is not None
        while time.monotonic() < expires:
            await asyncio.sleep(0.001)
        gate.open()
        assert await tasks[0] == 0
        with pytest.raises(DeadlineExceeded):
            await tasks[1]

    assert gate.batches == [[0]]


async def test_a_failed_inference_answers_all_its_callers_and_the_next_one_works() -> None:
    def fail_on_two(values: list[int]) -> None:
        if 2 in values:
            raise MemoryError("too much")

    gate = Gate(fail_on_two)
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate, *((value, Lane.QUERY) for value in range(1, 7)))
        gate.open()
        answers = await asyncio.gather(*tasks, return_exceptions=True)

        assert [type(answer) for answer in answers] == [int, *[MemoryError] * 4, int, int]
        assert await ask(batcher, 9) == 9


async def test_an_encoder_that_returns_too_few_rows_answers_nobody_with_anothers() -> None:
    def encode(batch: Pixels, crowded: bool) -> NDArray[np.float32]:
        return np.zeros((len(batch) - 1, 2), dtype=np.float32)

    async with MicroBatcher(encode, LIMITS) as batcher:
        with pytest.raises(RuntimeError, match="0 embeddings of 1"):
            await ask(batcher, 1)


@pytest.mark.parametrize("how", [SystemExit, KeyboardInterrupt])
async def test_a_dead_thread_is_noticed_and_everybody_is_told(how: type[BaseException]) -> None:
    def die(values: list[int]) -> None:
        raise how

    gate = Gate(die)
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        asked = [(1, Lane.QUERY), (2, Lane.BATCH), *((value, Lane.QUERY) for value in range(3, 7))]
        tasks = await waiting(batcher, gate, *asked)
        gate.open()
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            await batcher.died()

        assert [type(answer) for answer in answers] == [NotReady] * 7
        with pytest.raises(NotReady, match="stopped working"):
            await ask(batcher, 9)


async def test_a_thread_that_hangs_is_given_up_and_does_not_hold_up_the_end() -> None:
    hanging = threading.Event()
    limits = BatchingLimits(query_places=8, batch_places=16, micro_batch=4, inference_timeout_s=0.05)

    def hang(batch: Pixels, crowded: bool) -> NDArray[np.float32]:
        hanging.wait(60)
        raise AssertionError

    async with asyncio.timeout(20), MicroBatcher(hang, limits) as batcher:
        with pytest.raises(NotReady):
            await ask(batcher, 1)
        await batcher.died()
        with pytest.raises(NotReady):
            await ask(batcher, 2)
    hanging.set()


async def test_closing_refuses_what_waits() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate, (1, Lane.QUERY), (2, Lane.BATCH))
        # The running inference may end.
        gate.open()
        closing = asyncio.create_task(batcher.__aexit__())
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await closing

        assert all(isinstance(answer, FashionError) for answer in answers[1:])
        with pytest.raises(NotReady):
            await ask(batcher, 3)
    assert [1] not in gate.batches


async def test_closing_refuses_what_was_handed_over_this_very_moment() -> None:
    async with asyncio.timeout(20), MicroBatcher(Gate().encode, LIMITS) as batcher:
        asked = asyncio.create_task(ask(batcher, 1))
        # The task runs until it waits; its inference has not taken a step yet.
        await asyncio.sleep(0)
        await batcher.__aexit__()
        with pytest.raises(NotReady):
            await asked


async def test_warming_up_runs_in_the_thread_and_its_error_is_told() -> None:
    async with MicroBatcher(Gate().encode, LIMITS) as batcher:
        assert await batcher.in_every_thread(lambda: threading.current_thread().name, 20) == ["inference"]
        with pytest.raises(ZeroDivisionError):
            await batcher.in_every_thread(lambda: 1 // 0, 20)
        assert await ask(batcher, 1) == 1


async def test_warming_up_for_ever_is_told() -> None:
    never = threading.Event()
    async with MicroBatcher(Gate().encode, LIMITS) as batcher:
        with pytest.raises(ThreadDied, match=r"0\.01 s"):
            await batcher.in_every_thread(lambda: never.wait(60), 0.01)
        never.set()


async def test_work_between_inferences_comes_next_in_its_thread_whatever_waits() -> None:
    gate, order = Gate(), []
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate, *((value, Lane.BATCH) for value in range(1, 9)))
        work = asyncio.create_task(batcher.between(0, lambda: order.append(len(gate.batches))))
        await asyncio.sleep(0.05)
        assert not order
        gate.open()
        await asyncio.gather(work, *tasks)
        assert order == [1] and len(gate.batches) == 3
        # And at once where nothing runs.
        assert await batcher.between(0, lambda: threading.current_thread().name) == "inference"
        assert await ask(batcher, 9) == 9


async def test_patient_work_waits_for_a_calm_while_or_for_several_photographs(clock: Clock) -> None:
    gate, order = Gate(), []
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate)
        work = asyncio.create_task(batcher.between(0, lambda: order.append("work"), 60))
        await asyncio.sleep(0.1)
        gate.open()
        await asyncio.gather(*tasks)
        for _ in range(10):
            await ask(batcher, 1)
        assert not order
        clock.now += 0.3
        async with asyncio.timeout(20):
            await work
        tasks = await waiting(batcher, gate, (1, Lane.QUERY), (2, Lane.QUERY))
        work = asyncio.create_task(batcher.between(0, lambda: order.append("more"), 60))
        await asyncio.sleep(0.1)
        gate.open()
        await asyncio.gather(work, *tasks)
        assert gate.batches[-1] == [1, 2] and order == ["work", "more"]


async def test_work_that_is_cancelled_as_its_turn_comes_leaves_its_thread_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        tasks = await waiting(batcher, gate)
        work = asyncio.create_task(batcher.between(0, lambda: None))
        await asyncio.sleep(0.05)
        free = batcher._free

        def free_and_cancel(thread: InferenceThread) -> None:
            free(thread)
            # It has its turn, and has not gone on.
            work.cancel()

        monkeypatch.setattr(batcher, "_free", free_and_cancel)
        gate.open()
        await asyncio.gather(*tasks)
        with pytest.raises(asyncio.CancelledError):
            await work
        async with asyncio.timeout(20):
            assert await ask(batcher, 9) == 9


async def test_work_between_inferences_that_fails_or_dies_is_told() -> None:
    def fail() -> None:
        raise OSError

    def die() -> None:
        raise SystemExit

    async with MicroBatcher(Gate().encode, LIMITS) as batcher:
        with pytest.raises(OSError):
            await batcher.between(0, fail)
        assert await ask(batcher, 1) == 1
        with pytest.raises(NotReady):
            await batcher.between(0, die)
        async with asyncio.timeout(20):
            await batcher.died()
        with pytest.raises(NotReady):
            await ask(batcher, 2)
        with pytest.raises(NotReady):
            await batcher.between(0, fail)


def test_a_micro_batch_has_room_for_both_lanes() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        BatchingLimits(query_places=1, batch_places=1, micro_batch=1, inference_timeout_s=1)


async def test_several_are_answered_in_order_in_as_few_batches_as_may_be() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        with batcher.admitted(Lane.BATCH, 6):
            vectors = await batcher.submit_all([pixels(value) for value in range(6)], Lane.BATCH)

        assert [value_of(vector) for vector in vectors] == list(range(6))
        assert gate.batches == [[0, 1, 2, 3], [4, 5]]
        assert list(await batcher.submit_all([], Lane.BATCH)) == []


async def test_whoever_leaves_with_several_takes_all_of_them_along() -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        (first,) = await waiting(batcher, gate)
        several = asyncio.create_task(batcher.submit_all([pixels(value) for value in (1, 2, 3)], Lane.BATCH))
        await asyncio.sleep(0)
        several.cancel()
        await asyncio.wait({several})
        gate.open()

        assert await first == 0
        assert await ask(batcher, 9) == 9
        assert gate.batches == [[0], [9]]


async def test_calls_that_met_leave_each_other_processors(clock: Clock) -> None:
    gate = Gate()
    async with MicroBatcher(gate.encode, LIMITS) as batcher:
        await ask(batcher, 1)
        tasks = await waiting(batcher, gate, (2, Lane.QUERY))
        gate.open()
        await asyncio.gather(*tasks)
        await ask(batcher, 3)
        clock.now += 0.15
        await ask(batcher, 4)

    assert gate.batches == [[1], [0], [2], [3], [4]]
    # The first of two that meet has begun before the second one comes.
    assert gate.crowded == [False, False, True, True, False]


class TestSeveralThreads:
    """Two inferences at once."""

    LIMITS = replace(LIMITS, inferences=2)

    async def test_they_share_what_waits_of_batches(self) -> None:
        together = threading.Barrier(2)
        gate = Gate(lambda _: together.wait(20) and None)
        async with MicroBatcher(gate.encode, self.LIMITS) as batcher:
            # Each inference waits for the other: with one thread neither would end.
            with batcher.admitted(Lane.BATCH, 4):
                vectors = await batcher.submit_all([pixels(value) for value in range(4)], Lane.BATCH)

        assert [value_of(vector) for vector in vectors] == [0, 1, 2, 3]
        assert sorted(gate.batches) == [[0, 1], [2, 3]]

    async def test_few_queries_have_all_threads_and_share_what_waits(self) -> None:
        gate = Gate()
        async with MicroBatcher(gate.encode, self.LIMITS) as batcher:
            tasks = await waiting(batcher, gate, *((value, Lane.QUERY) for value in (1, 2, 3)))
            await asyncio.to_thread(eventually, lambda: sorted(gate.batches) == [[0], [1]])
            gate.open()
            assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
        assert sorted(gate.batches) == [[0], [1], [2], [3]]

    async def test_many_queries_have_half_of_the_threads_and_larger_batches(self) -> None:
        gate = Gate()
        async with MicroBatcher(gate.encode, self.LIMITS) as batcher:
            tasks = await waiting(batcher, gate, *((value, Lane.QUERY) for value in range(1, 6)))
            await asyncio.to_thread(eventually, lambda: sorted(gate.batches) == [[0], [1]])
            gate.open()
            assert await asyncio.gather(*tasks) == [*range(6)]
        assert gate.batches[2:] == [[2, 3, 4, 5]]

    async def test_batches_that_wait_get_half_of_the_threads(self) -> None:
        gate = Gate()
        async with MicroBatcher(gate.encode, self.LIMITS) as batcher:
            tasks = await waiting(
                batcher, gate, (1, Lane.QUERY), (100, Lane.BATCH), *((value, Lane.QUERY) for value in range(2, 6))
            )
            await asyncio.to_thread(eventually, lambda: sorted(gate.batches) == [[0], [1]])
            gate.open()
            await asyncio.gather(*tasks)
        # The first thread that was free took it, although queries waited.
        assert [100] in gate.batches[2:4]

    async def test_a_query_does_not_wait_for_a_batch(self) -> None:
        gate = Gate()

        def encode(batch: Pixels, crowded: bool) -> NDArray[np.float32]:
            return gate.encode(batch) if batch[0, 0, 0, 0] >= 100 else np.zeros((len(batch), 2), dtype=np.float32)

        async with MicroBatcher(encode, self.LIMITS) as batcher:
            gate.close()
            held = asyncio.create_task(ask(batcher, 100, Lane.BATCH))
            await gate.entered()
            for _ in range(5):
                assert await ask(batcher, 0) == 0
            assert not held.done()
            gate.open()
            assert await held == 100
        assert gate.batches == [[100]]

    @pytest.mark.parametrize("queried_s", [60.0, 0.0])
    async def test_for_a_while_after_a_query_batches_leave_a_thread_to_the_next(
        self, monkeypatch: pytest.MonkeyPatch, queried_s: float
    ) -> None:
        monkeypatch.setattr(batching, "_QUERIED_S", queried_s)
        gate = Gate()

        def encode(batch: Pixels, crowded: bool) -> NDArray[np.float32]:
            return gate.encode(batch) if batch[0, 0, 0, 0] >= 100 else np.zeros((len(batch), 2), dtype=np.float32)

        async with MicroBatcher(encode, self.LIMITS) as batcher:
            assert await ask(batcher, 0) == 0
            gate.close()
            with batcher.admitted(Lane.BATCH, 8):
                many = asyncio.create_task(batcher.submit_all([pixels(value) for value in range(100, 108)], Lane.BATCH))
                await gate.entered()
                query = asyncio.create_task(ask(batcher, 0))
                done, _ = await asyncio.wait({query}, timeout=20 if queried_s else 0.2)
                assert bool(done) == bool(queried_s)
                assert sum(map(len, gate.batches)) == (4 if queried_s else 8)
                gate.open()
                assert [value_of(each) for each in await many] == [*range(100, 108)]
            assert await query == 0

    async def test_each_is_warmed_up_at_the_same_time(self) -> None:
        together = threading.Barrier(2)
        async with MicroBatcher(Gate().encode, self.LIMITS) as batcher:
            assert len(await batcher.in_every_thread(lambda: together.wait(20), 30)) == 2

    async def test_both_lanes_are_served_while_both_wait(self) -> None:
        gate = Gate()
        async with MicroBatcher(gate.encode, self.LIMITS) as batcher:
            tasks = [asyncio.create_task(ask(batcher, value)) for value in (1, 2)]
            tasks += [asyncio.create_task(ask(batcher, value, Lane.BATCH)) for value in (101, 102)]
            assert await asyncio.gather(*tasks) == [1, 2, 101, 102]

        assert {min(batch) for batch in gate.batches} >= {1}
        assert sorted(value for batch in gate.batches for value in batch) == [1, 2, 101, 102]

    async def test_the_death_of_one_is_the_end(self) -> None:
        def die(values: list[int]) -> None:
            if values[0] == 1:
                raise SystemExit

        async with MicroBatcher(Gate(die).encode, self.LIMITS) as batcher:
            with pytest.raises(NotReady):
                await ask(batcher, 1)
            async with asyncio.timeout(20):
                await batcher.died()
            with pytest.raises(NotReady):
                await ask(batcher, 2)
