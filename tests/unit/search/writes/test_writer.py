"""The writer: rows are embedded only if needed, then on disk and in the index, whatever happens meanwhile."""

import asyncio
import errno
import hashlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from services.contract.errors import FashionError, InvalidInput, Overloaded, Unavailable, Upstream
from services.contract.fakes import FakeEmbedder
from services.contract.values import Box, Embedding, Gender, ModelInfo, Photograph
from services.search.catalogue import store
from services.search.catalogue.photographs import PhotographStore
from services.search.catalogue.products import Price, Product
from services.search.catalogue.store import Catalogue, UpsertOutcome
from services.search.indexes.base import Eligibility
from services.search.indexes.faiss import FaissIndex
from services.search.writes.generation import Change, Generation
from services.search.writes.photograph_embedder import WriteEmbedder
from services.search.writes.reembed import reembed
from services.search.writes.rows import UpdateRow, UpsertRow
from services.search.writes.writer import CatalogueWriter, WriteLimits
from tests.support.small_shop import photograph

SIZE = 16
CREATED, UPDATED, UNCHANGED = UpsertOutcome.CREATED, UpsertOutcome.UPDATED, UpsertOutcome.UNCHANGED


async def nothing() -> None:
    pass


async def down() -> None:
    raise Upstream("The embedder does not answer.", reason="EMBEDDER_UNAVAILABLE")


def model(version: str = "m1") -> ModelInfo:
    return ModelInfo("tiny", version, SIZE, 8, 8, "none", "float32", "float32")


class Shop:
    """A writer, its catalogue and its index."""

    def __init__(self, directory: Path, version: str = "m1", max_pending: int = 8) -> None:
        self.catalogue = Catalogue(directory)
        self.index = FaissIndex(SIZE)
        self.embedder = FakeEmbedder(SIZE, version)
        self.changes: list[Change] = []
        self.writer = CatalogueWriter(
            self.catalogue,
            Generation(
                model(version),
                self.index,
                WriteEmbedder(self.embedder, version, group_size=4, groups_in_flight=2),
                self.changes.extend,
            ),
            limits=WriteLimits(batch_rows=10, max_pending=max_pending),
        )

    def close(self) -> None:
        self.writer.close()
        self.catalogue.close()

    def before_next_embedding(self, action: Callable[[], Awaitable[object]]) -> None:
        """Does something else first in the next call of the embedder."""

        async def act() -> None:
            self.embedder.before = nothing
            await action()

        self.embedder.before = act

    def findable(self) -> set[str]:
        """Returns the products that a search over everything finds."""
        query = np.full(SIZE, SIZE**-0.5, dtype=np.float32)
        return {hit.product.id for hit in self.index.search(query, 100, Eligibility()).hits}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def product(product_id: str, **attributes: object) -> Product:
    known = {"gender": Gender.MEN, "sub_category": "Topwear", "article_type": "Tshirts"}
    return Product(id=product_id, **{**known, **attributes})


def row(product_id: str, content: Photograph | Embedding | None = None, **attributes: object) -> UpsertRow:
    return UpsertRow(product_id, product(product_id, **attributes), content)


def shot(shade: int = 0, region: Box | None = None) -> Photograph:
    return Photograph(photograph("Men Tshirts", "Red", shade), region)


async def test_what_is_acknowledged_is_on_disk_and_found(shop: Shop) -> None:
    report = await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    assert report.results == (CREATED, CREATED)
    assert report.index_version == shop.catalogue.index_version == shop.index.facts().index_version == 1
    assert shop.findable() == {"a", "b"}
    kept = shop.catalogue.photograph("a")
    assert kept is not None
    assert kept.content == shot(0).content
    assert [(each.before, each.after) for each in shop.changes] == [(None, product("a")), (None, product("b"))]


