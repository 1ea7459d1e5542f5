"""The catalogue: products, their embeddings and photographs, on disk before a write is acknowledged."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, TypeVar

from prometheus_client import Histogram

from services.concurrency.metrics import SECONDS
from services.search.catalogue.all_rows import AllRows
from services.search.catalogue.content import (
    StoredProduct,
    Upsert,
    UpsertOutcome,
    WriteResult,
    looks_the_same,
    merged,
    outcome,
    product_damaged,
)
from services.search.catalogue.database import (
    UNREADABLE,
    CatalogueUnusable,
    DirectoryLock,
    SqlValue,
    connect,
    in_transaction,
    mend_indexes,
)
from services.search.catalogue.disk import make_private, storage_errors
from services.search.catalogue.generations import (
    Embeddings,
    Generations,
    beside_rows,
    forget_embeddings,
    of_model,
    write_embeddings,
)
from services.search.catalogue.identity import identity_of
from services.search.catalogue.photographs import PhotographDamaged, PhotographStore, StoredPhotograph
from services.search.catalogue.products import Product
from services.search.catalogue.references import (
    forget_removed,
    note_removed,
    photograph_of,
    referenced_photographs,
    removed_photographs,
    unreferenced,
)
from services.search.catalogue.rows import (
    Read,
    delete_products,
    read_products,
    update_attributes,
    write_products,
)
from services.search.catalogue.write_log import WriteLog

__all__ = ["Catalogue", "CatalogueUnusable", "WriteResult"]

DATABASE_FILE = "catalogue.sqlite3"
LOCK_FILE = "catalogue.lock"
PHOTOGRAPHS_FOLDER = "photographs"

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_COMMIT_SECONDS: Final = Histogram(
    "fashion_catalogue_commit_seconds", "Time until a write of the catalogue is on disk.", buckets=SECONDS
)

# How long the file of a photograph stays that no product refers to any more: a backup that began before needs it.
REMOVED_PHOTOGRAPH_DAYS = 7


class Catalogue:
    """Products in SQLite, photographs beside it; for one process at a time and any number of threads.

    Each row has a checksum. A damaged one is left out, named in the log, and mended by a write of the whole product.

    A write is on disk when `write` returns: transactions are synchronous, and photographs are synchronised before the
    transaction that refers to them. `index_version` is persistent. It grows by one with every write that changes
    something. Products are read with the embeddings of the live generation.

    Attributes:
        generations: the live model, and the next or the previous one.
        identity: what tells it from every other catalogue, and not from its copies; see `identity_of`.
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
        self._rows = AllRows(self.reading, self._of_live)
        # Whether the structure of the database is sound, once it has been checked.
        self._sound: bool | None = None
        try:
            make_private(directory)
            self._lock = DirectoryLock(directory / LOCK_FILE)
        except OSError as error:
            raise CatalogueUnusable(
                f"The data directory {directory} cannot be written: {error.strerror}. "
                "Let the server's user write there, or choose another directory."
            ) from error
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        with ExitStack() as opened:
            opened.callback(self._lock.release)
            self._photographs = PhotographStore(directory / PHOTOGRAPHS_FOLDER)
            if not adopt:
                self._check_not_lost(directory)
            # Readers have their own connection: with a write-ahead log they need not wait for a commit.
            self._writer = connect(directory / DATABASE_FILE)
            opened.callback(self._writer.close)
            self._log = WriteLog(self._writer)
            self._reader = connect(directory / DATABASE_FILE)
            opened.callback(self._reader.close)
            self._sweep()
            self.identity = identity_of(directory)
            self.generations = Generations(self._read, self._transaction, self._count_write, self.now)
            self._opened = opened.pop_all()

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
            kept = referenced_photographs(self._writer)
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
            self._opened.close()

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
        return frozenset(self._rows.damaged)

    @property
    def logged(self) -> int:
        """About how many products have been written since the version that `forget_writes` named last."""
        return self._log.count

    def forget_writes(self, before: int) -> None:
        """Lets the log of writes begin with a version; a write under way is finished first."""
        with self._write_lock:
            self._log.forget(before)

    def some(self, product_ids: Collection[str]) -> Mapping[str, StoredProduct | None]:
        """Returns those of some products that are there; None for a damaged one."""
        with self.reading() as read:
            return self._stored(read, product_ids)

    def left_out(self, product_ids: Collection[str]) -> None:
        """Takes the damaged products that a copy of the catalogue lacks; `check` reads what the copy stands for."""
        self._rows.damaged.update(product_ids)
        self._rows.unchecked = True

    def get(self, product_id: str) -> StoredProduct | None:
        """Returns a product with its embedding, or None.

        Raises:
            DataLoss: PRODUCT_DAMAGED.
        """
        products = self.some([product_id])
        if product_id not in products:
            return None
        if (stored := products[product_id]) is None:
            raise product_damaged(product_id)
        return stored

    def photograph(self, product_id: str, index: int = 0) -> StoredPhotograph | None:
        """Returns a photograph of a product; None if there is no such product, or no such photograph.

        Args:
            product_id: of the product.
            index: which of its photographs; 0 is the first.

        Raises:
            PhotographDamaged: the file on disk was changed, or is gone.
        """
        sha256 = photograph_of(self._read, product_id, index)
        while sha256 is not None:
            stored = self._photographs.read(sha256)
            if stored is not None:
                return stored
            # A write may have replaced the photograph in between; then there is a new one to read.
            now_sha256 = photograph_of(self._read, product_id, index)
            if now_sha256 == sha256:
                raise PhotographDamaged(f"The stored photograph {sha256} is gone; send its products again, with it.")
            sha256 = now_sha256
        return None

    def product_ids(self) -> list[str]:
        """Returns the ids of all products, those of one derived type after one another."""
        return [row["id"] for row in self._read("SELECT id FROM products ORDER BY gender, article_type, id")]

    def of_model(self, product_ids: Collection[str], model_version: str) -> list[StoredProduct]:
        """Returns products with the embeddings of a model, of those that exist and are not damaged."""
        with self.reading() as read:
            products = of_model(read, read_products(read, product_ids), model_version)
        return [stored for stored in products.values() if stored is not None]

    def by_derived_type(self) -> Iterator[tuple[StoredProduct, ...]]:
        """Yields all products, one derived type at a time, for loading an index; no write may run meanwhile.

        A damaged product is left out, and named in the log.
        """
        with self._write_lock:
            self._check_structure()
        yield from self._rows.by_derived_type()

    def check(self, pause: Callable[[], bool]) -> None:
        """Reads what a start from a copy of the catalogue has not read, and names in the log what is damaged.

        Args:
            pause: called after some rows; it returns whether to end.
        """
        with self._write_lock:
            self._check_structure()
        self._rows.check(pause)

    def _check_structure(self) -> None:
        if self._sound is None:
            self._sound = mend_indexes(self._writer)
            if not self._sound:
                # A damaged index may have hidden that photographs are referred to.
                self._sweep()

    def write(
        self,
        upserts: Sequence[Upsert] = (),
        deletes: Collection[str] = (),
        beside: Mapping[str, Embeddings] = MappingProxyType({}),
    ) -> WriteResult:
        """Creates, replaces and deletes products in one transaction: all of it is on disk when this returns, or none.

        An upsert that changes neither attributes nor content is not written. The content is the same if the same model
        embedded the same photographs and regions, in the same order; without a photograph, if the embedding is the same
        in float16. The file of a photograph that is damaged or gone is written all the same, which counts as an update.

        Args:
            upserts: products, no id twice and none that is also deleted.
            deletes: ids; an unknown one is no error and not in the result's `deleted`.
            beside: embeddings of the same photographs by models of other generations.

        Raises:
            ValueError: an id comes twice.
            InvalidInput: PHOTOGRAPH_MISSING: a product is new and has no content; nothing was written.
            Overloaded: STORAGE_FULL; nothing was written.
            Unavailable: STORAGE_UNAVAILABLE: the disk takes no writes; nothing was written.
        """
        ids = [upsert.product.id for upsert in upserts]
        if len({*ids, *deletes}) < len(ids) + len(deletes):
            raise ValueError("An id comes twice in one write.")
        with self._write_lock, storage_errors(self._directory):
            self._check_structure()
            before = self._stored(self._write_read, [*ids, *deletes])
            after = [merged(upsert, before.get(upsert.product.id)) for upsert in upserts]
            outcomes = [outcome(before.get(row.product.id), row) for row in after]
            changed = [i for i, each in enumerate(outcomes) if each is not UpsertOutcome.UNCHANGED]
            same = {i for i in changed if looks_the_same(before.get(ids[i]), after[i])}
            deleted = tuple(product_id for product_id in deletes if product_id in before)
            sent = [each for upsert in upserts for each in upsert.sent_photographs]
            placed = frozenset(self._photographs.put(sent))
            for i, row in enumerate(after):
                if outcomes[i] is UpsertOutcome.UNCHANGED and not placed.isdisjoint(row.sha256s):
                    outcomes[i] = UpsertOutcome.UPDATED
            if changed or deleted:
                index_version = self._commit([after[i] for i in changed], deleted, before, beside)
            else:
                index_version = self._version()
            return WriteResult(
                outcomes=tuple(outcomes),
                changed=tuple(after[i] for i in changed if i not in same),
                updated=tuple(after[i].product for i in changed if i in same),
                deleted=deleted,
                index_version=index_version,
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
        with self._write_lock, storage_errors(self._directory):
            if not changes:
                return self._version()
            self._check_structure()
            index_version = in_transaction(self._writer, lambda: self._update(changes))
            # A shop may change prices alone for weeks.
            self._purge_daily(self.now())
            return index_version

    def _update(self, changes: Sequence[tuple[Product, Product]]) -> int:
        update_attributes(self._writer, changes)
        return self._count_write([after.id for _, after in changes])

    def _version(self) -> int:
        return int(self._writer.execute("SELECT index_version FROM state").fetchone()[0])

    def _count_write(self, product_ids: Collection[str] | None = None) -> int:
        """Raises the version, and logs the products that have changed; None for any of them."""
        now = self.now().isoformat()
        self._writer.execute("UPDATE state SET index_version = index_version + 1, update_time = ?", (now,))
        self._log.note(product_ids)
        return self._version()

    def now(self) -> datetime:
        """Returns the time of a write that would come now, in UTC."""
        return self._now().astimezone(UTC)

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._write_lock, storage_errors(self._directory):
            return in_transaction(self._writer, lambda: work(self._writer))

    def _commit(
        self,
        rows: Sequence[StoredProduct],
        deleted: Sequence[str],
        before: Mapping[str, StoredProduct | None],
        beside: Mapping[str, Embeddings],
    ) -> int:
        """Writes rows in one transaction, and returns the version after it; raises nothing once it is committed."""
        replaced = {
            sha256
            for product_id in (*deleted, *(row.product.id for row in rows))
            if (known := before.get(product_id)) is not None
            for sha256 in known.sha256s
        }
        referenced = {sha256 for row in rows for sha256 in row.sha256s}

        def work() -> int:
            others = self._beside(rows, beside)
            write_products(self._writer, rows, before)
            delete_products(self._writer, deleted, before)
            for model_version, embeddings in others.items():
                write_embeddings(self._writer, model_version, embeddings)
            forget_removed(self._writer, referenced)
            gone = unreferenced(self._writer, replaced)
            note_removed(self._writer, gone, self.now().isoformat())
            forget_embeddings(self._writer, gone)
            return self._count_write([*(row.product.id for row in rows), *deleted])

        try:
            with _COMMIT_SECONDS.time():
                index_version = in_transaction(self._writer, work)
        except BaseException:
            # Nothing refers to them, and on a full disk they would take the room that is left.
            self._unlink(unreferenced(self._writer, referenced) - removed_photographs(self._writer))
            raise
        self._rows.damaged.difference_update(deleted, (row.product.id for row in rows))
        self._purge_daily(self.now())
        return index_version

    def _beside(self, rows: Sequence[StoredProduct], new: Mapping[str, Embeddings]) -> Mapping[str, Embeddings]:
        """Returns what generations besides the one in the rows need of products that are written."""
        records = [each for each in (self.generations.live, self.generations.other) if each is not None]
        if len(records) < 2:
            return {}
        in_rows = read_products(self._write_read, [row.product.id for row in rows])
        return beside_rows(in_rows, rows, [each.model_version for each in records], new)

    def _purge_daily(self, now: datetime) -> None:
        """Once a day removes the files of photographs that no product has referred to for some days."""
        if self._removed_photograph_days and self._purged == now.date():
            return
        try:
            self._purge(now)
        except Exception:
            # The write is on disk, and the index has to take it over.
            _logger.warning("photographs that no product refers to could not be removed", exc_info=True)

    def _purge(self, now: datetime) -> None:
        if self._rows.damaged or not self._sound or self._rows.unchecked:
            # A damaged row may refer to what seems to be removed.
            return
        self._purged = now.date()
        until = (now - timedelta(days=self._removed_photograph_days)).isoformat()
        old = removed_photographs(self._writer, until)
        self._unlink(unreferenced(self._writer, old))
        forget_removed(self._writer, old)

    def _unlink(self, sha256s: Iterable[str]) -> None:
        try:
            self._photographs.remove(sha256s)
        except OSError:
            # The write is valid all the same. The next start moves the photographs that are left to the quarantine.
            _logger.warning("a photograph that no product refers to could not be removed", exc_info=True)

    def _stored(self, read: Read, product_ids: Collection[str]) -> dict[Any, StoredProduct | None]:
        """Returns the products of some ids that are there; None for a damaged one."""
        products = self._of_live(read, read_products(read, product_ids))
        self._rows.damaged.update(product_id for product_id, stored in products.items() if stored is None)
        return products

    def _of_live(self, read: Read, products: dict[Any, StoredProduct | None]) -> dict[Any, StoredProduct | None]:
        return of_model(read, products, self.generations.live_version)

    def _write_read(self, query: str, *parameters: SqlValue) -> list[sqlite3.Row]:
        return self._writer.execute(query, parameters).fetchall()

    def _read(self, query: str, *parameters: SqlValue) -> list[sqlite3.Row]:
        with self._read_lock:
            return self._reader.execute(query, parameters).fetchall()

    @contextmanager
    def reading(self) -> Iterator[Read]:
        """Gives what reads one state of the catalogue, whatever is written meanwhile."""
        with self._read_lock:
            self._reader.execute("BEGIN")
            try:
                yield lambda query, *parameters: self._reader.execute(query, parameters).fetchall()
            finally:
                with suppress(sqlite3.Error):
                    self._reader.execute("ROLLBACK")


def _system_clock() -> datetime:
    return datetime.now(UTC)
