"""Candidates are computed once enough has changed, published, and published again if the store lost them."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from services.contract.errors import Upstream
from services.contract.fakes import MemoryCandidateStore
from services.contract.values import Gender, ModelInfo
from services.search.candidates.keeper import CandidateKeeper
from services.search.candidates.publisher import CandidatePublisher, PublisherSettings
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct, TypeMembers
from services.search.indexes.faiss import FaissIndex
from services.search.writes.generation import Change

SIZE = 8
MODEL = ModelInfo("tiny", "m1", SIZE, 8, 8, "none", "float32", "float32")


def product(number: int, article_type: str = "Tshirts", sub_category: str = "Topwear") -> Product:
    return Product(id=f"p{number:03}", gender=Gender.MEN, sub_category=sub_category, article_type=article_type)


def vector(angle: float) -> np.ndarray:
    """Returns a direction in the plane of the first two axes; the medoid of several is the middle one."""
    row = np.zeros(SIZE)
    row[:2] = np.cos(angle), np.sin(angle)
    return row.astype(np.float16)


class Shop:
    """An index and its keeper; `write` changes both."""

    def __init__(self, changed_share: float = 0.5) -> None:
        self.index = FaissIndex(SIZE)
        self.keeper = CandidateKeeper(self.index, MODEL, changed_share)
        self.version = 0

    def write(self, upserts: Sequence[tuple[Product, float]] = (), deletes: Sequence[str] = ()) -> list[Change]:
        self.version += 1
        changes = [Change(self.index.product(each.id), each) for each, _ in upserts]
        changes += [Change(self.index.product(product_id), None) for product_id in deletes]
        self.index.apply([IndexedProduct(each, vector(angle)) for each, angle in upserts], deletes, self.version)
        return changes

    def note(self, upserts: Sequence[tuple[Product, float]] = (), deletes: Sequence[str] = ()) -> bool:
        return self.keeper.note(self.write(upserts, deletes))


def test_candidates_are_the_groups_of_a_derived_type_within_its_sub_category() -> None:
    shop = Shop()
    assert shop.note(
        [
            *((product(number), number / 10) for number in range(5)),
            *((product(10 + number, sub_category="Innerwear"), number / 10) for number in range(3)),
            (product(20, "Shirts"), 1.0),
        ]
    )
    found = shop.keeper.compute()
    kinds = zip(found.sub_categories, found.article_types, found.product_ids, strict=True)
    assert set(kinds) == {
        ("Innerwear", "Tshirts", "p011"),
        ("Topwear", "Shirts", "p020"),
        ("Topwear", "Tshirts", "p001"),
        ("Topwear", "Tshirts", "p003"),
    }
    assert found.model_version == "m1"


def test_a_few_changes_among_many_are_not_worth_the_work() -> None:
    shop = Shop(changed_share=0.5)
    shop.note([(product(number), number / 10) for number in range(5)])
    first = shop.keeper.compute()
    assert not shop.note([(product(5), 0.5)])
    assert not shop.note([(product(5), 0.6)])
    assert shop.keeper.compute().version == first.version
    assert shop.note([(product(6), 0.6), (product(7), 0.7)])
    assert shop.keeper.compute().product_ids == ("p001", "p005")


def test_a_candidate_that_goes_or_changes_is_replaced_at_once() -> None:
    shop = Shop(changed_share=0.9)
    shop.note([(product(number), number / 10) for number in range(5)])
    assert shop.keeper.compute().product_ids == ("p001", "p003")
    assert shop.note(deletes=["p002", "p003"])
    assert shop.keeper.compute().product_ids == ("p001",)
    # With its new direction it is no longer in the middle of the others.
    assert shop.note([(product(1), 0.5)])
    assert shop.keeper.compute().product_ids == ("p004",)


def test_a_new_sub_category_of_a_known_type_is_recognised_at_once() -> None:
    shop = Shop(changed_share=0.9)
    shop.note([(product(number), number / 10) for number in range(5)])
    shop.keeper.compute()
    assert shop.note([(product(9, sub_category="Innerwear"), 0.1)])
    assert set(shop.keeper.compute().product_ids) == {"p001", "p003", "p009"}


def test_a_product_that_changes_its_type_leaves_its_old_one() -> None:
    shop = Shop(changed_share=0.9)
    shop.note([(product(0), 0.0), (product(1, "Shirts"), 1.0)])
    shop.keeper.compute()
    assert shop.note([(product(0, "Shirts"), 0.0)])
    assert shop.keeper.compute().article_types == ("Shirts",)


def test_an_empty_catalogue_has_no_candidates_and_a_derived_type_that_is_gone_leaves_none() -> None:
    shop = Shop()
    assert shop.keeper.compute().product_ids == ()
    shop.note([(product(0), 0.0)])
    assert shop.keeper.compute().product_ids == ("p000",)
    assert shop.note(deletes=["p000"])
    found = shop.keeper.compute()
    assert found.product_ids == ()
    assert found.embeddings.shape == (0, SIZE)


DOWN = Upstream("The store does not answer.", reason="CANDIDATES_UNAVAILABLE")
SETTINGS = PublisherSettings(period_s=0.01, pause_s=0.0)


@asynccontextmanager
async def running(publisher: CandidatePublisher) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_what_a_write_makes_due_is_published_with_the_write() -> None:
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, SETTINGS)
    await publisher.begin(())
    assert (publisher.published_version, store.publications) == ("", 0)
    changes = shop.write([(product(0), 0.0)])
    await asyncio.to_thread(publisher.note, changes)
    await publisher.after_write()
    held = await store.read("m1")
    assert held is not None
    assert held.product_ids == ("p000",)
    assert publisher.published_version == held.version


async def test_a_pause_leaves_it_to_the_background() -> None:
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, replace(SETTINGS, pause_s=0.01))
    await publisher.begin(())
    publisher.note(shop.write([(product(0), 0.0)]))
    await publisher.after_write()
    assert store.publications == 0
    async with running(publisher), asyncio.timeout(20):
        await store.changed.wait()
    assert await store.version("m1") is not None


async def test_writes_that_cost_too_much_are_followed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first publication spends the whole budget, which is hardly refilled.
    monkeypatch.setattr("services.search.candidates.publisher._MAX_BURST_S", 0.0)
    monkeypatch.setattr("services.search.candidates.publisher._MAX_SHARE_OF_TIME", 1e-6)
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, SETTINGS)
    await publisher.begin(())
    publisher.note(shop.write([(product(0), 0.0)]))
    await asyncio.sleep(0)
    await publisher.after_write()
    assert store.publications == 0
    async with running(publisher), asyncio.timeout(20):
        await store.changed.wait()
    assert await store.version("m1") is not None


async def test_what_is_there_at_the_start_is_published_once() -> None:
    shop, store = Shop(), MemoryCandidateStore()
    shop.write([(product(number), number / 10) for number in range(3)])
    for _ in range(2):
        publisher = CandidatePublisher(CandidateKeeper(shop.index, MODEL, 0.5), store, MODEL, SETTINGS)
        await publisher.begin(shop.index.searchable_types())
    assert store.publications == 1


async def test_a_store_that_is_down_is_tried_until_it_answers() -> None:
    shop, store = Shop(), MemoryCandidateStore()
    store.failure = DOWN
    publisher = CandidatePublisher(shop.keeper, store, MODEL, SETTINGS)
    publisher.note(shop.write([(product(0), 0.0)]))
    assert not await publisher.publish()
    assert publisher.published_version == ""
    async with running(publisher), asyncio.timeout(20):
        store.failure = None
        await store.changed.wait()
    assert await publisher.publish()
    assert publisher.published_version == await store.version("m1")


async def test_what_the_store_has_lost_is_published_again() -> None:
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, SETTINGS)
    publisher.note(shop.write([(product(0), 0.0)]))
    await publisher.publish()
    version = await store.version("m1")
    store.lose()
    async with running(publisher), asyncio.timeout(20):
        await store.changed.wait()
    assert await store.version("m1") == version


async def test_the_last_product_takes_its_candidates_along() -> None:
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, SETTINGS)
    publisher.note(shop.write([(product(0), 0.0)]))
    await publisher.publish()
    publisher.note(shop.write(deletes=["p000"]))
    await asyncio.sleep(0)
    await publisher.publish()
    held = await store.read("m1")
    assert held is not None
    assert held.product_ids == ()
    assert publisher.published_version == ""


async def test_a_write_waits_for_the_publication_that_the_background_has_begun() -> None:
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, SETTINGS)
    await publisher.begin(())
    publisher.note(shop.write([(product(0), 0.0)]))
    await asyncio.sleep(0)
    begun = asyncio.create_task(publisher.publish())
    await asyncio.sleep(0)
    await publisher.after_write()
    assert await store.version("m1") is not None
    assert await begun


async def test_candidates_whose_caller_has_left_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, replace(SETTINGS, period_s=30.0))
    shop.write([(product(0), 0.0)])
    await publisher.begin(shop.index.searchable_types())
    members, reading, goes_on = shop.index.members, threading.Event(), threading.Event()

    def slow(label: str) -> TypeMembers:
        found = members(label)
        reading.set()
        goes_on.wait()
        return found

    monkeypatch.setattr(shop.index, "members", slow)
    publisher.note(shop.write([(product(1, "Shirts"), 1.0)]))
    await asyncio.sleep(0)
    call = asyncio.create_task(publisher.after_write())
    await asyncio.to_thread(reading.wait)
    call.cancel()
    await asyncio.wait({call})
    async with running(publisher), asyncio.timeout(20):
        await asyncio.sleep(0.1)
        store.changed.clear()
        goes_on.set()
        await store.changed.wait()
    held = await store.read("m1")
    assert held is not None and set(held.product_ids) == {"p000", "p001"}


async def test_a_call_publishes_what_one_that_has_left_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, store = Shop(), MemoryCandidateStore()
    publisher = CandidatePublisher(shop.keeper, store, MODEL, SETTINGS)
    await publisher.begin(())
    members, reading = shop.index.members, threading.Event()

    def slow(label: str) -> TypeMembers:
        reading.set()
        time.sleep(0.3)
        return members(label)

    monkeypatch.setattr(shop.index, "members", slow)
    publisher.note(shop.write([(product(0), 0.0)]))
    await asyncio.sleep(0)
    call = asyncio.create_task(publisher.publish())
    await asyncio.to_thread(reading.wait)
    call.cancel()
    await asyncio.wait({call})
    assert await publisher.publish()
    held = await store.read("m1")
    assert held is not None and held.product_ids == ("p000",)


def test_a_product_that_moves_while_candidates_are_computed_is_one_of_its_new_type_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop()
    shop.note([(product(number), number / 10) for number in range(3)])
    shop.note([(product(10, "Shirts"), 1.0)])
    members = shop.index.members
    moves: list[list[Change]] = []

    def moving(label: str) -> TypeMembers:
        found = members(label)
        if not moves:
            # p001 is the middle of the shirts that have been read, and then one of two dresses.
            moves.append(shop.write([(product(1, "Dresses"), 0.1), (product(2, "Dresses"), 0.1)]))
        return found

    monkeypatch.setattr(shop.index, "members", moving)
    shop.note([(product(20, "Dresses"), 2.0)])
    first = shop.keeper.compute()
    assert len(set(first.product_ids)) == len(first.product_ids)
    kinds = dict(zip(first.product_ids, first.article_types, strict=True))
    assert kinds.get("p001") != "Tshirts"
    # Whatever was left out is computed again, whether the change is noted in time or not.
    assert shop.keeper.due
    shop.keeper.note(moves[0])
    kinds = dict(zip((found := shop.keeper.compute()).product_ids, found.article_types, strict=True))
    assert kinds["p000"] == "Tshirts" and "Dresses" in kinds.values()
    assert not shop.keeper.due
