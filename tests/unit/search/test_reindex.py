"""What decides during a change of the model: how fast it goes on, and whether the next generation may be live."""

import numpy as np
import pytest

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.generations import CanaryRow
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.faiss import FaissIndex
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


def queries(throttle: Throttle, alone_ms: float, beside_ms: float, count: int = 400) -> None:
    for _ in range(count):
        throttle.note(alone_ms / 1000, beside=False)
        throttle.note(beside_ms / 1000, beside=True)


def test_work_pauses_longer_where_queries_notice_it_and_less_where_they_do_not() -> None:
    throttle = Throttle(1.5)
    with throttle.active():
        first = throttle.pause_s
        queries(throttle, 10, 11)
        assert throttle.pause_s == first
        queries(throttle, 10, 30)
        slow = throttle.pause_s
        assert slow > 10 * first
        queries(throttle, 10, 10.5, count=2000)
        assert throttle.pause_s < slow / 10


def test_few_queries_change_nothing() -> None:
    throttle = Throttle(1.5)
    with throttle.active():
        first = throttle.pause_s
        queries(throttle, 1, 1000, count=10)
        assert throttle.pause_s == first


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
    assert len(throttle._alone) == 1 and len(throttle._recent) == 3


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
