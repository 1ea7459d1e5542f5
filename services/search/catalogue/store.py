"""The catalogue: products, their embeddings and photographs, on disk before a write is acknowledged."""

import dataclasses
import errno
import hashlib
import itertools
import json
import logging
import operator
import shutil
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Histogram

from services.concurrency.metrics import SECONDS
from services.contract.errors import DataLoss, InvalidInput, Overloaded, Unavailable
from services.contract.values import Box, Embedding, Photograph
from services.search.catalogue.database import (
    CHECKED_COLUMNS,
    CONTENT_COLUMNS,
    PRODUCT_COLUMNS,
    UNREADABLE,
    CatalogueUnusable,
    DirectoryLock,
    SqlValue,
    changed_checksum,
    connect,
    in_transaction,
    mend_indexes,
    product_of,
    product_values,
    region_of,
    row_checksum,
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
    "product_damaged",
]

DATABASE_FILE = "catalogue.sqlite3"
LOCK_FILE = "catalogue.lock"
PHOTOGRAPHS_FOLDER = "photographs"

_logger = logging.getLogger(__name__)

# Little-endian on every machine, so that a data directory can move between machines.
_COMMIT_SECONDS: Final = Histogram(
    "fashion_catalogue_commit_seconds", "Time until a write of the catalogue is on disk.", buckets=SECONDS
)

