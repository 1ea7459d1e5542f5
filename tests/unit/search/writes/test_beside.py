"""The generation beside the live one: it follows each write, is filled from the photographs, and takes its place."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.concurrency.background import in_background
from services.contract.errors import ModelMismatch, Overloaded
from services.contract.fakes import FakeEmbedder
from services.contract.values import Embedding, Photograph
from services.search.catalogue.content import ContentState
from services.search.catalogue.generations import GenerationRecord, Status
from services.search.catalogue.write_log import changed_since, mark_of
from services.search.indexes.base import Eligibility
from services.search.indexes.faiss import FaissIndex
from services.search.writes.beside import Lag
from services.search.writes.generation import Change, Generation
from services.search.writes.photograph_embedder import WriteEmbedder
from services.search.writes.reembed import keep_complete
from services.search.writes.rows import UpdateRow
from tests.unit.search.writes.test_writer import CREATED, SIZE, UPDATED, Shop, down, model, nothing, row, shot


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
    assert not shop.next.lacking
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

    shop.next_embedder.before = down
    assert (await shop.writer.upsert_products([row("b", shot(1))])).results == (CREATED,)
    assert shop.next.lacking == {"b"}
    assert shop.next_index.facts().outdated_count == 1
    shop.next_embedder.before = nothing
    filled = await shop.writer.beside.fill(["b"])
    assert (filled.embedded, filled.failed) == (1, ())
    assert not shop.next.lacking
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


@pytest.mark.parametrize("how", ["gone", "unreadable"])
async def test_a_photograph_that_cannot_be_embedded_is_named(shop: TwoModels, tmp_path: Path, how: str) -> None:
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    gone = next(path for path in (tmp_path / "photographs").glob("??/*") if path.read_bytes() == shot(0).content)
    gone.unlink()
    if how == "unreadable":
        gone.mkdir()
    await shop.begin()
    filled = await shop.writer.beside.fill(shop.catalogue.generations.missing("m2"))
    assert (filled.embedded, filled.failed) == (1, ("a",))
    assert shop.catalogue.generations.missing("m2") == ["a"]


def written_since(shop: TwoModels, version: int) -> frozenset[str] | None:
    with shop.catalogue.reading() as read:
        mark = mark_of(read, version)
        return None if mark is None else changed_since(read, version, mark)


async def lag(shop: TwoModels, *product_ids: str) -> None:
    """Writes products with one photograph while the embedder of the next model is down."""
    shop.next_embedder.before = down
    await shop.writer.upsert_products([row(each, shot(1)) for each in product_ids])
    shop.next_embedder.before = nothing
    assert shop.next.to_embed() == sorted(product_ids)


async def test_all_products_of_a_photograph_are_found_once_it_is_embedded_for_one_of_them(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()
    await lag(shop, "s", "m", "l")
    embedded = shop.next_embedder.photographs
    assert (await shop.writer.beside.fill(["m"])).embedded == 1
    assert shop.next_embedder.photographs == embedded + 1
    assert shop.next.to_embed() == [] and shop.next_index.facts().outdated_count == 0
    assert {each.after.id for each in shop.next_changes[-3:] if each.after} == {"s", "m", "l"}


async def test_what_the_index_lacks_of_the_catalogue_is_given_to_it_without_embedding(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()
    await lag(shop, "b")
    values = (await shop.next_embedder.embed(shot(1))).values.astype(np.float16)
    part = ContentState.of(shot(1), "m2").part
    assert part is not None
    shop.catalogue.generations.add("m2", {part: values})
    assert (await shop.writer.beside.fill(["b"])).embedded == 0
    assert shop.next_index.facts().outdated_count == 0 and not shop.next.lacking


async def test_what_the_live_index_lacks_of_the_catalogue_is_given_to_it_and_logged(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()
    await lag(shop, "b")
    # Another product brings the embedding of its photograph.
    await shop.writer.upsert_products([row("c", shot(1))])
    assert shop.catalogue.generations.missing("m2") == [] and shop.next.to_embed() == ["b"]
    await shop.writer.beside.switch(lambda: None)
    embedded, version = shop.next_embedder.photographs, shop.catalogue.index_version
    await shop.writer.photographs.embed_again(shop.next.to_embed())
    assert shop.next_embedder.photographs == embedded
    assert shop.next_index.facts().outdated_count == 0 and not shop.next.lacking
    assert {*shop.versions()} == {version + 1}
    assert written_since(shop, version) == {"b"}


async def test_what_is_embedded_during_a_switch_is_found_and_logged_as_a_write(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()
    await lag(shop, "s", "m")

    async def switch() -> None:
        shop.next_embedder.before = nothing
        await shop.writer.beside.switch(lambda: None)

    shop.next_embedder.before = switch
    await shop.writer.beside.fill(["s"])
    assert shop.writer.generations.live is shop.next
    assert shop.next_index.facts().outdated_count == 0 and not shop.next.lacking
    assert len({*shop.versions()}) == 1
    # A copy of the index as of the switch has to read both again.
    assert written_since(shop, shop.catalogue.index_version - 1) == {"s", "m"}


async def test_what_a_generation_lacks_at_a_switch_is_embedded_after_it_and_after_a_rollback(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()
    await lag(shop, "b")
    groups = asyncio.Event()

    async def after_group() -> None:
        groups.set()

    async with in_background(keep_complete(shop.writer, group=4, pause_s=0.0, after_group=after_group)):
        await shop.writer.beside.switch(lambda: None)
        async with asyncio.timeout(20):
            await groups.wait()
        assert shop.next_index.facts().outdated_count == 0
        assert await shop.nearest(shot(1)) == {"m1": ("b", 1.0), "m2": ("b", 1.0)}
        # The same on the way back, for the former model.
        shop.embedder.before = down
        await shop.writer.upsert_products([row("c", shot(2))])
        shop.embedder.before = nothing
        groups.clear()
        await shop.writer.beside.switch(lambda: None)
        assert shop.index.facts().outdated_count == 1
        async with asyncio.timeout(20):
            await groups.wait()
        assert await shop.nearest(shot(2)) == {"m1": ("c", 1.0), "m2": ("c", 1.0)}


async def test_what_is_still_to_be_embedded_is_known_after_a_start(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    await shop.begin()
    await shop.writer.beside.fill(["a"])
    await shop.writer.beside.load()
    assert shop.next.to_embed() == ["b"]


async def test_a_photograph_that_cannot_be_embedded_is_tried_again_once_its_product_is_sent_again(
    shop: TwoModels, tmp_path: Path
) -> None:
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    damaged = next(path for path in (tmp_path / "photographs").glob("??/*") if path.read_bytes() == shot(0).content)
    damaged.write_bytes(b"rotten")
    await shop.build()
    await shop.writer.beside.fill(["a"])
    assert (shop.next.lacking, [*shop.next.failed], shop.next.to_embed()) == ({"a"}, ["a"], [])
    await shop.writer.upsert_products([row("a", shot(0))])
    assert shop.next.to_embed() == ["a"]
    await shop.writer.beside.fill(["a"])
    assert not shop.next.lacking and not shop.next.failed
    assert await shop.nearest(shot(0)) == {"m1": ("a", 1.0), "m2": ("a", 1.0)}


async def test_a_full_disk_is_no_full_queue(shop: TwoModels, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.build()

    def full(*_: object) -> None:
        raise Overloaded("The disk of the catalogue is full.", reason="STORAGE_FULL")

    monkeypatch.setattr(shop.catalogue.generations, "switch", full)
    async with asyncio.timeout(20):
        with pytest.raises(Overloaded, match="full"):
            await shop.writer.beside.switch(lambda: None)
    assert shop.writer.generations.other is shop.next


async def test_a_switch_that_must_lose_nothing_waits_for_what_is_late_and_for_what_is_lost(shop: TwoModels) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    await shop.begin()
    switch = shop.writer.beside.switch
    assert await switch(lambda: None) is None, "Its index does not follow writes yet."
    await shop.build()
    await lag(shop, "b")
    assert await shop.writer.beside.lag() == Lag(complete=False, lost=1)
    assert await switch(lambda: None, 5) is None
    await shop.writer.beside.fill(["b"])
    assert await shop.writer.beside.lag() == Lag(complete=True, lost=0)
    # No model can embed this one again.
    vector = Embedding(np.full(SIZE, SIZE**-0.5, dtype=np.float32), "m1")
    await shop.writer.upsert_products([row("c", vector)])
    assert await shop.writer.beside.lag() == Lag(complete=True, lost=1)
    assert await switch(lambda: None, 0) is None
    assert shop.writer.generations.live is not shop.next
    assert await switch(lambda: None, 1) == shop.catalogue.index_version
    assert shop.writer.generations.live is shop.next
    # The other way round nothing is lost.
    assert await shop.writer.beside.lag() == Lag(complete=True, lost=0)


async def test_what_the_next_model_has_embedded_in_time_is_kept_where_the_rest_takes_too_long(
    shop: TwoModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.search.writes.generation._BESIDE_S", 0.05)
    await shop.build()
    never, live_may_go = asyncio.Event(), asyncio.Event()

    async def hang_with_the_second_group() -> None:
        if len(shop.next_embedder.batches) > 1:
            live_may_go.set()
            await never.wait()

    shop.next_embedder.before, shop.embedder.before = hang_with_the_second_group, live_may_go.wait
    await shop.writer.upsert_products([row(str(number), shot(number)) for number in range(6)])
    # The first of two groups.
    assert shop.next_index.facts().outdated_count == 2
    assert shop.next.to_embed() == ["4", "5"]