async def test_a_damaged_photograph_is_mended_by_the_same_row(shop: Shop, tmp_path: Path) -> None:
    rows = [row("a", shot(0)), row("b", shot(1))]
    await shop.writer.upsert_products(rows)
    sha256 = hashlib.sha256(shot(0).content).hexdigest()
    (tmp_path / "photographs" / sha256[:2] / sha256[2:]).write_bytes(b"rotten")
    report = await shop.writer.upsert_products(rows)
    assert report.results == (UPDATED, UNCHANGED)
    assert (report.index_version, shop.embedder.photographs) == (1, 2)
    kept = shop.catalogue.photograph("a")
    assert kept is not None and kept.content == shot(0).content


@pytest.mark.parametrize("trouble", ["a lost photograph", "the daily tidying"])
async def test_a_write_is_committed_and_in_the_index_or_neither(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    with monkeypatch.context() as failing:
        if trouble == "a lost photograph":
            sha256 = hashlib.sha256(shot(0).content).hexdigest()
            (tmp_path / "photographs" / sha256[:2] / sha256[2:]).unlink()
            write = PhotographStore._write_incoming

            def full(self: PhotographStore, name: str, content: bytes) -> None:
                if name == sha256:
                    raise OSError(errno.ENOSPC, "No space left on device")
                write(self, name, content)

            failing.setattr(PhotographStore, "_write_incoming", full)
        else:

            def damaged(*_: object) -> None:
                raise sqlite3.OperationalError("disk I/O error")

            shop.catalogue._purged = None
            failing.setattr(store, "removed_photographs", damaged)
        with suppress(Overloaded, Unavailable):
            await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
        assert (shop.catalogue.get("b") is None) == (shop.index.product("b") is None)
        assert shop.catalogue.index_version == shop.index.facts().index_version
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    assert shop.findable() == {"a", "b"}
    assert shop.catalogue.photograph("a") is not None


async def test_a_damaged_product_is_mended_by_the_same_row_or_deleted(shop: Shop, tmp_path: Path) -> None:
    rows = [row("a", shot(0)), row("b", shot(1))]
    await shop.writer.upsert_products(rows)
    with sqlite3.connect(tmp_path / "catalogue.sqlite3") as connection:
        connection.execute("UPDATE products SET sub_category = 'Topweas'")
    connection.close()
    await shop.writer.load()
    assert shop.findable() == set()
    report = await shop.writer.upsert_products(rows[:1])
    assert report.results == (CREATED,)
    assert (await shop.writer.delete_products(["b"])).results == (None,)
    assert shop.findable() == {"a"}
    assert not shop.catalogue.damaged


async def test_an_update_is_on_disk_and_in_the_index_and_tells_nobody_who_goes_by_looks(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot(0), name="A", parent_id="p"), row("b", shot(1))])
    embedded, price = shop.embedder.photographs, Price("EUR", 5)
    before = shop.index.embedding("a")
    shop.changes.clear()
    report = await shop.writer.update_products(
        [
            UpdateRow("a", {"price": price, "in_stock": False}),
            UpdateRow("nobody", {"price": price}),
            UpdateRow("b", {"year": None}),
            # The later of two rows counts, and each says what it did.
            UpdateRow("a", {"price": None, "name": None}),
            UpdateRow("b", InvalidInput("Wrong.", reason="YEAR_INVALID")),
        ]
    )
    reasons = [each.reason if isinstance(each, FashionError) else each for each in report.results]
    assert reasons == [UPDATED, "PRODUCT_NOT_FOUND", UNCHANGED, UPDATED, "YEAR_INVALID"]
    expected = product("a", in_stock=False, parent_id="p")
    stored = shop.catalogue.get("a")
    assert stored is not None and stored.product == shop.index.product("a") == expected
    assert shop.findable() == {"b"}
    assert np.array_equal(shop.index.embedding("a"), before)  # type: ignore[arg-type]
    assert (report.index_version, shop.embedder.photographs) == (2, embedded)
    assert not shop.changes
    # An upsert that changes as little tells them as little.
    await shop.writer.upsert_products([row("a", shot(0), parent_id="p")])
    assert shop.findable() == {"a", "b"}
    assert (shop.embedder.photographs, shop.changes) == (embedded, [])


