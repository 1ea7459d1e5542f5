"""What an index on FAISS holds: products in columns, embeddings in shards, and the reduced index over all of them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import DERIVED_TYPE
from services.search.catalogue.products import Product
from services.search.indexes.base import Collapse, IndexedProduct
from services.search.indexes.columns import Columns
from services.search.indexes.designs import Designs, Groups
from services.search.indexes.flat_index import FlatIndex, nearest_among, nearest_of
from services.search.indexes.further import FurtherPhotographs
from services.search.indexes.parts import Part
from services.search.indexes.rows_file import RowsFile, StoredIndex
from services.search.indexes.shards import Embeddings, Projections, ReducedIndex, Shard

# What a derived type is made of, which is compared faster than it is named; and what groups of products are made of.
_type_of: Final = attrgetter("gender", "article_type")
_grouped_by: Final = attrgetter("name", "base_colour", "line", "parent_id")
_MIN_CAPACITY: Final = 256
_MOVED_AT_ONCE: Final = 4096


class State:
    """Products in the rows of the columns, embeddings in one shard per derived type; not thread-safe."""

    def __init__(self, dimension: int, exact_limit: int, min_candidates: int) -> None:
        """Makes an empty one; see `FaissSettings`."""
        self._dimension = dimension
        self.columns = Columns()
        self.shards: dict[str, Shard] = {}
        self.reduced: ReducedIndex | None = None
        self.further = FurtherPhotographs(dimension, exact_limit, min_candidates)
        self._designs = Designs()
        # Has the embeddings of the products; None while they are in memory.
        self._file: RowsFile | None = None
        # Per row, the position of its embedding in the shard of its derived type.
        self._positions = np.zeros(_MIN_CAPACITY, dtype=np.int64)

    def moved_to(self, file: RowsFile) -> dict[str, Shard]:
        """Returns the shards with copies of their embeddings in a file, for `replace_shards`."""
        moved: dict[str, Shard] = {}
        for label, shard in self.shards.items():
            moved[label] = Shard(StoredIndex(file))
            for start in range(0, len(shard), _MOVED_AT_ONCE):
                some = slice(start, start + _MOVED_AT_ONCE)
                moved[label].append(shard.members[some], shard.embeddings.read(some))
        return moved

    def replace_shards(self, shards: dict[str, Shard], file: RowsFile) -> None:
        """Takes the same embeddings, which are in a file, as all later ones will be."""
        self.shards = shards
        self._file = file

    @property
    def in_memory(self) -> bool:
        """Whether the embeddings are in memory."""
        return self._file is None

    def _shard(self, label: str) -> Shard:
        """Returns the shard of a derived type, which may be new."""
        if (shard := self.shards.get(label)) is None:
            embeddings = FlatIndex(self._dimension) if self._file is None else StoredIndex(self._file)
            shard = self.shards[label] = Shard(embeddings)
        return shard

    def groups(self, collapse: Collapse) -> Groups | None:
        """Returns which products take one place together; None where each takes its own."""
        match collapse:
            case Collapse.DESIGNS:
                return self._designs.groups(self.columns, self.embeddings)
            case Collapse.VARIANTS if self.columns.has_variants:
                return Groups(self.columns.families(), self.columns.of_families(()))
            case _:
                return None

    def advance_designs(self) -> bool:
        """Looks at some products for designs; returns whether none is left."""
        return self._designs.advance(self.columns, self.embeddings)

    def labels_of(self, rows: NDArray[np.int64]) -> list[str]:
        """Returns the derived types of the products in some rows, all of which have embeddings."""
        wanted = np.bincount(self.columns.codes(DERIVED_TYPE)[rows])
        codes = self.columns.labels(DERIVED_TYPE)
        return [label for label, code in codes.items() if code < len(wanted) and wanted[code]]

    def embedding(self, row: int) -> NDArray[np.float16]:
        """Copies the embedding of a row that has one; float16, shape (dimension,)."""
        label = self.columns.product(row).derived_type
        embedding: NDArray[np.float16] = self.shards[label].embeddings.read(self._positions[row : row + 1])[0]
        return embedding

    def embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Copies the embeddings of rows that have one; float16, shape (n, dimension)."""
        order, parts = self._by_shard(rows)
        if self._file is not None:
            in_file = np.empty(len(rows), dtype=np.int64)
            places = [index.places(positions) for index, positions in parts if isinstance(index, StoredIndex)]
            in_file[order] = np.concatenate([np.empty(0, dtype=np.int64), *places])
            return self._file.read(in_file)
        if len(parts) == 1:
            return parts[0][0].read(parts[0][1])
        copied = np.empty((len(rows), self._dimension), dtype=np.float16)
        at = 0
        for index, positions in parts:
            copied[order[at : at + len(positions)]] = index.read(positions)
            at += len(positions)
        return copied

    def nearest(
        self, query: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Compares rows that have an embedding with a query.

        Args:
            query: float32, shape (dimension,).
            rows: int64, shape (n,), at least one.

        Returns:
            Inner products, float32, shape (n,), descending; and the rows in that order, int64, shape (n,).
        """
        if self._file is not None:
            rows = np.sort(rows)
            similarities, places = nearest_among(self.embeddings(rows), query)
            return similarities, rows[places]
        order, parts = self._by_shard(rows)
        flat = [(index.rows(), positions) for index, positions in parts if isinstance(index, FlatIndex)]
        similarities, places = nearest_of(flat, query)
        return similarities, rows[order[places]]

    def _by_shard(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[tuple[Embeddings, NDArray[np.int64]]]]:
        """Returns an order of rows in which those of each shard follow each other in theirs; and their positions."""
        codes = self.columns.codes(DERIVED_TYPE)[rows]
        order = np.argsort(codes, kind="stable")
        codes, positions = codes[order], self._positions[rows[order]]
        ends = [*(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(rows)]
        spans = pairwise((0, *ends)) if len(rows) else ()
        labels = [(self.columns.label(DERIVED_TYPE, int(codes[start])), start, end) for start, end in spans]
        return order, [(self.shards[label].embeddings, positions[start:end]) for label, start, end in labels]

    def delete(self, product_ids: Iterable[str]) -> None:
        """Deletes products; an unknown id is no error."""
        rows = [row for product_id in product_ids if (row := self.columns.row_of(product_id)) is not None]
        if not rows:
            return
        self._designs.change(self.columns.product(row).id for row in rows)
        self._drop([row for row in rows if self.columns.searchable()[row]])
        self.further.remove(rows)
        moves = self.columns.remove(rows)
        self.further.move(moves)
        for new, old in moves:
            self._positions[new] = self._positions[old]
            if self.columns.searchable()[new]:
                self.shards[self.columns.product(new).derived_type].members[self._positions[new]] = new
        if self.reduced is not None:
            self.reduced.move(moves, len(self.columns))

    def reduce(self, reduced: ReducedIndex, further: ReducedIndex) -> None:
        """Takes the reduced indexes of all products, and of all further photographs."""
        self.reduced = reduced
        self.further.reduce(further)

    def ids_by_type(self) -> list[str]:
        """Returns the ids of all products, those of one derived type together."""
        order = np.argsort(self.columns.codes(DERIVED_TYPE), kind="stable")
        return [self.columns.product(row).id for row in order.tolist()]

    def extend(self, part: Part) -> None:
        """Adds products that are not there yet.

        Raises:
            ValueError: an id comes twice.
        """
        first, count = len(self.columns), len(part.products)
        ids = {product.id for product in part.products}
        if len(ids) < count or any(self.columns.row_of(product_id) is not None for product_id in ids):
            raise ValueError("An id comes twice among the products.")
        self._designs.change(ids)
        self.columns.extend(part.products, part.texts, part.searchable)
        if first + count > len(self._positions):
            grown = np.zeros(max(first + count, 2 * len(self._positions)), dtype=np.int64)
            grown[:first] = self._positions[:first]
            self._positions = grown
        places = np.flatnonzero(part.searchable)
        rows = first + places
        codes = self.columns.codes(DERIVED_TYPE)[rows]
        ends = [*(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(rows)]
        for start, end in pairwise((0, *ends)) if len(rows) else ():
            label = part.products[int(places[start])].derived_type
            shard = self._shard(label)
            self._positions[rows[start:end]] = np.arange(len(shard), len(shard) + end - start)
            shard.append(rows[start:end], part.embeddings[start:end])
        if self.reduced is not None:
            assert part.reduced is not None, "What is indexed is projected first."
            self.reduced.append(count, places, part.reduced)
        if part.further is not None:
            self.further.extend(part.further, first)

    def part(self, product_ids: Iterable[str]) -> Part:
        """Copies some products with all that is held of them, without those that are not there."""
        known = [row for product_id in product_ids if (row := self.columns.row_of(product_id)) is not None]
        rows = np.array(known, dtype=np.int64)
        searchable = self.columns.searchable()[rows]
        texts = self.columns.texts()
        return Part(
            [self.columns.product(row) for row in known],
            [texts[row] for row in known],
            searchable,
            self.embeddings(rows[searchable]),
            None if self.reduced is None else self.reduced.copied(rows[searchable]),
            self.further.part(rows),
        )

    def project(self, products: Sequence[IndexedProduct]) -> Projections | None:
        """Projects the embeddings that products have, in their order; returns None without a reduced index."""
        embeddings = [product.embedding for product in products if product.embedding is not None]
        if self.reduced is None or not embeddings:
            return None
        return self.reduced.reduction.project(np.stack(embeddings))

    def project_further(self, products: Sequence[IndexedProduct]) -> Projections | None:
        """Projects the further embeddings that products have, as `project` does the first ones."""
        embeddings = [each for product in products for each in product.further if each is not None]
        if self.reduced is None or not embeddings:
            return None
        return self.reduced.reduction.project(np.stack(embeddings))

    def upsert(
        self,
        products: Sequence[IndexedProduct],
        projections: Projections | None,
        further_projections: Projections | None = None,
    ) -> None:
        """Creates or replaces products, no id twice; the projections are theirs."""
        self._upsert(products, projections)
        if len(self.further) or any(product.further for product in products):
            rows = ((self.columns.row_of(product.product.id), product.further) for product in products)
            self.further.replace({row: further for row, further in rows if row is not None}, further_projections)

    def _upsert(self, products: Sequence[IndexedProduct], projections: Projections | None) -> None:
        """Does so, but for further photographs, which go by their product's row."""
        rows_before = len(self.columns)
        self._designs.change(product.product.id for product in products)
        known = [self.columns.row_of(product.product.id) for product in products]
        # A product that stays in its derived type is overwritten in place; others are removed before any is added.
        staying = {
            row for row, product in zip(known, products, strict=True) if row is not None and self._stays(row, product)
        }
        self._drop(row for row in known if row is not None and row not in staying and self.columns.searchable()[row])
        rows: list[int] = []
        added: dict[str, list[tuple[int, NDArray[np.float16]]]] = {}
        for known_row, product in zip(known, products, strict=True):
            row = self._write(known_row, product)
            if product.embedding is not None:
                rows.append(row)
                label = product.product.derived_type
                if row in staying:
                    self.shards[label].embeddings.overwrite(int(self._positions[row]), product.embedding)
                else:
                    added.setdefault(label, []).append((row, product.embedding))
        for label, pairs in added.items():
            shard = self._shard(label)
            for position, (row, _) in enumerate(pairs, start=len(shard)):
                self._positions[row] = position
            shard.append([row for row, _ in pairs], np.stack([embedding for _, embedding in pairs]))
        if self.reduced is not None:
            self.reduced.extend(len(self.columns) - rows_before)
            if projections is not None:
                self.reduced.write(rows, projections)

    def update(self, products: Sequence[Product]) -> None:
        """Replaces the attributes of known products, no id twice; embeddings move only where a derived type changes."""
        moving: list[IndexedProduct] = []
        searchable = self.columns.searchable()
        for product in products:
            row = self.columns.row_of(product.id)
            if row is None:
                raise ValueError(f"There is no product {product.id} to be updated.")
            before = self.columns.product(row)
            if self._designs.in_use and _grouped_by(before) != _grouped_by(product):
                self._designs.change((product.id,))
            if searchable[row] and _type_of(before) != _type_of(product):
                moving.append(IndexedProduct(product, self.embedding(row)))
            else:
                self.columns.replace(row, product, bool(searchable[row]))
        if moving:
            self._upsert(moving, None)

    def _stays(self, row: int, product: IndexedProduct) -> bool:
        """Returns whether a row keeps its position in its shard when its product is replaced."""
        return (
            product.embedding is not None
            and bool(self.columns.searchable()[row])
            and self.columns.product(row).derived_type == product.product.derived_type
        )

    def _write(self, row: int | None, product: IndexedProduct) -> int:
        """Writes the attributes of a product to its row, or to a new one; returns the row."""
        searchable = product.embedding is not None
        if row is None:
            row = self.columns.append(product.product, searchable)
            if row >= len(self._positions):
                self._positions = np.concatenate([self._positions, np.zeros_like(self._positions)])
            return row
        self.columns.replace(row, product.product, searchable)
        return row

    def _drop(self, rows: Iterable[int]) -> None:
        """Removes the embeddings of rows from their shards."""
        by_type: dict[str, list[int]] = {}
        for row in rows:
            by_type.setdefault(self.columns.product(row).derived_type, []).append(int(self._positions[row]))
        for label, positions in by_type.items():
            shard = self.shards[label]
            shard.remove(positions)
            if not len(shard):
                del self.shards[label]
                continue
            first = min(positions)
            self._positions[shard.members[first:]] = np.arange(first, len(shard))
