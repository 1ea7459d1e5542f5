"""The log of writes tells a copy of the catalogue what it has to read again, or that it cannot tell."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.search.catalogue import write_log
from services.search.catalogue.content import NewContent, Upsert
from services.search.catalogue.generations import GenerationRecord, Status
from services.search.catalogue.products import Product
from services.search.catalogue.store import Catalogue
from services.search.catalogue.write_log import changed_since, mark_of
from tests.unit.search.catalogue.test_store import embedding


def write(catalogue: Catalogue, *product_ids: str, seed: int = 0) -> None:
    catalogue.write(
        [
            Upsert(Product(id=each, sub_category="Topwear", article_type="Shirts"), NewContent(embedding(seed), None))
            for each in product_ids
        ]
    )


def mark(catalogue: Catalogue) -> tuple[int, str]:
    with catalogue.reading() as read:
        found = mark_of(read, catalogue_version := int(read("SELECT index_version FROM state")[0][0]))
    assert found is not None
    return catalogue_version, found


def changed(catalogue: Catalogue, since: tuple[int, str]) -> frozenset[str] | None:
    with catalogue.reading() as read:
        return changed_since(read, *since)


def test_every_kind_of_write_is_noted(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        empty = mark(catalogue)
        write(catalogue, "a", "b", "c")
        three = mark(catalogue)
        known = catalogue.get("a")
        assert known is not None
        catalogue.update([(known.product, Product(id="a", sub_category="Shoes", article_type="Shirts"))])
        catalogue.write(deletes=["b", "nobody"])
        deleted = mark(catalogue)
        # Nothing changes, so that there is no new version.
        write(catalogue, "c")
        assert mark(catalogue) == deleted
        assert changed(catalogue, empty) == {"a", "b", "c"}
        assert changed(catalogue, three) == {"a", "b"}
        assert changed(catalogue, deleted) == frozenset()
    with Catalogue(tmp_path) as catalogue:
        assert changed(catalogue, three) == {"a", "b"}
        assert catalogue.logged == 5


def test_a_write_that_fails_is_not_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Catalogue(tmp_path) as catalogue:
        before = mark(catalogue)
        with monkeypatch.context() as patch:
            patch.setattr(write_log.WriteLog, "note", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                write(catalogue, "a")
        assert (len(catalogue), mark(catalogue)) == (0, before)


def test_another_history_of_the_same_length_is_not_known(tmp_path: Path) -> None:
    with Catalogue(tmp_path / "one") as catalogue:
        write(catalogue, "a")
    copy = tmp_path / "two"
    copy.mkdir()
    (copy / "catalogue.sqlite3").write_bytes((tmp_path / "one" / "catalogue.sqlite3").read_bytes())
    with Catalogue(tmp_path / "one") as one, Catalogue(copy) as two:
        common = mark(one)
        write(one, "b")
        write(two, "c")
        assert changed(two, common) == {"c"}
        assert changed(two, mark(one)) is None
        # Nor is a version that does not exist yet.
        write(one, "d")
        assert changed(two, mark(one)) is None


def test_a_switch_of_generations_changes_everything(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.generations.adopt("m1", 16)
        write(catalogue, "a")
        before = mark(catalogue)
        moment = datetime.now(UTC)
        catalogue.generations.begin(GenerationRecord("m2", 16, Status.BUILDING, moment))
        assert changed(catalogue, before) == frozenset()
        catalogue.generations.switch()
        assert changed(catalogue, before) is None
        write(catalogue, "b")
        assert changed(catalogue, before) is None


def test_what_is_forgotten_is_not_known(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        marks = []
        for name in "abcd":
            write(catalogue, name)
            marks.append(mark(catalogue))
        catalogue.forget_writes(marks[1][0])
        assert catalogue.logged == 2
        write(catalogue, "e")
        assert changed(catalogue, marks[0]) is None
        assert changed(catalogue, marks[1]) == {"c", "d", "e"}


def test_the_log_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_log, "MAX_LOGGED_IDS", 5)
    with Catalogue(tmp_path) as catalogue:
        first = mark(catalogue)
        for seed in range(9):
            write(catalogue, "a", "b", seed=seed)
        with catalogue.reading() as read:
            assert len(read("SELECT * FROM write_log")) <= 3
        assert catalogue.logged <= 5
        assert changed(catalogue, first) is None
        last = mark(catalogue)
        write(catalogue, "c")
        assert changed(catalogue, last) == {"c"}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE write_log SET product_ids = replace(product_ids, 'b', 'B')",
        "UPDATE write_log SET index_version = 9 WHERE index_version = 2",
        "UPDATE write_log SET mark = 'f' || mark",
        "UPDATE write_log SET product_ids = 'no JSON'",
        "DELETE FROM write_log WHERE index_version = 2",
        "DELETE FROM write_log WHERE index_version = 3",
        "DELETE FROM write_log",
    ],
)
def test_a_damaged_log_is_not_believed(tmp_path: Path, damage: str) -> None:
    with Catalogue(tmp_path) as catalogue:
        write(catalogue, "a")
        since = mark(catalogue)
        write(catalogue, "b")
        write(catalogue, "c")
        assert changed(catalogue, since) == {"b", "c"}
    with sqlite3.connect(tmp_path / "catalogue.sqlite3") as connection:
        connection.execute(damage)
    connection.close()
    with Catalogue(tmp_path) as catalogue:
        assert changed(catalogue, since) is None
        # Writes go on, and begin it anew.
        write(catalogue, "d")
        since = mark(catalogue)
        write(catalogue, "e")
        assert changed(catalogue, since) == {"e"}
