"""The generation beside the live one: it follows each write, is filled from the photographs, and takes its place."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.contract.errors import ModelMismatch, Upstream
from services.contract.fakes import FakeEmbedder
from services.contract.values import Embedding, Photograph
from services.search.catalogue.generations import GenerationRecord, Status
from services.search.indexes.base import Eligibility
from services.search.indexes.faiss import FaissIndex
from services.search.writes.generation import Change, Generation
from services.search.writes.photograph_embedder import WriteEmbedder
from services.search.writes.rows import UpdateRow
from tests.unit.search.writes.test_writer import CREATED, SIZE, UPDATED, Shop, model, nothing, row, shot


class TwoModels(Shop):
    """A shop with a generation of another model beside the live one."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.catalogue.generations.adopt("m1", SIZE)
        self.next_embedder = FakeEmbedder(SIZE, "m2")
        self.next_index = FaissIndex(SIZE)
        self.next_changes: list[Change] = []
        self.next = Generation(
            model("m2"),
            self.next_index,
            WriteEmbedder(self.next_embedder, "m2", group_size=4, groups_in_flight=2),
            self.next_changes.extend,
        )

    async def begin(self) -> None:
        record = GenerationRecord("m2", SIZE, Status.BUILDING, datetime.now(UTC))
        self.catalogue.generations.begin(record)
        await self.writer.beside.begin(self.next)

    async def build(self) -> None:
        await self.begin()
        await self.writer.beside.fill(self.catalogue.generations.missing("m2"))
        await self.writer.beside.load()

    async def nearest(self, photograph: Photograph) -> dict[str, tuple[str, float]]:
        """By model, the product that its index finds for a photograph, and how similar it is."""
        found = {}
        for embedder, index in ((self.embedder, self.index), (self.next_embedder, self.next_index)):
            query = await embedder.embed(photograph)
            (hit,) = index.search(query.values, 1, Eligibility()).hits
            found[query.model_version] = hit.product.id, round(hit.similarity, 2)
        return found

    def versions(self) -> list[int]:
        """The index versions of both, and of the catalogue."""
        indexes = [index.facts().index_version for index in (self.index, self.next_index)]
        return [*indexes, self.catalogue.index_version]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[TwoModels]:
    made = TwoModels(tmp_path)
    yield made
    made.close()


async def test_whatever_is_written_is_in_both_generations(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row(str(number), shot(number)) for number in range(5)])
    await shop.build()
    assert (await shop.writer.upsert_products([row("5", shot(5)), row("0", shot(6))])).results == (CREATED, UPDATED)
    await shop.writer.update_products([UpdateRow("1", {"base_colour": "Navy Blue", "in_stock": False})])
    await shop.writer.delete_products(["2"])
    await shop.writer.photographs.add("3", shot(7))
    for number, product_id in ((5, "5"), (6, "0"), (7, "3"), (4, "4")):
        assert await shop.nearest(shot(number)) == {"m1": (product_id, 1.0), "m2": (product_id, 1.0)}
    for index in (shop.index, shop.next_index):
        known = index.product("1")
        assert known is not None and (known.base_colour, known.in_stock) == ("Navy Blue", False)
        assert index.product("2") is None
        assert index.facts().outdated_count == 0
    assert len({*shop.versions()}) == 1
    assert not shop.writer.generations.lacking
    assert len(shop.next_changes) == len([each for each in shop.changes if each]) - 5


async def test_what_is_written_while_the_index_is_loaded_is_not_lost(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row(str(number), shot(number)) for number in range(5)])
    await shop.begin()
    await shop.writer.beside.fill(shop.catalogue.generations.missing("m2"))
    loop = asyncio.get_running_loop()

    async def meanwhile() -> None:
        await shop.writer.delete_products(["1"])
        await shop.writer.upsert_products([row("new", shot(8)), row("0", shot(9))])
        await shop.writer.update_products([UpdateRow("4", {"name": "New"})])

    def pace() -> None:
        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(20)

    await shop.writer.beside.load(pace)
    assert shop.next_index.product("1") is None
    assert await shop.nearest(shot(8)) == {"m1": ("new", 1.0), "m2": ("new", 1.0)}
    assert await shop.nearest(shot(9)) == {"m1": ("0", 1.0), "m2": ("0", 1.0)}
    known = shop.next_index.product("4")
    assert known is not None and known.name == "New"
    assert shop.next_index.facts().product_count == shop.index.facts().product_count == 5


