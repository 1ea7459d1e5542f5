"""What every process does that answers from a collection of Milvus, whoever writes it."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from services.contract.attributes import DERIVED_TYPE
from services.contract.errors import Upstream
from services.search.filters.filter import has_label
from services.search.filters.ranking import BY_SIMILARITY, Ranking
from services.search.indexes.base import Collapse, Eligibility, IndexAnswer, Search, TypeMembers
from services.search.indexes.columnar import ColumnarIndex
from services.search.indexes.columns import Columns
from services.search.indexes.milvus import expressions
from services.search.indexes.milvus.state import Behind, MilvusState, SearchedState
from services.search.indexes.milvus.store import UNAVAILABLE, MilvusStore
from services.search.indexes.nearest import Field

# A search may miss what was written this long ago: Milvus's bounded staleness is 5 s, and clocks differ.
STALENESS_S: Final = 15.0
# With more recent products than this, searches wait for Milvus rather than compare all of them here.
MAX_RECENT: Final = 2000
_ATTEMPTS: Final = 4
# Searches in a row without an answer, after which none waits any more until Milvus answers again.
_MAX_UNANSWERED: Final = 5

_log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")


class MilvusReader(ColumnarIndex):
    """The part of an index in Milvus that reads.

    Milvus compares the products that pass a filter; similarities, order and the length of answers are decided here, by
    the embeddings that it gives back. What was written a moment ago is compared here too, so that searches need not
    wait until Milvus has it.
    """

    def __init__(self, store: MilvusStore, staleness_s: float, check_s: float) -> None:
        """Makes an empty one.

        Args:
            store: the collection.
            staleness_s: how old may be what a search in Milvus sees, in seconds; 0 has each one wait for all writes.
            check_s: how often `_check` is called once `_begin` was, in seconds.
        """
        super().__init__()
        self._store = store
        self._staleness_s = staleness_s
        self._check_s = check_s
        self._write_lock = threading.Lock()
        self._state = MilvusState()
        # Until when searches wait for the latest writes, by the monotonic clock.
        self._latest_until = 0.0
        # Whether Milvus lacks a write, or has not answered.
        self._down = threading.Event()
        self._unanswered = 0
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def _columns(self) -> Columns:
        return self._state.columns

    def close(self) -> None:
        """Ends the connection, once what is under way has ended."""
        self._closed.set()
        if self._keeper is not None:
            self._keeper.join()
        self._store.close()

    def _begin(self) -> None:
        self._answers_again()
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="milvus-keeper", daemon=True)
            self._keeper.start()

    def _answers_again(self) -> None:
        self._unanswered = 0
        self._down.clear()

    def _keep(self) -> None:
        while not self._closed.wait(self._check_s):
            try:
                self._check()
            except Exception:
                _log.exception("the index in Milvus could not be checked; trying again")

    @abstractmethod
    def _check(self) -> None:
        """Does what is due: follows other writers, or writes what Milvus lacks."""

    @abstractmethod
    def _catch_up(self, attempt: int) -> None:
        """Takes over what others have written, after so many searches that have found Milvus ahead."""

    def _forget(self, now: float) -> None:
        """Forgets what every search in Milvus finds by now; all that Milvus has, if that is much."""
        before = now - self._staleness_s
        recent = self._state.recent
        if len(recent) > MAX_RECENT:
            before, self._latest_until = now, now + self._staleness_s
        times = {each: known.written_at for each, known in recent.items()}
        for each, written_at in times.items():
            if written_at is not None and written_at <= before:
                del recent[each]

    def search(
        self, query: NDArray[np.float32], k: int, eligibility: Eligibility, ranking: Ranking = BY_SIMILARITY
    ) -> IndexAnswer:
        """See `Index.search`.

        Raises:
            Upstream: INDEX_UNAVAILABLE, INDEX_INCOMPLETE.
        """
        if query.shape != (self._store.dimension,) or not np.isfinite(query).all():
            raise ValueError(f"The query must be {self._store.dimension} finite numbers.")
        if k < 1:
            raise ValueError("k must be at least 1.")
        search = Search(np.ascontiguousarray(query, dtype=np.float32), k, eligibility, ranking)
        if eligibility.collapse is Collapse.DESIGNS:
            # A part at a time, so that no write waits for all of them.
            while not self._reading(lambda state: state.advance_designs()):
                pass
        return self._reading(lambda state: self._search(state, search))

    def search_many(self, searches: Iterable[Search]) -> Iterator[IndexAnswer]:
        """See `Index.search_many`; each is a search of its own."""
        for each in searches:
            yield self.search(each.query, each.k, each.eligibility, each.ranking)

    def _search(self, state: SearchedState, search: Search) -> IndexAnswer:
        types = search.eligibility.derived_types
        if types is None:
            return self._answer(state, search, self._field(state, search, slice(None)))
        scope = replace(search, eligibility=replace(search.eligibility, ladder=None))
        rows = np.flatnonzero(has_label(state.columns, DERIVED_TYPE, types) & state.columns.searchable())
        within = self._field(state, scope, rows)
        if search.eligibility.ladder is None:
            return self._answer(state, search, within)
        return self._climb(state, search, within, lambda rows: self._field(state, search, rows))

    def _field(self, state: SearchedState, search: Search, rows: NDArray[np.int64] | slice) -> Field:
        """Compares every eligible product of some rows."""
        columns = state.columns
        eligible = columns.eligible(search.eligibility, rows)
        expression = expressions.eligible(search.eligibility, columns, eligible.excluded_colours)
        passing = max(1, eligible.count)

        def contenders(k: int, some: NDArray[np.bool_]) -> NDArray[np.int64]:
            mask = np.zeros(len(columns), dtype=np.bool_)
            mask[rows] = some
            wanted = min(k, int(np.count_nonzero(mask)))
            if not wanted:
                return np.empty(0, dtype=np.int64)
            found = state.nearest(search.query, wanted, mask, expression, np.count_nonzero(mask) / passing)
            if len(found) < wanted:
                raise Behind
            return found

        return Field(contenders, rows, eligible)

    def _reading(self, read: Callable[[SearchedState], T]) -> T:
        """Reads one snapshot; fails at once while Milvus does not answer."""
        if self._down.is_set() or self._keeper is None:
            raise self._store.unavailable()
        try:
            answer = self._attempted(read)
        except Upstream as error:
            if error.reason == UNAVAILABLE:
                self._unanswered += 1
                if self._unanswered >= _MAX_UNANSWERED:
                    # The keeper looks whether it answers again.
                    self._down.set()
            raise
        self._unanswered = 0
        return answer

    def _attempted(self, read: Callable[[SearchedState], T]) -> T:
        """Reads one snapshot; again where Milvus is behind, or has gone on."""
        for attempt in range(_ATTEMPTS):
            latest = attempt > 0 or not self._staleness_s or time.monotonic() < self._latest_until
            try:
                with self._lock.reading():
                    return read(SearchedState(self._state, self._store, latest=latest))
            except Behind:
                self._catch_up(attempt)
        raise self._store.incomplete()

    def embedding(self, product_id: str) -> NDArray[np.float16] | None:
        """See `Index.embedding`.

        Raises:
            Upstream: as `search`.
        """

        def read(state: SearchedState) -> NDArray[np.float16] | None:
            row = state.columns.row_of(product_id)
            if row is None or not state.columns.searchable()[row]:
                return None
            values: NDArray[np.float16] = state.embeddings(np.array([row]))[0]
            return values

        with self._lock.reading():
            row = self._columns.row_of(product_id)
            if row is None or not self._columns.searchable()[row]:
                return None
        return self._reading(read)

    def members(self, derived_type: str) -> TypeMembers:
        """See `Index.members`.

        Raises:
            Upstream: as `search`.
        """

        def read(state: SearchedState) -> TypeMembers:
            columns = state.columns
            rows = np.flatnonzero(has_label(columns, DERIVED_TYPE, [derived_type]) & columns.searchable()).tolist()
            rows.sort(key=lambda row: columns.product(row).id)
            products = tuple(columns.product(row) for row in rows)
            return TypeMembers(products, state.embeddings(np.array(rows, dtype=np.int64)), self._index_version)

        return self._reading(read)

    def has_searchable(self, derived_type: str) -> bool:
        """See `Index.has_searchable`."""
        with self._lock.reading():
            columns = self._columns
            return bool((has_label(columns, DERIVED_TYPE, [derived_type]) & columns.searchable()).any())

    def searchable_types(self) -> Mapping[str, int]:
        """See `Index.searchable_types`."""
        with self._lock.reading():
            columns = self._columns
            counts = np.bincount(columns.codes(DERIVED_TYPE)[columns.searchable()], minlength=1).tolist()
            labels = sorted(columns.labels(DERIVED_TYPE).items())
            return {label: counts[code] for label, code in labels if code < len(counts) and counts[code]}
