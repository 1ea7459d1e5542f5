"""What a collection of Milvus holds as its writer starts, with what an earlier one has left unfinished."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from services.search.indexes.base import IndexedProduct
from services.search.indexes.columns import Columns
from services.search.indexes.milvus.rows import DELETED, Row, digest_of, document_of, keys_of, parts_of


@dataclass(frozen=True, slots=True)
class _Newest:
    sequence: int
    version: int
    digest: int


@dataclass(slots=True)
class Stored:
    """The rows of products and of deletions.

    Attributes:
        sequence: the highest of a row.
        keys: the primary keys of rows that no product has taken.
    """

    sequence: int = 0
    keys: set[str] = field(default_factory=set)
    _newest: dict[str, _Newest] = field(default_factory=dict)
    _deletions: dict[str, int] = field(default_factory=dict)
    _deleted: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def read(rows: Iterable[Row]) -> "Stored":
        """Takes rows with their photograph, sequence and digest."""
        stored = Stored()
        for row in rows:
            stored._add(str(row["key"]), int(row["photograph"]), int(row["sequence"]), int(row["digest"]))
        return stored

    def _add(self, key: str, photograph: int, sequence: int, digest: int) -> None:
        self.sequence = max(self.sequence, sequence)
        _, product_id, version = parts_of(key)
        if photograph == DELETED:
            self._deletions[key] = sequence
            self._deleted[product_id] = max(sequence, self._deleted.get(product_id, 0))
            return
        self.keys.add(key)
        known = self._newest.get(product_id)
        if photograph == 0 and (known is None or sequence > known.sequence):
            self._newest[product_id] = _Newest(sequence, version, digest)

    def take(self, indexed: IndexedProduct) -> int | None:
        """Returns the version of the rows that a product has, and takes their keys; None where one of them lacks."""
        product = indexed.product
        newest = self._newest.get(product.id)
        if newest is None or newest.digest != digest_of(indexed) or newest.sequence < self._deleted.get(product.id, 0):
            return None
        further = (number for number, embedding in enumerate(indexed.further, start=1) if embedding is not None)
        parts = len(document_of(product)) if product.attributes else 1
        keys = keys_of(product.id, newest.version, (0, *further), parts)
        if not self.keys.issuperset(keys):
            return None
        self.keys.difference_update(keys)
        return newest.version

    def gone(self, columns: Columns) -> set[str]:
        """Returns the ids of products that have rows, and are not among some."""
        return {each for each in (parts_of(key)[1] for key in self.keys) if columns.row_of(each) is None}

    def forgettable(self, columns: Columns, gone: set[str], before: int) -> Iterator[str]:
        """Yields the primary keys of deletions that are old, or that a later row of the product makes needless.

        Args:
            columns: the products that there are.
            gone: those whose deletion is written anew.
            before: older than this sequence.
        """
        for key, sequence in self._deletions.items():
            product_id = parts_of(key)[1]
            if sequence < before or product_id in gone or columns.row_of(product_id) is not None:
                yield key
