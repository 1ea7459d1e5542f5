"""The further photographs of products: a product is as similar as its most similar photograph."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from services.contract.values import MAX_PHOTOGRAPHS
from services.search.indexes.shards import FlatIndex

# A product has one photograph in its shard, and up to this many here.
MAX_FURTHER = MAX_PHOTOGRAPHS - 1
# Additional vectors to fetch: mostly enough to decide which products of equal similarity belong to the answer.
_ADDITIONAL = 32


class FurtherPhotographs:
    """The embeddings of the photographs after the first, each with the row of its product. Not thread-safe."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._embeddings = FlatIndex(dimension)
        self._rows = np.empty(0, dtype=np.int64)
        self._numbers = np.empty(0, dtype=np.int8)

    def __len__(self) -> int:
        return len(self._rows)

    def replace(self, photographs: Mapping[int, Sequence[NDArray[np.float16] | None]]) -> None:
        """Replaces the further photographs of some products.

        Args:
            photographs: those of each product by its row, in their order: float16, shape (dimension,), L2 norm 1; None
                for one of another model, which is not compared.
        """
        self.remove(photographs)
        added = [
            (row, number, each)
            for row, many in photographs.items()
            for number, each in enumerate(many, start=1)
            if each is not None
        ]
        if added:
            rows, numbers, embeddings = zip(*added, strict=True)
            self._embeddings.append(np.stack(embeddings))
            self._rows = np.concatenate([self._rows, np.array(rows, dtype=np.int64)])
            self._numbers = np.concatenate([self._numbers, np.array(numbers, dtype=np.int8)])

    def remove(self, rows: Iterable[int]) -> None:
        """Removes those of some products."""
        places = np.flatnonzero(np.isin(self._rows, list(rows))) if len(self) else self._rows
        if len(places):
            self._embeddings.remove(places.tolist())
            self._rows = np.delete(self._rows, places)
            self._numbers = np.delete(self._numbers, places)

    def of(self, row: int) -> tuple[NDArray[np.float16] | None, ...]:
        """Copies those of a product, in their order; None for one that is not compared."""
        places = {int(self._numbers[place]): place for place in np.flatnonzero(self._rows == row).tolist()}
        embeddings = self._embeddings.rows()
        return tuple(
            embeddings[places[number]].copy() if number in places else None
            for number in range(1, 1 + max(places, default=0))
        )

    def move(self, moves: Sequence[tuple[int, int]]) -> None:
        """Follows products from one row to another, given as (new row, old row)."""
        if len(self) and moves:
            new, old = np.array(moves, dtype=np.int64).T
            order = np.argsort(old)
            places = np.minimum(np.searchsorted(old, self._rows, sorter=order), len(old) - 1)
            moved = old[order[places]] == self._rows
            self._rows[moved] = new[order[places[moved]]]

    def contenders(
        self, query: NDArray[np.float32], k: int, eligible: NDArray[np.bool_], rounding: float
    ) -> NDArray[np.int64]:
        """Returns rows that may be among the `k` nearest by a further photograph: int64, shape (n,).

        Args:
            query: float32, shape (dimension,), L2 norm 1.
            k: at least 1.
            eligible: whether each row is: bool, shape (rows,).
            rounding: maximum error of an inner product in float32.
        """
        mask = eligible[self._rows]
        count = int(np.count_nonzero(mask))
        fetched = min(count, MAX_FURTHER * k + _ADDITIONAL)
        while fetched:
            similarities, places = self._embeddings.nearest(query, fetched, mask)
            rows, first = np.unique(self._rows[places], return_index=True)
            if len(rows) <= k and fetched == count:
                return rows
            # The best photograph of each product comes first.
            best = similarities[first]
            floor = float(np.partition(best, -k)[-k] - 2 * rounding - 2.0**-23) if len(rows) >= k else -np.inf
            if fetched == count or similarities[-1] < floor:
                return rows[best >= floor]
            fetched = min(count, 2 * fetched)
        return np.empty(0, dtype=np.int64)

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
