"""Several photographs of a product on disk: kept in order, mended, swept, and brought up from the schema before."""

import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from services.contract.errors import DataLoss
from services.contract.values import Box, Photograph
from services.search.catalogue.content import (
    ContentState,
    NewContent,
    SameContent,
    StoredProduct,
    Upsert,
    UpsertOutcome,
    upsert_of,
)
from services.search.catalogue.photographs import PhotographDamaged
from services.search.catalogue.products import Price
from services.search.catalogue.store import Catalogue
from tests.unit.search.catalogue.test_store import embedding, jpeg, photographs, product, upsert

FIXTURE = Path(__file__).parents[3] / "fixtures" / "data-dir-v5" / "data"
CREATED, UPDATED, UNCHANGED = UpsertOutcome.CREATED, UpsertOutcome.UPDATED, UpsertOutcome.UNCHANGED


def new(seed: int, photo: str | None, region: Box | None = None) -> NewContent:
    return NewContent(embedding(seed), None if photo is None else Photograph(jpeg(photo), region))


def known(catalogue: Catalogue, product_id: str = "a") -> StoredProduct:
    stored = catalogue.get(product_id)
    assert stored is not None
    return stored


def names(catalogue: Catalogue, product_id: str = "a") -> list[bytes | None]:
    count = len(known(catalogue, product_id).photographs)
    kept = [catalogue.photograph(product_id, index) for index in range(count)]
    return [None if each is None else each.content[3:] for each in kept]


def test_photographs_come_back_in_their_order_after_reopening(tmp_path: Path) -> None:
    region = Box(0.25, 0.125, 0.75, 1.0)
    contents = [new(1, "x"), new(2, "y", region), new(3, None), new(4, "z")]
    with Catalogue(tmp_path) as catalogue:
        result = catalogue.write([upsert_of(product(), contents), upsert("plain", 9, "p")])
        assert result.outcomes == (CREATED, CREATED)
        assert [len(each.further) for each in result.changed] == [3, 0]
    with Catalogue(tmp_path) as catalogue:
        for stored in (known(catalogue), *(each for group in catalogue.by_derived_type() for each in group)):
            if stored.product.id != "a":
                continue
            assert (stored.product.photograph_count, stored.product.photograph_absent) == (4, False)
            assert stored.contents == (
                ContentState.of(Photograph(jpeg("x")), "m1"),
                ContentState.of(Photograph(jpeg("y"), region), "m1"),
                ContentState("m1", None, None),
                ContentState.of(Photograph(jpeg("z")), "m1"),
            )
            for each, content in zip(stored.photographs, contents, strict=True):
                assert np.array_equal(each.embedding, content.embedding.values.astype(np.float16))
        assert names(catalogue) == [b"x", b"y", None, b"z"]
        assert catalogue.photograph("a", 4) is None
        assert known(catalogue, "plain").product.photograph_count == 1
        assert photographs(tmp_path) == 4


def test_photographs_are_added_taken_away_and_reordered_without_new_embeddings(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert_of(product(), [new(1, "x"), new(2, "y")])])
        same = SameContent
        for contents, expected, outcome in (
            ([same(0), same(1)], [b"x", b"y"], UNCHANGED),
            ([same(0), same(1), new(3, "z")], [b"x", b"y", b"z"], UPDATED),
            ([same(2), same(0), same(1)], [b"z", b"x", b"y"], UPDATED),
            ([same(0), same(2)], [b"z", b"y"], UPDATED),
            ([same(1)], [b"y"], UPDATED),
        ):
            before = known(catalogue).photographs
            result = catalogue.write([upsert_of(product(), contents)])
            assert (result.outcomes, names(catalogue)) == ((outcome,), expected)
            assert known(catalogue).product.photograph_count == len(expected)
            for each, content in zip(known(catalogue).photographs, contents, strict=True):
                if isinstance(content, SameContent):
                    assert np.array_equal(each.embedding, before[content.place].embedding)
        # The same photographs, embedded in another batch: no change.
        assert catalogue.write([upsert_of(product(), [new(7, "y")])]).outcomes == (UNCHANGED,)
        # Attributes alone leave them all.
        catalogue.write([upsert_of(product(), [same(0), new(8, "q")])])
        result = catalogue.write([Upsert(product(name="New"), None)])
        assert (result.outcomes, result.changed, len(result.updated)) == ((UPDATED,), (), 1)
        assert (names(catalogue), result.updated[0].photograph_count) == ([b"y", b"q"], 2)


