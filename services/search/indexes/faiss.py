"""The index in this process, on FAISS: one exact index per derived type, and a reduced one over all products."""

import math
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import faiss
import numpy as np
import structlog
from numpy.typing import NDArray

from services.search.catalogue.products import Product
from services.search.filters.ranking import BY_SIMILARITY, Ranking
from services.search.indexes.base import (
    Collapse,
    Eligibility,
    IndexAnswer,
    IndexedProduct,
    IndexFacts,
    Search,
    TypeMembers,
)
from services.search.indexes.batch import Batch, BatchBounds, Bounds
from services.search.indexes.columnar import ColumnarIndex
from services.search.indexes.columns import Columns
from services.search.indexes.compared import Compared, contending
from services.search.indexes.eligible_rows import (
    EligibleRows,
    as_slice,
    eligible_count_of,
    eligible_mask_of,
    eligible_rows_of,
)
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.flat_index import FlatIndex
from services.search.indexes.nearest import Field
from services.search.indexes.parts import Part, SnapshotInterrupted, check_indexed, check_write, part_of
from services.search.indexes.reducer import Reducer
from services.search.indexes.reduction_file import ReductionFile
from services.search.indexes.rows_file import RowsFile
from services.search.indexes.shards import (
    ReducedIndex,
    ReducedSearch,
    Reduction,
    Shard,
    ShardSearch,
)
from services.search.indexes.state import State

# Additional products to fetch: mostly enough to decide which products of equal similarity belong to the answer.
_ADDITIONAL_HITS = 32
# The reduced index is given up where it would choose more than one product in so many, or compare more than that.
_MIN_CHOICE = 4
_MIN_REDUCTION = 8
# Fewer products per derived type than this are copied together sooner than each type is searched.
_MIN_SHARE = 16
# Products that the first components choose of the nearest cells, per one that is compared.
_NEAR_PER_COMPARED = 5
# Products whose second bounds are looked at first where all nearest are to be found: a quarter of them or so many, and
# at least one in so many.
_ENOUGH_BOUNDED = 1000
_BOUNDED_SHARE = 64
# A batch of fewer searches is not worth the copy of the reduced index.
_MIN_BATCH = 16
# Searches whose bounds are computed together: a matrix product of fewer is slower per search, one of more no faster.
_MAX_BATCH = 128

_log = structlog.stdlib.get_logger(__name__)


