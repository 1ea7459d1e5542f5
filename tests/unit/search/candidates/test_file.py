"""Candidates are stored between starts, and only used for the same state of the catalogue."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.contract.fakes import MemoryCandidateStore
from services.contract.values import Gender, ModelInfo
from services.search.candidates.clusters import candidates_of
from services.search.candidates.file import FILE, CandidateFile, StoredType
from services.search.candidates.keeper import CandidateKeeper
from services.search.candidates.publisher import CandidatePublisher, PublisherSettings
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct, TypeMembers
from services.search.indexes.faiss import FaissIndex
from services.search.writes.generation import Change
from services.search.writes.snapshots import Restored

SIZE = 8
MODEL = ModelInfo("tiny", "m1", SIZE, 8, 8, "none", "float32", "float32")


def product(number: int, article_type: str = "Tshirts") -> Product:
    return Product(
        id=f"p{number:03}", gender=Gender.MEN, article_type=article_type, sub_category="Topwear", base_colour="Red"
    )


def direction(number: int) -> np.ndarray:
    row = np.random.default_rng(number).normal(size=SIZE)
    return (row / np.linalg.norm(row)).astype(np.float16)


class Shop:
    """An index, and one keeper of its candidates per start."""

    def __init__(self, directory: Path) -> None:
        self.index = FaissIndex(SIZE)
        self.directory = directory
        self.version = 0

    def started(self) -> CandidateKeeper:
        keeper = CandidateKeeper(self.index, MODEL, 0.5, CandidateFile(self.directory, MODEL))
        keeper.begin(self.index.searchable_types())
        return keeper

    def write(self, *numbers: int, article_type: str = "Tshirts") -> list[Change]:
        self.version += 1
        products = [product(number, article_type) for number in numbers]
        changes = [Change(self.index.product(each.id), each) for each in products]
        rows = [IndexedProduct(each, direction(number)) for each, number in zip(products, numbers, strict=True)]
        self.index.apply(rows, [], self.version)
        return changes


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that gets the number of products of each computation from here on."""
    counts: list[int] = []

    def counting(embeddings: np.ndarray, *labels: object) -> object:
        counts.append(len(embeddings))
        return candidates_of(embeddings, *labels)  # type: ignore[arg-type]

    monkeypatch.setattr("services.search.candidates.keeper.candidates_of", counting)
    return counts


