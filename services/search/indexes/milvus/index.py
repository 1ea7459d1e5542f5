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
    CONTINUED,
    DELETED,
    KEPT_WRITES,
    Row,
    deletion_key,
    digest_of,
    document_of,
    empty_row,
    keys_of,
    product_id_of,
    rows_of,
)
from services.search.indexes.milvus.state import Behind, MilvusState, Recent, SearchedState
from services.search.indexes.milvus.store import Meta, MilvusStore
from services.search.indexes.parts import check_indexed, check_write

_CHECK_S: Final = 0.5

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
            start_timeout_s: how long Milvus may take to answer at first, in seconds.
            on_failure: called with a sentence where the process has to start again.
        """
        super().__init__(store, staleness_s, _CHECK_S)
        self._catalogue = catalogue
        self._start_timeout_s = start_timeout_s
        self._on_failure = on_failure
        # Primary keys that Milvus still has to delete, and ids of the products that are gone.
        self._obsolete: set[str] = set()
        self._gone: set[str] = set()
        # The sequence that Milvus has last.
        self._written = 0

    def load(self, batches: Iterable[Sequence[IndexedProduct]], index_version: int) -> None:
        """See `Index.load`; comes before all else, and writes to Milvus only what it does not have.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
            FailedPrecondition: INDEX_FOREIGN.
        """
        with self._write_lock:
            self._store.open(self._start_timeout_s)
            self._store.claim(self._catalogue)
            known = {
                row["key"]: int(row["digest"]) for row in self._store.every(f"photograph >= {CONTINUED}", ["digest"])
            }
            state = MilvusState(sequence=self._store.read_meta().sequence + 1)
            for batch in batches:
                check_indexed(batch, self._store.dimension)
                self._store.write(*self._changed(state, batch, known))
            # What is left is of no product, or a photograph that a product has no more.
            gone = {product_id_of(key)[1] for key in known}
            gone = {each for each in gone if state.columns.row_of(each) is None}
            old = f"photograph == {DELETED} and sequence < {state.sequence - KEPT_WRITES}"
            forgotten = [row["key"] for row in self._store.every(old, [])]
            self._store.write(self._deletions(gone, state.sequence), [*known, *forgotten, *map(deletion_key, gone)])
            self._store.write_meta(Meta(state.sequence, index_version))
            with self._lock.writing():
                self._state = state
                self._index_version = index_version
                self._obsolete, self._gone = set(), set()
                self._written = state.sequence
                self._latest_until = time.monotonic() + self._staleness_s
            self._begin()

    def _changed(
        self, state: MilvusState, batch: Sequence[IndexedProduct], known: dict[str, int]
    ) -> tuple[list[Row], list[str]]:
        """Puts products into a state, and takes their keys from those that Milvus has, with digests.

        Returns:
            The rows that Milvus lacks, and the keys that it has to delete before.
        """
        rows: list[Row] = []
        obsolete: list[str] = []
        for each in batch:
            if state.columns.row_of(each.product.id) is not None:
                raise ValueError("An id comes twice among the products.")
            state.put(each.product, each.embedding is not None, len(each.further))
            keys = _keys(each.product, len(each.further))
            if known.get(keys[0]) != digest_of(each):
                obsolete += [*(key for key in keys if key in known), deletion_key(each.product.id)]
                rows += rows_of(each, state.sequence, self._store.dimension)
            for key in keys:
                known.pop(key, None)
        return rows, obsolete

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
                    row = state.columns.row_of(each)
                    if row is not None:
                        self._obsolete.update(_keys(state.columns.product(row), state.further.get(each, 0)))
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
        try:
            whole = SearchedState(state, self._store, latest=True).indexed([each.indexed.product for each in recent])
            rows = [row for each in whole for row in rows_of(each, state.sequence, self._store.dimension)]
            keys = self._obsolete.union(map(deletion_key, (*(each.product.id for each in whole), *self._gone)))
            self._store.write([*rows, *self._deletions(self._gone, state.sequence)], keys)
            self._store.write_meta(Meta(state.sequence, self._index_version))
        except (Upstream, Behind) as error:
            _log.error("Milvus does not take what was written", exc_info=error)
            self._down.set()
            return
        self._obsolete, self._gone, self._written = set(), set(), state.sequence
        now = time.monotonic()
        with self._lock.writing():
            for known, indexed in zip(recent, whole, strict=True):
                known.indexed, known.read, known.written_at = indexed, True, now
            self._forget(now)

    def _deletions(self, product_ids: Iterable[str], sequence: int) -> list[Row]:
        """Returns rows that say to those who follow that products are deleted."""
        empty = empty_row(self._store.dimension, sequence)
        return [empty | {"key": deletion_key(each), "photograph": DELETED} for each in product_ids]

    def _check(self) -> None:
        if self._down.is_set():
            self._recover()
        elif self._state.recent:
            with self._write_lock, self._lock.writing():
                self._forget(time.monotonic())

    def _recover(self) -> None:
        """Writes what Milvus has missed, if it answers again."""
        with self._write_lock:
            try:
                self._store.reopen()
                sequence = self._store.read_meta().sequence
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

    def _catch_up(self, attempt: int) -> None:
        """Nobody else writes."""


def _keys(product: Product, further: int) -> list[str]:
    # Only own attributes make a document so long that it has several parts.
    return keys_of(product.id, further, len(document_of(product)) if product.attributes else 1)
