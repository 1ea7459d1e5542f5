"""What decides during a change of the model: how fast it goes on, and whether the next generation may be live."""

import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.generations import CanaryRow
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.reindex.builder import Progress
from services.search.reindex.comparison import (
    CanaryResult,
    Comparison,
    Gate,
    Plan,
    check_canaries,
    compare_neighbours,
)
from services.search.reindex.throttle import Throttle

SIZE = 16
SOUND = Comparison(100, 100, 0, 50, 0.5, 0.8, 0.8)


def alone(throttle: Throttle, ms: float = 10, count: int = 100) -> None:
    for _ in range(count):
        throttle.note(ms / 1000, beside=False)


def test_work_rests_longer_at_once_where_a_query_is_late_and_less_bit_by_bit() -> None:
    throttle = Throttle(1.5)
    alone(throttle)
    with throttle.active():
        first = throttle.rest
        throttle.note(0.0151, beside=True)
        assert throttle.rest == 2 * first
        # What is late by itself is not the work's fault.
        alone(throttle, 14.9, count=1)
        throttle.note(0.1, beside=False)
        assert throttle.rest < 2 * first
        for _ in range(3000):
            throttle.note(0.0149, beside=True)
        assert throttle.rest < first / 10
        for _ in range(30):
            throttle.note(1.0, beside=True)
        # Then the work takes so little of the time that hardly a query meets it.
        assert throttle.rest == 250


@pytest.mark.parametrize("cost_ms", [2.0, 10.0, 40.0])
def test_the_rest_finds_the_speed_at_which_one_query_in_a_hundred_is_late(cost_ms: float) -> None:
    """Queries of 5 ms in the median beside pieces of 20 ms: one that meets a piece takes longer by its cost."""
    random, throttle = np.random.default_rng(4), Throttle(1.5)

    def plain_ms() -> float:
        return float(5 * random.lognormal(0, 0.3))

    for _ in range(400):
        throttle.note(plain_ms() / 1000, beside=False)
    with throttle.active():
        took: list[float] = []
        for _ in range(6000):
            beside = random.random() < 1 / (1 + throttle.rest)
            took.append(plain_ms() + beside * cost_ms)
            throttle.note(took[-1] / 1000, beside=beside)
        assert np.quantile(took[1000:], 0.99) < 1.5 * np.quantile([plain_ms() for _ in range(20_000)], 0.99)
        # Where queries hardly notice the work, it does not rest for long.
        assert cost_ms > 2 or throttle.rest < 1


def test_few_queries_change_nothing_and_then_it_begins_with_care() -> None:
    throttle = Throttle(1.5)
    with throttle.active():
        first = throttle.rest
        for _ in range(10):
            throttle.note(0.001, beside=False)
            throttle.note(1.0, beside=True)
        assert throttle.rest == first
        alone(throttle)
        assert throttle.rest > 5 * first


async def test_nothing_rests_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle, naps = Throttle(1.5), []
    this, sleep = asyncio.current_task(), asyncio.sleep

    async def nap(seconds: float) -> None:
        # Servers of other tests may sleep in their threads.
        if asyncio.current_task() is this:
            naps.append(seconds)
        else:
            await sleep(seconds)

    monkeypatch.setattr("asyncio.sleep", nap)
    with throttle.active():
        async with throttle.piece():
            time.sleep(0.01)
        with throttle.query():
            pass
        async with throttle.piece():
            time.sleep(0.01)
    assert naps[0] == 0 and naps[1] >= 0.01


def test_a_thread_whose_work_was_given_up_pauses_no_more() -> None:
    throttle = Throttle(1.5)
    alone(throttle)
    throttle.note(0.001, beside=True)
    with throttle.active(), throttle.paced() as pace:
        begun = time.perf_counter()
        time.sleep(0.002)
        pace()
        assert time.perf_counter() - begun > 0.01
    # After so much work it would pause for five seconds.
    time.sleep(0.12)
    begun = time.perf_counter()
    pace()
    assert time.perf_counter() - begun < 2.5


async def test_a_query_counts_as_alone_once_the_work_was_given_up() -> None:
    throttle, paused, ended = Throttle(1.5), threading.Event(), threading.Event()
    alone(throttle)

    def work(pace: Callable[[], None]) -> None:
        time.sleep(0.01)
        paused.set()
        pace()
        pace()
        ended.set()

    async def load() -> None:
        with throttle.paced() as pace:
            await asyncio.to_thread(work, pace)

    task = asyncio.create_task(load())
    await asyncio.to_thread(paused.wait)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.to_thread(ended.wait)
    before = len(throttle._alone)
    with throttle.query():
        pass
    assert len(throttle._alone) == before + 1