@pytest.mark.parametrize("at_the_end", [True, False])
def test_what_is_stored_beside_a_computation_is_its_result(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    shop.write(*range(6))
    keeper = shop.started()
    keeper.compute()
    assert keeper.note(shop.write(*range(6, 30)))
    members, reading, goes_on = shop.index.members, threading.Event(), threading.Event()

    def slow(label: str) -> TypeMembers:
        reading.set()
        goes_on.wait()
        return members(label)

    with monkeypatch.context() as slowed, ThreadPoolExecutor() as threads:
        slowed.setattr(shop.index, "members", slow)
        computed = threads.submit(keeper.compute)
        reading.wait()
        stored = threads.submit(keeper.keep) if at_the_end else threads.submit(keeper.keep_as_of, shop.version)
        wait([stored], timeout=0.3)
        goes_on.set()
        assert stored.result() is None
        assert shop.started().compute().version == computed.result().version


def test_a_start_with_stored_candidates_computes_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(*range(6))
    shop.write(10, article_type="Shirts")
    first = shop.started()
    before = first.compute()
    first.keep()
    counts = counted(monkeypatch)
    again = shop.started()
    assert again.compute().version == before.version
    assert counts == []


def test_changes_since_the_computation_are_stored(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(*range(6))
    first = shop.started()
    first.compute()
    # A third of them has changed, which is less than half, and is stored.
    assert not first.note(shop.write(11, 12))
    first.keep()
    counts = counted(monkeypatch)
    again = shop.started()
    assert not again.note(shop.write(11))
    again.compute()
    assert counts == []
    # With a third product, half of six have changed.
    assert again.note(shop.write(13))
    again.compute()
    assert counts == [9]


def test_nothing_is_stored_while_something_is_due(shop: Shop) -> None:
    shop.write(0)
    shop.started().keep()
    assert not (shop.directory / FILE).exists()


def test_a_file_of_an_older_state_is_deleted_and_everything_computed(shop: Shop) -> None:
    shop.write(*range(6))
    first = shop.started()
    first.compute()
    first.keep()
    shop.write(6)
    again = shop.started()
    assert not (shop.directory / FILE).exists()
    fresh = CandidateKeeper(shop.index, MODEL, 0.5)
    fresh.begin(shop.index.searchable_types())
    assert again.compute().version == fresh.compute().version


def test_candidates_of_an_earlier_version_count_where_what_changed_since_is_known(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write(*range(10))
    shop.write(*range(20, 24), article_type="Shirts")
    shop.write(30, article_type="Heels")
    first = shop.started()
    first.compute()
    version = shop.version
    # Written while it is served: what is stored is of a later state than it says.
    first.note(shop.write(40, article_type="Boots"))
    first.keep_as_of(version)
    changes = [*shop.write(11), *shop.write(31, article_type="Heels"), *shop.write(40, article_type="Boots")]
    counts = counted(monkeypatch)
    again = CandidateKeeper(shop.index, MODEL, 0.5, CandidateFile(shop.directory, MODEL))
    again.begin(shop.index.searchable_types(), Restored(version, changes, frozenset()))
    found = again.compute()
    # One of ten shirts is too few; the heels have changed enough, and the boots were due when they were stored.
    assert sorted(counts) == [1, 2]
    assert set(found.article_types) == {"Tshirts", "Shirts", "Heels", "Boots"}


def test_a_candidate_that_has_moved_twice_is_left_nowhere(shop: Shop) -> None:
    shop.write(*range(10))
    shop.write(50, article_type="Boots")
    first = shop.started()
    first.compute()
    version = shop.version
    first.keep_as_of(version)
    # Of these moves a start sees the first place and the last one alone.
    changes = shop.write(50, article_type="Heels")
    again = CandidateKeeper(shop.index, MODEL, 0.5, CandidateFile(shop.directory, MODEL))
    again.begin(shop.index.searchable_types(), Restored(version, [replace(changes[0], before=None)], frozenset()))
    found = again.compute()
    assert [each for each, kind in zip(found.product_ids, found.article_types, strict=True) if kind == "Boots"] == []
    assert "Heels" in found.article_types


def test_products_that_are_as_they_were_make_no_type_due(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(*range(10))
    shop.write(*range(20, 24), article_type="Shirts")
    first = shop.started()
    first.compute()
    version = shop.version
    first.keep_as_of(version)
    changes = [*shop.write(*range(10)), *shop.write(*range(20, 24), article_type="Shirts")]
    restored = Restored(version, changes, frozenset(f"p{each:03}" for each in range(10)))
    counts = counted(monkeypatch)
    again = CandidateKeeper(shop.index, MODEL, 0.5, CandidateFile(shop.directory, MODEL))
    again.begin(shop.index.searchable_types(), restored)
    again.compute()
    assert counts == [4]
    # They may have looked otherwise at a version between.
    assert restored.since(version + 1) == restored.written


def kept(directory: Path) -> tuple[CandidateFile, dict[str, StoredType]]:
    rows = np.stack([direction(number) for number in range(5)])
    ids = [f"p{number}" for number in range(5)]
    found = candidates_of(rows, ids, ["Topwear"] * 5, [Gender.MEN] * 5, ["Tshirts"] * 5)
    types = {
        "Men Tshirts": StoredType(tuple(found), 5, frozenset({"p9"})),
        "Men Shirts": StoredType((), 0, frozenset()),
    }
    file = CandidateFile(directory, MODEL)
    file.save(types, 7)
    return file, types


def test_reads_what_was_written(tmp_path: Path) -> None:
    file, types = kept(tmp_path)
    found = file.load(7)
    assert found is not None and found[0] == 7
    found = found[1]
    assert found.keys() == types.keys()
    assert (found["Men Tshirts"].count, found["Men Tshirts"].changed) == (5, {"p9"})
    for ours, theirs in zip(found["Men Tshirts"].candidates, types["Men Tshirts"].candidates, strict=True):
        assert (ours.product_id, ours.derived_type) == (theirs.product_id, theirs.derived_type)
        assert np.array_equal(ours.embedding, theirs.embedding)
    assert found["Men Shirts"].candidates == ()


async def test_the_publisher_stores_them_between_writes(shop: Shop) -> None:
    shop.write(*range(6))
    keeper = CandidateKeeper(shop.index, MODEL, 0.5, CandidateFile(shop.directory, MODEL))
    publisher = CandidatePublisher(keeper, MemoryCandidateStore(), MODEL, PublisherSettings(period_s=0.02, pause_s=0.0))
    await publisher.begin(shop.index.searchable_types())
    assert not (shop.directory / FILE).exists()
    running = asyncio.create_task(publisher.run())
    try:
        async with asyncio.timeout(20):
            while not (shop.directory / FILE).exists():
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})
    found = CandidateFile(shop.directory, MODEL).load(shop.version)
    assert found is not None and found[1]["Men Tshirts"].count == 6
