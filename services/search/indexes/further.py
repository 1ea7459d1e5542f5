"""The further photographs of products: a product is as similar as its most similar photograph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.values import MAX_PHOTOGRAPHS
from services.search.indexes.shards import FlatIndex, ReducedIndex

# A product has one photograph in its shard, and up to this many here.
MAX_FURTHER: Final = MAX_PHOTOGRAPHS - 1
# The reduced index is given up where it would choose more than one in so many.
_MIN_CHOICE: Final = 4
_FIRST_COMPARED: Final = 64


class FurtherPhotographs:
    """The embeddings of the photographs after the first, each with the row of its product. Not thread-safe."""

    def __init__(self, dimension: int, exact_limit: int, min_candidates: int) -> None:
        """Makes an empty one.

        Args:
            dimension: floats in an embedding.
            exact_limit: up to this many eligible ones are all compared. Of more, the reduced index chooses some.
            min_candidates: minimum number of those that it chooses.
        """
        self._dimension = dimension
        self._exact_limit = exact_limit
        self._min_candidates = min_candidates
        self._embeddings = FlatIndex(dimension)
        self._rows = np.empty(0, dtype=np.int64)
        self._numbers = np.empty(0, dtype=np.int8)
        # With a place for each embedding.
        self._reduced: ReducedIndex | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def embeddings(self) -> NDArray[np.float16]:
        """Returns a view of all embeddings, float16, shape (n, dimension); valid until the next change."""
        return self._embeddings.rows()

    def reduce(self, reduced: ReducedIndex | None) -> None:
        """Takes a reduced index of all embeddings, in their order; None for none."""
        self._reduced = reduced

    def replace(
        self,
        photographs: Mapping[int, Sequence[NDArray[np.float16] | None]],
        projections: NDArray[np.float16] | None,
    ) -> None:
        """Replaces the further photographs of some products.

        Args:
            photographs: those of each product by its row, in their order: float16, shape (dimension,), L2 norm 1; None
                for one of another model, which is not compared.
            projections: of those that are compared, for the reduced index where there is one: float16, shape (n, m).
        """
        self.remove(photographs)
        added = [
            (row, number, each)
            for row, many in photographs.items()
            for number, each in enumerate(many, start=1)
            if each is not None
        ]
        if not added:
            return
        rows, numbers, embeddings = zip(*added, strict=True)
        before = len(self)
        self._embeddings.append(np.stack(embeddings))
        self._rows = np.concatenate([self._rows, np.array(rows, dtype=np.int64)])
        self._numbers = np.concatenate([self._numbers, np.array(numbers, dtype=np.int8)])
        if self._reduced is not None:
            assert projections is not None, "What is indexed is projected first."
            self._reduced.extend(len(added))
            self._reduced.write(np.arange(before, len(self)), projections)

    def remove(self, rows: Iterable[int]) -> None:
        """Removes those of some products; the last ones move into the gaps."""
        gone = np.isin(self._rows, list(rows)) if len(self) else np.empty(0, dtype=np.bool_)
        length = len(self) - int(np.count_nonzero(gone))
        if length == len(self):
            return
        holes, movers = np.flatnonzero(gone[:length]), length + np.flatnonzero(~gone[length:])
        vectors = self._embeddings.rows()
        vectors[holes] = vectors[movers]
        self._embeddings.truncate(length)
        for column in (self._rows, self._numbers):
            column[holes] = column[movers]
        self._rows, self._numbers = self._rows[:length].copy(), self._numbers[:length].copy()
        if self._reduced is not None:
            self._reduced.move(list(zip(holes.tolist(), movers.tolist(), strict=True)), length)

    def move(self, moves: Sequence[tuple[int, int]]) -> None:
        """Follows products from one row to another, given as (new row, old row)."""
        if len(self) and moves:
            new, old = np.array(moves, dtype=np.int64).T
            order = np.argsort(old)
            places = np.minimum(np.searchsorted(old, self._rows, sorter=order), len(old) - 1)
            moved = old[order[places]] == self._rows
            self._rows[moved] = new[order[places[moved]]]

    def reaching(self, query: NDArray[np.float32], floor: float, eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns the rows of eligible products with a photograph of at least this similarity: int64, shape (n,).

        Args:
            query: float32, shape (dimension,), L2 norm 1.
            floor: as FAISS computes similarities; with what rounding may take from them.
            eligible: whether each row is: bool, shape (rows,).
        """
        mask = eligible[self._rows]
        count = int(np.count_nonzero(mask))
        places = self._chosen(query, floor, mask, count) if count > self._exact_limit else None
        return np.unique(self._rows[self._compared(query, floor, mask, count) if places is None else places])

    def _compared(
        self, query: NDArray[np.float32], floor: float, mask: NDArray[np.bool_], count: int
    ) -> NDArray[np.int64]:
        """Returns the places that reach a similarity, by comparing all."""
        fetched = min(count, _FIRST_COMPARED)
        while fetched:
            similarities, places = self._embeddings.nearest(query, fetched, mask)
            if fetched == count or similarities[-1] < floor:
                return places[similarities >= floor]
            fetched = min(count, 4 * fetched)
        return np.empty(0, dtype=np.int64)

    def _chosen(
        self, query: NDArray[np.float32], floor: float, mask: NDArray[np.bool_], count: int
    ) -> NDArray[np.int64] | None:
        """Returns the same by comparing those alone whose bound reaches it; None where these are too many."""
        if self._reduced is None:
            return None
        bounds = self._reduced.search(query)
        wanted = max(self._min_candidates, bounds.first(count))
        while wanted <= count // _MIN_CHOICE:
            candidates = bounds.nearest(wanted, mask)
            if candidates.others < floor:
                places = candidates.rows[candidates.bounds >= floor]
                if not len(places):
                    return places
                chosen = FlatIndex(self._dimension)
                chosen.append(self._embeddings.rows()[places])
                similarities, order = chosen.nearest(query, len(places), np.ones(len(places), dtype=np.bool_))
                return places[order[similarities >= floor]]
            wanted = bounds.more_than(candidates, floor, mask)
        return None

    def best(
        self, query: NDArray[np.float32], rows: NDArray[np.int64], similarities: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """Returns how similar products are by their most similar photograph, and the number of it.

        Args:
            query: float32, shape (dimension,), L2 norm 1.
            rows: of the products, n of them, no row twice.
            similarities: of their first photographs: float64, shape (n,).

        Returns:
            float64, shape (n,); and int8, shape (n,): 0 for the first photograph, which goes before equal ones.
        """
        best, numbers = similarities.copy(), np.zeros(len(rows), dtype=np.int8)
        places = np.flatnonzero(np.isin(self._rows, rows))
        if len(places):
            position = {row: place for place, row in enumerate(rows.tolist())}
            exact = (self._embeddings.rows()[places].astype(np.float64) * query).sum(axis=1)
            # In the order of the numbers, so that the earlier of equal ones stays.
            for each in np.argsort(self._numbers[places], kind="stable").tolist():
                product = position[int(self._rows[places[each]])]
                if exact[each] > best[product]:
                    best[product], numbers[product] = exact[each], self._numbers[places[each]]
        return best, numbers
