"""The catalogue's SQLite file: its lock, its schema and migrations, and a product as a row."""

import fcntl
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from services.contract.attributes import STORED, Attribute, Kind
from services.contract.own_attributes import attributes_of, attributes_text
from services.contract.values import Box, Gender
from services.search.catalogue import write_log
from services.search.catalogue.products import Price, Product

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class CatalogueUnusable(Exception):
    """A data directory cannot be opened. The text says why and what to do."""


# "fash": distinguishes a catalogue from any other SQLite file.
APPLICATION_ID: Final = 0x66617368
# What damage raises. SQLite's own words about it hold bytes of the file, which may be no text.
UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
# Pages of the log, 4 KiB each, that are written back together. A write of 500 products fills a thousand.
_CHECKPOINT_PAGES: Final = 4000
# Ids of lost products in one line of the log.
_MAX_IDS_LOGGED: Final = 100

_INTEGERS: Final = frozenset({Kind.YEAR, Kind.FLAG})
PRICE_COLUMNS: Final = ("price_currency_code", "price_units", "price_nanos")


def _columns(attribute: Attribute) -> Mapping[str, str]:
    """Returns the columns of an attribute, and their types in SQL."""
    if attribute.kind is Kind.PRICE:
        return dict(zip(PRICE_COLUMNS, ("TEXT", "INTEGER", "INTEGER"), strict=True))
    column_type = "INTEGER" if attribute.kind in _INTEGERS else "TEXT"
    # The first schemas did not let a gender be unknown. An empty text stands for that, so that no table is rebuilt.
    not_null = attribute.required or attribute.kind is Kind.GENDER
    return {attribute.name: f"{column_type} NOT NULL" if not_null else column_type}


_COLUMNS: Final = {name: its_type for attribute in STORED for name, its_type in _columns(attribute).items()}
# Photographs that no product refers to any more, and when that began. Their files stay a while, for backups.
_REMOVED_PHOTOGRAPHS: Final = """
    CREATE TABLE removed_photographs (
        sha256 TEXT PRIMARY KEY NOT NULL,
        removed_time TEXT NOT NULL
    ) STRICT
    """