_FLOAT16 = np.dtype("<f2")
_COLUMNS = (*CHECKED_COLUMNS, "embedding", "checksum")
_STORED = ", ".join(_COLUMNS)
_UPSERT = (
    f"INSERT INTO products ({_STORED}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])
)
_ID_LIST = "(SELECT value FROM json_each(?))"
_CONTENTS = f"SELECT id, {', '.join(CONTENT_COLUMNS)}, length(embedding) FROM products WHERE id IN {_ID_LIST}"
_REMOVED_UNTIL = "SELECT sha256 FROM removed_photographs WHERE removed_time <= ?"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SQLITE_FULL = frozenset({sqlite3.SQLITE_FULL})
# With less room than this, a disk counts as full.
_NO_ROOM_BYTES = 64 * 1024
# Ids of damaged products in one line of the log.
_MAX_IDS_LOGGED = 100
# How long the file of a photograph stays that no product refers to any more: a backup that began before needs it.
REMOVED_PHOTOGRAPH_DAYS = 7


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
    """A product to be written.

    Attributes:
        product: its attributes.
        content: None keeps the stored content.
        photograph: the stored one, as it was sent again; its file is mended if it is damaged.
    """

    product: Product
    content: NewContent | None
    photograph: bytes | None = None


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
        changed: the products that were created or look different, as they are stored now.
        updated: the products of which attributes alone changed, as they are stored now.
        deleted: the ids of products that existed and were deleted.
        index_version: after the write; as before if nothing changed.
    """

    outcomes: tuple[UpsertOutcome, ...]
    changed: tuple[StoredProduct, ...]
    updated: tuple[Product, ...]
    deleted: tuple[str, ...]
    index_version: int


class Catalogue:
    """Products in SQLite, photographs beside it; for one process at a time and any number of threads.

    Each row has a checksum. A damaged one is left out, named in the log, and mended by a write of the whole product.

    A write is on disk when `write` returns: transactions are synchronous, and photographs are synchronised before the
    transaction that refers to them. `index_version` is persistent. It grows by one with every write that changes
    something.
    """

    def __init__(
        self,
        directory: Path,
        now: Callable[[], datetime] | None = None,
        *,
        adopt: bool = False,
        removed_photograph_days: int = REMOVED_PHOTOGRAPH_DAYS,
    ) -> None:
        """Opens the catalogue of a data directory, or creates an empty one, and removes what a crash left behind.

        Args:
            directory: created if it is missing, for this user alone.
            now: returns the time of a write, with a time zone; None for the system's clock in UTC.
            adopt: begin an empty catalogue although the directory has photographs; they go into the quarantine.
            removed_photograph_days: how long the file of a photograph stays that no product refers to any more.

        Raises:
            CatalogueUnusable: another process has it open, its database is no catalogue of this version, or it is gone
                while the photographs are there.
            OSError: the directory cannot be written.
        """
        self._now = now if now is not None else _system_clock
        self._directory = directory
        self._removed_photograph_days = removed_photograph_days
        self._purged: date | None = None
        self._damaged: set[str] = set()
        _make_private(directory)
        self._lock = DirectoryLock(directory / LOCK_FILE)
        try:
            self._photographs = PhotographStore(directory / PHOTOGRAPHS_FOLDER)
            if not adopt:
                self._check_not_lost(directory)
            # Readers have their own connection: with a write-ahead log they need not wait for a commit.
            self._writer = connect(directory / DATABASE_FILE)
            self._sound = mend_indexes(self._writer)
            self._reader = connect(directory / DATABASE_FILE)
            self._sweep()
        except BaseException:
            self._lock.release()
            raise
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    def _check_not_lost(self, directory: Path) -> None:
        database = directory / DATABASE_FILE
        if database.is_file() and database.stat().st_size:
            return
        log = database.with_name(f"{DATABASE_FILE}-wal")
        if self._photographs or (log.is_file() and log.stat().st_size):
            raise CatalogueUnusable(
                f"{database} is missing or empty, but {directory} has the photographs or the log of a catalogue. "
                "Put the database back from a backup, or begin an empty catalogue: fashion serve --adopt, or "
                "SEARCH_ADOPT=true. Photographs then move to photographs/quarantine."
            )

    def _sweep(self) -> None:
        try:
            kept = self._referenced_photographs()
        except UNREADABLE as error:
            _logger.error("photographs are left as they are, because the database does not tell its own: %s", error)
            return
        swept = self._photographs.sweep(kept, _system_clock().date())
        if swept.quarantined:
            _logger.warning(
                "%d photographs that no product refers to were moved to photographs/quarantine", swept.quarantined
            )
        if swept.restored:
            _logger.warning("%d missing photographs were put back from photographs/quarantine", swept.restored)

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

    @property
    def damaged(self) -> frozenset[str]:
        """The ids of products whose row was found damaged and has not been written since."""
        return frozenset(self._damaged)

    def states(self, product_ids: Collection[str]) -> Mapping[str, ContentState]:
        """Returns the state of the content per product, of those that exist and are not damaged."""
        rows = self._read(f"SELECT {_STORED} FROM products WHERE id IN {_ID_LIST}", json.dumps(list(product_ids)))
        return {row["id"]: stored.content for row in rows if (stored := self._checked(row)) is not None}

    def get(self, product_id: str) -> StoredProduct | None:
        """Returns a product with its embedding, or None.

        Raises:
            DataLoss: PRODUCT_DAMAGED.
        """
        rows = self._read(f"SELECT {_STORED} FROM products WHERE id = ?", product_id)
        if not rows:
            return None
        if (stored := self._checked(rows[0])) is None:
            raise product_damaged(product_id)
        return stored

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
                raise PhotographDamaged(f"The stored photograph {sha256} is gone; send its products again, with it.")
            sha256 = now_sha256
        return None

    def by_derived_type(self) -> Iterator[tuple[StoredProduct, ...]]:
        """Yields all products, one derived type at a time, for loading an index; no write may run meanwhile.

        A damaged product is left out, and named in the log.
        """
        rows = self._read("SELECT rowid, id, gender, article_type FROM products ORDER BY gender, article_type, id")
        self._damaged.clear()
        for _, group in itertools.groupby(rows, key=lambda row: (row["gender"], row["article_type"])):
            yield tuple(self._rows([(row["rowid"], row["id"]) for row in group]))
        if self._damaged:
            _logger.error(
                "%d products are damaged and left out; send them again: %s",
                len(self._damaged),
                ", ".join(sorted(self._damaged)[:_MAX_IDS_LOGGED]),
            )

    def _rows(self, numbers: Sequence[tuple[int, str]]) -> Iterator[StoredProduct]:
        """Yields the sound products of some rows, given as row number and id, in their order."""
        query = f"SELECT {_STORED}, rowid FROM products WHERE rowid IN {_ID_LIST}"
        try:
            rows = {row["rowid"]: row for row in self._read(query, json.dumps([number for number, _ in numbers]))}
        except UNREADABLE:
            # A page cannot be read: others can.
            rows = {}
            for number, _ in numbers:
                with suppress(*UNREADABLE):
                    rows.update((row["rowid"], row) for row in self._read(query, json.dumps([number])))
        for number, product_id in numbers:
            stored = None if (row := rows.get(number)) is None else self._checked(row)
            if stored is None:
                self._damaged.add(product_id)
            else:
                yield stored

    def write(self, upserts: Sequence[Upsert] = (), deletes: Collection[str] = ()) -> WriteResult:
        """Creates, replaces and deletes products in one transaction: all of it is on disk when this returns, or none.

        An upsert that changes neither attributes nor content is not written. The content is the same if the same model
        embedded the same photograph and region; without a photograph, if the embedding is the same in float16. The file
        of a photograph that is damaged or gone is written all the same, which counts as an update.

        Args:
            upserts: products, no id twice and none that is also deleted.
            deletes: ids; an unknown one is no error and not in the result's `deleted`.

        Raises:
            ValueError: an id comes twice.
            InvalidInput: PHOTOGRAPH_MISSING: a product is new and has no content; nothing was written.
            Overloaded: STORAGE_FULL; nothing was written.
            Unavailable: STORAGE_UNAVAILABLE: the disk takes no writes; nothing was written.
        """
        ids = [upsert.product.id for upsert in upserts]
        if len({*ids, *deletes}) < len(ids) + len(deletes):
            raise ValueError("An id comes twice in one write.")
        with self._write_lock, self._storage_errors():
            before = self._stored([*ids, *deletes])
            after = [_merged(upsert, before.get(upsert.product.id)) for upsert in upserts]
            outcomes = [_outcome(before.get(row.product.id), row) for row in after]
            changed = [i for i, outcome in enumerate(outcomes) if outcome is not UpsertOutcome.UNCHANGED]
            same = {i for i in changed if _looks_the_same(before.get(ids[i]), after[i])}
            deleted = tuple(product_id for product_id in deletes if product_id in before)
            if changed or deleted:
                self._commit([upserts[i] for i in changed], [after[i] for i in changed], deleted, before)
            for i, upsert in enumerate(upserts):
                if self._mended(upsert) and outcomes[i] is UpsertOutcome.UNCHANGED:
                    outcomes[i] = UpsertOutcome.UPDATED
            return WriteResult(
                outcomes=tuple(outcomes),
                changed=tuple(after[i] for i in changed if i not in same),
                updated=tuple(after[i].product for i in changed if i in same),
                deleted=deleted,
                index_version=self._version(),
            )

    def update(self, changes: Sequence[tuple[Product, Product]]) -> int:
        """Changes attributes of products in one transaction; what they look like stays, and is not even read.

        Args:
            changes: products as they are stored, and as they are to be; no id twice.

        Returns:
            The index version after the write; as before if there are no changes.

        Raises:
            Overloaded: STORAGE_FULL; nothing was written.
            Unavailable: STORAGE_UNAVAILABLE: the disk takes no writes; nothing was written.
        """
        with self._write_lock, self._storage_errors():
            if changes:
                in_transaction(self._writer, lambda: self._update(changes))
            return self._version()

    def _update(self, changes: Sequence[tuple[Product, Product]]) -> None:
        contents = {
            row[0]: (row[1:-1], row[-1])
            for row in self._writer.execute(_CONTENTS, (json.dumps([after.id for _, after in changes]),))
        }
        rows: list[tuple[Sequence[SqlValue], int]] = []
        places: set[int] = set()
        for before, after in changes:
            content, embedding_bytes = contents[after.id]
            old, new = product_values(before), product_values(after)
            places.update(itertools.compress(itertools.count(), map(operator.ne, old, new)))
            rows.append((new, changed_checksum((*old, *content), (*new, *content), embedding_bytes)))
        # Only columns that change, since SQLite writes the index of a column that is named, changed or not.
        columns = sorted(places)
        # SQLite has no exclusive or.
        assignments = [
            *(f"{PRODUCT_COLUMNS[place]} = ?" for place in columns),
            "checksum = (checksum | ?) - (checksum & ?)",
        ]
        self._writer.executemany(
            f"UPDATE products SET {', '.join(assignments)} WHERE id = ?",
            [(*[new[place] for place in columns], change, change, new[0]) for new, change in rows],
        )
        self._count_write(self._now().astimezone(UTC))

    def _version(self) -> int:
        return int(self._writer.execute("SELECT index_version FROM state").fetchone()[0])

    def _count_write(self, now: datetime) -> None:
        self._writer.execute("UPDATE state SET index_version = index_version + 1, update_time = ?", (now.isoformat(),))

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Turns what a disk refuses into an error that says what to do."""
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            full = getattr(error, "errno", None) in _FULL or getattr(error, "sqlite_errorcode", None) in _SQLITE_FULL
            _logger.error("a write to %s failed: %s", self._directory, error)
            # SQLite tells some full disks as other errors.
            if full or shutil.disk_usage(self._directory).free < _NO_ROOM_BYTES:
                raise Overloaded(
                    "The disk of the catalogue is full, so nothing was written; make room, then send it again.",
                    reason="STORAGE_FULL",
                ) from error
            raise Unavailable(
                "The disk of the catalogue takes no writes, so nothing was written; look into the log of search.",
                reason="STORAGE_UNAVAILABLE",
            ) from error

    def _mended(self, upsert: Upsert) -> bool:
        """Stores the photograph of an upsert again if its file is damaged or gone; returns whether it was."""
        photograph = _photograph(upsert)
        content = upsert.photograph if photograph is None else photograph.content
        return content is not None and self._photographs.restore(content)

    def _commit(
        self,
        upserts: Sequence[Upsert],
        rows: Sequence[StoredProduct],
        deleted: Sequence[str],
        before: Mapping[str, StoredProduct | None],
    ) -> None:
        now = self._now().astimezone(UTC)
        replaced = [
            known.content.photograph_sha256
            for product_id in (*deleted, *(row.product.id for row in rows))
            if (known := before.get(product_id)) is not None and known.content.photograph_sha256 is not None
        ]
        new_photographs = self._photographs.put([p.content for p in map(_photograph, upserts) if p is not None])

        def work() -> None:
            self._writer.executemany(_UPSERT, [_values(row) for row in rows])
            self._writer.executemany("DELETE FROM products WHERE id = ?", [(product_id,) for product_id in deleted])
            self._writer.execute(
                f"DELETE FROM removed_photographs WHERE sha256 IN {_ID_LIST}", (json.dumps(new_photographs),)
            )
            self._writer.executemany(
                "INSERT OR REPLACE INTO removed_photographs (sha256, removed_time) VALUES (?, ?)",
                [(sha256, now.isoformat()) for sha256 in self._unreferenced(replaced)],
            )
            self._count_write(now)

        try:
            with _COMMIT_SECONDS.time():
                in_transaction(self._writer, work)
        except BaseException:
            # Nothing refers to them, and on a full disk they would take the room that is left.
            self._unlink(self._unreferenced(new_photographs) - self._removed_photographs())
            raise
        self._damaged.difference_update(deleted, (row.product.id for row in rows))
        self._purge(now)

    def _purge(self, now: datetime) -> None:
        """Once a day removes the files of photographs that no product has referred to for some days."""
        if self._removed_photograph_days and self._purged == now.date():
            return
        if self._damaged or not self._sound:
            # A damaged row may refer to what seems to be removed.
            return
        self._purged = now.date()
        until = (now - timedelta(days=self._removed_photograph_days)).isoformat()
        old = [row[0] for row in self._writer.execute(_REMOVED_UNTIL, (until,))]
        self._unlink(self._unreferenced(old))
        self._writer.executemany("DELETE FROM removed_photographs WHERE sha256 = ?", [(sha256,) for sha256 in old])

    def _unlink(self, sha256s: Iterable[str]) -> None:
        try:
            self._photographs.remove(sha256s)
        except OSError:
            # The write is valid all the same. The next start moves the photographs that are left to the quarantine.
            _logger.warning("a photograph that no product refers to could not be removed", exc_info=True)

    def _unreferenced(self, sha256s: Collection[str]) -> set[str]:
        """Returns those of some photographs that no product refers to."""
        rows = self._writer.execute(
            f"SELECT value FROM json_each(?) WHERE value NOT IN "
            f"(SELECT photograph_sha256 FROM products WHERE photograph_sha256 IN {_ID_LIST})",
            (json.dumps(list(sha256s)),) * 2,
        )
        return {row[0] for row in rows}

    def _removed_photographs(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._writer.execute("SELECT sha256 FROM removed_photographs"))

    def _stored(self, product_ids: Sequence[str]) -> dict[str, StoredProduct | None]:
        """Returns the rows of some ids; None for a damaged one."""
        rows = self._writer.execute(
            f"SELECT {_STORED} FROM products WHERE id IN {_ID_LIST}", (json.dumps(product_ids),)
        )
        return {row["id"]: self._checked(row) for row in rows}

    def _checked(self, row: sqlite3.Row) -> StoredProduct | None:
        """Makes a product of a row that begins with `_STORED`; None for a damaged one."""
        values, (embedding, checksum) = row[: len(CHECKED_COLUMNS)], row[len(CHECKED_COLUMNS) : len(_COLUMNS)]
        try:
            intact = row_checksum(values, embedding) == checksum
        except TypeError:
            intact = False
        if not intact:
            self._damaged.add(row["id"])
            return None
        content = _content_state(row)
        product = product_of(row, photograph_absent=content.photograph_sha256 is None)
        return StoredProduct(product, np.frombuffer(embedding, dtype=_FLOAT16), content)

    def _photograph_of(self, product_id: str) -> str | None:
        rows = self._read("SELECT photograph_sha256 FROM products WHERE id = ?", product_id)
        return rows[0][0] if rows else None

    def _referenced_photographs(self) -> frozenset[str]:
        query = "SELECT DISTINCT photograph_sha256 FROM products WHERE photograph_sha256 IS NOT NULL"
        return frozenset(row[0] for row in self._writer.execute(query)) | self._removed_photographs()

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


