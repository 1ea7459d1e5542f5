"""A start from a snapshot answers as one from the catalogue does, to the last bit; whatever is damaged is not used."""

import errno
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from offline.benchmark.correctness.material import Material
from services.contract.embedding import renormalised
from services.contract.errors import InvalidInput
from services.contract.fakes import FakeEmbedder
from services.contract.values import Embedding, ModelInfo, Photograph
from services.search.catalogue.content import ContentState, NewContent, StoredProduct, Upsert, upsert_of
from services.search.catalogue.generations import write_embeddings
from services.search.catalogue.store import Catalogue
from services.search.filters.filter import Filter
from services.search.indexes.base import Eligibility, IndexAnswer
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.snapshot_file import FILE
from services.search.writes.generation import Generation, WrittenGenerations
from services.search.writes.photograph_embedder import WriteEmbedder
from services.search.writes.snapshots import SnapshotKeeper, SnapshotSettings
from tests.support.small_shop import photograph

SIZE = 16
IDS = tuple(f"p{number}" for number in range(120))
MATERIAL = Material(IDS, IDS[:9])
MODEL = ModelInfo("tiny", "m1", SIZE, 8, 8, "none", "float32", "float32")
INDEX = FaissSettings(exact_limit=5, components=4, min_candidates=1, candidates_per_hit=1)


def embedding(seed: int) -> Embedding:
    values = np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)
    return Embedding(values / np.linalg.norm(values), "m1" if seed % 7 else "m0")


