"""The further photographs of products: a product is as similar as its most similar photograph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.embedding import inner_products
from services.search.indexes.flat_index import FlatIndex, nearest_of
from services.search.indexes.parts import MAX_FURTHER, FurtherPart
from services.search.indexes.shards import Projections, ReducedIndex

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
        projections: Projections | None,
    ) -> None:
        """Replaces the further photographs of some products.

        Args:
            photographs: those of each product by its row, in their order: float16, shape (dimension,), L2 norm 1; None
                for one of another model, which is not compared.
            projections: of those that are compared, for the reduced index where there is one.
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
        self._append(np.array(rows, dtype=np.int64), np.array(numbers, dtype=np.int8), np.stack(embeddings))
        if self._reduced is not None:
            assert projections is not None, "What is indexed is projected first."
            self._reduced.extend(len(added))
            self._reduced.write(np.arange(before, len(self)), projections)

    def extend(self, part: FurtherPart, first_row: int) -> None:
        """Adds those of products that are new, the first of them in a row."""
        self._append(first_row + part.places, part.numbers, part.embeddings)
        if self._reduced is not None:
            assert part.reduced is not None, "What is indexed is projected first."
            self._reduced.append(len(part.places), np.arange(len(part.places)), part.reduced)

    def part(self, rows: NDArray[np.int64]) -> FurtherPart | None:
        """Copies those of products in some rows; None where none has any."""
        some = np.flatnonzero(np.isin(self._rows, rows)) if len(self) else np.empty(0, dtype=np.int64)
        if not len(some):
            return None
        order = np.argsort(rows)
        places = order[np.searchsorted(rows, self._rows[some], sorter=order)]
        reduced = None if self._reduced is None else self._reduced.copied(some)
        return FurtherPart(places, self._numbers[some], self._embeddings.rows()[some], reduced)

    def _append(self, rows: NDArray[np.int64], numbers: NDArray[np.int8], embeddings: NDArray[np.float16]) -> None:
        self._embeddings.append(embeddings)
        self._rows = np.concatenate([self._rows, rows])
        self._numbers = np.concatenate([self._numbers, numbers])

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

    def contenders(
        self, query: NDArray[np.float32], k: int, least: float, rounding: float, eligible: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Returns the rows of eligible products that may be among the `k` nearest by a further photograph: int64.

        Args:
            query: float32, shape (dimension,), L2 norm 1.
            k: at least 1.
            least: a similarity that the k-th product has at least, by first photographs.
            rounding: how much of a similarity rounding may take or add, as FAISS computes it.
            eligible: whether each row is: bool, shape (rows,).
        """
        mask = eligible[self._rows]
        count = int(np.count_nonzero(mask))
        tolerance = 2 * rounding + 2.0**-23
        reached = _Reached(self._rows, k, least - tolerance, tolerance)
        if count <= self._exact_limit or not self._choose(query, mask, count, reached):
            self._compare_all(query, mask, count, reached)
        return reached.products()

    def _compare_all(
        self, query: NDArray[np.float32], mask: NDArray[np.bool_], count: int, reached: "_Reached"
    ) -> None:
        """Compares the eligible embeddings, the most similar first, down to those that cannot matter."""
        fetched = min(count, _FIRST_COMPARED + MAX_FURTHER * reached.k)
        while fetched:
            reached.begin_again()
            reached.add(*self._embeddings.nearest(query, fetched, mask))
            if fetched == count or reached.last < reached.floor:
                return
            fetched = min(count, 4 * fetched)

    def _choose(self, query: NDArray[np.float32], mask: NDArray[np.bool_], count: int, reached: "_Reached") -> bool:
        """Compares those alone whose bounds can matter; returns whether they were few enough."""
        if self._reduced is None:
            return False
        bounds = self._reduced.search(query)
        wanted = max(self._min_candidates, bounds.first(count))
        while wanted <= count // _MIN_CHOICE:
            candidates = bounds.nearest(wanted, mask)
            reached.begin_again()
            places, upper, size = candidates.rows, candidates.bounds, _FIRST_COMPARED
            while len(places) and upper[0] >= reached.floor:
                part = places[:size]
                similarities, order = nearest_of([(self._embeddings.rows(), part)], query)
                reached.add(similarities, part[order])
                contending = upper[size:] >= reached.floor
                places, upper, size = places[size:][contending], upper[size:][contending], 2 * size
            if candidates.others < reached.floor:
                return True
            wanted = bounds.more_than(candidates, reached.floor, mask)
        return False

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
            exact = inner_products(self._embeddings.rows()[places], query)
            # In the order of the numbers, so that the earlier of equal ones stays.
            for each in np.argsort(self._numbers[places], kind="stable").tolist():
                product = position[int(self._rows[places[each]])]
                if exact[each] > best[product]:
                    best[product], numbers[product] = exact[each], self._numbers[places[each]]
        return best, numbers


class _Reached:
    """The photographs compared so far that may matter to an answer.

    Attributes:
        k: how many products the answer has.
        floor: a photograph of a lower similarity does not matter. It rises as photographs are compared.
        last: the lowest similarity that was added last.
    """

    def __init__(self, rows: NDArray[np.int64], k: int, floor: float, tolerance: float) -> None:
        self.k = k
        self.floor = floor
        self.last = np.inf
        self._rows = rows
        self._tolerance = tolerance
        self.begin_again()

    def begin_again(self) -> None:
        """Forgets the photographs, but not how high the floor is."""
        self._similarities: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._places: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, similarities: NDArray[np.float32], places: NDArray[np.int64]) -> None:
        """Adds compared photographs, at least one, the most similar first."""
        self.last = float(similarities[-1])
        reaching = similarities >= self.floor
        self._similarities = np.concatenate([self._similarities, similarities[reaching]])
        self._places = np.concatenate([self._places, places[reaching]])
        order = np.argsort(-self._similarities, kind="stable")
        _, first = np.unique(self._rows[self._places[order]], return_index=True)
        if len(first) >= self.k:
            # The best photograph of each product comes first.
            best = self._similarities[order[first]]
            self.floor = max(self.floor, float(np.partition(best, -self.k)[-self.k]) - self._tolerance)

    def products(self) -> NDArray[np.int64]:
        """Returns the rows of the products of those that reach the floor: int64, shape (n,)."""
        return np.unique(self._rows[self._places[self._similarities >= self.floor]])