# The photographs after the first of the products that have several, numbered from 1.
_FURTHER_PHOTOGRAPHS: Final = (
    """
    CREATE TABLE further_photographs (
        product_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        model_version TEXT NOT NULL,
        photograph_sha256 TEXT,
        region_left REAL,
        region_top REAL,
        region_right REAL,
        region_bottom REAL,
        embedding BLOB NOT NULL,
        checksum INTEGER,
        PRIMARY KEY (product_id, number)
    ) STRICT
    """,
    "CREATE INDEX further_photographs_photograph ON further_photographs (photograph_sha256)"
    " WHERE photograph_sha256 IS NOT NULL",
)
# The models of the catalogue's embeddings: the live one, and the next or the previous one. An embedding that is not in
# the row of its photograph lies beside it, by photograph. Canaries are what the next model is tried with.
_GENERATIONS: Final = (
    """
    CREATE TABLE generations (
        model_version TEXT PRIMARY KEY NOT NULL,
        dimension INTEGER NOT NULL,
        status TEXT NOT NULL,
        time TEXT NOT NULL,
        source TEXT,
        plan TEXT,
        comparison TEXT
    ) STRICT
    """,
    "CREATE UNIQUE INDEX generations_live ON generations (status) WHERE status = 'live'",
    """
    CREATE TABLE embeddings (
        model_version TEXT NOT NULL,
        photograph_sha256 TEXT NOT NULL,
        region_left REAL,
        region_top REAL,
        region_right REAL,
        region_bottom REAL,
        embedding BLOB NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX embeddings_photograph ON embeddings (photograph_sha256, model_version)",
    """
    CREATE TABLE canaries (
        number INTEGER PRIMARY KEY NOT NULL,
        name TEXT NOT NULL,
        product_id TEXT,
        photograph BLOB,
        expected TEXT NOT NULL
    ) STRICT
    """,
)
_Step = str | Callable[[sqlite3.Connection], None]
# The embedding comes late, so that reading the attributes alone touches no page that an embedding spills over to.
_SCHEMA: Final[tuple[_Step, ...]] = (
    f"""
    CREATE TABLE products (
        id TEXT PRIMARY KEY NOT NULL,
        {", ".join(f"{name} {its_type}" for name, its_type in _COLUMNS.items())},
        model_version TEXT NOT NULL,
        photograph_sha256 TEXT,
        region_left REAL,
        region_top REAL,
        region_right REAL,
        region_bottom REAL,
        photograph_count INTEGER,
        embedding BLOB NOT NULL,
        checksum INTEGER
    ) STRICT
    """,
    "CREATE INDEX products_derived_type ON products (gender, article_type, id)",
    "CREATE INDEX products_photograph ON products (photograph_sha256) WHERE photograph_sha256 IS NOT NULL",
    """
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        index_version INTEGER NOT NULL,
        update_time TEXT
    ) STRICT
    """,
    "INSERT INTO state (id, index_version, update_time) VALUES (1, 0, NULL)",
    _REMOVED_PHOTOGRAPHS,
    *_FURTHER_PHOTOGRAPHS,
    *_GENERATIONS,
    write_log.SCHEMA,
    write_log.begin_log,
)

PRODUCT_COLUMNS: Final = ("id", *_COLUMNS)
# Where an embedding comes from.
ORIGIN_COLUMNS: Final = (
    "model_version",
    "photograph_sha256",
    "region_left",
    "region_top",
    "region_right",
    "region_bottom",
)
# What is beside the attributes of a product: the origin of its first embedding, and how many photographs it has. An
# empty count stands for one.
CONTENT_COLUMNS: Final = (*ORIGIN_COLUMNS, "photograph_count")
FURTHER_COLUMNS: Final = ("product_id", "number", *ORIGIN_COLUMNS)

_READERS: Final[Mapping[Kind, Callable[[Any], object]]] = {
    Kind.GENDER: lambda label: Gender(label) if label else None,
    Kind.FLAG: bool,
    Kind.OWN: attributes_of,
}
READ: Final = tuple((each.name, _READERS[each.kind]) for each in STORED if each.kind in _READERS)
SqlValue = str | int | float | bytes | None

_stored_values: Final = attrgetter("id", *(each.name for each in STORED))
# As SQLite returns them, for the checksum.
_WRITERS: Final[Mapping[Kind, Callable[[Any], tuple[SqlValue, ...]]]] = {
    Kind.GENDER: lambda gender: ("" if gender is None else gender.value,),
    Kind.FLAG: lambda flag: (None if flag is None else int(flag),),
    Kind.PRICE: lambda price: (None,) * 3 if price is None else (price.currency_code, price.units, price.nanos),
    Kind.OWN: lambda attributes: (attributes_text(attributes) if attributes else None,),
}
# Place and writer of what is not stored as it is; from the last, since some take more than one column.
_WRITTEN: Final = tuple(
    (place, _WRITERS[each.kind]) for place, each in reversed([*enumerate(STORED, start=1)]) if each.kind in _WRITERS
)
OWN: Final = tuple(each.name for each in STORED if each.kind is Kind.OWN)

CHECKED_COLUMNS: Final = (*PRODUCT_COLUMNS, *CONTENT_COLUMNS)
# In the order of the names, so that a column more changes no checksum of a row in which it is empty.
_CHECKED: Final = sorted((name, place) for place, name in enumerate(CHECKED_COLUMNS))
_FURTHER_CHECKED: Final = sorted((name, place) for place, name in enumerate(FURTHER_COLUMNS))
_ORIGIN_CHECKED: Final = sorted((name, place) for place, name in enumerate(ORIGIN_COLUMNS))


def row_checksum(values: Sequence[object], embedding: bytes) -> int:
    """Returns the checksum of a row of products, CRC-32, which any flipped bit of it changes.

    Args:
        values: the row's values in the order of `CHECKED_COLUMNS`.
        embedding: as it is stored.

    Raises:
        TypeError: the embedding is no bytes.
    """
    return zlib.crc32(embedding, zlib.crc32(_filled(values)))


def further_checksum(values: Sequence[object], embedding: bytes) -> int:
    """Returns the checksum of a row of further photographs, as `row_checksum`; values as in `FURTHER_COLUMNS`."""
    return zlib.crc32(embedding, zlib.crc32(_filled(values, _FURTHER_CHECKED)))


def origin_checksum(values: Sequence[object], embedding: bytes) -> int:
    """Returns the checksum of a row of embeddings, as `row_checksum`; values as in `ORIGIN_COLUMNS`."""
    return zlib.crc32(embedding, zlib.crc32(_filled(values, _ORIGIN_CHECKED)))


def changed_checksum(before: Sequence[object], after: Sequence[object], embedding_bytes: int) -> int:
    """Returns what changes a checksum by exclusive or, when the values of a row change and its embedding stays.

    CRC-32 is linear, so that the embedding need not be read. The checksum of a damaged row goes on not to match.

    Args:
        before: the row's values in the order of `CHECKED_COLUMNS`.
        after: the new ones.
        embedding_bytes: the size of the embedding.
    """
    zeros, none = _zeros(embedding_bytes)
    return zlib.crc32(zeros, zlib.crc32(_filled(before)) ^ zlib.crc32(_filled(after))) ^ none


@cache
def _zeros(size: int) -> tuple[bytes, int]:
    """Returns so many zeros, and their checksum."""
    return bytes(size), zlib.crc32(bytes(size))


def _filled(values: Sequence[object], checked: Sequence[tuple[str, int]] = _CHECKED) -> bytes:
    return "\n".join([f"{name} {value}" for name, place in checked if (value := values[place]) is not None]).encode()


def _add_checksums(connection: sqlite3.Connection) -> None:
    # The columns of products at this version; later ones are empty in old rows, which leaves a checksum as it is.
    known = {row["name"] for row in connection.execute("SELECT name FROM pragma_table_info('products')")}
    columns = ", ".join(name if name in known else f"NULL AS {name}" for name in CHECKED_COLUMNS)
    for (rowid,) in connection.execute("SELECT rowid FROM products").fetchall():
        *values, embedding = connection.execute(
            f"SELECT {columns}, embedding FROM products WHERE rowid = ?", (rowid,)
        ).fetchone()
        checksum = row_checksum(values, embedding)
        connection.execute("UPDATE products SET checksum = ? WHERE rowid = ?", (checksum, rowid))


# The steps that bring the schema from each version, starting with 1, to the next. Never change a released one.
_MIGRATIONS: Final[tuple[tuple[_Step, ...], ...]] = (
    ("ALTER TABLE products ADD COLUMN brand TEXT",),
    ("ALTER TABLE products ADD COLUMN checksum INTEGER", _add_checksums, _REMOVED_PHOTOGRAPHS),
    ("ALTER TABLE products ADD COLUMN attributes TEXT",),
    # The gender of a product may be unknown, which former programs cannot read.
    (),
    ("ALTER TABLE products ADD COLUMN photograph_count INTEGER", *_FURTHER_PHOTOGRAPHS),
    _GENERATIONS,
    (write_log.SCHEMA, write_log.begin_log),
)
SCHEMA_VERSION: Final = 1 + len(_MIGRATIONS)
# The first with a table of further photographs.
SEVERAL_PHOTOGRAPHS_VERSION: Final = 6


def product_values(product: Product) -> tuple[SqlValue, ...]:
    """Returns a product's values in the order of `PRODUCT_COLUMNS`."""
    values = list(_stored_values(product))
    for place, write in _WRITTEN:
        values[place : place + 1] = write(values[place])
    return tuple(values)


