"""The index in Milvus of a process that writes nothing, and follows the one that does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.contract.errors import Upstream
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.milvus.reader import MAX_RECENT, STALENESS_S, MilvusReader
from services.search.indexes.milvus.rows import DELETED, KEPT_WRITES, keys_of, product_id_of, product_of
from services.search.indexes.milvus.state import Behind, MilvusState, Recent, SearchedState
from services.search.indexes.milvus.store import Meta, MilvusStore

# Later than every write.
_EVER: Final = 2**62

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Changed:
    product: Product
    searchable: bool
    further: int
    sequence: int


class MilvusFollower(MilvusReader):
    """Fulfils the reading part of `services.search.indexes.base.Index`.

    It takes over each write as a whole, within `check_s` and the time that Milvus needs. A search that meets a product
    of a later write takes that write over first.
    """

    def __init__(self, store: MilvusStore, *, staleness_s: float = STALENESS_S, check_s: float = 0.5) -> None:
        """Makes an empty index, which `begin` fills; see `MilvusReader`."""
        super().__init__(store, staleness_s, check_s)
        # Up to this write, every one has been taken over as a whole.
        self._followed = 0

    def begin(self, patience_s: float) -> None:
        """Reads all products, and follows every write from here on.

        Args:
            patience_s: how long to wait for Milvus and for the collection, in seconds.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
            FailedPrecondition: INDEX_FOREIGN.
        """
        self._store.open(patience_s, create=False)
        with self._write_lock:
            self._read_all()
        self._begin()

    def _read_all(self) -> None:
        meta = self._store.read_meta()
        state = MilvusState(sequence=meta.sequence)
        changed, _ = self._changes(-1, meta.sequence)
        for each in changed:
            state.put(each.product, each.searchable, each.further)
        with self._lock.writing():
            self._state = state
            self._followed = meta.sequence
            self._index_version = meta.index_version
            self._latest_until = time.monotonic() + self._staleness_s

    def _check(self) -> None:
        try:
            if self._down.is_set():
                self._store.reopen(create=False)
            self._follow()
        except Upstream as error:
            if not self._down.is_set():
                _log.error("Milvus does not answer", exc_info=error)
            self._down.set()
            return
        if self._down.is_set():
            _log.info("Milvus answers again")
        self._answers_again()

    def _catch_up(self, attempt: int) -> None:
        # A writer that has ended amid a write has left some products of a write that it has not finished.
        self._follow(unfinished=attempt > 0)

    def _follow(self, *, unfinished: bool = False) -> None:
        """Takes over what was written since.

        Args:
            unfinished: take over what is there of a write that is not finished, too.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
        """
        with self._write_lock:
            meta, state = self._store.read_meta(), self._state
            if not self._followed <= meta.sequence <= self._followed + KEPT_WRITES:
                # It is another collection of the same name, or deletions may be forgotten.
                self._read_all()
                return
            if meta.sequence > self._followed or unfinished:
                changed, deleted = self._changes(self._followed, _EVER if unfinished else meta.sequence)
                self._take_over(meta, changed, deleted)
            if state.recent:
                with self._lock.writing():
                    self._forget(time.monotonic())

    def _take_over(self, meta: Meta, changed: Sequence[_Changed], deleted: Sequence[str]) -> None:
        state = self._state
        some: list[IndexedProduct] = []
        if len(changed) <= MAX_RECENT:
            newer = MilvusState(sequence=_EVER)
            for each in changed:
                newer.put(each.product, each.searchable, each.further)
            try:
                some = SearchedState(newer, self._store, latest=True).indexed([each.product for each in changed])
            except Behind:
                # One was deleted meanwhile, and the next look will find that.
                return
        now = time.monotonic()
        with self._lock.writing():
            state.delete(deleted)
            for each in changed:
                state.recent.pop(each.product.id, None)
                state.put(each.product, each.searchable, each.further)
            for indexed in some:
                state.recent[indexed.product.id] = Recent(indexed, written_at=now)
            state.sequence = max([meta.sequence, state.sequence, *(each.sequence for each in changed)])
            self._followed = meta.sequence
            self._index_version = meta.index_version
            if len(changed) > MAX_RECENT:
                self._latest_until = now + self._staleness_s

    def _changes(self, first: int, last: int) -> tuple[list[_Changed], list[str]]:
        """Returns the products of the writes after `first`, and the ids of those that they have deleted."""
        fields = ["sequence", "photograph", "document", "parts", "searchable", "further"]
        changed: list[_Changed] = []
        deleted: list[str] = []
        expression = f"sequence > {first} and sequence <= {last} and photograph in [0, {DELETED}]"
        for row in self._store.every(expression, fields):
            product_id = product_id_of(row["key"])[1]
            if row["photograph"] == DELETED:
                deleted.append(product_id)
                continue
            documents = [row["document"]]
            if row["parts"] > 1:
                keys = keys_of(product_id, 0, row["parts"])[1:]
                rest = {part["key"]: part["document"] for part in self._store.rows(keys, ["document"], latest=True)}
                documents += [rest[key] for key in keys if key in rest]
            changed.append(
                _Changed(product_of(documents), bool(row["searchable"]), int(row["further"]), int(row["sequence"]))
            )
        known = {each.product.id for each in changed}
        return changed, [each for each in deleted if each not in known]