async def test_an_embedder_of_the_next_model_that_is_down_fails_no_write_and_is_asked_again(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()

    async def down() -> None:
        raise Upstream("The embedder does not answer.", reason="EMBEDDER_UNAVAILABLE")

    shop.next_embedder.before = down
    assert (await shop.writer.upsert_products([row("b", shot(1))])).results == (CREATED,)
    assert shop.writer.generations.lacking == {"b"}
    assert shop.next_index.facts().outdated_count == 1
    shop.next_embedder.before = nothing
    filled = await shop.writer.beside.fill(["b"])
    assert (filled.embedded, filled.failed) == (1, ())
    assert not shop.writer.generations.lacking
    assert await shop.nearest(shot(1)) == {"m1": ("b", 1.0), "m2": ("b", 1.0)}


async def test_a_hanging_embedder_of_the_next_model_holds_no_write_up(
    shop: TwoModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.search.writes.generation._BESIDE_S", 0.05)
    await shop.begin()
    shop.next_embedder.before = asyncio.Event().wait
    async with asyncio.timeout(20):
        assert (await shop.writer.upsert_products([row("b", shot(1))])).results == (CREATED,)
    assert shop.catalogue.generations.missing("m2") == ["b"]


async def test_a_switch_and_a_rollback_take_along_all_that_was_written(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row(str(number), shot(number)) for number in range(3)])
    await shop.build()
    switched: list[str | None] = []

    def note() -> None:
        switched.append(shop.catalogue.generations.live_version)

    for live, number in (("m2", 3), ("m1", 4), ("m2", 5)):
        await shop.writer.beside.switch(note)
        assert switched[-1] == live == shop.writer.generations.live.model_version
        assert len({*shop.versions()}) == 1
        await shop.writer.upsert_products([row(str(number), shot(number))])
        for seen in range(number + 1):
            assert await shop.nearest(shot(seen)) == {"m1": (str(seen), 1.0), "m2": (str(seen), 1.0)}
        stored = shop.catalogue.get(str(number))
        assert stored is not None and stored.content.model_version == live
    # An embedding that a shop sends must be of the model that is live now.
    values = np.full(SIZE, SIZE**-0.5, dtype=np.float32)
    (refused,) = (await shop.writer.upsert_products([row("e", Embedding(values, "m1"))])).results
    assert isinstance(refused, ModelMismatch)
    assert (refused.metadata["given"], refused.metadata["served"]) == ("m1", "m2")


async def test_a_switch_while_a_write_is_embedded_writes_it_for_both_models(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()

    async def switch() -> None:
        await shop.writer.beside.switch(lambda: None)

    shop.before_next_embedding(switch)
    assert (await shop.writer.upsert_products([row("b", shot(1))])).results == (CREATED,)
    stored = shop.catalogue.get("b")
    assert stored is not None and stored.content.model_version == "m2"
    assert await shop.nearest(shot(1)) == {"m1": ("b", 1.0), "m2": ("b", 1.0)}


async def test_a_photograph_that_cannot_be_embedded_is_named(shop: TwoModels, tmp_path: Path) -> None:
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    gone = next(path for path in (tmp_path / "photographs").glob("??/*") if path.read_bytes() == shot(0).content)
    gone.unlink()
    await shop.begin()
    filled = await shop.writer.beside.fill(shop.catalogue.generations.missing("m2"))
    assert (filled.embedded, filled.failed) == (1, ("a",))
    assert shop.catalogue.generations.missing("m2") == ["a"]
