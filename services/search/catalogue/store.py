"""The catalogue: products, their embeddings and photographs, on disk before a write is acknowledged."""

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import InvalidInput
from services.contract.values import Box, Embedding, Photograph
from services.search.catalogue.database import (
    CONTENT_COLUMNS,
    PRODUCT_COLUMNS,
    CatalogueUnusable,
    DirectoryLock,
    SqlValue,
    connect,
    in_transaction,
    product_of,
    product_values,
    region_of,
)
from services.search.catalogue.photographs import PhotographDamaged, PhotographStore, StoredPhotograph
from services.search.catalogue.products import Product

__all__ = [
    "Catalogue",
    "CatalogueUnusable",
    "ContentState",
    "NewContent",
    "StoredProduct",
    "Upsert",
    "UpsertOutcome",
    "WriteResult",
    "photograph_missing",
]

DATABASE_FILE = "catalogue.sqlite3"
LOCK_FILE = "catalogue.lock"
PHOTOGRAPHS_FOLDER = "photographs"

_logger = logging.getLogger(__name__)

# Little-endian on every machine, so that a data directory can move between machines.
_FLOAT16 = np.dtype("<f2")
_STORED = ", ".join((*PRODUCT_COLUMNS, *CONTENT_COLUMNS, "embedding"))
_WITHOUT_EMBEDDING = ", ".join(("id", *CONTENT_COLUMNS))
_COLUMNS = (*PRODUCT_COLUMNS, *CONTENT_COLUMNS, "embedding")
_UPSERT = (
    f"INSERT INTO products ({_STORED}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])
)


class UpsertOutcome(Enum):
    """The outcome of writing a row."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class NewContent:
    """New content of a product.

    Attributes:
        embedding: of any model; stored as float16.
        photograph: that was embedded, which is stored too; None for a shop that sends embeddings.
    """

    embedding: Embedding
    photograph: Photograph | None


@dataclass(frozen=True, slots=True)
class Upsert:
    """A product to be written; `content` None keeps the stored content."""

    product: Product
    content: NewContent | None


@dataclass(frozen=True, slots=True)
class ContentState:
    """The origin of a stored embedding, which decides whether a product must be embedded again.

    Attributes:
        model_version: the model of the embedding.
        photograph_sha256: the photograph; None if the product came with an embedding.
        region: the part of the photograph that was embedded; None for the whole.
    """

    model_version: str
    photograph_sha256: str | None
    region: Box | None

    def is_of(self, photograph: Photograph, model_version: str) -> bool:
        """Returns whether the stored embedding is the one that this model makes of this photograph."""
        return (
            self.model_version == model_version
            and self.region == photograph.region
            and self.photograph_sha256 == hashlib.sha256(photograph.content).hexdigest()
        )


@dataclass(frozen=True, slots=True, eq=False)
class StoredProduct:
    """A product with its embedding: float16, shape (dimension,), L2 norm 1, of the model that `content` names."""

    product: Product
    embedding: NDArray[np.float16]
    content: ContentState


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of a write.

    Attributes:
        outcomes: one per upsert, in their order.
        changed: the products that were created or updated, as they are stored now; an index must take them over.
        deleted: the ids of products that existed and were deleted.
        index_version: after the write; as before if nothing changed.
    """

    outcomes: tuple[UpsertOutcome, ...]
    changed: tuple[StoredProduct, ...]
    deleted: tuple[str, ...]
    index_version: int


