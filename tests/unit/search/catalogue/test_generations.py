"""Two generations in one catalogue: each has its own embeddings of the same photographs."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.contract.values import Box, Embedding, Gender, Photograph
from services.search.catalogue.content import ContentState, NewContent, SameContent, Upsert
from services.search.catalogue.generations import CanaryRow, GenerationRecord, Status
from services.search.catalogue.products import Product
from services.search.catalogue.store import Catalogue
from tests.support.small_shop import photograph

SIZE = 16
NOW = datetime(2026, 11, 28, tzinfo=UTC)
UPPER = Box(0.0, 0.0, 1.0, 0.3)


def vector(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=SIZE)
    return (values / np.linalg.norm(values)).astype(np.float16)


def shot(number: int, region: Box | None = None) -> Photograph:
    return Photograph(photograph("Men Tshirts", "Blue", number), region)


def part(photograph: Photograph) -> tuple[str, Box | None]:
    found = ContentState.of(photograph, "").part
    assert found is not None
    return found


def content(seed: int, photograph: Photograph | None, version: str = "m1") -> NewContent:
    return NewContent(Embedding(vector(seed).astype(np.float32), version), photograph)


def product(product_id: str, **attributes: object) -> Product:
    return Product(
        **{"id": product_id, "gender": Gender.MEN, "article_type": "Tshirts", "sub_category": "T", **attributes}
    )


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue(tmp_path / "data", lambda: NOW) as opened:
        opened.generations.adopt("m1", SIZE)
        opened.write(
            [
                Upsert(product("a"), content(1, shot(1)), (content(2, shot(2, UPPER)),)),
                Upsert(product("b"), content(1, shot(1))),
                Upsert(product("e"), content(9, None)),
            ]
        )
        yield opened


def begin(catalogue: Catalogue, *canaries: CanaryRow) -> None:
    catalogue.generations.begin(GenerationRecord("m2", SIZE, Status.BUILDING, NOW), canaries)


def fill(catalogue: Catalogue) -> None:
    catalogue.generations.add("m2", {part(shot(1)): vector(11), part(shot(2, UPPER)): vector(12)})


def embeddings(catalogue: Catalogue, product_id: str, version: str) -> list[tuple[str, bool | int]]:
    """The models of a product's embeddings, and the seed of each that is known."""
    (stored,) = catalogue.of_model([product_id], version)
    known = {vector(seed).tobytes(): seed for seed in range(30)}
    return [(each.content.model_version, known[each.embedding.tobytes()]) for each in stored.photographs]


def test_an_embedding_counts_as_a_write_where_its_model_is_live(catalogue: Catalogue) -> None:
    version = catalogue.index_version
    begin(catalogue)
    beside = catalogue.generations.add("m2", {part(shot(1)): vector(11)})
    assert (set(beside.product_ids), beside.index_version) == ({"a", "b"}, None)
    assert catalogue.index_version == version
    switched = catalogue.generations.switch()
    live = catalogue.generations.add("m2", {part(shot(2, UPPER)): vector(12)})
    assert (live.product_ids, live.index_version, catalogue.index_version) == (("a",), switched + 1, switched + 1)
    assert catalogue.generations.add("m2", {part(shot(3)): vector(13)}).index_version is None


def test_what_a_generation_lacks_is_listed_until_it_is_there(catalogue: Catalogue) -> None:
    begin(catalogue)
    assert catalogue.generations.missing("m2") == ["a", "b"]
    assert catalogue.generations.missing("m2", after="a") == ["b"]
    assert catalogue.generations.missing("m2", limit=1) == ["a"]
    assert catalogue.generations.missing("m1") == []
    catalogue.generations.add("m2", {part(shot(1)): vector(11)})
    # The other half of its photographs is missing still: the region counts.
    catalogue.generations.add("m2", {part(shot(2)): vector(12)})
    assert catalogue.generations.missing("m2") == ["a"]
    fill(catalogue)
    assert catalogue.generations.missing("m2") == []
    assert embeddings(catalogue, "a", "m2") == [("m2", 11), ("m2", 12)]
    assert embeddings(catalogue, "a", "m1") == [("m1", 1), ("m1", 2)]
    # What a shop sent as an embedding cannot be made again.
    assert embeddings(catalogue, "e", "m2") == [("m1", 9)]