@pytest.mark.parametrize("values", [{"gender": Gender.WOMEN}, {"sub_category": "Tops"}, {"parent_id": "p"}])
async def test_an_update_of_the_kind_is_told_and_moves_the_product(shop: Shop, values: dict[str, object]) -> None:
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    shop.changes.clear()
    await shop.writer.update_products([UpdateRow("a", values)])
    assert [(each.before, each.after) for each in shop.changes] == [(product("a"), product("a", **values))]
    assert shop.findable() == {"a", "b"}
    assert "a" in {each.id for each in shop.index.members(product("a", **values).derived_type).products}


async def test_an_update_that_changes_nothing_makes_no_new_version(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    rows = [UpdateRow("a", {"price": Price("EUR", 1)}), UpdateRow("a", {"price": None})]
    report = await shop.writer.update_products(rows)
    assert report.results == (UPDATED, UPDATED)
    assert report.index_version == shop.index.facts().index_version == 1


async def test_an_update_of_a_damaged_product_says_so(shop: Shop, tmp_path: Path) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    with sqlite3.connect(tmp_path / "catalogue.sqlite3") as connection:
        connection.execute("UPDATE products SET sub_category = 'Topweas'")
    connection.close()
    await shop.writer.load()
    (result,) = (await shop.writer.update_products([UpdateRow("a", {"year": 2020})])).results
    assert isinstance(result, FashionError)
    assert result.reason == "PRODUCT_DAMAGED"


async def test_the_same_row_again_changes_and_embeds_nothing(shop: Shop) -> None:
    rows = [row("a", shot(0)), row("b", shot(1))]
    await shop.writer.upsert_products(rows)
    report = await shop.writer.upsert_products(rows)
    assert report.results == (UNCHANGED, UNCHANGED)
    assert (report.index_version, shop.embedder.photographs) == (1, 2)
    assert len(shop.changes) == 2


async def test_attributes_alone_keep_photograph_and_embedding(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot())])
    before = shop.index.embedding("a")
    report = await shop.writer.upsert_products([row("a", base_colour="Red")])
    assert report.results == (UPDATED,)
    assert shop.embedder.photographs == 1
    found = shop.index.product("a")
    assert found is not None
    assert found.base_colour == "Red"
    assert np.array_equal(shop.index.embedding("a"), before)
    assert shop.catalogue.photograph("a") is not None