class Catalogue:
    """Products in SQLite, photographs beside it; for one process at a time and any number of threads.

    A write is on disk when `write` returns: transactions are synchronous, and photographs are synchronised before the
    transaction that refers to them. `index_version` is persistent. It grows by one with every write that changes
    something.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime] | None = None) -> None:
        """Opens the catalogue of a data directory, or creates an empty one, and removes what a crash left behind.

        Args:
            directory: created if it is missing.
            now: returns the time of a write, with a time zone; None for the system's clock in UTC.

        Raises:
            CatalogueUnusable: another process has it open, or its database is no catalogue of this version.
            OSError: the directory cannot be written.
        """
        self._now = now if now is not None else _system_clock
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = DirectoryLock(directory / LOCK_FILE)
        try:
            # Readers have their own connection: with a write-ahead log they need not wait for a commit.
            self._writer = connect(directory / DATABASE_FILE)
            self._reader = connect(directory / DATABASE_FILE)
            self._photographs = PhotographStore(directory / PHOTOGRAPHS_FOLDER)
            self._photographs.sweep(self._referenced_photographs())
        except BaseException:
            self._lock.release()
            raise
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    def close(self) -> None:
        """Closes the database and releases the directory; a write under way is finished first."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._read("SELECT count(*) FROM products")[0][0])

    @property
    def index_version(self) -> int:
        """The version of the catalogue: 0 before the first write."""
        return int(self._read("SELECT index_version FROM state")[0][0])

    @property
    def update_time(self) -> datetime | None:
        """When the newest write was committed, in UTC; None before the first write."""
        text = self._read("SELECT update_time FROM state")[0][0]
        return None if text is None else datetime.fromisoformat(text)

    def states(self, product_ids: Collection[str]) -> Mapping[str, ContentState]:
        """Returns the state of the content per product, of those that exist."""
        rows = self._read(
            f"SELECT {_WITHOUT_EMBEDDING} FROM products WHERE id IN (SELECT value FROM json_each(?))",
            json.dumps(list(product_ids)),
        )
        return {row["id"]: _content_state(row) for row in rows}

    def get(self, product_id: str) -> StoredProduct | None:
        """Returns a product with its embedding, or None."""
        rows = self._read(f"SELECT {_STORED} FROM products WHERE id = ?", product_id)
        return _stored_product(rows[0]) if rows else None

    def photograph(self, product_id: str) -> StoredPhotograph | None:
        """Returns the photograph of a product; None if there is no such product, or it has no photograph.

        Raises:
            PhotographDamaged: the file on disk was changed, or is gone.
        """
        sha256 = self._photograph_of(product_id)
        while sha256 is not None:
            stored = self._photographs.read(sha256)
            if stored is not None:
                return stored
            # A write may have replaced the photograph in between; then there is a new one to read.
            now_sha256 = self._photograph_of(product_id)
            if now_sha256 == sha256:
                raise PhotographDamaged(f"The photograph {sha256} is gone; delete its products and send them again.")
            sha256 = now_sha256
        return None

    def by_derived_type(self) -> Iterator[tuple[StoredProduct, ...]]:
        """Yields all products, one derived type at a time, for loading an index; no write may run meanwhile."""
        for gender, article_type in self._read("SELECT DISTINCT gender, article_type FROM products ORDER BY 1, 2"):
            rows = self._read(
                f"SELECT {_STORED} FROM products WHERE gender = ? AND article_type = ? ORDER BY id",
                gender,
                article_type,
            )
            yield tuple(_stored_product(row) for row in rows)

    def write(self, upserts: Sequence[Upsert] = (), deletes: Collection[str] = ()) -> WriteResult:
        """Creates, replaces and deletes products in one transaction: all of it is on disk when this returns, or none.

        An upsert that changes neither attributes nor content is not written. The content is the same if the same model
        embedded the same photograph and region; without a photograph, if the embedding is the same in float16.

        Args:
            upserts: products, no id twice and none that is also deleted.
            deletes: ids; an unknown one is no error and not in the result's `deleted`.

        Raises:
            ValueError: an id comes twice.
            InvalidInput: PHOTOGRAPH_MISSING: a product is new and has no content; nothing was written.
            OSError: a photograph could not be written; nothing was written.
        """
        ids = [upsert.product.id for upsert in upserts]
        if len({*ids, *deletes}) < len(ids) + len(deletes):
            raise ValueError("An id comes twice in one write.")
        with self._write_lock:
            before = self._stored([*ids, *deletes])
            after = [_merged(upsert, before.get(upsert.product.id)) for upsert in upserts]
            outcomes = tuple(_outcome(before.get(row.product.id), row) for row in after)
            changed = [i for i, outcome in enumerate(outcomes) if outcome is not UpsertOutcome.UNCHANGED]
            deleted = tuple(product_id for product_id in deletes if product_id in before)
            if changed or deleted:
                self._commit([upserts[i] for i in changed], [after[i] for i in changed], deleted, before)
            return WriteResult(
                outcomes=outcomes,
                changed=tuple(after[i] for i in changed),
                deleted=deleted,
                index_version=int(self._writer.execute("SELECT index_version FROM state").fetchone()[0]),
            )

    def _commit(
        self,
        upserts: Sequence[Upsert],
        rows: Sequence[StoredProduct],
        deleted: Sequence[str],
        before: Mapping[str, StoredProduct],
    ) -> None:
        new_photographs = self._photographs.put([p.content for p in map(_photograph, upserts) if p is not None])

        def work() -> None:
            self._writer.executemany(_UPSERT, [_values(row) for row in rows])
            self._writer.executemany("DELETE FROM products WHERE id = ?", [(product_id,) for product_id in deleted])
            self._writer.execute(
                "UPDATE state SET index_version = index_version + 1, update_time = ?",
                (self._now().astimezone(UTC).isoformat(),),
            )

        try:
            in_transaction(self._writer, work)
        except BaseException:
            self._remove_unreferenced(new_photographs)
            raise
        gone = [
            before[product_id] for product_id in (*deleted, *(row.product.id for row in rows)) if product_id in before
        ]
        self._remove_unreferenced(
            [p.content.photograph_sha256 for p in gone if p.content.photograph_sha256 is not None]
        )

    def _remove_unreferenced(self, sha256s: Collection[str]) -> None:
        """Removes those of some photographs that no product refers to; to be called after the commit."""
        rows = self._writer.execute(
            "SELECT value FROM json_each(?) WHERE value NOT IN "
            "(SELECT photograph_sha256 FROM products WHERE photograph_sha256 IN (SELECT value FROM json_each(?)))",
            (json.dumps(list(sha256s)),) * 2,
        ).fetchall()
        try:
            self._photographs.remove(row[0] for row in rows)
        except OSError:
            # The write is valid all the same. The next start removes the photographs that are left.
            _logger.warning("a photograph that no product refers to could not be removed", exc_info=True)

    def _stored(self, product_ids: Sequence[str]) -> dict[str, StoredProduct]:
        rows = self._writer.execute(
            f"SELECT {_STORED} FROM products WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(product_ids),)
        )
        return {row["id"]: _stored_product(row) for row in rows}

    def _photograph_of(self, product_id: str) -> str | None:
        rows = self._read("SELECT photograph_sha256 FROM products WHERE id = ?", product_id)
        return rows[0][0] if rows else None

    def _referenced_photographs(self) -> frozenset[str]:
        query = "SELECT DISTINCT photograph_sha256 FROM products WHERE photograph_sha256 IS NOT NULL"
        return frozenset(row[0] for row in self._writer.execute(query))

    def _read(self, query: str, *parameters: SqlValue) -> list[sqlite3.Row]:
        with self._read_lock:
            return self._reader.execute(query, parameters).fetchall()