def test_a_switch_and_a_rollback_change_all_products_at_once_and_survive_a_start(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    begin(catalogue)
    fill(catalogue)
    version = catalogue.index_version
    for number, (live, former) in enumerate((("m2", "m1"), ("m1", "m2")), 1):
        assert catalogue.generations.switch() == version + number
        catalogue.close()
        catalogue.__init__(tmp_path / "data", lambda: NOW)  # type: ignore[misc]
        record, other = catalogue.generations.live, catalogue.generations.other
        assert record is not None and other is not None
        assert (record.model_version, record.status) == (live, Status.LIVE)
        assert (other.model_version, other.status) == (former, Status.PREVIOUS)
        for product_id in ("a", "b"):
            stored = catalogue.get(product_id)
            assert stored is not None and {each.model_version for each in stored.contents} == {live}
        loaded = {row.product.id: row.content.model_version for rows in catalogue.by_derived_type() for row in rows}
        assert loaded == {"a": live, "b": live, "e": "m1"}


def test_a_write_reaches_both_generations_and_loses_neither(catalogue: Catalogue) -> None:
    begin(catalogue)
    fill(catalogue)
    new = shot(3)
    beside = {"m2": {part(new): vector(13)}}
    catalogue.write([Upsert(product("a"), content(3, new), (SameContent(1),))], beside=beside)
    assert embeddings(catalogue, "a", "m1") == [("m1", 3), ("m1", 2)]
    assert embeddings(catalogue, "a", "m2") == [("m2", 13), ("m2", 12)]
    catalogue.generations.switch()
    # Written again after the switch, the row holds the new model's; the former one's moves beside it.
    catalogue.write([Upsert(product("a", name="New"), None)])
    catalogue.write([Upsert(product("b"), content(14, shot(4), "m2"))], beside={"m1": {part(shot(4)): vector(4)}})
    assert embeddings(catalogue, "a", "m2") == [("m2", 13), ("m2", 12)]
    assert embeddings(catalogue, "b", "m2") == [("m2", 14)]
    catalogue.generations.switch()
    assert embeddings(catalogue, "a", "m1") == [("m1", 3), ("m1", 2)]
    assert embeddings(catalogue, "b", "m1") == [("m1", 4)]
    assert catalogue.generations.missing("m2") == catalogue.generations.missing("m1") == []


def rows_of(tmp_path: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(tmp_path / "data" / "catalogue.sqlite3") as database:
        rows = database.execute(query).fetchall()
    database.close()
    return rows


def test_what_no_product_shows_any_more_goes(catalogue: Catalogue, tmp_path: Path) -> None:
    begin(catalogue)
    fill(catalogue)
    catalogue.write(deletes=["a"])
    # "b" shows the first one still.
    assert rows_of(tmp_path, "SELECT count(*), count(DISTINCT photograph_sha256) FROM embeddings") == [(1, 1)]
    catalogue.write(deletes=["b"])
    catalogue.generations.add("m2", {part(shot(1)): vector(11)})
    assert rows_of(tmp_path, "SELECT count(*) FROM embeddings") == [(0,)]


@pytest.mark.parametrize("switched", [True, False])
def test_the_generation_that_stays_moves_into_the_rows(catalogue: Catalogue, tmp_path: Path, switched: bool) -> None:
    begin(catalogue)
    fill(catalogue)
    if switched:
        catalogue.generations.switch()
    version = catalogue.index_version
    assert not catalogue.generations.tidy(), "It would take away what a rollback needs."
    catalogue.generations.drop_other()
    steps = 0
    while catalogue.generations.tidy(limit=1):
        steps += 1
    assert steps == 2
    assert rows_of(tmp_path, "SELECT count(*) FROM embeddings") == [(0,)]
    live = "m2" if switched else "m1"
    shown = rows_of(
        tmp_path,
        "SELECT model_version FROM products WHERE id <> 'e' UNION SELECT model_version FROM further_photographs",
    )
    assert shown == [(live,)]
    assert embeddings(catalogue, "a", live) == ([("m2", 11), ("m2", 12)] if switched else [("m1", 1), ("m1", 2)])
    assert catalogue.index_version == version
    assert catalogue.generations.other is None


def test_a_damaged_embedding_is_not_read(catalogue: Catalogue, tmp_path: Path) -> None:
    begin(catalogue)
    fill(catalogue)
    rows_of(tmp_path, "UPDATE embeddings SET embedding = zeroblob(32) WHERE region_left IS NULL")
    assert embeddings(catalogue, "a", "m2") == [("m1", 1), ("m2", 12)]
    assert embeddings(catalogue, "b", "m2") == [("m1", 1)]


def test_canaries_and_judgements_are_kept(catalogue: Catalogue) -> None:
    canaries = (
        CanaryRow("shirt", None, b"photograph", ("Men Shirts", "Shirts")),
        CanaryRow("bag", "b", None, ("Handbags",)),
    )
    begin(catalogue, *canaries)
    assert catalogue.generations.canaries() == canaries
    catalogue.generations.judge(Status.REFUSED, '{"overlap": 0.1}')
    other = catalogue.generations.other
    assert other is not None
    assert (other.status, other.comparison) == (Status.REFUSED, '{"overlap": 0.1}')
    catalogue.generations.drop_other()
    assert catalogue.generations.canaries() == ()


def test_another_model_at_the_start_becomes_the_live_one(catalogue: Catalogue) -> None:
    catalogue.generations.adopt("m3", 8, "models/third")
    live = catalogue.generations.live
    assert live is not None
    assert (live.model_version, live.dimension, live.source) == ("m3", 8, "models/third")
    assert embeddings(catalogue, "b", "m3") == [("m1", 1)]
