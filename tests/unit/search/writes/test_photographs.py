"""Several photographs of a product through the writer: added and taken away alone, embedded only where they are new."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.contract.errors import InvalidInput, ModelMismatch, NotFound
from services.contract.values import MAX_PHOTOGRAPHS, Embedding, Gender, Photograph
from services.search.catalogue.content import UpsertOutcome
from services.search.catalogue.products import Product
from services.search.indexes.base import Eligibility, Hit
from services.search.writes.rows import UpsertReport, UpsertRow
from tests.support.small_shop import photograph
from tests.unit.search.writes.test_writer import SIZE, Shop

CREATED, UPDATED, UNCHANGED = UpsertOutcome.CREATED, UpsertOutcome.UPDATED, UpsertOutcome.UNCHANGED


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def shot(number: int) -> Photograph:
    return Photograph(photograph("Men Tshirts", "Blue", number))


def vector(seed: int, version: str = "m1") -> Embedding:
    values = np.random.default_rng(seed).normal(size=SIZE)
    return Embedding((values / np.linalg.norm(values)).astype(np.float32), version)


def row(product_id: str, *contents: Photograph | Embedding, keeps: bool = False, name: str | None = None) -> UpsertRow:
    product = Product(id=product_id, gender=Gender.MEN, sub_category="Topwear", article_type="Tshirts", name=name)
    return UpsertRow(product_id, product, contents[0] if contents else None, tuple(contents[1:]), keeps)


def stored(shop: Shop, product_id: str = "a") -> list[bytes | None]:
    product = shop.catalogue.get(product_id)
    assert product is not None
    files = [shop.catalogue.photograph(product_id, index) for index in range(len(product.photographs))]
    return [None if each is None else each.content for each in files]


async def best(shop: Shop, photograph: Photograph) -> Hit:
    query = (await shop.embedder.embed(photograph)).values
    return shop.index.search(query, 1, Eligibility()).hits[0]


async def test_a_product_is_found_by_each_of_its_photographs_which_are_embedded_once(shop: Shop) -> None:
    shots = [shot(number) for number in range(5)]
    report = await shop.writer.upsert_products([row("a", *shots[:3]), row("b", shots[3])])
    assert report.results == (CREATED, CREATED)
    assert shop.embedder.photographs == 4
    for number, content in enumerate(shots[:3]):
        hit = await best(shop, content)
        assert (hit.product.id, hit.photograph, hit.product.photograph_count) == ("a", number, 3)
        assert hit.similarity == pytest.approx(1, abs=1e-3)
    shop.embedder.photographs = 0
    assert (await shop.writer.upsert_products([row("a", *shots[:3])])).results == (UNCHANGED,)
    # In another order, and with one more: one more is embedded.
    assert (await shop.writer.upsert_products([row("a", *shots[2::-1], shots[4])])).results == (UPDATED,)
    assert shop.embedder.photographs == 1
    assert stored(shop) == [shots[2].content, shots[1].content, shots[0].content, shots[4].content]
    assert (await best(shop, shots[0])).photograph == 2
    # A row without a photograph keeps all; one with a single one replaces all.
    assert (await shop.writer.upsert_products([row("a", name="New")])).results == (UPDATED,)
    assert len(stored(shop)) == 4
    assert (await shop.writer.upsert_products([row("a", shots[1])])).results == (UPDATED,)
    assert stored(shop) == [shots[1].content]
    assert (await best(shop, shots[4])).similarity < 0.99


async def test_a_source_that_knows_only_some_keeps_the_others(shop: Shop) -> None:
    shots = [shot(number) for number in range(10)]
    await shop.writer.upsert_products([row("a", *shots[:3])])
    await shop.writer.upsert_products([row("a", shots[3], keeps=True)])
    assert stored(shop) == [each.content for each in (shots[3], shots[1], shots[2])]
    await shop.writer.upsert_products([row("a", shots[2], shots[4], keeps=True)])
    assert stored(shop) == [each.content for each in (shots[2], shots[4], shots[1])]
    await shop.writer.upsert_products([row("a", *shots[:7], keeps=True)])
    # The row's own first; of the others as many as fit.
    assert stored(shop) == [each.content for each in shots[:7]]
    assert (await shop.writer.upsert_products([row("new", shots[0], keeps=True)])).results == (CREATED,)


async def test_embeddings_that_are_sent_again_are_not_kept_beside_themselves(shop: Shop) -> None:
    def count() -> int:
        product = shop.catalogue.get("a")
        assert product is not None
        return len(product.photographs)

    sent = row("a", vector(1), vector(2), keeps=True)
    assert (await shop.writer.upsert_products([sent])).results == (CREATED,)
    for _ in range(2):
        assert (await shop.writer.upsert_products([sent])).results == (UNCHANGED,)
    await shop.writer.upsert_products([row("a", vector(1), vector(3), keeps=True)])
    assert count() == 3
    # What was the third becomes the first.
    await shop.writer.upsert_products([row("a", vector(2), keeps=True)])
    assert count() == 2
    # Nor is what no float16 tells apart.
    nearly = Embedding(vector(2).values * np.float32(1 + 1e-6), "m1")
    await shop.writer.upsert_products([row("a", nearly, vector(3), keeps=True)])
    assert count() == 2


async def test_a_bad_photograph_names_its_place_and_spoils_its_row_alone(shop: Shop) -> None:
    empty, shots = Photograph(b""), [shot(number) for number in range(9)]

    def reasons(report: UpsertReport) -> list[object]:
        return [
            (each.reason, each.metadata.get("photograph_index")) if isinstance(each, InvalidInput) else each
            for each in report.results
        ]

    rows = [
        row("a", shots[0], shots[0], empty),
        row("b", shots[1]),
        row("c", *shots),
        UpsertRow("d", row("d").product, None, (shots[0],)),
        row("e", vector(1), vector(2)),
        row("f", vector(1), Embedding(vector(2).values * 2, "m1")),
        # Twice the same counts once.
        row("g", *shots[:8], shots[0]),
    ]
    assert reasons(await shop.writer.upsert_products(rows)) == [
        ("IMAGE_EMPTY", "2"),
        CREATED,
        ("TOO_MANY_PHOTOGRAPHS", None),
        ("PHOTOGRAPH_MISSING", None),
        CREATED,
        ("EMBEDDING_INVALID", "1"),
        CREATED,
    ]
    assert len(stored(shop, "g")) == MAX_PHOTOGRAPHS
    assert stored(shop, "e") == [None, None]


async def test_a_photograph_is_added_moved_and_taken_away_alone(shop: Shop) -> None:
    shots = [shot(number) for number in range(9)]
    add, remove = shop.writer.photographs.add, shop.writer.photographs.remove
    await shop.writer.upsert_products([row("a", shots[0], name="A")])
    shop.embedder.photographs = 0
    added = await add("a", shots[1])
    assert (added.index, added.changed, added.product.photograph_count, added.product.name) == (1, True, 2, "A")
    assert (await best(shop, shots[1])).photograph == 1
    shop.embedder.photographs = 0
    again = await add("a", shots[1])
    assert (again.index, again.changed, again.index_version) == (1, False, added.index_version)
    first = await add("a", shots[2], 0)
    assert (first.index, stored(shop)) == (0, [shots[each].content for each in (2, 0, 1)])
    moved = await add("a", shots[1], 0)
    assert (moved.index, moved.changed) == (0, True)
    assert stored(shop) == [shots[each].content for each in (1, 2, 0)]
    assert shop.embedder.photographs == 1
    for number in range(3, 8):
        await add("a", shots[number])
    with pytest.raises(InvalidInput) as full:
        await add("a", shots[8])
    assert full.value.reason == "TOO_MANY_PHOTOGRAPHS"
    assert not (await add("a", shots[0])).changed
    removed = await remove("a", 0)
    assert (removed.index, removed.product.photograph_count) == (0, 7)
    query = await best(shop, shots[2])
    assert (query.product.id, query.photograph) == ("a", 0)
    assert (await best(shop, shots[1])).similarity < 0.99
    sha256 = shop.catalogue.get("a").further[0].content.photograph_sha256  # type: ignore[union-attr]
    assert sha256 is not None
    await remove("a", sha256)
    assert shots[0].content not in stored(shop)
    embedded = await add("a", vector(5))
    assert (embedded.index, (await add("a", vector(5))).changed) == (6, False)
    for index in (9, -1, "0" * 64):
        with pytest.raises(NotFound) as unknown:
            await remove("a", index)
        assert unknown.value.reason == "PHOTOGRAPH_NOT_FOUND"
    with pytest.raises(InvalidInput) as outside:
        await add("a", shots[0], 8)
    assert outside.value.reason == "PHOTOGRAPH_INDEX_INVALID"
    for _ in range(6):
        await remove("a", 0)
    with pytest.raises(InvalidInput) as last:
        await remove("a", 0)
    assert last.value.reason == "LAST_PHOTOGRAPH"
    # What is left came as an embedding.
    assert (stored(shop), shop.index.product("a").photograph_absent) == ([None], True)  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        await add("nobody", shots[0])
    with pytest.raises(ModelMismatch):
        await add("a", vector(1, "other"))
    with pytest.raises(InvalidInput) as bad:
        await add("a", Photograph(b""))
    assert bad.value.reason == "IMAGE_EMPTY"


async def test_a_write_that_comes_in_between_is_not_lost(shop: Shop) -> None:
    shots = [shot(number) for number in range(4)]
    await shop.writer.upsert_products([row("a", shots[0])])

    async def other() -> None:
        await shop.writer.photographs.add("a", shots[1])

    shop.before_next_embedding(other)
    await shop.writer.photographs.add("a", shots[2])
    assert stored(shop) == [each.content for each in shots[:3]]


async def test_all_photographs_are_embedded_again_for_another_model(tmp_path: Path) -> None:
    shots = [shot(number) for number in range(3)]
    old = Shop(tmp_path)
    await old.writer.upsert_products([row("a", *shots), row("b", shots[0], vector(3))])
    old.close()
    new = Shop(tmp_path, "m2")
    outdated = await new.writer.load()
    assert set(outdated) == {"a", "b"}
    assert new.findable() == set()
    assert await new.writer.photographs.embed_again(outdated) == 2
    assert new.embedder.photographs == 4
    for number, content in enumerate(shots):
        hit = await best(new, content)
        assert hit.similarity == pytest.approx(1, abs=1e-3)
        assert number == 0 or (hit.product.id, hit.photograph) == ("a", number)
    # The embedding that the shop sent cannot be made again: it is kept, not compared, and does not shift the others.
    product = new.catalogue.get("b")
    assert product is not None
    assert [each.model_version for each in product.contents] == ["m2", "m1"]
    await new.writer.photographs.add("b", shots[2])
    query = (await new.embedder.embed(shots[2])).values
    hits = new.index.search(query, 2, Eligibility()).hits
    assert {hit.product.id: hit.photograph for hit in hits} == {"a": 2, "b": 2}
    new.close()
    again = Shop(tmp_path, "m2")
    assert await again.writer.load() == ()
    hits = again.index.search(query, 2, Eligibility()).hits
    assert {hit.product.id: hit.photograph for hit in hits} == {"a": 2, "b": 2}
    again.close()