async def test_another_photograph_or_part_of_it_is_embedded(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    report = await shop.writer.upsert_products([row("a", shot(0, Box(0.0, 0.0, 0.5, 0.5)))])
    assert (report.results, shop.embedder.photographs) == ((UPDATED,), 2)
    report = await shop.writer.upsert_products([row("a", shot(1))])
    assert (report.results, shop.embedder.photographs) == ((UPDATED,), 3)


async def test_a_bad_row_fails_alone(shop: Shop) -> None:
    bad = InvalidInput("subCategory is missing", reason="SUB_CATEGORY_MISSING")
    other = Embedding(np.ones(SIZE, dtype=np.float32) * SIZE**-0.5, "other")
    long = Embedding(np.ones(SIZE, dtype=np.float32), "m1")
    report = await shop.writer.upsert_products(
        [
            row("a", shot(0)),
            UpsertRow("b", bad, shot(1)),
            row("c"),
            row("d", Photograph(b"")),
            row("e", other),
            row("f", long),
            row("a", shot(2)),
            row("g", shot(3)),
        ]
    )
    reasons = [result.reason if isinstance(result, FashionError) else result for result in report.results]
    assert reasons == [
        CREATED,
        "SUB_CATEGORY_MISSING",
        "PHOTOGRAPH_MISSING",
        "IMAGE_EMPTY",
        "MODEL_VERSION_MISMATCH",
        "EMBEDDING_INVALID",
        "PRODUCT_ID_DUPLICATE",
        CREATED,
    ]
    assert shop.findable() == {"a", "g"}
    # "a", "d" and "g": a row that cannot be written is not embedded.
    assert shop.embedder.photographs == 3


async def test_a_write_without_embedder_changes_nothing(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    shop.embedder.before = down
    with pytest.raises(Upstream):
        await shop.writer.upsert_products([row("a", base_colour="Red"), row("b", shot(1))])
    found = shop.index.product("a")
    assert found is not None
    assert found.base_colour is None
    assert shop.findable() == {"a"}


@pytest.mark.parametrize("size", [0, 11])
async def test_a_batch_has_some_rows_and_not_too_many(shop: Shop, size: int) -> None:
    for call in (
        shop.writer.upsert_products([row(str(number)) for number in range(size)]),
        shop.writer.delete_products([str(number) for number in range(size)]),
    ):
        with pytest.raises(InvalidInput) as error:
            await call
        assert error.value.reason == ("BATCH_EMPTY" if size == 0 else "BATCH_TOO_LARGE")


async def test_deleting_takes_product_and_photograph(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    report = await shop.writer.delete_products(["a", "x", "a b", "a"])
    reasons = [result and result.reason for result in report.results]
    assert reasons == [None, "PRODUCT_NOT_FOUND", "PRODUCT_ID_INVALID", None]
    assert report.index_version == 2
    assert shop.findable() == {"b"}
    assert shop.catalogue.photograph("a") is None
    assert shop.changes[-1] == Change(product("a"), None)


async def test_a_product_that_is_deleted_during_its_write_is_embedded(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    # "a" needs no embedding when the write begins, but does once it is deleted.
    shop.before_next_embedding(lambda: shop.writer.delete_products(["a"]))
    report = await shop.writer.upsert_products([row("a", shot(0), base_colour="Red"), row("c", shot(2))])
    assert report.results == (CREATED, CREATED)
    assert shop.findable() == {"a", "b", "c"}


async def test_of_a_known_product_only_the_named_fields_are_replaced(shop: Shop) -> None:
    kept = {"price": Price("EUR", 19), "in_stock": False, "parent_id": "p"}
    await shop.writer.upsert_products([row("a", shot(0), name="old", usage="Casual", **kept)])
    report = await shop.writer.upsert_products(
        [row("a", shot(0), name="new"), row("b", shot(1), **kept)], {"name", "usage"}
    )
    assert report.results == (UPDATED, CREATED)
    assert shop.index.product("a") == product("a", name="new", **kept)
    assert shop.index.product("b") == product("b", **kept)
    assert shop.catalogue.get("a").product == shop.index.product("a")
    report = await shop.writer.upsert_products([row("a", shot(0), name="new", year=1999)], {"name"})
    assert report.results == (UNCHANGED,)
    report = await shop.writer.upsert_products([row("a", shot(2))], ())
    assert report.results == (UPDATED,)
    assert shop.index.product("a") == product("a", name="new", **kept)


async def test_a_write_that_keeps_losing_races_says_so(shop: Shop) -> None:
    known = [row(f"known-{number}", shot(number)) for number in range(8)]
    await shop.writer.upsert_products(known)
    rivals = [each.product_id for each in known]

    async def delete_another() -> None:
        await shop.writer.delete_products([rivals.pop()])
        if rivals:
            shop.before_next_embedding(delete_another)

    shop.before_next_embedding(delete_another)
    with pytest.raises(Overloaded) as error:
        await shop.writer.upsert_products([*known, row("new", shot(9))])
    assert error.value.reason == "WRITE_CONFLICT"
    assert shop.findable() == set()


async def test_disk_and_index_agree_after_a_caller_has_given_up(shop: Shop) -> None:
    task = asyncio.create_task(shop.writer.upsert_products([row("a", shot(0))]))
    for _ in range(200):
        await asyncio.sleep(0)
        if shop.embedder.photographs:
            break
    task.cancel()
    await asyncio.wait({task})
    # The thread finishes the write under way before it begins the next one.
    await shop.writer.upsert_products([row("b", shot(1))])
    assert shop.findable() == {"b"} | ({"a"} if shop.catalogue.get("a") else set())


async def test_an_index_that_refuses_a_write_is_loaded_again(shop: Shop) -> None:
    await shop.writer.upsert_products([row("a", shot(0))])
    # An index that refuses the next write once.
    apply, refused = shop.index.apply, []

    def refuse_once(*arguments: object) -> None:
        if not refused:
            refused.append(arguments)
            raise ValueError("out of step")
        apply(*arguments)

    shop.index.apply = refuse_once  # type: ignore[method-assign, assignment]
    report = await shop.writer.upsert_products([row("b", shot(1))])
    assert (refused != [], report.results) == (True, (CREATED,))
    assert shop.findable() == {"a", "b"}
    assert shop.index.facts().index_version == report.index_version


async def test_writes_beyond_the_queue_are_refused_and_none_is_half_done(tmp_path: Path) -> None:
    shop = Shop(tmp_path, max_pending=1)
    results = await asyncio.gather(
        *(shop.writer.upsert_products([row(f"p{number}", shot(number))]) for number in range(6)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert refused
    assert all(error.reason == "QUEUE_FULL" for error in refused)
    assert len(shop.findable()) == len(results) - len(refused)
    shop.close()


async def test_what_another_model_embedded_is_embedded_again_from_the_photographs(tmp_path: Path) -> None:
    old = Shop(tmp_path)
    vector = Embedding(np.ones(SIZE, dtype=np.float32) * SIZE**-0.5, "m1")
    await old.writer.upsert_products([row("a", shot(0)), row("b", shot(1, Box(0.0, 0.0, 1.0, 0.5))), row("v", vector)])
    old.close()

    new = Shop(tmp_path, version="m2")
    outdated = await new.writer.load()
    assert sorted(outdated) == ["a", "b"]
    facts = new.index.facts()
    assert (facts.product_count, facts.outdated_count, new.findable()) == (3, 3, set())

    assert await new.writer.photographs.embed_again(outdated) == 2
    assert new.findable() == {"a", "b"}
    # "v" came with an embedding of the other model: its shop has to send it again.
    assert new.index.facts().outdated_count == 1
    stored = new.catalogue.get("b")
    assert stored is not None
    assert (stored.content.model_version, stored.content.region) == ("m2", Box(0.0, 0.0, 1.0, 0.5))
    assert await new.writer.photographs.embed_again(outdated) == 0
    new.close()


async def test_embedding_again_waits_for_an_embedder_that_is_down(tmp_path: Path) -> None:
    old = Shop(tmp_path)
    await old.writer.upsert_products([row(str(number), shot(number)) for number in range(5)])
    old.close()
    new = Shop(tmp_path, version="m2")
    outdated = await new.writer.load()
    groups: list[int] = []

    async def after_group() -> None:
        groups.append(len(new.findable()))

    new.before_next_embedding(down)
    async with asyncio.timeout(20):
        await reembed(new.writer, outdated, group=2, pause_s=0.0, after_group=after_group)
    assert groups == [2, 4, 5]
    assert new.index.facts().outdated_count == 0
    new.close()


async def test_a_newer_write_wins_over_embedding_again(tmp_path: Path) -> None:
    old = Shop(tmp_path)
    await old.writer.upsert_products([row("a", shot(0)), row("b", shot(1))])
    old.close()
    new = Shop(tmp_path, version="m2")
    outdated = await new.writer.load()

    async def meanwhile() -> None:
        await new.writer.delete_products(["a"])
        await new.writer.upsert_products([row("b", base_colour="Red")])

    new.before_next_embedding(meanwhile)
    assert await new.writer.photographs.embed_again(outdated) == 1
    assert new.findable() == {"b"}
    found = new.index.product("b")
    assert found is not None
    assert found.base_colour == "Red"
    new.close()