class FaissIndex(ColumnarIndex):
    """Fulfils `services.search.indexes.base.Index` in memory, with one copy of the embeddings, in float16.

    A search answers what a comparison with all eligible products would, and decides ties exactly. Searches of derived
    types, or of at most `exact_limit` eligible products, are such comparisons. In larger ones the reduced index chooses
    the products to compare, with a bound for all others. A query unlike the catalogue, such as a random vector, is
    compared with all of them.

    From `approximate_from` products on, searches of the whole inventory that are larger than that are approximate: the
    reduced index chooses from the nearest cells. Their answers are filled all the same.
    """

    def __init__(
        self,
        dimension: int,
        settings: FaissSettings | None = None,
        kept: ReductionFile | None = None,
        folder: Path | None = None,
    ) -> None:
        """Makes an empty index.

        Args:
            dimension: floats in an embedding.
            settings: of a search.
            kept: stores the projection of the reduced index between starts; None stores it nowhere.
            folder: has the embeddings of very many products; None for the system's folder of temporary files.
        """
        super().__init__()
        self.dimension = dimension
        self.settings = settings if settings is not None else FaissSettings()
        # Maximum rounding error of an inner product of two float32 vectors of norm 1, in any order of the sum. Source:
        # Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1.
        self._rounding = 1.01 * dimension * 2.0**-24
        # Held during a whole write; readers are blocked only by the short part of it under `_lock`.
        self._write_lock = threading.Lock()
        self._reducer = Reducer(
            dimension,
            kept,
            exact_limit=self.settings.exact_limit,
            components=self.settings.components,
            approximate_from=self.settings.approximate_from,
            cells=self.settings.cells,
        )
        self._folder = folder
        self._disk_refused = False
        self._state = self._empty()
        self._last_bounds: weakref.ref[BatchBounds] | None = None

    @property
    def _columns(self) -> Columns:
        return self._state.columns

    def _empty(self) -> State:
        return State(self.dimension, self.settings.exact_limit, self.settings.min_candidates)

    def load(self, batches: Iterable[Sequence[IndexedProduct]], index_version: int) -> None:
        """See `Index.load`; until all is loaded, searches are answered from the former products."""

        def parts() -> Iterator[Part]:
            for batch in batches:
                check_indexed(batch, self.dimension)
                yield part_of(batch, self.dimension)

        self._fill(None, parts(), index_version)

    def restore(self, reduction: Reduction | None, parts: Iterable[Part], index_version: int) -> None:
        """Replaces all products by those of a snapshot, as `snapshot` gave them.

        Raises:
            ValueError: an id comes twice.
        """
        self._fill(reduction, parts, index_version)

    def _fill(self, reduction: Reduction | None, parts: Iterable[Part], index_version: int) -> None:
        with self._write_lock:
            state = self._empty()
            if reduction is not None:
                components = self.settings.components
                further = ReducedIndex(reduction, components, 0, with_cells=False)
                state.reduce(ReducedIndex(reduction, components, 0), further)
            for part in parts:
                state.extend(part)
                if file := self._file_for(state):
                    state.replace_shards(state.moved_to(file), file)
            self._reduce(state)
            with self._lock.writing():
                self._state = state
                self._index_version = index_version

    def snapshot(self, part_products: int) -> tuple[int, Reduction | None, Iterator[Part]]:
        """Returns a version, the projection, and part by part all products that have not changed since that version.

        Those that have are there as they are when their part is taken, or not at all. Neither readers nor writers wait
        for more than the copy of a part.

        Args:
            part_products: how many products are copied at once.

        Raises:
            SnapshotInterrupted: by the iterator, where all products were projected anew meanwhile.
        """
        with self._lock.reading():
            state, reduced, version = self._state, self._state.reduced, self._index_version
            ids = state.ids_by_type()

        def parts() -> Iterator[Part]:
            for start in range(0, len(ids), part_products):
                with self._lock.reading():
                    if self._state is not state or state.reduced is not reduced:
                        raise SnapshotInterrupted
                    part = state.part(ids[start : start + part_products])
                yield part

        return version, None if reduced is None else reduced.reduction, parts()

    def apply(
        self,
        upserts: Sequence[IndexedProduct],
        deletes: Collection[str],
        index_version: int,
        updates: Sequence[Product] = (),
    ) -> None:
        """See `Index.apply`."""
        check_write(upserts, deletes, updates, self.dimension)
        with self._write_lock:
            projections, further = self._state.project(upserts), self._state.project_further(upserts)
            with self._lock.writing():
                self._state.update(updates)
                self._state.delete(deletes)
                self._state.upsert(upserts, projections, further)
                self._index_version = index_version
            # Takes seconds and only makes answers faster, so readers need not wait for it.
            self._reduce(self._state)

    def search(
        self, query: NDArray[np.float32], k: int, eligibility: Eligibility, ranking: Ranking = BY_SIMILARITY
    ) -> IndexAnswer:
        """See `Index.search`; a similarity is the float64 inner product with the stored embedding, in [-1, 1]."""
        return self._search(Search(query, k, eligibility, ranking))

    def search_many(self, searches: Iterable[Search]) -> Iterator[IndexAnswer]:
        """See `Index.search_many`; takes up to 128 searches in advance, whose bounds are one matrix product."""
        batch = Batch()
        remaining = iter(searches)
        while group := list(islice(remaining, _MAX_BATCH)):
            whole = [each.query for each in group if each.eligibility.derived_types is None]
            if len(whole) >= _MIN_BATCH:
                self._refresh(batch)
            bounds = iter(batch.bounds.of(np.stack(whole)) if whole and batch.bounds is not None else ())
            for each in group:
                yield self._search(each, batch, next(bounds, None) if each.eligibility.derived_types is None else None)

    def _refresh(self, batch: Batch) -> None:
        """Makes a batch one of the present snapshot."""
        with self._lock.reading():
            if not batch.holds(self._state, self._index_version):
                batch.state, batch.reduced, batch.index_version = self._state, self._state.reduced, self._index_version
                whole = batch.reduced is not None and not self._approximate(self._state)
                batch.bounds = self._bounds(batch.reduced) if whole and batch.reduced is not None else None
                batch.passing = None

    def _bounds(self, reduced: ReducedIndex) -> BatchBounds:
        """Returns the bounds of the present snapshot, which batches at one time share."""
        bounds = None if self._last_bounds is None else self._last_bounds()
        if bounds is None or bounds.reduced is not reduced or bounds.index_version != self._index_version:
            bounds = BatchBounds(reduced, self._index_version)
            self._last_bounds = weakref.ref(bounds)
        return bounds

    def _search(self, search: Search, batch: Batch | None = None, bounds: Bounds | None = None) -> IndexAnswer:
        query, k, eligibility = search.query, search.k, search.eligibility
        if query.shape != (self.dimension,) or not np.isfinite(query).all():
            raise ValueError(f"The query must be {self.dimension} finite numbers.")
        if k < 1:
            raise ValueError("k must be at least 1.")
        query = np.ascontiguousarray(query, dtype=np.float32)
        # OpenMP keeps this number for each thread that calls, so that it must be set in the one that searches.
        faiss.omp_set_num_threads(self.settings.threads)
        if eligibility.collapse is Collapse.DESIGNS:
            self._find_designs()
        with self._lock.reading():
            state = self._state
            if batch is not None and not batch.holds(state, self._index_version):
                batch, bounds = None, None
            search = replace(search, query=query)
            if eligibility.derived_types is None:
                return self._answer(state, search, self._among(state, search, slice(None), batch, bounds))
            within = self._within(state, query, eligibility, eligibility.derived_types)
            if eligibility.ladder is None:
                return self._answer(state, search, within)
            return self._climb(state, search, within, lambda rows: self._among(state, search, rows))

    def _find_designs(self) -> None:
        """Finds the designs of products that have changed, a part at a time, so that no write waits for all of them."""
        done = False
        while not done:
            with self._lock.reading():
                done = self._state.advance_designs()

    def embedding(self, product_id: str) -> NDArray[np.float16] | None:
        """See `Index.embedding`."""
        with self._lock.reading():
            row = self._state.columns.row_of(product_id)
            if row is None or not self._state.columns.searchable()[row]:
                return None
            return self._state.embedding(row)

    def members(self, derived_type: str) -> TypeMembers:
        """See `Index.members`."""
        with self._lock.reading():
            shard = self._state.shards.get(derived_type) or Shard(FlatIndex(self.dimension))
            products = [self._state.columns.product(row) for row in shard.members.tolist()]
            order = sorted(range(len(products)), key=lambda position: products[position].id)
            return TypeMembers(
                products=tuple(products[position] for position in order),
                embeddings=shard.embeddings.read(np.array(order, dtype=np.int64)),
                index_version=self._index_version,
            )

    def has_searchable(self, derived_type: str) -> bool:
        """See `Index.has_searchable`."""
        with self._lock.reading():
            return derived_type in self._state.shards

    def searchable_types(self) -> Mapping[str, int]:
        """See `Index.searchable_types`."""
        with self._lock.reading():
            return {label: len(shard) for label, shard in sorted(self._state.shards.items())}

    def facts(self) -> IndexFacts:
        """See `Index.facts`."""
        return replace(super().facts(), approximate=self._approximate(self._state))

    def _within(
        self,
        state: State,
        query: NDArray[np.float32],
        eligibility: Eligibility,
        derived_types: Collection[str],
    ) -> Field:
        """Compares every eligible product of some derived types, and no others."""
        shards = [shard for label in sorted(derived_types) if (shard := state.shards.get(label)) is not None]
        # Evaluated even if there are no products, so that a bad filter is always refused.
        members = np.concatenate([np.empty(0, dtype=np.int64), *(shard.members for shard in shards)])
        rows = as_slice(members)
        eligible = state.columns.eligible(eligibility, rows)
        ends = np.cumsum([len(shard) for shard in shards])[:-1]

        def contenders(k: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
            count = int(np.count_nonzero(mask))
            limit = self.settings.exact_type_limit if state.in_memory else self.settings.exact_on_disk
            if count > limit and state.reduced is not None:
                reduced = state.reduced.search(query)
                some = np.flatnonzero(mask) + rows.start if isinstance(rows, slice) else np.sort(members[mask])
                if not state.in_memory:
                    return self._bounded(state, reduced, query, k, some)
                chosen = self._chosen(state, reduced, query, k, eligible_mask_of(some, len(state.columns)), count)
                if chosen is not None:
                    return chosen
            masks = np.split(mask, ends)
            searches = [ShardSearch(shard, query, mine) for shard, mine in zip(shards, masks, strict=False)]
            return self._contenders(searches, k)

        return Field(contenders, rows, eligible)

    def _among(
        self,
        state: State,
        search: Search,
        rows: NDArray[np.int64] | slice,
        batch: Batch | None = None,
        bounds: Bounds | None = None,
    ) -> Field:
        """Compares every eligible product of some rows, or if there are many, those that the reduced index chooses.

        A batch and its bounds are about all rows.
        """
        query, eligibility = search.query, search.eligibility
        if batch is not None:
            eligible = batch.eligible(state.columns, eligibility)
        elif isinstance(rows, slice):
            rows, eligible = state.columns.eligible_of_all(eligibility)
        else:
            eligible = state.columns.eligible(eligibility, rows)

        def contenders(k: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
            some: EligibleRows = mask if isinstance(rows, slice) else rows[mask]
            products = len(state.columns)
            limit = self.settings.exact_limit + products // self.settings.products_per_exact
            if not state.in_memory:
                limit = self.settings.exact_on_disk
            count = eligible_count_of(some)
            if count > limit and state.reduced is not None:
                if self._approximate(state):
                    choose = self._bounded if count <= self.settings.exact_bounded else self._near
                    return choose(state, state.reduced.search(query), query, k, some)
                searched = bounds or state.reduced.search(query)
                chosen = self._chosen(state, searched, query, k, eligible_mask_of(some, products), count)
                if chosen is not None:
                    return chosen
            return self._contenders(self._scans(state, query, eligible_rows_of(some)), k)

        return Field(contenders, rows, eligible)

    def _scans(self, state: State, query: NDArray[np.float32], rows: NDArray[np.int64]) -> list[ShardSearch]:
        """Returns the searches that compare every product of some rows."""
        if state.in_memory or len(rows) > self.settings.exact_on_disk:
            shards = [state.shards[label] for label in state.labels_of(rows)]
            if len(rows) >= _MIN_SHARE * len(shards):
                mask = eligible_mask_of(rows, len(state.columns))
                return [ShardSearch(shard, query, mask[shard.members]) for shard in shards]
        together = Shard(FlatIndex(self.dimension))
        together.append(rows, state.embeddings(rows))
        return [ShardSearch(together, query, np.ones(len(rows), dtype=np.bool_))]

    def _chosen(
        self,
        state: State,
        bounds: Bounds | ReducedSearch,
        query: NDArray[np.float32],
        k: int,
        mask: NDArray[np.bool_],
        count: int,
    ) -> NDArray[np.int64] | None:
        """Returns the rows that may be among the `k` nearest: int64, shape (n,); None where that takes too many.

        Products are compared in the order of their bounds, until these exclude all others.
        """
        wanted = max(self.settings.min_candidates, self.settings.candidates_per_hit * k, bounds.first(count))
        compared = Compared(k, self._rounding)
        while wanted <= count // _MIN_CHOICE:
            found = bounds.nearest(wanted, mask)
            most = count // _MIN_REDUCTION
            if not compared.add(state, query, found.rows, found.bounds, others=found.others, most=most):
                return None
            if compared.floor > found.others:
                return compared.contenders()
            wanted = bounds.more_than(found, compared.floor, mask)
        return None

    def _approximate(self, state: State) -> bool:
        """Returns whether large searches of the whole inventory may miss a product."""
        cells = None if state.reduced is None else state.reduced.cells
        return cells is not None and len(state.columns) >= self.settings.approximate_from

    def _near(
        self, state: State, reduced: ReducedSearch, query: NDArray[np.float32], k: int, eligible: EligibleRows
    ) -> NDArray[np.int64]:
        """Returns the rows of at least `k` products, probably the nearest, of the nearest cells: int64, shape (n,)."""
        wanted = max(self.settings.min_candidates, self.settings.candidates_per_hit * k)
        # A filter spreads the eligible products over more cells, so that fewer of them reach as far.
        reach = int(self.settings.near * math.sqrt(eligible_count_of(eligible) / len(state.columns)))
        near = reduced.near(max(reach, 2 * _NEAR_PER_COMPARED * wanted), eligible)
        candidates = reduced.nearest(min(eligible_count_of(near), _NEAR_PER_COMPARED * wanted), near)
        compared = Compared(k, self._rounding)
        compared.add(state, query, candidates.rows[:wanted], candidates.bounds[:wanted])
        return compared.contenders()

    def _bounded(
        self, state: State, reduced: ReducedSearch, query: NDArray[np.float32], k: int, eligible: EligibleRows
    ) -> NDArray[np.int64]:
        """Returns the rows that may be among the `k` nearest of all that are eligible: int64, shape (n,).

        As `_chosen`, but it never compares all without looking at their bounds: reading them takes longer.
        """
        count = eligible_count_of(eligible)
        compared = Compared(k, self._rounding)
        least = max(self.settings.min_candidates, self.settings.candidates_per_hit * k)
        share = min(count // _MIN_CHOICE, _ENOUGH_BOUNDED)
        wanted = max(least, share, count // _BOUNDED_SHARE, reduced.first(count))
        while True:
            wanted = count if wanted > count // _MIN_CHOICE else wanted
            candidates = reduced.nearest(wanted, eligible)
            compared.add(state, query, candidates.rows, candidates.bounds)
            if wanted == count or compared.floor > candidates.others:
                return compared.contenders()
            wanted = max(2 * wanted, reduced.more_than(candidates, compared.floor, eligible))

    def _contenders(self, searches: Sequence[ShardSearch], k: int) -> NDArray[np.int64]:
        """Returns the rows that may be among the `k` nearest of several shards: int64, shape (n,)."""
        busy = [search for search in searches if search.fetch(k + _ADDITIONAL_HITS)]
        if not busy:
            return np.empty(0, dtype=np.int64)
        similarities = np.concatenate([search.similarities for search in busy])
        if len(similarities) <= k:
            return np.concatenate([search.rows for search in busy])
        floor = contending(float(np.partition(similarities, -k)[-k]), self._rounding)
        for search in busy:
            search.fetch_down_to(floor)
        return np.concatenate([search.rows[search.similarities >= floor] for search in busy])

    def _file_for(self, state: State) -> RowsFile | None:
        """Returns a file for the embeddings of a state; None where they stay where they are."""
        if not state.in_memory or self._disk_refused or len(state.columns) < self.settings.on_disk_from:
            return None
        try:
            return RowsFile(self._folder, self.dimension)
        except OSError as error:
            self._disk_refused = True
            _log.warning("embeddings stay in memory: the disk does not take them", why=str(error))
            return None

    def _reduce(self, state: State) -> None:
        """Puts a state where it should be, and gives it reduced indexes; takes seconds where it has to train."""
        if file := self._file_for(state):
            shards = state.moved_to(file)
            with self._lock.writing():
                state.replace_shards(shards, file)
        reduced = self._reducer.reduced(state)
        if reduced is None or reduced is state.reduced:
            return
        further = self._reducer.further(state, reduced)
        with self._lock.writing():
            state.reduce(reduced, further)