def test_the_files_go_only_when_no_product_refers_to_them_any_more(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with Catalogue(tmp_path, lambda: now[0], removed_photograph_days=7) as catalogue:
        catalogue.write([upsert_of(product("a"), [new(1, "x"), new(2, "y")]), upsert("b", 3, "y")])
        catalogue.write([upsert_of(product("a"), [SameContent(0)])])
        catalogue.write(deletes=["b"])
        assert photographs(tmp_path) == 2
        now[0] += timedelta(days=8)
        catalogue.write([upsert("c", 4, "z")])
        assert photographs(tmp_path) == 2  # x and z
        catalogue.write([upsert_of(product("a"), [SameContent(0), new(5, "y")])])
    # A start leaves further photographs where they are.
    with Catalogue(tmp_path) as catalogue:
        assert (names(catalogue), photographs(tmp_path)) == ([b"x", b"y"], 3)
        catalogue.write(deletes=["a"])
    database = sqlite3.connect(tmp_path / "catalogue.sqlite3")
    assert database.execute("SELECT count(*) FROM further_photographs").fetchone() == (0,)
    database.close()


def test_the_files_go_though_attributes_alone_are_written(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with Catalogue(tmp_path, lambda: now[0], removed_photograph_days=7) as catalogue:
        catalogue.write([upsert("a", 1, "x"), upsert("b", 3, "y")])
        catalogue.write(deletes=["b"])
        for name, left in (("First", 2), ("Second", 1)):
            stored = catalogue.get("a")
            assert stored is not None
            catalogue.update([(stored.product, replace(stored.product, name=name))])
            assert photographs(tmp_path) == left
            now[0] += timedelta(days=8)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE further_photographs SET embedding = zeroblob(32) WHERE number = 1",
        "UPDATE further_photographs SET photograph_sha256 = NULL WHERE number = 2",
        "UPDATE further_photographs SET number = 5 WHERE number = 1",
        "DELETE FROM further_photographs WHERE number = 2",
        "UPDATE products SET photograph_count = 2 WHERE id = 'a'",
        "UPDATE products SET photograph_count = NULL WHERE id = 'a'",
    ],
)
def test_a_damaged_further_photograph_is_not_served_and_mended_by_a_whole_row(tmp_path: Path, damage: str) -> None:
    contents = [new(1, "x"), new(2, "y"), new(3, "z")]
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert_of(product(), contents), upsert("b", 4, "b")])
    database = sqlite3.connect(tmp_path / "catalogue.sqlite3")
    database.execute(damage)
    database.commit()
    database.close()
    with Catalogue(tmp_path) as catalogue:
        assert {each.product.id for group in catalogue.by_derived_type() for each in group} == {"b"}
        assert catalogue.damaged == {"a"}
        with pytest.raises(DataLoss, match="a"):
            catalogue.get("a")
        assert catalogue.write([upsert_of(product(), contents)]).outcomes == (CREATED,)
        assert names(catalogue) == [b"x", b"y", b"z"]
        assert not catalogue.damaged
    with Catalogue(tmp_path) as catalogue:
        assert names(catalogue) == [b"x", b"y", b"z"]


def test_a_damaged_file_is_mended_when_the_photographs_are_sent_again(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert_of(product(), [new(1, "x"), new(2, "y")])])
        state = known(catalogue).further[0].content
        assert state.photograph_sha256 is not None
        (tmp_path / "photographs" / state.photograph_sha256[:2] / state.photograph_sha256[2:]).write_bytes(b"broken")
        with pytest.raises(PhotographDamaged):
            catalogue.photograph("a", 1)
        again = [SameContent(0, jpeg("x")), SameContent(1, jpeg("y"))]
        assert catalogue.write([upsert_of(product(), again)]).outcomes == (UPDATED,)
        assert names(catalogue) == [b"x", b"y"]


def test_a_catalogue_of_schema_version_5_opens_and_takes_further_photographs(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(FIXTURE, tmp_path / "data"))
    for opening in range(2):
        with Catalogue(directory) as catalogue:
            assert len(catalogue) == 3
            shirt = known(catalogue, "shirt")
            assert (shirt.product.price, shirt.product.attributes) == (
                Price("EUR", 19, 990_000_000),
                {"material": ("Cotton",)},
            )
            assert shirt.content.region == Box(0.25, 0.125, 0.75, 1.0)
            assert (known(catalogue, "dress").product.gender, names(catalogue, "dress")) == (None, [b"dress"])
            assert known(catalogue, "embedded").product.in_stock is False
            assert known(catalogue, "embedded").product.photograph_absent
            assert shirt.product.photograph_count == 1 + opening
            if not opening:
                catalogue.write([upsert_of(shirt.product, [SameContent(0), new(8, "back")])])
            assert names(catalogue, "shirt") == [b"shirt", b"back"]
            # The photograph of the deleted product is still there, for backups.
            assert photographs(directory) == 4