def photograph_missing(product_id: str) -> InvalidInput:
    """Returns the error for a new product without content."""
    return InvalidInput(
        f'The product "{product_id}" is new: send a photograph or an embedding with it.',
        reason="PHOTOGRAPH_MISSING",
        metadata={"field": "content"},
    )


def _system_clock() -> datetime:
    return datetime.now(UTC)


def _photograph(upsert: Upsert) -> Photograph | None:
    return None if upsert.content is None else upsert.content.photograph


def _merged(upsert: Upsert, before: StoredProduct | None) -> StoredProduct:
    """Returns the product to be stored: its new attributes, and the stored content unless there is another one."""
    content = upsert.content
    if content is None:
        if before is None:
            raise photograph_missing(upsert.product.id)
        return StoredProduct(upsert.product, before.embedding, before.content)
    embedding = content.embedding.values.astype(_FLOAT16)
    if content.photograph is None:
        state = ContentState(content.embedding.model_version, None, None)
    else:
        sha256 = hashlib.sha256(content.photograph.content).hexdigest()
        state = ContentState(content.embedding.model_version, sha256, content.photograph.region)
        if before is not None and before.content == state:
            # Embedded in another batch, the same photograph may differ in its last bits, which is no change.
            embedding = before.embedding
    return StoredProduct(upsert.product, embedding, state)


def _outcome(before: StoredProduct | None, after: StoredProduct) -> UpsertOutcome:
    if before is None:
        return UpsertOutcome.CREATED
    same = (
        before.product == after.product
        and before.content == after.content
        and np.array_equal(before.embedding, after.embedding)
    )
    return UpsertOutcome.UNCHANGED if same else UpsertOutcome.UPDATED


def _values(row: StoredProduct) -> tuple[SqlValue, ...]:
    region = row.content.region
    corners = (None,) * 4 if region is None else (region.left, region.top, region.right, region.bottom)
    return (
        *product_values(row.product),
        row.content.model_version,
        row.content.photograph_sha256,
        *corners,
        row.embedding.tobytes(),
    )


def _stored_product(row: sqlite3.Row) -> StoredProduct:
    return StoredProduct(product_of(row), np.frombuffer(row["embedding"], dtype=_FLOAT16), _content_state(row))


def _content_state(row: sqlite3.Row) -> ContentState:
    return ContentState(row["model_version"], row["photograph_sha256"], region_of(row))
