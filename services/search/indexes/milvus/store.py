"""A collection of Milvus: everything that is known of pymilvus."""

import logging
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import FailedPrecondition, Upstream
from services.contract.messages import in_messages
from services.search.indexes.milvus.rows import (
    CATALOGUE_PREFIX,
    LABELS,
    MAX_DOCUMENT_BYTES,
    MAX_TEXT_BYTES,
    META,
    META_KEYS,
    Row,
    chunks,
    empty_row,
)
from services.search.indexes.milvus.settings import MilvusSettings

_MAX_ROWS: Final = 1000
# Of a request; servers refuse one of 64 MiB.
_MAX_BYTES: Final = 48 << 20
# What a row takes beside its embedding and its texts, at most.
_NUMBER_BYTES: Final = 256
MAX_HITS: Final = 16_384
# With more hits than this, their embeddings are not asked for: servers refuse an answer of 100 MiB.
_MAX_VECTORS: Final = 1000
# FLAT compares all that pass the filter. Of the others some give fewer hits than there are, each elsewhere; HNSW of a
# server is filled, and misses a third of the right ones under some filters (docs/performance.md).
_INDEX: Final = "FLAT"
_PAUSE_S: Final = 0.5
UNAVAILABLE: Final = "INDEX_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Meta:
    """What is written after each write.

    Attributes:
        sequence: the number of the write in this collection.
        index_version: of the catalogue, after the write.
    """

    sequence: int = 0
    index_version: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A row that a search returned.

    Attributes:
        key: its primary key.
        similarity: as Milvus computes it.
        vector: float16, shape (dimension,); None where there are so many hits that they come without.
    """

    key: str
    similarity: float
    vector: NDArray[np.float16] | None


class MilvusStore:
    """The rows of one model version; may be used in several threads."""

    def __init__(self, settings: MilvusSettings, dimension: int, model_version: str) -> None:
        """Connects to nothing yet.

        Args:
            settings: where Milvus is.
            dimension: floats in an embedding; 0 for those of the collection, which is then opened and never made.
            model_version: of the embeddings.
        """
        self.dimension = dimension
        # Milvus takes letters, digits and underscores; the number keeps versions apart that differ in others.
        plain = re.sub("[^A-Za-z0-9_]", "_", model_version)[:100]
        number = "" if plain == model_version else f"_{zlib.crc32(model_version.encode()):08x}"
        self.name = f"{settings.collection}_{plain}{number}"
        self._settings = settings
        self._client: Any = None
        # The key of the meta row that was written last, as far as it was read or written here.
        self._meta_key = ""

    def open(self, patience_s: float = 0.0, *, create: bool = True) -> None:
        """Connects, and opens the collection.

        Args:
            patience_s: how long Milvus may take to answer, in seconds.
            create: whether to make the collection where there is none.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
            FailedPrecondition: INDEX_FOREIGN: the collection has another form.
        """
        end = time.monotonic() + patience_s
        while True:
            try:
                self._open(self._settings.write_timeout_s, create=create)
                return
            except Upstream:
                if time.monotonic() >= end:
                    raise
                time.sleep(_PAUSE_S)

    def reopen(self, *, create: bool = True) -> None:
        """Opens the collection over a new connection, since the former one may be dead without a sign.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
            FailedPrecondition: INDEX_FOREIGN.
        """
        with self._answering():
            former, self._client = self._client, self._connected(self._settings.timeout_s)
            if former is not None:
                former.close()
        self._open(self._settings.timeout_s, create=create)

    def _connected(self, timeout_s: float) -> Any:
        # It takes a second or two and brings pandas, so that only processes that need it pay for it.
        from pymilvus import MilvusClient

        # It warns of each iterator.
        logging.getLogger("pymilvus").setLevel(logging.ERROR)
        # Otherwise a new connection may be the former one, though that is dead.
        own = {"grpc.use_local_subchannel_pool": 1}
        settings = self._settings
        trusted = {} if settings.ca_file is None else {"server_pem_path": str(settings.ca_file)}
        return MilvusClient(
            settings.uri, token=settings.token, timeout=timeout_s, dedicated=True, grpc_options=own, **trusted
        )

    def _open(self, timeout_s: float, *, create: bool) -> None:
        with self._answering():
            if self._client is None:
                self._client = self._connected(timeout_s)
            if not self._client.has_collection(self.name, timeout=timeout_s):
                if not create:
                    raise self.unavailable()
                self._create()
        self._check()
        with self._answering():
            # A collection that Milvus Lite has opened again is not loaded.
            self._client.load_collection(self.name, timeout=timeout_s)

    def _create(self) -> None:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=MAX_TEXT_BYTES)
        for name in (*LABELS, "currency"):
            schema.add_field(name, DataType.VARCHAR, max_length=MAX_TEXT_BYTES, is_partition_key=name == "derived_type")
        for name in ("sequence", "digest", "price_units"):
            schema.add_field(name, DataType.INT64)
        for name in ("year", "price_nanos", "photograph", "further", "parts"):
            schema.add_field(name, DataType.INT32)
        for name in ("available", "searchable"):
            schema.add_field(name, DataType.BOOL)
        schema.add_field("document", DataType.VARCHAR, max_length=MAX_DOCUMENT_BYTES)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type=_INDEX, metric_type="IP")
        self._client.create_collection(
            self.name,
            schema=schema,
            index_params=index,
            consistency_level="Bounded",
            timeout=self._settings.write_timeout_s,
        )

    def _check(self) -> None:
        timeout = self._settings.timeout_s
        with self._answering():
            fields = self._client.describe_collection(self.name, timeout=timeout)["fields"]
            dimensions = {each["name"]: each.get("params", {}).get("dim") for each in fields}
            dimension = int(dimensions.get("vector") or 0)
            self.dimension = self.dimension or dimension
            right = {"key", "digest", "vector", *LABELS} <= dimensions.keys() and dimension == self.dimension
            # Another would not compare all rows.
            right = right and self._client.describe_index(self.name, "vector", timeout=timeout)["index_type"] == _INDEX
        if not right:
            raise FailedPrecondition(
                f'The collection "{self.name}" of Milvus has another form; name another one or drop it.',
                reason="INDEX_FOREIGN",
                metadata={"collection": self.name},
            )

    def close(self) -> None:
        """Ends the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def drop(self) -> None:
        """Deletes the collection with all that is in it."""
        with self._answering():
            self._client.drop_collection(self.name, timeout=self._settings.write_timeout_s)

    def give_up(self, catalogue: str) -> bool:
        """Deletes the collection for good, over a connection of its own, which it ends.

        Args:
            catalogue: the identity of the catalogue that gives it up; the collection of another one stays.

        Returns:
            Whether there was one.

        Raises:
            FailedPrecondition: INDEX_FOREIGN.
            Upstream: INDEX_UNAVAILABLE.
        """
        timeout = self._settings.timeout_s
        try:
            with self._answering():
                self._client = self._connected(timeout)
                if not self._client.has_collection(self.name, timeout=timeout):
                    return False
                self._client.load_collection(self.name, timeout=self._settings.write_timeout_s)
            if self._owners() != {catalogue}:
                raise self._foreign()
            self.drop()
            return True
        finally:
            self.close()

    def insert(self, rows: Sequence[Row]) -> None:
        """Inserts rows, whose keys must be new: servers keep two rows of one key.

        Raises:
            Upstream: INDEX_UNAVAILABLE; some may be written.
        """
        with self._answering():
            for part in in_messages(rows, self._row_bytes, max_count=_MAX_ROWS, max_bytes=_MAX_BYTES):
                self._client.insert(self.name, part, timeout=self._settings.write_timeout_s)

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes rows by their primary keys; an unknown one is no error.

        Raises:
            Upstream: INDEX_UNAVAILABLE; some may be deleted.
        """
        with self._answering():
            for some in chunks(keys, _MAX_ROWS):
                self._client.delete(self.name, ids=list(some), timeout=self._settings.write_timeout_s)

    def _row_bytes(self, row: Row) -> int:
        # All texts are ASCII.
        return 4 * self.dimension + _NUMBER_BYTES + sum(len(each) for each in row.values() if type(each) is str)

    def claim(self, catalogue: str) -> None:
        """Writes whose the collection is, once; later, checks it.

        Args:
            catalogue: the identity of the catalogue that is to be written here.

        Raises:
            FailedPrecondition: INDEX_FOREIGN: it is another one's.
            Upstream: INDEX_UNAVAILABLE.
        """
        if not self._owners():
            row = empty_row(self.dimension, 0) | {"key": f"{CATALOGUE_PREFIX}{catalogue}", "photograph": META}
            self.insert([row])
        # Two that claim it at the same time both find two rows.
        if self._owners() != {catalogue}:
            raise self._foreign()

    def _owners(self) -> set[str]:
        with self._answering():
            keys = [str(row["key"]) for row in self._query(f"photograph == {META}", ["key"])]
        return {key.removeprefix(CATALOGUE_PREFIX) for key in keys if key.startswith(CATALOGUE_PREFIX)}

    def read_meta(self) -> Meta | None:
        """Returns what was written last; None where that is nothing.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
        """
        rows = list(self.rows(META_KEYS, ["sequence", "document"], latest=True))
        if not rows:
            return None
        last = max(rows, key=lambda row: int(row["sequence"]))
        self._meta_key = str(last["key"])
        return Meta(int(last["sequence"]), int(last["document"]))

    def write_meta(self, meta: Meta) -> None:
        """Writes what `read_meta` returns from now on; until then that finds what was written before.

        Args:
            meta: its sequence is higher than those before.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
        """
        if not self._meta_key:
            self.read_meta()
        key = next(each for each in META_KEYS if each != self._meta_key)
        self.delete([key])
        row = empty_row(self.dimension, meta.sequence)
        self.insert([row | {"key": key, "photograph": META, "document": str(meta.index_version)}])
        self._meta_key = key

    def nearest(self, query: NDArray[np.float32], limit: int, expression: str, *, latest: bool) -> list[Found]:
        """Finds the rows of the highest inner product.

        Args:
            query: float32, shape (dimension,).
            limit: maximum number of rows, 1..16,384.
            expression: those to compare.
            latest: whether every write before this call counts, which waits for Milvus; otherwise those until some
                seconds ago.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
        """
        fields = ["vector"] if limit <= _MAX_VECTORS else []
        with self._answering():
            hits = self._client.search(
                self.name,
                [query],
                limit=limit,
                filter=expression,
                output_fields=fields,
                consistency_level="Strong" if latest else "Bounded",
                timeout=self._settings.timeout_s,
            )[0]
            return [
                Found(
                    hit.id,
                    float(hit["distance"]),
                    vector_of(hit["entity"]) if fields else None,
                )
                for hit in hits
            ]

    def rows(self, keys: Sequence[str], fields: Sequence[str], *, latest: bool = False) -> Iterator[Row]:
        """Yields fields of the rows of some primary keys, in no order, without those that there are not.

        Raises:
            Upstream: INDEX_UNAVAILABLE.
        """
        for some in chunks(keys, _MAX_ROWS):
            with self._answering():
                answer = self._client.query(
                    self.name,
                    ids=list(some),
                    output_fields=["key", *fields],
                    consistency_level="Strong" if latest else "Bounded",
                    timeout=self._settings.timeout_s,
                )
            yield from answer

    def every(self, expression: str, fields: Sequence[str], *, shrinking: bool = False) -> Iterator[Row]:
        """Yields fields of all rows that pass an expression, every write before this call included.

        Args:
            expression: the rows.
            fields: of each, besides its key.
            shrinking: whether some may be deleted meanwhile, which are yielded or not.

        Raises:
            Upstream: INDEX_UNAVAILABLE; INDEX_INCOMPLETE: other rows were written or deleted meanwhile.
        """
        most = self._count(expression) if shrinking else None
        found = 0
        for row in self._iterated(expression, fields) if self._lite else self._in_order(expression, fields):
            found += 1
            yield row
        least = self._count(expression)
        if not least <= found <= (least if most is None else most):
            raise self.incomplete()

    def _count(self, expression: str) -> int:
        with self._answering():
            (row,) = self._query(expression, ["count(*)"])
        return int(row["count(*)"])

    def _in_order(self, expression: str, fields: Sequence[str]) -> Iterator[Row]:
        # Servers give the lowest keys first. The iterator of pymilvus 3.0 leaves out rows of a server 2.3.
        last = ""
        while True:
            with self._answering():
                page = self._query(f'({expression}) and key > "{last}"', ["key", *fields], limit=_MAX_ROWS)
            yield from page
            if len(page) < _MAX_ROWS:
                return
            last = max(row["key"] for row in page)

    def _iterated(self, expression: str, fields: Sequence[str]) -> Iterator[Row]:
        # Milvus Lite gives keys in any order, so that there is no next page, but its iterator leaves out none.
        with self._answering():
            pages = self._client.query_iterator(
                self.name,
                batch_size=_MAX_ROWS,
                filter=expression,
                output_fields=["key", *fields],
                consistency_level="Strong",
                timeout=self._settings.write_timeout_s,
            )
        try:
            while True:
                with self._answering():
                    page = pages.next()
                if not page:
                    return
                yield from page
        finally:
            pages.close()

    def _query(self, expression: str, fields: Sequence[str], **arguments: Any) -> Sequence[Row]:
        """Returns what passes an expression, every write before this call included."""
        found: Sequence[Row] = self._client.query(
            self.name,
            filter=expression,
            output_fields=fields,
            consistency_level="Strong",
            timeout=self._settings.write_timeout_s,
            **arguments,
        )
        return found

    @property
    def _lite(self) -> bool:
        return self._settings.uri.endswith(".db")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Makes one error of all that pymilvus and gRPC raise."""
        try:
            yield
        except (FailedPrecondition, Upstream):
            raise
        except Exception as error:
            raise self.unavailable() from error

    def _foreign(self) -> FailedPrecondition:
        return FailedPrecondition(
            f'The collection "{self.name}" of Milvus belongs to another catalogue; '
            "set SEARCH_MILVUS_COLLECTION to a name that no other catalogue uses.",
            reason="INDEX_FOREIGN",
            metadata={"collection": self.name},
        )

    def incomplete(self) -> Upstream:
        """Returns the error of a collection that does not give all that it should have."""
        return Upstream(
            "Milvus does not give all products that it should have; try again a little later.",
            reason="INDEX_INCOMPLETE",
            metadata={"collection": self.name},
        )

    def unavailable(self) -> Upstream:
        """Returns the error of a collection that cannot be asked now."""
        return Upstream(
            "Milvus, which holds the index, does not answer; try again a little later.",
            reason=UNAVAILABLE,
            metadata={"collection": self.name},
        )


def vector_of(row: Row) -> NDArray[np.float16]:
    """Returns the embedding of a row: float16, shape (dimension,)."""
    return np.array(row["vector"], dtype=np.float32).astype(np.float16)
