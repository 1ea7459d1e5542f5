"""A shop's day: its harness keeps to the promises of the product, and finds each planted fault."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from offline.benchmark.batch_states import Batch, Judge, State
from offline.benchmark.day import Day, Part
from offline.benchmark.day_shop import DELETES, DISLIKES, FEED, PRICES, UPLOADS, Shop
from offline.benchmark.deployment import Usage
from offline.benchmark.growth import Sample, growth
from services.search.indexes.faiss import FaissIndex
from services.search.preferences import RedisPreferences
from services.search.writes.writer import CatalogueWriter
from tests.support.gateways import shop as running_shop

# A busy machine must not look like a fault.
PATIENT = 20.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running_shop(tmp_path_factory.mktemp("shop"), token_free=True) as stack:
        yield Shop(stack.grpc.target, stack.url, products=120, seed=0, pictures=24)


def live(shop: Shop, seconds: float, *kinds: str, rate: float = 10.0, max_slowdown: float = PATIENT) -> dict[str, Any]:
    shop.judge = Judge()
    usage = {"stack": Usage.of(os.getpid())}
    day = Day(shop, lambda: usage, rate, seed=0)
    return asyncio.run(day.run(seconds, [Part("noon", 1.0, kinds)], max_slowdown))


def test_a_day_keeps_the_promises(shop: Shop) -> None:
    figures = live(shop, 5.0, PRICES, FEED, DELETES, DISLIKES, UPLOADS)
    assert figures["problems"] == []
    assert set(figures["writes"]) == {PRICES, FEED, DELETES, DISLIKES, UPLOADS}
    assert figures["judged"]["answers"] > 20 and figures["judged"]["batches"] > 40
    assert figures["products"] == 120


def _row_by_row(original: Any, self: Any, rows: Any, deletes: Any, version: int, updated: Any = ()) -> None:
    for each in updated:
        original(self, (), (), version, [each])
        time.sleep(0.02)
    original(self, rows, deletes, version)


def _late(original: Any, *arguments: Any) -> None:
    threading.Timer(0.3, original, arguments).start()


def _locked(original: Any, self: Any, *arguments: Any) -> None:
    original(self, *arguments)
    with self._lock.writing():
        time.sleep(3.0)


async def _nothing_disliked(original: Any, self: Any, user_id: str, colours: Any) -> Any:
    return await self.disliked_colours(user_id)


# The last ones leave the index in disorder.
FAULTS: dict[str, tuple[object, str, Callable[..., Any], str, str]] = {
    "readers wait for writers": (FaissIndex, "apply", _locked, PRICES, "99th percentile grew"),
    "rows one by one": (FaissIndex, "apply", _row_by_row, PRICES, "two states of one batch"),
    "acknowledged before it is found": (CatalogueWriter, "_take_over", _late, PRICES, "before the acknowledged one"),
    "dislikes not written": (RedisPreferences, "add", _nothing_disliked, DISLIKES, "a disliked colour"),
    "no deletes": (
        FaissIndex,
        "apply",
        lambda original, self, rows, deletes, *a: original(self, rows, (), *a),
        DELETES,
        "a deleted product",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, change, kind, seen = FAULTS[name]
    original = getattr(owner, attribute)
    monkeypatch.setattr(owner, attribute, lambda *a, **named: change(original, *a, **named))
    waiting = "wait" in name
    problems: list[str] = []
    # On a busy machine few queries and writes fit into seconds, and may miss each other.
    for _ in range(5):
        figures = live(shop, 4.0, kind, rate=8.0, max_slowdown=1.5) if waiting else live(shop, 3.0, kind, rate=20.0)
        problems += figures["problems"]
        if any(seen in each for each in problems):
            return
    pytest.fail(f"not found: {problems}")


@pytest.mark.parametrize(
    ("shown", "whole", "fault"),
    [
        ({"b0-0": 1, "b0-1": 1}, True, ""),
        ({"b0-0": 2, "b0-1": 2}, True, ""),
        ({"b0-0": 2}, False, ""),
        ({}, False, ""),
        ({}, True, "a batch is missing"),
        ({"b0-0": 1, "b0-1": 2}, False, "two states of one batch in an answer"),
        ({"b0-0": 1}, True, "a part of a batch in an answer"),
        ({"b0-0": 7}, False, "a state before the acknowledged one"),
        ({"b1-1": 4}, False, "a deleted product in an answer"),
    ],
)
def test_an_answer_is_held_to_what_was_written(shown: dict[str, int], whole: bool, fault: str) -> None:
    changed, deleted = Batch(0, 2), Batch(1, 2)
    changed.states += [State(7, True, 1, 2), State(1, True, 3, 4), State(2, True, 10)]
    deleted.states += [State(4, True, 1, 2), State(None, False, 3, 4)]
    judge = Judge()
    judge.judge({0: changed, 1: deleted}, shown, 9, 11, changed if whole else None)
    assert [*judge.wrong] == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("last", "grown"),
    [
        (Usage(107.0, 12, 42), []),
        (Usage(120.0, 10, 40), ["memory from 100 to 120 MiB"]),
        (Usage(100.0, 13, 43), ["threads from 10 to 13", "files from 40 to 43"]),
    ],
)
def test_what_grows_after_the_first_minutes_is_found(last: Usage, grown: list[str]) -> None:
    # At the start everything grows.
    samples = [Sample(0.0, {"search": Usage(10.0, 1, 4)})]
    samples += [
        Sample(float(at), {"search": Usage(100.0, 10, 40) if at < 2400 else last}) for at in range(60, 3601, 60)
    ]
    assert growth(samples)["search"].problems() == grown