async def test_a_query_counts_as_beside_where_any_part_of_it_was() -> None:
    throttle = Throttle(1.5)
    with throttle.active():
        with throttle.query():
            pass
        with throttle.query():
            async with throttle.piece():
                pass
        async with throttle.piece():
            with throttle.query():
                pass
    assert len(throttle._alone) == 1


def test_the_time_that_is_left_is_told_by_the_present_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress = Progress(missing=600)
    assert progress.remaining_s() is None
    for seconds, photographs in ((100, 10), (10, 100), (10, 100), (10, 100), (10, 100), (10, 100)):
        now += seconds
        progress.note(photographs)
    assert progress.embedded == 510
    assert progress.remaining_s() == pytest.approx(60, rel=0.25)


@pytest.mark.parametrize(
    ("comparison", "gate", "said"),
    [
        (SOUND, Gate(), ""),
        (Comparison(100, 99, 1, 50, 0.5, 0.8, 0.8), Gate(), "1 products are found with the live model"),
        (Comparison(100, 99, 1, 50, 0.5, 0.8, 0.8), Gate(max_lost_products=1), ""),
        (Comparison(100, 100, 0, 50, 0.05, 0.8, 0.8), Gate(), "5.0% of the ten nearest in common"),
        (Comparison(100, 100, 0, 50, 0.5, 0.8, 0.77), Gate(), "77.0% are of the product's own type"),
        (Comparison(100, 100, 0, 50, 0.5, 0.8, 0.77), Gate(max_label_loss=0.05), ""),
        (Comparison(0, 0, 0, 0, 0.0, 0.0, 0.0), Gate(), ""),
        (
            Comparison(100, 100, 0, 50, 0.5, 0.8, 0.8, (CanaryResult("shirt", True, False, "Men Hats"),)),
            Gate(),
            "0 of 1 canaries pass with the next model; these do not: shirt.",
        ),
    ],
)
def test_the_gate_says_what_keeps_it_shut(comparison: Comparison, gate: Gate, said: str) -> None:
    judged = comparison.judged(gate)
    assert bool(judged.reasons) is bool(said)
    assert said in "".join(judged.reasons)
    assert Comparison.from_text(judged.text()) == judged
    assert Plan.from_text(Plan(gate, True).text()) == Plan(gate, True)


@pytest.mark.parametrize("gate", [Gate(min_overlap=1.1), Gate(max_label_loss=float("nan")), Gate(max_lost_products=-1)])
def test_a_gate_out_of_range_is_refused(gate: Gate) -> None:
    with pytest.raises(InvalidInput, match=r"gate\.\w+ must be"):
        gate.check()


@pytest.mark.parametrize(
    "canary",
    [
        CanaryRow("none", None, None, ("Shirts",)),
        CanaryRow("no type", "1", None, ()),
        CanaryRow("empty type", "1", None, ("",)),
        CanaryRow("n" * 201, "1", None, ("Shirts",)),
        CanaryRow("large", None, b"x" * (25 << 20), ("Shirts",)),
    ],
)
def test_a_bad_canary_is_refused(canary: CanaryRow) -> None:
    with pytest.raises(InvalidInput):
        check_canaries([canary])


def index_of(seed: int, count: int = 60, *, same_as: int | None = None) -> FaissIndex:
    """Products of two types, which lie apart; with `same_as`, as another seed has them."""
    random = np.random.default_rng(seed if same_as is None else same_as)
    index = FaissIndex(SIZE)
    batch = []
    for number in range(count):
        values = random.normal(size=SIZE) * 0.3
        values[number % 2] += 3.0
        article_type = ("Shirts", "Hats")[number % 2]
        product = Product(id=str(number), gender=Gender.MEN, article_type=article_type, sub_category="All")
        batch.append(IndexedProduct(product, (values / np.linalg.norm(values)).astype(np.float16)))
    index.load([batch], 1)
    return index


def test_two_generations_are_compared_by_their_neighbours() -> None:
    same = compare_neighbours(index_of(1), index_of(2, same_as=1))
    assert (same.live_count, same.next_count, same.lost_count, same.sample_count) == (60, 60, 0, 60)
    assert same.overlap == 1.0
    assert same.live_label_agreement == same.next_label_agreement > 0.95
    other = compare_neighbours(index_of(1), index_of(2, count=50))
    assert (other.next_count, other.lost_count, other.sample_count) == (50, 10, 50)
    # By chance a third of the other 29 of the same type.
    assert 0.15 < other.overlap < 0.6
