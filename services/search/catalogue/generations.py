"""The generations of a catalogue: the model that is live, the next or the previous one, and their embeddings.

An embedding lies in the row of its photograph, or beside it in the table `embeddings`, by model and photograph. So the
next generation is built beside the live one, and a switch writes one word.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.search.catalogue.content import FLOAT16, ContentState, Part, StoredEmbedding, StoredProduct
from services.search.catalogue.database import ORIGIN_COLUMNS, SqlValue, origin_checksum, region_of
from services.search.catalogue.rows import ID_LIST, Read, read_products, write_products

T = TypeVar("T")
Key = TypeVar("Key", str, int)

Embeddings = Mapping[Part, NDArray[np.float16]]

_TABLES: Final = (("products", "id"), ("further_photographs", "product_id"))
_ROW: Final = ", ".join((*ORIGIN_COLUMNS, "embedding", "checksum"))
_READ: Final = f"SELECT {_ROW} FROM embeddings WHERE model_version = ? AND photograph_sha256 IN {ID_LIST}"
_INSERT: Final = f"INSERT INTO embeddings ({_ROW}) VALUES ({', '.join('?' * (len(ORIGIN_COLUMNS) + 2))})"
_CORNERS: Final = ("region_left", "region_top", "region_right", "region_bottom")
_DELETE: Final = "DELETE FROM embeddings WHERE model_version = ? AND photograph_sha256 = ? AND " + " AND ".join(
    f"{corner} IS ?" for corner in _CORNERS
)


def _missing(table: str, product_id: str) -> str:
    """Selects the products with a photograph in a table that has no embedding of a model."""
    same = " AND ".join(f"e.{corner} IS t.{corner}" for corner in _CORNERS)
    return (
        f"SELECT t.{product_id} AS id FROM {table} t WHERE t.{product_id} > ?2 AND t.photograph_sha256 IS NOT NULL"
        f" AND t.model_version <> ?1 AND NOT EXISTS (SELECT 1 FROM embeddings e WHERE e.model_version = ?1"
        f" AND e.photograph_sha256 = t.photograph_sha256 AND {same})"
    )


_MISSING: Final = f"{' UNION '.join(_missing(*each) for each in _TABLES)} ORDER BY 1 LIMIT ?3"
_REFERRED: Final = " UNION ".join(
    f"SELECT photograph_sha256 FROM {table} WHERE photograph_sha256 IN {ID_LIST}" for table, _ in _TABLES
)
_SHOWING: Final = " UNION ".join(
    f"SELECT {product_id} AS id FROM {table} WHERE photograph_sha256 IN {ID_LIST}" for table, product_id in _TABLES
)


class Status(Enum):
    """What a generation is; at most one besides the live one is there."""

    LIVE = "live"
    BUILDING = "building"
    """Embeddings are made, or compared."""
    READY = "ready"
    """Its gate has passed: a switch may come at any time."""
    REFUSED = "refused"
    """Its gate has not passed: only an operator can still switch to it."""
    PREVIOUS = "previous"
    """It was live, and a rollback goes back to it."""


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """What the catalogue knows about a generation.

    Attributes:
        model_version: the model of its embeddings.
        dimension: floats in an embedding.
        status: what it is.
        time: since when, with a time zone.
        source: its bundle, as one process finds it again; None where an embedder at a target serves it.
        plan: what is to become of it, as JSON; None for the live one.
        comparison: how it did beside the live one, as JSON; None before they were compared.
    """

    model_version: str
    dimension: int
    status: Status
    time: datetime
    source: str | None = None
    plan: str | None = None
    comparison: str | None = None


@dataclass(frozen=True, slots=True)
class CanaryRow:
    """A query with a known answer.

    Attributes:
        name: for reports.
        product_id: the product that is asked for; None with a photograph.
        photograph: the encoded photograph; None with a product.
        expected: derived types or article types of which the results must be.
    """

    name: str
    product_id: str | None
    photograph: bytes | None
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Added:
    """What `Generations.add` has changed.

    Attributes:
        product_ids: the products that have one of the photographs.
        index_version: of the catalogue afterwards; None where that stays as it was.
    """

    product_ids: tuple[str, ...]
    index_version: int | None


class Generations:
    """The generations of one catalogue; a part of `Catalogue`, for any number of threads."""

    def __init__(
        self,
        read: Read,
        write: Callable[[Callable[[sqlite3.Connection], T]], T],
        count_write: Callable[..., int],
        now: Callable[[], datetime],
    ) -> None:
        """Takes the ways into the database.

        Args:
            read: runs a query.
            write: runs work in a transaction of its own; all of it is on disk when it returns.
            count_write: within a transaction, raises the index version, and returns the new one. It is given the ids of
                the products that have changed; nothing where any may have.
            now: returns the time.
        """
        self._read: Read = read
        self._write: Callable[[Callable[[sqlite3.Connection], Any]], Any] = write
        self._count_write = count_write
        self._now = now
        self._records = self._stored()

    @property
    def live(self) -> GenerationRecord | None:
        """The live generation; None before a search has opened the catalogue."""
        return next((each for each in self._records if each.status is Status.LIVE), None)

    @property
    def other(self) -> GenerationRecord | None:
        """The next or the previous one."""
        return next((each for each in self._records if each.status is not Status.LIVE), None)

    @property
    def live_version(self) -> str | None:
        """The model whose embeddings are read; None for whatever lies in the rows."""
        return None if self.live is None else self.live.model_version

    def adopt(self, model_version: str, dimension: int, source: str | None = None) -> None:
        """Makes a model the live one at the start of search, where it is not yet; there is no other generation then."""
        if self.live_version == model_version:
            return
        record = GenerationRecord(model_version, dimension, Status.LIVE, self._now(), source)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM generations")
            _insert(connection, record)

        self._write(work)
        self._records = self._stored()

    def begin(
        self, record: GenerationRecord, canaries: Sequence[CanaryRow] = (), live_source: str | None = None
    ) -> None:
        """Begins the next generation; embeddings of its model that are there already count.

        Args:
            record: the generation.
            canaries: what it is tried with.
            live_source: the live generation's `source`, for the way back.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM generations WHERE status <> 'live'")
            _insert(connection, record)
            connection.execute(
                "UPDATE generations SET source = coalesce(source, ?) WHERE status = 'live'", (live_source,)
            )
            connection.execute("DELETE FROM canaries")
            connection.executemany(
                "INSERT INTO canaries (name, product_id, photograph, expected) VALUES (?, ?, ?, ?)",
                [(each.name, each.product_id, each.photograph, json.dumps(each.expected)) for each in canaries],
            )

        self._write(work)
        self._records = self._stored()

    def judge(self, status: Status, comparison: str | None) -> None:
        """Notes what became of the next generation."""
        self._write(
            lambda connection: connection.execute(
                "UPDATE generations SET status = ?, comparison = ?, time = ? WHERE status <> 'live'",
                (status.value, comparison, self._now().isoformat()),
            )
        )
        self._records = self._stored()

    def switch(self) -> int:
        """Makes the other generation live, and the live one the previous one, in one step.

        Returns:
            The index version afterwards.
        """
        live, other = self.live, self.other
        assert live is not None and other is not None, "A switch needs two generations."

        def work(connection: sqlite3.Connection) -> int:
            now = self._now().isoformat()
            query = "UPDATE generations SET status = ?, time = ? WHERE model_version = ?"
            connection.execute(query, (Status.PREVIOUS.value, now, live.model_version))
            connection.execute(query, (Status.LIVE.value, now, other.model_version))
            return self._count_write()

        version: int = self._write(work)
        self._records = self._stored()
        return version

    def drop_other(self) -> None:
        """Forgets the other generation; `tidy` then removes its embeddings."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM generations WHERE status <> 'live'")
            connection.execute("DELETE FROM canaries")

        self._write(work)
        self._records = self._stored()

    def canaries(self) -> tuple[CanaryRow, ...]:
        """Returns the queries that the next generation is tried with."""
        rows = self._read("SELECT name, product_id, photograph, expected FROM canaries ORDER BY number")
        return tuple(CanaryRow(row[0], row[1], row[2], tuple(json.loads(row[3]))) for row in rows)

    def missing(self, model_version: str, after: str = "", limit: int = 1000) -> list[str]:
        """Returns products with a photograph that has no embedding of a model, in the order of their ids.

        Args:
            model_version: the model.
            after: only ids after this one.
            limit: at most so many; -1 for all.
        """
        return [row["id"] for row in self._read(_MISSING, model_version, after, limit)]

    def add(self, model_version: str, embeddings: Embeddings) -> Added:
        """Stores embeddings of photographs that products refer to; they are on disk when this returns.

        Where the model is live, it counts as a write of the products that have these photographs.
        """
        live = self.live_version == model_version

        def work(connection: sqlite3.Connection) -> Added:
            listed = json.dumps([*{sha256 for sha256, _ in embeddings}])
            referred = {row[0] for row in connection.execute(_REFERRED, (listed, listed))}
            write_embeddings(
                connection, model_version, {part: each for part, each in embeddings.items() if part[0] in referred}
            )
            product_ids = tuple(row[0] for row in connection.execute(_SHOWING, (listed, listed)))
            return Added(product_ids, self._count_write(product_ids) if live and product_ids else None)

        added: Added = self._write(work)
        return added

    def note(self, product_ids: Collection[str]) -> int:
        """Counts as a write of products that they have got embeddings of the live model; returns the index version."""
        version: int = self._write(lambda _: self._count_write(product_ids))
        return version

    def tidy(self, limit: int = 200) -> bool:
        """Once there is the live generation alone, moves its embeddings into the rows and removes all others.

        Args:
            limit: photographs of one transaction.

        Returns:
            Whether there may be more to do.
        """
        live = self.live_version
        if live is None or self.other is not None:
            return False
        unused = self._read("SELECT rowid FROM embeddings WHERE model_version <> ? LIMIT ?", live, limit)
        if unused:
            numbers = json.dumps([row[0] for row in unused])
            self._write(
                lambda connection: connection.execute(f"DELETE FROM embeddings WHERE rowid IN {ID_LIST}", (numbers,))
            )
            return True
        beside = self._read("SELECT DISTINCT photograph_sha256 FROM embeddings LIMIT ?", limit)
        if beside:
            self._write(lambda connection: _move_into_rows(connection, [row[0] for row in beside], live))
        return bool(beside)

    def _stored(self) -> tuple[GenerationRecord, ...]:
        query = "SELECT model_version, dimension, status, time, source, plan, comparison FROM generations"
        return tuple(
            GenerationRecord(row[0], row[1], Status(row[2]), datetime.fromisoformat(row[3]), *row[4:])
            for row in self._read(query)
        )


def _insert(connection: sqlite3.Connection, record: GenerationRecord) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO generations (model_version, dimension, status, time, source, plan, comparison)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.model_version,
            record.dimension,
            record.status.value,
            record.time.isoformat(),
            record.source,
            record.plan,
            record.comparison,
        ),
    )


def _move_into_rows(connection: sqlite3.Connection, sha256s: Sequence[str], model_version: str) -> None:
    def read(query: str, *parameters: SqlValue) -> list[sqlite3.Row]:
        return connection.execute(query, parameters).fetchall()

    listed = json.dumps(sha256s)
    before = read_products(read, [row["id"] for row in read(_SHOWING, listed, listed)])
    after = of_model(read, before, model_version)
    write_products(connection, [each for each in after.values() if each is not None], before)
    forget_embeddings(connection, sha256s)


def live_model(read: Read) -> str | None:
    """Returns the live model of a database that is opened for reading alone; None for whatever lies in the rows."""
    rows = read("SELECT model_version FROM generations WHERE status = 'live'")
    return rows[0][0] if rows else None


def write_embeddings(connection: sqlite3.Connection, model_version: str, embeddings: Embeddings) -> None:
    """Stores embeddings of a model by photograph; within a transaction."""
    rows: list[tuple[SqlValue, ...]] = []
    for (sha256, region), values in embeddings.items():
        origin = (model_version, sha256, *_corners(region))
        connection.execute(_DELETE, origin)
        content = values.astype(FLOAT16).tobytes()
        rows.append((*origin, content, origin_checksum(origin, content)))
    connection.executemany(_INSERT, rows)


def forget_embeddings(connection: sqlite3.Connection, sha256s: Collection[str]) -> None:
    """Removes all embeddings of some photographs; within a transaction."""
    connection.execute(f"DELETE FROM embeddings WHERE photograph_sha256 IN {ID_LIST}", (json.dumps(list(sha256s)),))


def of_model(
    read: Read, products: Mapping[Key, StoredProduct | None], model_version: str | None
) -> dict[Key, StoredProduct | None]:
    """Returns products with the embeddings of a model, wherever they lie; others stay where it has none.

    Args:
        read: runs a query.
        products: as they are in their rows; None for a damaged one.
        model_version: the model; None for the products as they are.
    """
    elsewhere = {
        each.content.photograph_sha256
        for product in products.values()
        for each in (product.photographs if product is not None and model_version is not None else ())
        if each.content.model_version != model_version and each.content.photograph_sha256
    }
    if not elsewhere or model_version is None:
        return dict(products)
    beside: dict[Part, NDArray[np.float16]] = {}
    for *values, embedding, checksum in read(_READ, model_version, json.dumps(list(elsewhere))):
        if origin_checksum(values, embedding) == checksum:
            row = dict(zip(ORIGIN_COLUMNS, values, strict=True))
            beside[row["photograph_sha256"], region_of(row)] = np.frombuffer(embedding, dtype=FLOAT16)
    return {key: each and _with(each, beside, model_version) for key, each in products.items()}


def beside_rows(
    before: Mapping[str, StoredProduct | None],
    after: Sequence[StoredProduct],
    model_versions: Collection[str],
    new: Mapping[str, Embeddings],
) -> dict[str, dict[Part, NDArray[np.float16]]]:
    """Returns the embeddings that have to lie beside the rows once products are written, by model.

    Args:
        before: the products as they are in their rows.
        after: as they will be.
        model_versions: the generations.
        new: embeddings that came with the write, by model.
    """
    beside: dict[str, dict[Part, NDArray[np.float16]]] = {version: {} for version in model_versions}
    for product in after:
        known = before.get(product.product.id)
        in_row = {
            (each.content.model_version, each.content.part): each.embedding
            for each in (known.photographs if known is not None else ())
        }
        for each in product.photographs:
            part = each.content.part
            for version in model_versions:
                if part is None or each.content.model_version == version:
                    continue
                embedding = new.get(version, {}).get(part, in_row.get((version, part)))
                if embedding is not None:
                    beside[version][part] = embedding
    return beside


def _with(product: StoredProduct, beside: Embeddings, model_version: str) -> StoredProduct:
    first, *further = (_found(each, beside, model_version) for each in product.photographs)
    return replace(product, embedding=first.embedding, content=first.content, further=tuple(further))


def _found(stored: StoredEmbedding, beside: Embeddings, model_version: str) -> StoredEmbedding:
    part = stored.content.part
    if part is None or stored.content.model_version == model_version or part not in beside:
        return stored
    return StoredEmbedding(beside[part], ContentState(model_version, *part))


def _corners(region: Any) -> tuple[float | None, ...]:
    return (None,) * 4 if region is None else (region.left, region.top, region.right, region.bottom)
