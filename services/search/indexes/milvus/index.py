"""The index in Milvus of the process that writes it."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import structlog

from services.contract.errors import Upstream
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.milvus.reader import STALENESS_S, MilvusReader
from services.search.indexes.milvus.rows import (
    DELETED,
    KEPT_WRITES,
    Row,
    deletion_key,
    document_of,
    empty_row,
    keys_of,
    rows_of,
)
from services.search.indexes.milvus.state import Behind, MilvusState, Recent, SearchedState
from services.search.indexes.milvus.store import UNAVAILABLE, Meta, MilvusStore
from services.search.indexes.milvus.stored import Stored
from services.search.indexes.parts import check_indexed, check_write

_CHECK_S: Final = 0.5
_PAUSE_S: Final = 0.5
# Milvus may be asked so often for an embedding that it does not give, before that counts as lost.
_MAX_BEHIND: Final = 3

_log = structlog.stdlib.get_logger(__name__)


class MilvusIndex(MilvusReader):
    """Fulfils `services.search.indexes.base.Index` with a collection of Milvus that no other process writes.

    Where Milvus does not answer, searches raise `Upstream` with INDEX_UNAVAILABLE. Writes are taken, and reach Milvus
    once it answers again.
    """

    def __init__(
        self,
        store: MilvusStore,
        catalogue: str,
        *,
        staleness_s: float = STALENESS_S,
        start_timeout_s: float = 0.0,
        on_failure: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Makes an empty index, which `load` fills.

        Args:
            store: the collection; opened by `load`.
            catalogue: the identity of the catalogue. No other one is written to the collection.
            staleness_s: see `MilvusReader`.
            start_timeout_s: how long Milvus may take at first to answer, and to stop changing, in seconds.
            on_failure: called with a sentence where the process has to start again.
        """
        super().__init__(store, staleness_s, _CHECK_S)
        self._catalogue = catalogue
        self._start_timeout_s = start_timeout_s
        self._on_failure = on_failure
        # Primary keys that are to be deleted once the next write is finished, and ids of the products that are gone.
        self._obsolete: set[str] = set()
        self._gone: set[str] = set()
        # Primary keys of finished writes, to be deleted once no process reads them any more: from when on, and which.
        self._outdated: list[tuple[float, list[str]]] = []
        # The sequence of a write that has failed, and its primary keys.
        self._failed: tuple[int, list[str]] = (0, [])
        self._behind = 0
        # The sequence that Milvus has last.
        self._written = 0

    def load(self, batches: Iterable[Sequence[IndexedProduct]], index_version: int) -> None:
        """See `Index.load`; comes before all else, and writes to Milvus only what it does not have.

        Raises:
            Upstream: INDEX_UNAVAILABLE; INDEX_INCOMPLETE: another process writes the collection.
            FailedPrecondition: INDEX_FOREIGN.
        """
        with self._write_lock:
            end = time.monotonic() + self._start_timeout_s
            self._store.open(self._start_timeout_s)
            self._store.claim(self._catalogue)
            meta, stored = self._stored(end)
            # A write that was not finished has higher ones than the last that was.
            state = MilvusState(sequence=1 + max(meta.sequence, stored.sequence))
            for batch in batches:
                check_indexed(batch, self._store.dimension)
                self._store.insert(self._missing(state, batch, stored))
            gone = stored.gone(state.columns)
            self._store.insert(self._deletions(gone, state.sequence))
            self._store.write_meta(Meta(state.sequence, index_version))
            obsolete = [*stored.keys, *stored.forgettable(state.columns, gone, state.sequence - KEPT_WRITES)]
            now = time.monotonic()
            with self._lock.writing():
                self._state = state
                self._index_version = index_version
                self._obsolete, self._gone = set(), set()
                self._failed, self._behind = (0, []), 0
                self._outdated = [(now + self._staleness_s, obsolete)]
                self._written = state.sequence
                self._latest_until = now + self._staleness_s
            self._begin()
            self._delete_outdated()

    def _stored(self, end: float) -> tuple[Meta, Stored]:
        """Reads what Milvus has, again until `end` while the last writes of a process that has ended still arrive."""
        while True:
            meta = self._store.read_meta() or Meta()
            try:
                rows = self._store.every(f"photograph >= {DELETED}", ["photograph", "sequence", "digest"])
                return meta, Stored.read(rows)
            except Upstream as error:
                if error.reason == UNAVAILABLE or time.monotonic() >= end:
                    raise
                time.sleep(_PAUSE_S)

    def _missing(self, state: MilvusState, batch: Sequence[IndexedProduct], stored: Stored) -> list[Row]:
        """Puts products into a state, and returns the rows that Milvus lacks."""
        rows: list[Row] = []
        for each in batch:
            if state.columns.row_of(each.product.id) is not None:
                raise ValueError("An id comes twice among the products.")
            state.put(each.product, each.embedding is not None, len(each.further))
            version = stored.take(each)
            if version is None:
                rows += rows_of(each, state.sequence, self._store.dimension)
            state.versions[each.product.id] = state.sequence if version is None else version
        return rows

    def apply(
        self,
        upserts: Sequence[IndexedProduct],
        deletes: Collection[str],
        index_version: int,
        updates: Sequence[Product] = (),
    ) -> None:
        """See `Index.apply`; while Milvus does not answer, it gets the write later."""
        ids = check_write(upserts, deletes, updates, self._store.dimension)
        with self._write_lock:
            state = self._state
            for product in updates:
                if state.columns.row_of(product.id) is None:
                    raise ValueError(f"There is no product {product.id} to be updated.")
            with self._lock.writing():
                for each in ids:
                    row, known = state.columns.row_of(each), state.versions.get(each)
                    if row is not None and known is not None:
                        self._obsolete.update(_keys(state.columns.product(row), known, state.further.get(each, 0)))
                self._gone.update(each for each in deletes if state.columns.row_of(each) is not None)
                state.delete(deletes)
                for indexed in upserts:
                    state.put(indexed.product, indexed.embedding is not None, len(indexed.further))
                    state.recent[indexed.product.id] = Recent(indexed)
                    self._gone.discard(indexed.product.id)
                for product in updates:
                    state.update(product)
                state.sequence += 1
                self._index_version = index_version
            self._flush()

    def _flush(self) -> None:
        """Writes to Milvus what it does not have yet, unless it does not answer; under the lock of writes."""
        if self._down.is_set():
            return
        state = self._state
        recent = [each for each in state.recent.values() if each.written_at is None]
        rows: list[Row] = []
        try:
            whole = SearchedState(state, self._store, latest=True).indexed([each.indexed.product for each in recent])
            rows += (row for each in whole for row in rows_of(each, state.sequence, self._store.dimension))
            rows += self._deletions(self._gone, state.sequence)
            self._store.insert(rows)
            self._store.write_meta(Meta(state.sequence, self._index_version))
        except (Upstream, Behind) as error:
            _log.error("Milvus does not take what was written", exc_info=error)
            self._down.set()
            self._failed = (state.sequence, [row["key"] for row in rows])
            with self._lock.writing():
                # What has failed may be written nevertheless, so that the next attempt has primary keys of its own.
                state.sequence += 1
            self._count_behind(error)
            return
        now = time.monotonic()
        self._outdated.append((now + self._staleness_s, list(self._obsolete)))
        self._obsolete, self._gone, self._written, self._behind = set(), set(), state.sequence, 0
        with self._lock.writing():
            for known, indexed in zip(recent, whole, strict=True):
                known.indexed, known.read, known.written_at = indexed, True, now
                state.versions[indexed.product.id] = state.sequence
            self._forget(now)

    def _count_behind(self, error: Exception) -> None:
        """Has the process start again, which reads the catalogue, where Milvus has lost an embedding."""
        self._behind = self._behind + 1 if isinstance(error, Behind) else 0
        if self._behind == _MAX_BEHIND:
            self._on_failure("Milvus has lost products of the index: it has to be loaded anew")

    def _delete_outdated(self) -> None:
        """Deletes rows that no process reads any more; under the lock of writes."""
        now = time.monotonic()
        due = [key for since, keys in self._outdated if since <= now for key in keys]
        try:
            self._store.delete(due)
        except Upstream as error:
            _log.error("Milvus does not delete what was replaced", exc_info=error)
            self._down.set()
            return
        self._outdated = [each for each in self._outdated if each[0] > now]

    def _deletions(self, product_ids: Iterable[str], sequence: int) -> list[Row]:
        """Returns rows that say to those who follow that products are deleted."""
        empty = empty_row(self._store.dimension, sequence)
        return [empty | {"key": deletion_key(each, sequence), "photograph": DELETED} for each in product_ids]

    def _check(self) -> None:
        if self._down.is_set():
            self._recover()
        elif self._state.recent or self._outdated:
            with self._write_lock:
                self._delete_outdated()
                with self._lock.writing():
                    self._forget(time.monotonic())

    def _recover(self) -> None:
        """Writes what Milvus has missed, if it answers again."""
        with self._write_lock:
            try:
                self._store.reopen()
                sequence = (self._store.read_meta() or Meta()).sequence
                self._clear_failed(sequence)
            except Upstream as error:
                _log.info("Milvus does not answer yet", why=str(error.__cause__))
                return
            if not self._written <= sequence <= self._state.sequence:
                self._on_failure(
                    "Milvus has lost the index, or another process has written it: it has to be loaded anew"
                )
                return
            self._answers_again()
            self._flush()
            if not self._down.is_set():
                _log.info("Milvus answers again")

    def _clear_failed(self, sequence: int) -> None:
        """Deletes the rows of a write that has failed, unless it was finished nevertheless, so that others read them.

        Args:
            sequence: of the last write that was finished.
        """
        failed, keys = self._failed
        if sequence < failed:
            self._store.delete(keys)
        else:
            self._obsolete.update(keys)
        self._failed = (0, [])

    def _catch_up(self, attempt: int) -> None:
        """Nobody else writes."""


def _keys(product: Product, version: int, further: int) -> list[str]:
    # Only own attributes make a document so long that it has several parts.
    return keys_of(product.id, version, range(1 + further), len(document_of(product)) if product.attributes else 1)
