"""The index in Milvus of a process that writes nothing, and follows the one that does."""

import time
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from services.contract.errors import Upstream
from services.search.catalogue.products import Product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.milvus.reader import MAX_RECENT, STALENESS_S, MilvusReader
from services.search.indexes.milvus.rows import DELETED, KEPT_WRITES, Row, keys_of, parts_of, product_of
from services.search.indexes.milvus.state import Behind, MilvusState, Recent, SearchedState
from services.search.indexes.milvus.store import UNAVAILABLE, Meta, MilvusStore

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Changed:
    product: Product
    searchable: bool
    further: int
    version: int


class MilvusFollower(MilvusReader):
    """Fulfils the reading part of `services.search.indexes.base.Index`.

    It takes over each write as a whole, within `check_s` and the time that Milvus needs. Until then it answers from the
    rows of before, which the writer leaves for a while. A search that misses one of them takes over first what came
    later.
    """

    def __init__(self, store: MilvusStore, *, staleness_s: float = STALENESS_S, check_s: float = 0.5) -> None:
        """Makes an empty index, which `begin` fills; see `MilvusReader`."""
        super().__init__(store, staleness_s, check_s)
        # Up to this write, every one has been taken over as a whole.
        self._followed = 0

    def begin(self) -> None:
        """Reads all products, and follows every write from here on.

        Raises:
            Upstream: INDEX_UNAVAILABLE: Milvus does not answer, or has no such collection; INDEX_INCOMPLETE: there is
                no finished write.
            FailedPrecondition: INDEX_FOREIGN.
        """
        self._store.open(create=False)
        with self._write_lock:
            self._read_all()
        self._begin()

    def _read_all(self) -> None:
        meta = self._finished(0)
        products, _ = self._changes(-1, meta.sequence)
        # Since reading all takes long, some may have been replaced, and deleted before they were read.
        first, meta = meta.sequence, self._finished(meta.sequence)
        changed, deleted = self._changes(first, meta.sequence)
        products |= changed
        state = MilvusState(sequence=meta.sequence)
        for product_id, each in products.items():
            if product_id not in deleted:
                _put(state, each)
        with self._lock.writing():
            self._state = state
            self._followed = meta.sequence
            self._index_version = meta.index_version
            self._latest_until = time.monotonic() + self._staleness_s

    def _finished(self, least: int) -> Meta:
        """Returns the last finished write; there is none in a collection that the writer is about to fill."""
        meta = self._store.read_meta()
        if meta is None or meta.sequence < least:
            raise self._store.incomplete()
        return meta

    def _check(self) -> None:
        try:
            if self._down.is_set():
                self._store.reopen(create=False)
            self._follow()
        except Upstream as error:
            if error.reason == UNAVAILABLE:
                if not self._down.is_set():
                    _log.error("Milvus does not answer", exc_info=error)
                self._down.set()
                return
            _log.info("Milvus is being written; looking again", why=error.message)
        if self._down.is_set():
            _log.info("Milvus answers again")
        self._answers_again()

    def _catch_up(self, attempt: int) -> None:
        try:
            self._follow()
        except Upstream as error:
            if error.reason == UNAVAILABLE:
                raise

    def _follow(self) -> None:
        """Takes over what was written since.

        Raises:
            Upstream: INDEX_UNAVAILABLE; INDEX_INCOMPLETE: it was written meanwhile, or no write is finished.
        """
        with self._write_lock:
            meta = self._finished(0)
            if not self._followed <= meta.sequence <= self._followed + KEPT_WRITES:
                # It is another collection of the same name, or deletions may be forgotten.
                self._read_all()
                return
            if meta.sequence > self._followed:
                self._take_over(meta, *self._changes(self._followed, meta.sequence))
            if self._state.recent:
                with self._lock.writing():
                    self._forget(time.monotonic())

    def _take_over(self, meta: Meta, changed: dict[str, _Changed], deleted: Collection[str]) -> None:
        state = self._state
        some: list[IndexedProduct] = []
        if len(changed) <= MAX_RECENT:
            newer = MilvusState()
            for each in changed.values():
                _put(newer, each)
            try:
                searched = SearchedState(newer, self._store, latest=True)
                some = searched.indexed([each.product for each in changed.values()])
            except Behind:
                # One was replaced long ago, and the next look will find that.
                return
        now = time.monotonic()
        with self._lock.writing():
            state.delete(deleted)
            for product_id, each in changed.items():
                state.recent.pop(product_id, None)
                _put(state, each)
            for indexed in some:
                state.recent[indexed.product.id] = Recent(indexed, written_at=now)
            state.sequence = meta.sequence
            self._followed = meta.sequence
            self._index_version = meta.index_version
            if len(changed) > MAX_RECENT:
                self._latest_until = now + self._staleness_s

    def _changes(self, first: int, last: int) -> tuple[dict[str, _Changed], set[str]]:
        """Returns the products of the writes after `first`, by id, and the ids of those that they have deleted.

        Args:
            first: a write.
            last: a finished write.

        Raises:
            Upstream: INDEX_UNAVAILABLE, INDEX_INCOMPLETE.
        """
        if last <= first:
            return {}, set()
        fields = ["sequence", "photograph", "document", "parts", "searchable", "further"]
        newest: dict[str, tuple[int, _Changed | None]] = {}
        expression = f"sequence > {first} and sequence <= {last} and photograph in [0, {DELETED}]"
        for row in self._store.every(expression, fields, shrinking=True):
            _, product_id, version = parts_of(row["key"])
            sequence = int(row["sequence"])
            if product_id not in newest or sequence > newest[product_id][0]:
                changed = None if row["photograph"] == DELETED else self._changed(row, product_id, version)
                newest[product_id] = sequence, changed
        products = {product_id: each for product_id, (_, each) in newest.items() if each is not None}
        return products, newest.keys() - products.keys()

    def _changed(self, row: Row, product_id: str, version: int) -> _Changed:
        documents = [row["document"]]
        if row["parts"] > 1:
            keys = keys_of(product_id, version, (), row["parts"])
            rest = {part["key"]: part["document"] for part in self._store.rows(keys, ["document"], latest=True)}
            if len(rest) < len(keys):
                raise self._store.incomplete()
            documents += [rest[key] for key in keys]
        return _Changed(product_of(documents), bool(row["searchable"]), int(row["further"]), version)


def _put(state: MilvusState, changed: _Changed) -> None:
    state.put(changed.product, changed.searchable, changed.further)
    state.versions[changed.product.id] = changed.version