def product_damaged(product_id: str) -> DataLoss:
    """Returns the error for a product whose stored row is damaged."""
    return DataLoss(
        f'The stored product "{product_id}" is damaged; send it again, with its photograph or embedding.',
        reason="PRODUCT_DAMAGED",
        metadata={"product_id": product_id},
    )


def _make_private(directory: Path) -> None:
    """Makes a data directory, for this user alone; closes one that everybody on this machine can read."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o007:
        try:
            directory.chmod(0o700)
        except PermissionError:
            _logger.warning("every user of this machine can read %s, which belongs to another user", directory)
        else:
            _logger.warning("every user of this machine could read %s; now its owner alone can", directory)


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
        return StoredProduct(_with_state(upsert.product, before.content), before.embedding, before.content)
    embedding = content.embedding.values.astype(_FLOAT16)
    if content.photograph is None:
        state = ContentState(content.embedding.model_version, None, None)
    else:
        sha256 = hashlib.sha256(content.photograph.content).hexdigest()
        state = ContentState(content.embedding.model_version, sha256, content.photograph.region)
        if before is not None and before.content == state:
            # Embedded in another batch, the same photograph may differ in its last bits, which is no change.
            embedding = before.embedding
    return StoredProduct(_with_state(upsert.product, state), embedding, state)


def _with_state(product: Product, content: ContentState) -> Product:
    return dataclasses.replace(product, photograph_absent=content.photograph_sha256 is None)


def _outcome(before: StoredProduct | None, after: StoredProduct) -> UpsertOutcome:
    if before is None:
        return UpsertOutcome.CREATED
    same = before.product == after.product and _looks_the_same(before, after)
    return UpsertOutcome.UNCHANGED if same else UpsertOutcome.UPDATED


def _looks_the_same(before: StoredProduct | None, after: StoredProduct) -> bool:
    return (
        before is not None
        and before.content == after.content
        and (before.embedding is after.embedding or np.array_equal(before.embedding, after.embedding))
    )


def _values(row: StoredProduct) -> tuple[SqlValue, ...]:
    region = row.content.region
    corners = (region.left, region.top, region.right, region.bottom) if region is not None else None
    values = (
        *product_values(row.product),
        row.content.model_version,
        row.content.photograph_sha256,
        *((None,) * 4 if corners is None else map(float, corners)),
    )
    embedding = row.embedding.tobytes()
    return (*values, embedding, row_checksum(values, embedding))


def _content_state(row: sqlite3.Row) -> ContentState:
    return ContentState(row["model_version"], row["photograph_sha256"], region_of(row))
