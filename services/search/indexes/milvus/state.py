"""What a process keeps of an index in Milvus: the attributes in columns, and what was written a moment ago."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.search.catalogue.products import Product
from services.search.indexes.base import Collapse, IndexedProduct
from services.search.indexes.columns import Columns
from services.search.indexes.designs import Designs, Groups
from services.search.indexes.milvus.expressions import among_keys
from services.search.indexes.milvus.rows import chunks, key_of, parts_of
from services.search.indexes.milvus.store import MAX_HITS, Found, MilvusStore, vector_of

# Additional rows to fetch: mostly enough to decide which products of equal similarity belong to the answer.
_ADDITIONAL_HITS: Final = 8
# Up to this many products are named, rather than many others being fetched and left out.
_MAX_NAMED: Final = 1000


@dataclass(slots=True, eq=False)
class Recent:
    """A product that was written a moment ago, so that a search in Milvus may not find it, or as it was before.

    Attributes:
        indexed: the product.
        read: whether it has its embeddings; otherwise Milvus alone has them.
        written_at: when Milvus has taken it, by the monotonic clock; None before that.
    """

    indexed: IndexedProduct
    read: bool = True
    written_at: float | None = None


@dataclass(slots=True, eq=False)
class MilvusState:
    """The products of one version. Not thread-safe.

    Attributes:
        columns: their attributes.
        further: how many photographs after the first a product has, by id, where it has any.
        versions: which rows of Milvus are a product's, by id: it keeps older ones for a while, and may have newer ones.
        recent: those that were written a moment ago, by id.
        sequence: of the last write that is in them.
    """

    columns: Columns = field(default_factory=Columns)
    further: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    recent: dict[str, Recent] = field(default_factory=dict)
    sequence: int = 0
    designs: Designs = field(default_factory=Designs)

    def put(self, product: Product, searchable: bool, further: int) -> None:
        """Creates or replaces the attributes of a product, and how many further photographs it has."""
        self.designs.change((product.id,))
        row = self.columns.row_of(product.id)
        if row is None:
            self.columns.append(product, searchable)
        else:
            self.columns.replace(row, product, searchable)
        if further:
            self.further[product.id] = further
        else:
            self.further.pop(product.id, None)

    def update(self, product: Product) -> None:
        """Replaces the attributes of a known product."""
        known, row = self.recent.get(product.id), self.columns.row_of(product.id)
        assert row is not None, "It is known."
        if known is None:
            self.recent[product.id] = Recent(IndexedProduct(product, None), read=False)
        else:
            self.recent[product.id] = Recent(replace(known.indexed, product=product), known.read)
        self.put(product, bool(self.columns.searchable()[row]), self.further.get(product.id, 0))

    def delete(self, product_ids: Iterable[str]) -> None:
        """Deletes products; an unknown id is no error."""
        rows = [row for each in product_ids if (row := self.columns.row_of(each)) is not None]
        gone = [self.columns.product(row).id for row in rows]
        self.designs.change(gone)
        self.columns.remove(rows)
        for each in gone:
            self.further.pop(each, None)
            self.versions.pop(each, None)
            self.recent.pop(each, None)


class Behind(Exception):
    """Milvus does not give what this process knows: it has lost it, or the writer has gone on long ago."""


class SearchedState:
    """A state as one search reads it, which keeps the embeddings that it has fetched.

    Attributes:
        columns: the attributes.
        further: the photographs after the first.
    """

    def __init__(self, state: MilvusState, store: MilvusStore, *, latest: bool) -> None:
        """Takes the parts.

        Args:
            state: does not change meanwhile.
            store: has the embeddings.
            latest: see `MilvusStore.nearest`.
        """
        self._state = state
        self._store = store
        self._latest = latest
        self.columns = state.columns
        self.further = _Further(state, self._vectors)
        self._rounding = 1.01 * store.dimension * 2.0**-24
        # By product and number of the photograph.
        self._fetched: dict[tuple[str, int], NDArray[np.float16]] = {}

    def groups(self, collapse: Collapse) -> Groups | None:
        """See `Snapshot.groups`."""
        match collapse:
            case Collapse.DESIGNS:
                return self._state.designs.groups(self.columns, self.embeddings)
            case Collapse.VARIANTS if self.columns.has_variants:
                return Groups(self.columns.families(), self.columns.of_families(()))
            case _:
                return None

    def advance_designs(self) -> bool:
        """Looks at some products for designs; returns whether none is left."""
        return self._state.designs.advance(self.columns, self.embeddings)

    def embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """See `Snapshot.embeddings`.

        Raises:
            Behind: Milvus does not have one of them any more.
        """
        places = [(self.columns.product(row).id, 0) for row in rows.tolist()]
        vectors = self._vectors(places)
        if len(vectors) < len(places):
            raise Behind
        return np.stack([vectors[each] for each in places]) if places else np.empty((0, self._store.dimension), "f2")

    def indexed(self, products: Sequence[Product]) -> list[IndexedProduct]:
        """Returns products with their embeddings.

        Raises:
            Behind: Milvus does not have one of them any more.
        """
        places = [
            (each.id, number)
            for each in products
            if self.columns.searchable()[self.columns.row_of(each.id)]
            for number in range(1 + self._state.further.get(each.id, 0))
        ]
        vectors = self._vectors(places)
        if any(number == 0 and (each, number) not in vectors for each, number in places):
            raise Behind
        return [
            IndexedProduct(
                each,
                vectors.get((each.id, 0)),
                tuple(vectors.get((each.id, 1 + number)) for number in range(self._state.further.get(each.id, 0))),
            )
            for each in products
        ]

    def _vectors(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], NDArray[np.float16]]:
        """Returns the embeddings of photographs of products, without those that there are not."""
        unknown: list[tuple[str, int]] = []
        for place in places:
            recent = self._state.recent.get(place[0])
            if recent is None or not recent.read:
                unknown += [] if place in self._fetched else [place]
                continue
            embedding = (recent.indexed.embedding, *recent.indexed.further)[place[1]]
            if embedding is not None:
                self._fetched[place] = embedding
        versions = self._state.versions
        keys = [key_of(each, versions[each], number) for each, number in unknown if each in versions]
        for row in self._store.rows(keys, ["vector"], latest=self._latest):
            number, product_id, _ = parts_of(row["key"])
            self._fetched[product_id, int(number)] = vector_of(row)
        return {each: self._fetched[each] for each in places if each in self._fetched}

    def nearest(
        self, query: NDArray[np.float32], k: int, mask: NDArray[np.bool_], expression: str, share: float
    ) -> NDArray[np.int64]:
        """Returns the rows that may be among the `k` nearest of some products: int64, shape (n,).

        Args:
            query: float32, shape (dimension,), L2 norm 1.
            k: at least 1.
            mask: the products: bool, shape (rows,).
            expression: which of them Milvus compares, and others.
            share: how many of those that it compares are in the mask, at most.

        Raises:
            Behind: Milvus has fewer of them than there are.
        """
        mask = mask.copy()
        recent = [row for each in self._state.recent if (row := self.columns.row_of(each)) is not None and mask[row]]
        mask[recent] = False
        contending = _Contending(self.columns, mask, k, 2 * self._rounding + 2.0**-23)
        count = int(np.count_nonzero(mask))
        if count and not self._widening(query, expression, contending, min(1.0, share), count):
            self._named(query, mask, contending)
        return np.union1d(np.array(recent, dtype=np.int64), contending.rows())

    def _widening(
        self, query: NDArray[np.float32], expression: str, contending: "_Contending", share: float, count: int
    ) -> bool:
        """Fetches the nearest of an expression, ever more of them; returns False where that does not do."""
        limit = math.ceil((contending.k + _ADDITIONAL_HITS) / max(share, 1e-9))
        if limit > MAX_HITS or (count <= _MAX_NAMED and share < 0.2):
            return False
        while True:
            found = self._store.nearest(query, limit, expression, latest=self._latest)
            self._take(found, contending)
            if len(found) < limit:
                return contending.found == count
            if contending.full and found[-1].similarity < contending.floor:
                return True
            if limit == MAX_HITS:
                return False
            limit = min(4 * limit, MAX_HITS)

    def _named(self, query: NDArray[np.float32], mask: NDArray[np.bool_], contending: "_Contending") -> None:
        """Compares products by their names; each part of them has few enough rows to be fetched whole."""
        ids = [self.columns.product(row).id for row in np.flatnonzero(mask).tolist()]
        contending.begin_again()
        for some in chunks(ids, _MAX_NAMED):
            versions = self._state.versions
            keys = [
                key_of(each, versions[each], number)
                for each in some
                if each in versions
                for number in range(1 + self._state.further.get(each, 0))
            ]
            found = self._store.nearest(query, len(keys), among_keys(keys), latest=self._latest)
            self._take(found, contending)
        if contending.found < len(ids):
            raise Behind

    def _take(self, found: Collection[Found], contending: "_Contending") -> None:
        for each in found:
            number, product_id, version = parts_of(each.key)
            if product_id in self._state.recent or version != self._state.versions.get(product_id):
                continue
            row = self.columns.row_of(product_id)
            if row is not None and contending.mask[row]:
                if each.vector is not None:
                    self._fetched[product_id, int(number)] = each.vector
                contending.add(row, each.similarity)


class _Contending:
    """The products that may be among the `k` nearest of a mask, by their most similar photographs."""

    def __init__(self, columns: Columns, mask: NDArray[np.bool_], k: int, tolerance: float) -> None:
        self.mask = mask
        self.k = k
        self._tolerance = tolerance
        self._best: dict[int, float] = {}

    def begin_again(self) -> None:
        self._best = {}

    def add(self, row: int, similarity: float) -> None:
        self._best[row] = max(similarity, self._best.get(row, -math.inf))

    @property
    def found(self) -> int:
        return len(self._best)

    @property
    def full(self) -> bool:
        return len(self._best) >= self.k

    @property
    def floor(self) -> float:
        """The similarity below which a product cannot be among the `k` nearest."""
        if not self.full:
            return -math.inf
        return float(np.partition(list(self._best.values()), -self.k)[-self.k]) - self._tolerance

    def rows(self) -> NDArray[np.int64]:
        floor = self.floor
        return np.array([row for row, similarity in self._best.items() if similarity >= floor], dtype=np.int64)


Vectors = Callable[[Sequence[tuple[str, int]]], dict[tuple[str, int], NDArray[np.float16]]]


class _Further:
    """The photographs after the first, which Milvus has compared with the first ones already."""

    def __init__(self, state: MilvusState, vectors: Vectors) -> None:
        self._state = state
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._state.further)

    def contenders(
        self, query: NDArray[np.float32], k: int, least: float, rounding: float, eligible: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Returns none."""
        return np.empty(0, dtype=np.int64)

    def best(
        self, query: NDArray[np.float32], rows: NDArray[np.int64], similarities: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """See `FurtherPhotographs.best`."""
        best, numbers = similarities.copy(), np.zeros(len(rows), dtype=np.int8)
        ids = [self._state.columns.product(row).id for row in rows.tolist()]
        places = [(each, number) for each in ids for number in range(1, 1 + self._state.further.get(each, 0))]
        vectors = self._vectors(places)
        position = {each: place for place, each in enumerate(ids)}
        # In the order of the numbers, so that the earlier of equal ones stays.
        for product_id, number in (each for each in places if each in vectors):
            exact = float((vectors[product_id, number].astype(np.float64) * query).sum())
            place = position[product_id]
            if exact > best[place]:
                best[place], numbers[place] = exact, number
        return best, numbers
