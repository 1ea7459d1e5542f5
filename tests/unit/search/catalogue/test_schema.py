"""The schema of the catalogue on disk: what is refused, and how a former one is brought up to date."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.contract.values import Box, Gender
from services.search.catalogue.content import Upsert, UpsertOutcome
from services.search.catalogue.database import connect_read_only
from services.search.catalogue.products import Price, Product
from services.search.catalogue.store import Catalogue, CatalogueUnusable
from services.search.catalogue.write_log import changed_since, mark_of
from tests.unit.search.catalogue.test_store import embedding

FIXTURE_6 = Path(__file__).parents[3] / "fixtures" / "data-dir-v6" / "data"
# As 0.1.0 wrote it.
SCHEMA_1 = (
    """
    CREATE TABLE products (
        id TEXT PRIMARY KEY NOT NULL, gender TEXT NOT NULL, sub_category TEXT NOT NULL, article_type TEXT NOT NULL,
        master_category TEXT, base_colour TEXT, season TEXT, year INTEGER, usage TEXT, name TEXT, url TEXT,
        image_url TEXT, price_currency_code TEXT, price_units INTEGER, price_nanos INTEGER, in_stock INTEGER,
        parent_id TEXT, model_version TEXT NOT NULL, photograph_sha256 TEXT, region_left REAL, region_top REAL,
        region_right REAL, region_bottom REAL, embedding BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX products_derived_type ON products (gender, article_type, id)",
    "CREATE INDEX products_photograph ON products (photograph_sha256) WHERE photograph_sha256 IS NOT NULL",
    """
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1), index_version INTEGER NOT NULL, update_time TEXT
    ) STRICT
    """,
    "INSERT INTO state (id, index_version, update_time) VALUES (1, 7, '2026-01-31T12:00:00+00:00')",
    "PRAGMA application_id = 0x66617368",
    "PRAGMA user_version = 1",
)


def database_of_version_1(directory: Path) -> Path:
    database = directory / "catalogue.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in SCHEMA_1:
            connection.execute(statement)
        for number in range(50):
            values = (
                f"p{number}",
                "Men",
                "Topwear",
                "Shirts",
                "Summer",
                2000 + number,
                "EUR",
                number,
                5,
                number % 2,
                "m1",
            )
            connection.execute(
                "INSERT INTO products (id, gender, sub_category, article_type, season, year, price_currency_code,"
                " price_units, price_nanos, in_stock, model_version, region_left, region_top, region_right,"
                " region_bottom, embedding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0.1, 0.2, 0.8, 0.9, ?)",
                (*values, embedding(number).values.astype("<f2").tobytes()),
            )
    connection.close()
    return database


def columns_of(database: Path) -> set[tuple[str, str, int]]:
    with sqlite3.connect(database) as connection:
        columns = connection.execute("SELECT name, type, \"notnull\" FROM pragma_table_info('products')").fetchall()
    connection.close()
    return set(columns)


def test_a_catalogue_of_schema_version_1_is_brought_up_to_date_with_all_its_products(tmp_path: Path) -> None:
    database = database_of_version_1(tmp_path)
    with pytest.raises(CatalogueUnusable, match=r"old schema version 1.*fashion serve --data-dir"):
        connect_read_only(database)
    (tmp_path / "fresh").mkdir()
    Catalogue(tmp_path / "fresh").close()
    for _ in range(2):
        with Catalogue(tmp_path) as catalogue:
            assert (len(catalogue), catalogue.index_version) == (50, 7)
            for number in range(50):
                stored = catalogue.get(f"p{number}")
                assert stored is not None
                assert stored.product == Product(
                    id=f"p{number}",
                    gender=Gender.MEN,
                    sub_category="Topwear",
                    article_type="Shirts",
                    season="Summer",
                    year=2000 + number,
                    price=Price("EUR", number, 5),
                    in_stock=bool(number % 2),
                )
                assert np.array_equal(stored.embedding, embedding(number).values.astype("<f2"))
                assert stored.content.region == Box(0.1, 0.2, 0.8, 0.9)
    # Every attribute that a fresh catalogue has a column for has got one.
    assert columns_of(database) == columns_of(tmp_path / "fresh" / "catalogue.sqlite3")
    with Catalogue(tmp_path) as catalogue:
        known = catalogue.get("p1")
        assert known is not None
        branded = replace(known.product, brand="Junipero")
        assert catalogue.write([Upsert(branded, None)]).outcomes == (UpsertOutcome.UPDATED,)
    with Catalogue(tmp_path) as catalogue:
        written = catalogue.get("p1")
        assert written is not None and written.product == branded
    connect_read_only(database).close()


def test_a_catalogue_of_schema_version_6_gets_a_log_of_writes(tmp_path: Path) -> None:
    directory = shutil.copytree(FIXTURE_6, tmp_path / "data")
    for _ in range(2):
        with Catalogue(directory) as catalogue:
            assert (len(catalogue), catalogue.index_version) == (2, 2)
            shirt, dress = catalogue.get("shirt"), catalogue.get("dress")
            assert shirt is not None and dress is not None
            assert (shirt.product.price, shirt.product.photograph_count) == (Price("EUR", 19, 990_000_000), 3)
            assert (dress.product.in_stock, dress.product.gender) == (False, None)
            with catalogue.reading() as read:
                mark = mark_of(read, 2)
                assert mark and changed_since(read, 2, mark) == frozenset()
                # Whatever came before is not known.
                assert mark_of(read, 1) is None
    with Catalogue(directory) as catalogue:
        catalogue.write(deletes=["dress"])
        with catalogue.reading() as read:
            assert changed_since(read, 2, mark) == {"dress"}


def test_a_catalogue_that_cannot_be_brought_up_to_date_stays_as_it_is(tmp_path: Path) -> None:
    database = database_of_version_1(tmp_path)
    with sqlite3.connect(database) as connection:
        connection.execute("ALTER TABLE products ADD COLUMN brand TEXT")
    connection.close()
    with pytest.raises(CatalogueUnusable, match="duplicate column"):
        Catalogue(tmp_path)
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_an_unknown_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Catalogue(tmp_path).close()
    database = tmp_path / "catalogue.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for _ in range(2):  # the first refusal must have given the lock free
        with pytest.raises(CatalogueUnusable, match=r"schema version 99.*reads versions up to 8"):
            Catalogue(tmp_path)
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE other (id)")
    connection.close()
    with pytest.raises(CatalogueUnusable, match="not one of a catalogue"):
        Catalogue(tmp_path)
    database.write_bytes(b"not a database at all" * 100)
    with pytest.raises(CatalogueUnusable, match="cannot be read"):
        Catalogue(tmp_path)