def product_of(row: sqlite3.Row, *, photograph_absent: bool = False, photograph_count: int = 1) -> Product:
    """Makes a product of a row that begins with `PRODUCT_COLUMNS`; which photographs it has, others tell."""
    fields: dict[str, Any] = dict(zip(PRODUCT_COLUMNS, row, strict=False))
    currency, units, nanos = (fields.pop(column) for column in PRICE_COLUMNS)
    fields["price"] = None if currency is None else Price(currency, units, nanos)
    for name, read in READ:
        if fields[name] is not None:
            fields[name] = read(fields[name])
    for name in OWN:
        fields[name] = fields[name] or {}
    return Product(**fields, photograph_absent=photograph_absent, photograph_count=photograph_count)


def region_of(row: sqlite3.Row | Mapping[str, Any]) -> Box | None:
    """Makes a region of a row that holds its corners."""
    if row["region_left"] is None:
        return None
    return Box(row["region_left"], row["region_top"], row["region_right"], row["region_bottom"])


class DirectoryLock:
    """Keeps other processes out of a data directory while this one lives. A crash releases it too."""

    def __init__(self, path: Path) -> None:
        """Takes the lock.

        Raises:
            CatalogueUnusable: another process holds it.
        """
        # Append mode: opening must not erase the process id that the owner wrote.
        self._file: BinaryIO = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            owner = self._file.read(32).decode("ascii", "replace").strip() or "unknown"
            self._file.close()
            raise CatalogueUnusable(
                f"The data directory {path.parent} is in use by another server (process {owner}). "
                "Stop that one, or choose another directory."
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode("ascii"))
        self._file.flush()

    def release(self) -> None:
        """Releases the directory."""
        self._file.close()