class Shop:
    """A catalogue, its index and its snapshots; `open` starts it as a server does."""

    def __init__(self, directory: Path, model_version: str = "m1", settings: FaissSettings = INDEX) -> None:
        self.catalogue = Catalogue(directory)
        self.index = FaissIndex(SIZE, settings)
        self.catalogue.generations.adopt(model_version, SIZE)
        space = replace(MODEL, model_version=model_version)
        embedder = WriteEmbedder(FakeEmbedder(SIZE, model_version), model_version, group_size=4, groups_in_flight=2)
        self.generations = WrittenGenerations(Generation(space, self.index, embedder))
        self.snapshots = SnapshotKeeper(self.catalogue, directory, SnapshotSettings(1, 0.01, 60.0))

    def restore(self) -> bool:
        return self.snapshots.restore(self.generations)

    def rebuild(self) -> None:
        self.restore()
        self.load(self.index)

    def load(self, index: FaissIndex) -> None:
        live = self.generations.live
        parts = ([live.indexed(each) for each in some] for some in self.catalogue.by_derived_type())
        index.load(parts, self.catalogue.index_version)

    def write(self, dice: Random, count: int) -> None:
        """Writes, changes and deletes random products, as `CatalogueWriter` does."""
        for _ in range(count):
            some = dice.sample(IDS, 12)
            upserts: list[Upsert] = []
            for product_id in some[:8]:
                looks = [NewContent(embedding(dice.randrange(300)), None) for _ in range(dice.choice((1, 1, 1, 2, 4)))]
                upserts.append(upsert_of(MATERIAL.product(dice, product_id), looks))
            self.taken_over(self.catalogue.write(upserts, some[8:9]))
            known = self.index.products(some[9:]).values()
            changes = [(each, replace(each, in_stock=dice.random() < 0.5, brand="Velora")) for each in known]
            version = self.catalogue.update([pair for pair in changes if pair[0] != pair[1]])
            self.index.apply((), (), version, [after for before, after in changes if before != after])

    def taken_over(self, result: Any) -> None:
        changed: tuple[StoredProduct, ...] = result.changed
        upserts = [self.generations.live.indexed(each) for each in changed]
        self.index.apply(upserts, result.deleted, result.index_version, result.updated)

    def close(self) -> None:
        self.catalogue.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with a snapshot, and writes after it."""
    shop, dice = Shop(tmp_path), Random(5)
    shop.rebuild()
    shop.write(dice, 20)
    shop.snapshots.stop()
    assert (tmp_path / FILE).is_file()
    shop.write(dice, 4)
    shop.close()
    return tmp_path


def opened(directory: Path, **settings: Any) -> Iterator[Shop]:
    shop = Shop(directory, **settings)
    try:
        yield shop
    finally:
        shop.close()


def described(answer: IndexAnswer) -> list[object]:
    return [
        [(hit, hit.product.photograph_absent, hit.product.photograph_count) for hit in answer.hits],
        answer.eligible_count,
        answer.excluded_colours,
        answer.index_version,
        answer.left_out,
        dict(answer.other_currencies),
    ]


def assert_same(one: FaissIndex, other: FaissIndex, seed: int = 0, count: int = 300) -> None:
    """Holds every product, the facts, facets, lists and random answers of two indexes to one another."""
    assert one.facts() == other.facts()
    assert dict(one.products(IDS)) == dict(other.products(IDS))
    assert one.searchable_types() == other.searchable_types()
    assert (one.colours(), one.attribute_names()) == (other.colours(), other.attribute_names())
    for product_id in IDS:
        mine, theirs = one.embedding(product_id), other.embedding(product_id)
        assert (mine is None and theirs is None) or np.array_equal(mine, theirs)  # type: ignore[arg-type]
    dice = Random(seed)
    for _ in range(count):
        query = embedding(dice.randrange(400)).values
        eligibility, k, ranking = MATERIAL.eligibility(dice), dice.choice((1, 5, 30)), MATERIAL.ranking(dice)
        condition = MATERIAL.filter(dice)
        try:
            expected = described(other.search(query, k, eligibility, ranking))
        except InvalidInput as refused:
            with pytest.raises(InvalidInput, match=refused.reason):
                one.search(query, k, eligibility, ranking)
            continue
        assert described(one.search(query, k, eligibility, ranking)) == expected
        try:
            assert one.facets(condition) == other.facets(condition)
            assert one.page(condition, None, 20) == other.page(condition, None, 20)
        except InvalidInput:
            continue


def rebuilt(shop: Shop) -> FaissIndex:
    index = FaissIndex(SIZE, INDEX)
    shop.load(index)
    return index


def test_answers_are_those_of_an_index_that_is_built_anew(directory: Path) -> None:
    for shop in opened(directory):
        with capture_logs() as logs:
            assert shop.restore()
        assert 0 < logs[-1]["read_again"] < 80
        assert_same(shop.index, rebuilt(shop))
        # It goes on from there, as any other.
        dice = Random(8)
        shop.write(dice, 10)
        assert_same(shop.index, rebuilt(shop), seed=1)


def test_products_that_look_as_before_and_are_of_the_same_kind_are_known_as_such(tmp_path: Path) -> None:
    dice = Random(3)
    upserts = {
        each: upsert_of(MATERIAL.product(dice, each), [NewContent(embedding(number), None)])
        for number, each in enumerate(IDS[:6], start=1)
    }
    priced, looks, kind, outdated, deleted, came = IDS[:6]
    upserts[outdated] = upsert_of(upserts[outdated].product, [NewContent(embedding(7), None)])
    for shop in opened(tmp_path):
        shop.rebuild()
        shop.taken_over(shop.catalogue.write([upserts[each] for each in IDS[:5]]))
        shop.snapshots.stop()
        version = shop.catalogue.index_version
        known = {each: shop.index.product(each) for each in (priced, kind, outdated)}
        changes = {priced: {"brand": "New"}, kind: {"sub_category": "New"}, outdated: {"brand": "New"}}
        shop.catalogue.update([(before, replace(before, **changes[each])) for each, before in known.items() if before])
        other = upsert_of(upserts[looks].product, [NewContent(embedding(99), None)])
        shop.catalogue.write([other, upserts[came]], [deleted])
    for shop in opened(tmp_path):
        assert shop.restore() and shop.snapshots.restored
        restored = shop.snapshots.restored
        assert restored.alike == {priced, outdated}
        changed = {product.id for each in restored.since(version) for product in [each.after or each.before] if product}
        assert changed == {looks, kind, deleted, came}


def test_a_catalogue_that_has_not_changed_is_not_read_again(directory: Path) -> None:
    for shop in opened(directory):
        assert shop.restore()
        shop.snapshots.stop()
    for shop in opened(directory):
        with capture_logs() as logs:
            assert shop.restore()
        assert logs[-1]["read_again"] == 0
        assert_same(shop.index, rebuilt(shop))
        assert not shop.snapshots.due()


def test_writes_beside_a_snapshot_are_neither_held_up_nor_lost(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.search.indexes.snapshot_file._BLOCK_PRODUCTS", 4)
    monkeypatch.setattr("services.search.writes.snapshots._BLOCK_PAUSE_S", 0.0)
    for number in range(6):
        for shop in opened(directory):
            if not shop.restore():
                shop.rebuild()
            writing = threading.Thread(target=shop.write, args=(Random(number), 12))
            writing.start()
            while writing.is_alive():
                shop.snapshots._keep(0.0)
            writing.join()
        for shop in opened(directory):
            assert shop.restore()
            assert_same(shop.index, rebuilt(shop), seed=number, count=60)


def test_a_mutated_snapshot_is_never_used(directory: Path) -> None:
    path = directory / FILE
    content, dice = path.read_bytes(), Random(3)
    mutants = [content[:length] for length in (0, 10, len(content) - 1, *dice.sample(range(len(content)), 100))]
    for place in dice.sample(range(len(content)), 300):
        flipped = bytearray(content)
        flipped[place] ^= 1 << dice.randrange(8)
        mutants.append(bytes(flipped))
    for shop in opened(directory):
        for mutant in mutants:
            path.write_bytes(mutant)
            with capture_logs() as logs:
                assert not shop.restore()
            assert [line["log_level"] for line in logs] == ["warning"]
            # It is gone, and nothing of it is served.
            assert not path.exists()
            assert shop.index.facts().product_count == 0
        path.write_bytes(content)
        assert shop.restore()


def test_a_snapshot_of_something_else_is_not_used(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = (directory / FILE).read_bytes()
    other = tmp_path_factory.mktemp("other")
    for shop in opened(other):
        shop.rebuild()
        # As many writes, of other products.
        shop.write(Random(6), 30)
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (directory, {"model_version": "m2"}, "its model_version is 'm1' instead of 'm2'"),
        (directory, {"settings": replace(INDEX, components=5)}, "its components is 4 instead of 5"),
        (other, {}, "this catalogue does not know"),
    ]
    for folder, settings, why in cases:
        (folder / FILE).write_bytes(content)
        for shop in opened(folder, **settings):
            with capture_logs() as logs:
                assert not shop.restore()
            assert [(line["log_level"], why in line["why"]) for line in logs] == [("warning", True)]


def test_a_snapshot_that_is_newer_than_the_catalogue_is_not_used(directory: Path) -> None:
    database = directory / "catalogue.sqlite3"
    older = database.read_bytes()
    for shop in opened(directory):
        assert shop.restore()
        shop.write(Random(1), 5)
        shop.snapshots.stop()
    database.write_bytes(older)
    for shop in opened(directory):
        assert not shop.restore()


def test_a_number_of_products_that_is_not_the_catalogues_is_refused(directory: Path) -> None:
    for shop in opened(directory):
        shop.catalogue._writer.execute("DELETE FROM products WHERE id = (SELECT min(id) FROM products)")
        assert not shop.restore()


def test_another_model_lists_all_and_finds_none_of_the_former(directory: Path) -> None:
    for shop in opened(directory, model_version="m0"):
        assert not shop.restore()
        shop.rebuild()
        shop.snapshots.stop()
    for shop in opened(directory, model_version="m0"):
        assert shop.restore()
        assert 0 < shop.index.facts().outdated_count < shop.index.facts().product_count
        assert_same(shop.index, rebuilt(shop))


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left")


def test_a_snapshot_that_cannot_be_written_is_told_and_tried_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shop in opened(directory):
        assert shop.restore()
        before = (directory / FILE).read_bytes()
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(
                "services.bundle.block_file.os.fdatasync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left"))
            )
            shop.snapshots.stop()
        assert [line["log_level"] for line in logs] == ["warning"]
        assert (directory / FILE).read_bytes() == before
        shop.snapshots.stop()
        assert (directory / FILE).read_bytes() != before


def test_a_full_disk_is_left_to_the_catalogue(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shop in opened(directory):
        assert shop.restore()
        before = (directory / FILE).read_bytes()
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1 << 20}))
        with capture_logs() as logs:
            shop.snapshots.stop()
        assert "room" in logs[0]["why"]
        assert (directory / FILE).read_bytes() == before


def test_what_a_killed_process_left_half_written_is_removed(directory: Path) -> None:
    left = directory / f".{FILE}.new"
    left.write_bytes(b"half")
    for shop in opened(directory):
        assert shop.restore()
    assert not left.exists()


def test_another_live_generation_gets_a_snapshot_of_its_own(directory: Path) -> None:
    for shop in opened(directory):
        assert shop.restore()
        shop.snapshots.stop()
        assert not shop.snapshots.due()
        former = shop.generations.live
        # As a switch does.
        space = replace(MODEL, model_version="m0")
        shop.generations.live = Generation(space, shop.index, former.embedder)
        assert shop.snapshots.due()


def test_a_stop_does_not_wait_for_a_snapshot_that_takes_long(directory: Path) -> None:
    for shop in opened(directory):
        assert shop.restore()
        before = (directory / FILE).read_bytes()
        shop.snapshots._seconds = 6.0
        shop.snapshots.stop()
        assert shop.snapshots.due() and (directory / FILE).read_bytes() == before


def test_a_small_catalogue_needs_none(tmp_path: Path) -> None:
    for shop in opened(tmp_path):
        shop.snapshots._settings = SnapshotSettings(500, 0.05, 60.0)
        shop.rebuild()
        shop.write(Random(1), 5)
        assert not shop.snapshots.due()
        assert shop.index.page(Filter(), None, 5).total_count > 0


def test_embeddings_that_were_stored_without_a_line_in_the_log_are_in_the_index_after_a_start(tmp_path: Path) -> None:
    """As versions before did it around a change of the model."""
    shots = [Photograph(photograph("Men Tshirts", "Red", number)) for number in range(3)]
    shop, dice = Shop(tmp_path), Random(5)
    looks = [NewContent(replace(embedding(number + 1), model_version="m0"), each) for number, each in enumerate(shots)]
    known = NewContent(embedding(8), shots[0])
    products = [MATERIAL.product(dice, each) for each in IDS[:3]]
    shop.rebuild()
    writes = [upsert_of(products[0], looks[:1]), upsert_of(products[1], [known, looks[1]])]
    shop.taken_over(shop.catalogue.write([*writes, upsert_of(products[2], looks[2:])]))
    shop.snapshots.stop()
    made = [embedding(number + 10).values.astype(np.float16) for number in range(2)]
    parts = [ContentState.of(each, "m1").part for each in shots]
    assert parts[0] is not None and parts[1] is not None
    stored = {parts[0]: made[0], parts[1]: made[1]}
    shop.catalogue._transaction(lambda connection: write_embeddings(connection, "m1", stored))
    assert shop.index.embedding(IDS[0]) is None
    shop.close()

    for shop in opened(tmp_path):
        assert shop.restore()
        found = shop.index.embedding(IDS[0])
        assert found is not None and np.array_equal(found, made[0])
        (hit,) = shop.index.search(renormalised(made[1]), 1, Eligibility()).hits
        assert (hit.product.id, hit.photograph) == (IDS[1], 1)
        live = shop.generations.live
        assert live.lacking == live.unfound == {IDS[2]}
        assert shop.snapshots.restored is not None
        # Candidates, which go by first photographs, are computed anew.
        assert [each.after.id for each in shop.snapshots.restored.since(1) if each.after] == [IDS[0]]
