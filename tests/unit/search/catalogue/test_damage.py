"""A data directory whose files are damaged or lost: nothing wrong is served, and no photograph goes."""

import logging
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.contract.errors import DataLoss, InvalidInput
from services.search.catalogue.content import StoredProduct, Upsert, UpsertOutcome
from services.search.catalogue.store import Catalogue, CatalogueUnusable
from tests.unit.search.catalogue.test_store import jpeg, photographs, product, upsert

PRODUCTS = 60
# Enough to hit rows, indexes, headers of pages and free space.
FLIPS = 250


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound")
    with Catalogue(directory) as catalogue:
        catalogue.write(
            [
                upsert(f"p{i}", i, f"photo {i}", name=f"A shirt {i}", base_colour="Blue", article_type=f"Type {i % 4}")
                for i in range(PRODUCTS)
            ]
        )
    return directory


@pytest.fixture
def directory(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def contents(catalogue: Catalogue) -> dict[str, tuple[object, ...]]:
    def values(stored: StoredProduct) -> tuple[object, ...]:
        return stored.product, stored.content, stored.embedding.tobytes()

    return {stored.product.id: values(stored) for group in catalogue.by_derived_type() for stored in group}


def without_logs(directory: Path) -> None:
    for name in ("catalogue.sqlite3-wal", "catalogue.sqlite3-shm"):
        (directory / name).unlink(missing_ok=True)


def damage_row(directory: Path, change: str, product_id: str = "p7") -> None:
    with sqlite3.connect(directory / "catalogue.sqlite3") as connection:
        connection.execute(f"UPDATE products SET {change} WHERE id = ?", (product_id,))
    connection.close()


def test_no_flipped_bit_is_served(directory: Path, sound: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Catalogue(directory) as catalogue:
        expected = contents(catalogue)
    database = directory / "catalogue.sqlite3"
    without_logs(directory)
    raw = database.read_bytes()
    randomness = random.Random(3)
    left_out = refused = 0
    for _ in range(FLIPS):
        flipped = bytearray(raw)
        flipped[randomness.randrange(len(raw))] ^= 1 << randomness.randrange(8)
        without_logs(directory)
        database.write_bytes(flipped)
        caplog.clear()
        try:
            with Catalogue(directory) as catalogue:
                read = contents(catalogue)
        except CatalogueUnusable:
            refused += 1
            continue
        wrong = {name for name, values in read.items() if expected.get(name) != values}
        assert not wrong
        for lost in expected.keys() - read.keys():
            left_out += 1
            assert any(record.levelno == logging.ERROR and lost in record.getMessage() for record in caplog.records)
    assert left_out > 10
    assert refused < FLIPS / 5
    # All photographs are there still, in their place or in the quarantine.
    assert sum(path.is_file() for path in (directory / "photographs").rglob("*")) == PRODUCTS
    without_logs(directory)
    shutil.copyfile(sound / "catalogue.sqlite3", database)
    with Catalogue(directory) as catalogue:
        assert contents(catalogue) == expected
        assert all(catalogue.photograph(name) is not None for name in expected)


@pytest.mark.parametrize("change", ["gender = 'Mdn'", "name = 'A shist 7'", "embedding = zeroblob(32)", "year = 1066"])
def test_a_damaged_row_is_left_out_named_and_mended_by_a_whole_row(
    directory: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage_row(directory, change)
    with Catalogue(directory) as catalogue:
        assert contents(catalogue).keys() == {f"p{i}" for i in range(PRODUCTS)} - {"p7"}
        assert "p7" in caplog.text
        assert catalogue.damaged == {"p7"}
        with pytest.raises(DataLoss, match="p7") as damaged:
            catalogue.get("p7")
        assert damaged.value.reason == "PRODUCT_DAMAGED"
        assert catalogue.some(["p7", "p8"])["p7"] is None
        # Attributes alone are not enough: nobody knows what the embedding was.
        with pytest.raises(InvalidInput):
            catalogue.write([Upsert(product("p7"), None)])
        catalogue.write([upsert("p7", 7, "photo 7", name="A shirt 7", base_colour="Blue", article_type="Type 3")])
        assert not catalogue.damaged
    with Catalogue(directory) as catalogue:
        assert len(contents(catalogue)) == PRODUCTS


def test_a_damaged_row_can_be_deleted(directory: Path) -> None:
    damage_row(directory, "name = NULL")
    with Catalogue(directory) as catalogue:
        contents(catalogue)
        assert catalogue.write(deletes=["p7"]).deleted == ("p7",)
    with Catalogue(directory) as catalogue:
        assert len(contents(catalogue)) == PRODUCTS - 1
        assert not catalogue.damaged


def gone(database: Path) -> None:
    database.unlink(missing_ok=True)


def empty(database: Path) -> None:
    database.write_bytes(b"")


@pytest.mark.parametrize("lose", [gone, empty])
def test_a_new_database_beside_photographs_is_refused_unless_they_are_adopted(
    directory: Path, lose: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    database = directory / "catalogue.sqlite3"
    copy = database.read_bytes()
    without_logs(directory)
    for _ in range(2):
        lose(database)
        with pytest.raises(CatalogueUnusable, match=r"photographs.*--adopt.*SEARCH_ADOPT"):
            Catalogue(directory)
    assert photographs(directory) == PRODUCTS
    with Catalogue(directory, adopt=True) as catalogue:
        assert len(catalogue) == 0
    assert f"{PRODUCTS} photographs" in caplog.text
    assert photographs(directory) == 0
    # An empty catalogue opens again; the old one, found again, has all its photographs.
    Catalogue(directory).close()
    without_logs(directory)
    database.write_bytes(copy)
    with Catalogue(directory) as catalogue:
        assert all(catalogue.photograph(f"p{i}") is not None for i in range(PRODUCTS))


def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("a", 1)])
        shutil.copyfile(tmp_path / "catalogue.sqlite3-wal", tmp_path / "kept")
    (tmp_path / "kept").replace(tmp_path / "catalogue.sqlite3-wal")
    (tmp_path / "catalogue.sqlite3").unlink()
    with pytest.raises(CatalogueUnusable, match="missing or empty"):
        Catalogue(tmp_path)


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Path]:
    """A directory as kill -9 leaves it: all of the newest writes are in the log."""
    live, copy = tmp_path / "live", tmp_path / "killed"
    with Catalogue(live) as catalogue:
        for i in range(30):
            catalogue.write([upsert(f"w{i}", i, f"photo {i}")])
        shutil.copytree(live, copy)
        yield copy


def test_a_cut_log_costs_no_photograph(killed: Path, tmp_path: Path) -> None:
    log = (killed / "catalogue.sqlite3-wal").read_bytes()
    for cut in random.Random(1).sample(range(len(log)), 8):
        directory = Path(shutil.copytree(killed, tmp_path / f"cut-{cut}"))
        (directory / "catalogue.sqlite3-wal").write_bytes(log[:cut])
        (directory / "catalogue.sqlite3-shm").unlink(missing_ok=True)
        with Catalogue(directory) as catalogue:
            assert photographs(directory) == len(catalogue) < 30
        assert sum(path.is_file() for path in (directory / "photographs").rglob("*")) == 30


def test_a_hot_copy_is_whole_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    copy.mkdir()
    with Catalogue(live) as catalogue:
        catalogue.write([upsert(f"p{i}", i, f"photo {i}") for i in range(20)])
        with (
            sqlite3.connect(live / "catalogue.sqlite3") as source,
            sqlite3.connect(copy / "catalogue.sqlite3") as target,
        ):
            source.backup(target)
        target.close()
        source.close()
        catalogue.write(
            [upsert(f"p{i}", 100 + i, f"other photo {i}") for i in range(10)], [f"p{i}" for i in range(10, 15)]
        )
        shutil.copytree(live / "photographs", copy / "photographs")
    with Catalogue(copy) as catalogue:
        for i in range(20):
            stored = catalogue.photograph(f"p{i}")
            assert stored is not None and stored.content == jpeg(f"photo {i}")


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_sending_a_damaged_photograph_again_mends_it(directory: Path, how: str) -> None:
    again = upsert("p3", 3, "photo 3", name="A shirt 3", base_colour="Blue", article_type="Type 3")
    with Catalogue(directory) as catalogue:
        stored = catalogue.photograph("p3")
        assert stored is not None
        path = directory / "photographs" / stored.sha256[:2] / stored.sha256[2:]
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(stored.content[:-1] + (b"!" if how == "flipped" else b""))
        with pytest.raises(DataLoss) as damaged:
            catalogue.photograph("p3")
        assert damaged.value.reason == "PHOTOGRAPH_DAMAGED"
        result = catalogue.write([again])
        assert (result.outcomes, result.index_version) == ((UpsertOutcome.UPDATED,), 1)
        assert catalogue.photograph("p3") == stored
        assert catalogue.write([again]).outcomes == (UpsertOutcome.UNCHANGED,)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(
        CatalogueUnusable, match=r"file/data cannot be written: Not a directory\. Let the server's user"
    ):
        Catalogue(file / "data")
