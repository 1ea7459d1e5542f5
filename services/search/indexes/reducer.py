"""Makes the reduced indexes of a catalogue, and trains their projection."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from services.search.indexes.cells import SAMPLE_PER_CELL, train_centres
from services.search.indexes.reduction_file import ReductionFile
from services.search.indexes.shards import ReducedIndex, Shard, train_reduction
from services.search.indexes.state import State

# Maximum number of products that the reduction is trained on (seeded), and the growth of the catalogue that makes it
# train again.
_MAX_SAMPLE: Final = 8192
_SEED: Final = 20190301
_GROWTH: Final = 2
# Threads that project the catalogue.
_PROJECTION_THREADS: Final = 2


class Reducer:
    """Decides when a state needs another reduced index, and makes it."""

    def __init__(
        self,
        dimension: int,
        kept: ReductionFile | None,
        *,
        exact_limit: int,
        components: int,
        approximate_from: int,
        cells: int,
    ) -> None:
        """Takes what stores the projection between starts, None for nowhere; and settings of `FaissSettings`."""
        self._dimension = dimension
        self._exact_limit = exact_limit
        self._components = components
        self._approximate_from = approximate_from
        self._cells = cells
        self._kept = kept

    def reduced(self, state: State) -> ReducedIndex | None:
        """Returns the reduced index that a state should have: its own, or a new one if it has none or outgrew it."""
        product_count = sum(len(shard) for shard in state.shards.values())
        count = product_count + len(state.further)
        divided = product_count >= self._approximate_from
        reduction = None if state.reduced is None else state.reduced.reduction
        if count <= self._exact_limit or (
            reduction is not None
            and count < _GROWTH * reduction.trained_on
            and not (divided and reduction.centres is None)
        ):
            return state.reduced
        if reduction is None and self._kept is not None:
            reduction = self._kept.load(self._dimension, 2 * self._components)
        members = np.concatenate([shard.members for shard in state.shards.values()])
        if trained := reduction is None or count >= _GROWTH * reduction.trained_on:
            chosen = np.random.default_rng(_SEED).choice(members, size=min(_MAX_SAMPLE, product_count), replace=False)
            sample = state.embeddings(chosen)
            reduction = train_reduction(sample, 2 * self._components, trained_on=count, seed=_SEED)
        reduced = ReducedIndex(reduction, self._components, len(state.columns))

        def project(part: tuple[Shard, int]) -> None:
            shard, start = part
            rows = slice(start, start + _MAX_SAMPLE)
            reduced.write(shard.members[rows], reduction.project(shard.embeddings.read(rows)))

        parts = [(shard, start) for shard in state.shards.values() for start in range(0, len(shard), _MAX_SAMPLE)]
        # This takes most of a start, and OpenBLAS uses only one thread per matrix product.
        with ThreadPoolExecutor(_PROJECTION_THREADS, thread_name_prefix="projecting") as threads:
            list(threads.map(project, parts))
        if divided and reduced.cells is None:
            count = min(SAMPLE_PER_CELL * self._cells, product_count)
            chosen = np.random.default_rng(_SEED).choice(members, size=count, replace=False)
            reduced.divide(train_centres(reduced.projections(np.sort(chosen)), self._cells, _SEED), _MAX_SAMPLE)
            trained = True
        if trained and self._kept is not None:
            self._kept.save(reduced.reduction)
        return reduced

    def further(self, state: State, reduced: ReducedIndex) -> ReducedIndex:
        """Returns the reduced index of a state's further photographs, by the same projection."""
        embeddings = state.further.embeddings()
        further = ReducedIndex(reduced.reduction, self._components, len(embeddings), with_cells=False)
        for start in range(0, len(embeddings), _MAX_SAMPLE):
            part = embeddings[start : start + _MAX_SAMPLE]
            further.write(np.arange(start, start + len(part)), reduced.reduction.project(part))
        return further