def connect(path: Path) -> sqlite3.Connection:
    """Opens the database of a catalogue, makes it where there is none, and brings an older schema up to date.

    A committed transaction is on disk. Transactions are begun by hand. Several threads may use the connection, one at
    a time.

    Raises:
        CatalogueUnusable: it is no catalogue, or one of a newer schema.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.text_factory = _text
    try:
        _bring_up_to_date(connection, path)
        # A schema that is damaged fails here, with a sentence, not at the first query.
        for columns, table in ((CHECKED_COLUMNS, "products"), (FURTHER_COLUMNS, "further_photographs")):
            connection.execute(f"SELECT {', '.join(columns)}, embedding, checksum FROM {table} LIMIT 0")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except UNREADABLE as error:
        connection.close()
        raise CatalogueUnusable(f"{path} cannot be read as a catalogue: {error}.") from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Opens the database of a catalogue for reading only, even while a server writes to it.

    Raises:
        CatalogueUnusable: it is not there, is no catalogue, or one of another schema.
    """
    if not path.is_file():
        raise CatalogueUnusable(
            f"There is no catalogue in {path.parent}. Name another data directory, or ingest first."
        )
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        if (version := _known_version(connection, path)) != SCHEMA_VERSION:
            raise CatalogueUnusable(
                f"{path} has the old schema version {version}, and this program reads version {SCHEMA_VERSION}. "
                f"Start the server on it once to bring it up to date: fashion serve --data-dir {path.parent}."
            )
    except UNREADABLE as error:
        connection.close()
        raise CatalogueUnusable(f"{path} cannot be read as a catalogue: {error}.") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _text(content: bytes) -> str:
    # A damaged text must not end the reading of others. The checksum tells.
    return content.decode("utf-8", "replace")


def mend_indexes(connection: sqlite3.Connection) -> bool:
    """Checks the structure of the database; makes its indexes anew if something is damaged. Logs what is lost.

    Returns:
        Whether it was sound.
    """
    try:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    except UNREADABLE as error:
        problems = [str(error)]
    if problems == ["ok"]:
        return True
    _logger.error("the catalogue's database is damaged; restore a backup, or send lost products again: %s", problems)
    listed = _readable_ids(connection, "INDEXED BY products_derived_type")
    try:
        connection.execute("REINDEX")
    except UNREADABLE as error:
        _logger.error("the database's indexes could not be made anew: %s", error)
    lost = sorted(listed - _readable_ids(connection, "NOT INDEXED"))
    if lost:
        _logger.error("%d products are lost; send them again: %s", len(lost), ", ".join(lost[:_MAX_IDS_LOGGED]))
    return False


def _readable_ids(connection: sqlite3.Connection, how: str) -> set[str]:
    ids: set[str] = set()
    with suppress(*UNREADABLE):
        # Damage may turn a text into a number or bytes.
        values = (row[0] for row in connection.execute(f"SELECT id FROM products {how}"))
        ids.update(_text(value) if isinstance(value, bytes) else str(value) for value in values)
    return ids


def in_transaction(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Does all of the work, or none of it; returns what the work returns."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.execute("COMMIT")
    except BaseException:
        # A failed commit may have rolled back already. The first error is the one to report.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return result


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (*_marks(connection), tables) == (0, 0, 0):
        steps: Sequence[_Step] = (
            *_SCHEMA,
            f"PRAGMA application_id = {APPLICATION_ID}",
        )
    else:
        version = _known_version(connection, path)
        if version == SCHEMA_VERSION:
            return
        _logger.info("bringing %s from schema version %d to %d", path, version, SCHEMA_VERSION)
        steps = [step for migration in _MIGRATIONS[version - 1 :] for step in migration]

    def execute() -> None:
        for step in steps:
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    in_transaction(connection, execute)


def _known_version(connection: sqlite3.Connection, path: Path) -> int:
    """Returns the schema version of a catalogue, at most that of this program."""
    application_id, version = _marks(connection)
    if application_id != APPLICATION_ID:
        raise CatalogueUnusable(f"{path} is a database, but not one of a catalogue. Choose another data directory.")
    if not 1 <= version <= SCHEMA_VERSION:
        raise CatalogueUnusable(
            f"{path} has schema version {version}, and this program reads versions up to {SCHEMA_VERSION}. "
            "Run the version that wrote it, or choose another data directory and ingest again."
        )
    return version


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (schema_version,) = connection.execute("PRAGMA user_version").fetchone()
    return application_id, schema_version
