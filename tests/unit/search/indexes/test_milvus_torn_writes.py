"""The index in Milvus where a write ends between any two calls: its process is killed, or Milvus fails for a moment."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from offline.benchmark.correctness.oracle import Oracle
from offline.benchmark.milvus_check import Differs, hold
from services.contract.errors import Upstream
from services.search.filters.ranking import BY_SIMILARITY
from services.search.indexes.base import Eligibility, IndexedProduct, ReadableIndex
from services.search.indexes.milvus import index as index_module
from services.search.indexes.milvus import rows as rows_module
from services.search.indexes.milvus import store as store_module
from services.search.indexes.milvus.follower import MilvusFollower
from services.search.indexes.milvus.index import MilvusIndex
from services.search.indexes.milvus.rows import META, META_KEYS, Row, empty_row, parts_of, rows_of
from services.search.indexes.milvus.settings import MilvusSettings
from services.search.indexes.milvus.store import MilvusStore
from tests.conformance.materials import DIMENSION, embedding, product, query_vector
from tests.support.milvus_server import reachable
from tests.support.waiting import eventually

pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed (the extra bench has it).")
# The first time, the server is installed.
pytestmark = pytest.mark.timeout(900)

LONG = {f"name{number}": tuple(f"{number} {place} {'x' * 90}" for place in range(20)) for number in range(50)}
BEFORE = [
    IndexedProduct(product(f"p{place}"), embedding(10 * place), (embedding(10 * place + 1), embedding(10 * place + 2)))
    for place in range(6)
]
BEFORE[0] = replace(BEFORE[0], product=product("p0", attributes=LONG))
# One of everything that a write can hold.
REPLACED = IndexedProduct(product("p1", brand="Velora", attributes=LONG), embedding(71), (embedding(72),))
NEW = IndexedProduct(product("new"), embedding(81), tuple(embedding(82 + number) for number in range(4)))
UPDATED = (product("p2", brand="Harbour"), product("p3", in_stock=False))
DELETED = "p4"
AFTER = [
    BEFORE[0],
    REPLACED,
    *(replace(row, product=updated) for row, updated in zip(BEFORE[2:4], UPDATED, strict=True)),
    BEFORE[5],
    NEW,
]


class _Killed(BaseException):
    """Ends a write as the end of the process does."""


@dataclass
class _Calls:
    """Counts the calls that write, and fails one of them.

    Attributes:
        number: the one that fails, from 1; 0 for none.
        error: what it raises.
        late: whether it is carried out all the same.
        made: how many there were.
        before: called before each.
    """

    number: int = 0
    error: BaseException = field(default_factory=_Killed)
    late: bool = False
    made: int = 0
    before: Callable[[], None] = lambda: None

    def fail(self, number: int, error: BaseException, *, late: bool) -> None:
        self.number, self.error, self.late, self.made = number, error, late, 0

    def call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.made += 1
        self.before()
        if self.made == self.number and not self.late:
            raise self.error
        answer = method(*arguments, **named)
        if self.made == self.number:
            raise self.error
        return answer


class _Client:
    def __init__(self, client: Any, calls: _Calls) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in ("insert", "delete"):
            return method
        return lambda *arguments, **named: self._calls.call(method, *arguments, **named)


class _Store(MilvusStore):
    def __init__(self, settings: MilvusSettings) -> None:
        super().__init__(settings, DIMENSION, "a")
        self.calls = _Calls()

    def _connected(self, timeout_s: float) -> Any:
        return _Client(super()._connected(timeout_s), self.calls)


class _Collection:
    """A collection, and the processes on it, which are closed at the end."""

    def __init__(self, uri: str, name: str) -> None:
        self._settings = MilvusSettings(uri, collection=name, timeout_s=20)
        self.failures: list[str] = []
        self._opened: list[MilvusIndex | MilvusFollower] = []

    def store(self) -> _Store:
        return _Store(self._settings)

    def writer(self, staleness_s: float = 15.0, start_timeout_s: float = 0.0) -> tuple[MilvusIndex, _Store]:
        store = self.store()
        timings = {"staleness_s": staleness_s, "start_timeout_s": start_timeout_s}
        writer = MilvusIndex(store, "suite", **timings, on_failure=self.failures.append)
        self._opened.append(writer)
        return writer, store

    def loaded(self, rows: Sequence[IndexedProduct], version: int, **arguments: float) -> tuple[MilvusIndex, _Store]:
        writer, store = self.writer(**arguments)
        writer.load([rows], version)
        return writer, store

    def follower(self, check_s: float = 0.05) -> MilvusFollower:
        follower = MilvusFollower(self.store(), check_s=check_s)
        self._opened.append(follower)
        follower.begin()
        return follower

    def stored(self, expression: str, fields: Sequence[str] = ()) -> list[Row]:
        store = self.store()
        store.open()
        try:
            return list(store.every(expression, fields, shrinking=True))
        finally:
            store.close()

    def change(self, rows: Sequence[Row], keys: Sequence[str]) -> None:
        """Deletes and inserts rows, as nobody does who knows what the others are."""
        store = self.store()
        store.open()
        try:
            store.delete(keys)
            store.insert(rows)
        finally:
            store.close()

    def becomes_clean(self, products: Sequence[IndexedProduct]) -> None:
        """Waits until there are no rows but those of some products."""
        wanted = sum(1 + len(each.further) for each in products)
        eventually(lambda: len(self.stored("photograph >= 0")) == wanted, "rows are left", timeout_s=20)

    def close(self) -> None:
        for each in self._opened:
            each.close()


@pytest.fixture
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if getattr(request, "param", "lite") == "lite":
        yield str(tmp_path / "index.db")
        return
    with reachable(request.getfixturevalue("milvus_of_the_session")) as address:
        yield address


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    # A write of few products takes several calls.
    monkeypatch.setattr(store_module, "_MAX_ROWS", 9)
    monkeypatch.setattr(rows_module, "MAX_DOCUMENT_BYTES", 900)
    monkeypatch.setattr(index_module, "_CHECK_S", 0.05)


@pytest.fixture
def collections(uri: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], _Collection]]:
    made: list[_Collection] = []

    def make() -> _Collection:
        made.append(_Collection(uri, f"torn{abs(hash(request.node.name)) % 10**9}_{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def _oracle(rows: Sequence[IndexedProduct]) -> Oracle:
    oracle = Oracle()
    oracle.apply(rows, set())
    return oracle


def _holds(index: ReadableIndex, rows: Sequence[IndexedProduct]) -> None:
    """Compares answers and products with those that some rows must give.

    Raises:
        Differs: one is another.
        Upstream: there is no answer.
    """
    oracle = _oracle(rows)
    for seed in (11, 31, 72, 84):
        for eligibility in (Eligibility(), Eligibility(frozenset({"Men Topwear", "Men Tshirts"}))):
            asked = query_vector(seed), 4, eligibility, BY_SIMILARITY
            hold(index.search(*asked), oracle, asked)
    if index.facts().product_count != len(rows):
        raise Differs(f"There are {index.facts().product_count} products.")
    for row in rows:
        if index.product(row.product.id) != row.product:
            raise Differs(f"{row.product.id} is not as written.")


def _holds_one(index: ReadableIndex, *versions: Sequence[IndexedProduct]) -> None:
    differences = []
    for rows in versions:
        try:
            _holds(index, rows)
            return
        except Differs as error:
            differences.append(str(error))
    raise AssertionError(differences)


def _becomes(index: ReadableIndex, rows: Sequence[IndexedProduct]) -> None:
    def holds() -> bool:
        try:
            _holds(index, rows)
        except (Differs, Upstream) as error:
            last[:] = [str(error)]
            return False
        return True

    last = [""]
    try:
        eventually(holds, timeout_s=20)
    except AssertionError:
        raise AssertionError(last[0]) from None


def _write(writer: MilvusIndex) -> None:
    writer.apply([REPLACED, NEW], {DELETED}, 2, UPDATED)


@pytest.mark.parametrize("late", [False, True])
def test_a_writer_may_be_killed_between_any_two_calls_of_a_write(
    collections: Callable[[], _Collection], late: bool
) -> None:
    for number in count(1):
        collection = collections()
        writer, store = collection.loaded(BEFORE, 1)
        follower = collection.follower()
        store.calls.fail(number, _Killed(), late=late)
        killed = False
        try:
            _write(writer)
        except _Killed:
            killed = True
        # As nothing of an ended process goes on.
        store.calls.fail(0, _Killed(), late=False)
        writer.close()
        _holds_one(follower, BEFORE, AFTER)
        _holds_one(collection.follower(), BEFORE, AFTER)
        again, _ = collection.loaded(AFTER, 2)
        _holds(again, AFTER)
        _becomes(follower, AFTER)
        _holds(collection.follower(), AFTER)
        again.apply((), (), 3, [product("p5", brand="Late")])
        _becomes(follower, [*AFTER[:4], replace(AFTER[4], product=product("p5", brand="Late")), NEW])
        collection.close()
        if not killed:
            break
    assert number > 4


def test_a_writer_may_be_killed_between_any_two_calls_of_its_start(collections: Callable[[], _Collection]) -> None:
    for number in count(1):
        collection = collections()
        collection.loaded(BEFORE, 1)[0].close()
        follower = collection.follower()
        writer, store = collection.writer(staleness_s=0.0)
        store.calls.fail(number, _Killed(), late=False)
        killed = False
        try:
            writer.load([AFTER], 2)
        except _Killed:
            killed = True
        _holds_one(follower, BEFORE, AFTER)
        again, _ = collection.loaded(AFTER, 2)
        _holds(again, AFTER)
        _becomes(follower, AFTER)
        collection.close()
        if not killed:
            break
    assert number > 4


@pytest.mark.parametrize("uri", ["lite", "server"], indirect=True)
@pytest.mark.parametrize("patience_s", [0.0, 20.0])
def test_a_writer_waits_for_the_last_deletions_of_the_one_before(
    collections: Callable[[], _Collection], monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    collection = collections()
    writer, _ = collection.loaded(BEFORE, 1)
    _write(writer)
    writer.close()
    # The writer has ended before it deletes what was replaced.
    versions = [row["key"] for row in collection.stored("photograph == 0") if "/p1@" in row["key"]]
    assert len(versions) == 2
    replaced = [min(versions, key=lambda key: parts_of(key)[2])]
    read = MilvusStore.every
    deleted: list[str] = []

    def deleting(store: MilvusStore, *arguments: Any, **named: Any) -> Iterator[Row]:
        for row in read(store, *arguments, **named):
            yield row
            if not deleted:
                deleted.extend(replaced)
                store.delete(replaced)

    monkeypatch.setattr(MilvusStore, "every", deleting)
    again, _ = collection.writer(start_timeout_s=patience_s)
    if not patience_s:
        with pytest.raises(Upstream) as error:
            again.load([AFTER], 2)
        assert error.value.reason == "INDEX_INCOMPLETE"
    again.load([AFTER], 2)
    _holds(again, AFTER)


@pytest.mark.parametrize("late", [False, True])
def test_a_writer_gets_over_any_call_that_fails(collections: Callable[[], _Collection], late: bool) -> None:
    for number in count(1):
        collection = collections()
        writer, store = collection.loaded(BEFORE, 1, staleness_s=0.3)
        follower = collection.follower()
        store.calls.fail(number, RuntimeError("a quota"), late=late)
        _write(writer)
        failed = store.calls.made >= number
        _becomes(writer, AFTER)
        _becomes(follower, AFTER)
        # Nothing is left of the attempt that has failed, nor of what was replaced.
        collection.becomes_clean(AFTER)
        _holds(writer, AFTER)
        _holds(follower, AFTER)
        assert not collection.failures
        collection.close()
        if not failed:
            break
    assert number > 4


@pytest.mark.parametrize("uri", ["lite", "server"], indirect=True)
def test_a_replica_answers_at_every_moment_of_a_write(collections: Callable[[], _Collection]) -> None:
    collection = collections()
    writer, store = collection.loaded(BEFORE, 1, staleness_s=0.3)
    # Its products are in Milvus alone.
    follower = collection.follower()
    differences: list[str] = []

    def look() -> None:
        try:
            follower._check()
            _holds_one(follower, BEFORE, AFTER)
        except (AssertionError, Upstream) as error:
            differences.append(str(error))

    store.calls.before = look
    _write(writer)
    store.calls.before = lambda: None
    assert not differences
    _becomes(follower, AFTER)


@pytest.mark.parametrize("uri", ["lite", "server"], indirect=True)
def test_a_replica_that_has_not_looked_for_long_takes_over_what_it_misses(
    collections: Callable[[], _Collection],
) -> None:
    collection = collections()
    writer, _ = collection.loaded(BEFORE, 1, staleness_s=0.0)
    follower = collection.follower(check_s=3600.0)
    _write(writer)
    collection.becomes_clean(AFTER)
    _holds(follower, AFTER)


def test_a_replica_keeps_what_it_knows_while_no_row_says_what_is_written(
    collections: Callable[[], _Collection],
) -> None:
    collection = collections()
    collection.loaded(BEFORE, 1)
    follower = collection.follower()
    collection.change((), META_KEYS)
    for _ in range(3):
        follower._check()
        _holds(follower, BEFORE)
    with pytest.raises(Upstream) as error:
        collection.follower()
    assert error.value.reason == "INDEX_INCOMPLETE"


def test_a_replica_that_meets_an_unfinished_write_is_not_down(
    collections: Callable[[], _Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = collections()
    writer, _ = collection.loaded(BEFORE, 1)
    follower = collection.follower(check_s=3600.0)
    _write(writer)
    with monkeypatch.context() as patch:
        patch.setattr(MilvusStore, "_count", lambda self, expression: -1)
        follower._check()
        _holds(follower, BEFORE)
    follower._check()
    _holds(follower, AFTER)


def test_each_row_of_a_product_that_is_lost_is_written_again(collections: Callable[[], _Collection]) -> None:
    collection = collections()
    collection.loaded(BEFORE, 1)[0].close()
    kinds = {row["key"].partition("/")[0] for row in collection.stored("photograph >= -1")}
    assert {"0", "1", "2", "d1"} <= kinds
    for kind in sorted(kinds):
        keys = [row["key"] for row in collection.stored("photograph >= -1") if row["key"].startswith(f"{kind}/p0@")]
        assert len(keys) == 1
        collection.change((), keys)
        again, _ = collection.loaded(BEFORE, 1, staleness_s=0.0)
        _holds(again, BEFORE)
        again.close()
        _holds(collection.follower(), BEFORE)


@pytest.mark.parametrize("uri", ["lite", "server"], indirect=True)
def test_an_embedding_that_milvus_has_lost_is_read_from_the_catalogue(collections: Callable[[], _Collection]) -> None:
    collection = collections()
    writer, _ = collection.loaded(BEFORE, 1)
    collection.change((), [row["key"] for row in collection.stored("photograph == 0") if "/p2@" in row["key"]])
    writer.apply((), (), 2, UPDATED)
    eventually(lambda: bool(collection.failures), "nobody is told")
    assert "has to be loaded anew" in collection.failures[0]
    rows = [*BEFORE[:2], *AFTER[2:4], *BEFORE[4:]]
    _holds(collection.loaded(rows, 2)[0], rows)


@pytest.mark.parametrize("uri", ["lite", "server"], indirect=True)
@pytest.mark.parametrize("meta", [True, False])
def test_a_collection_of_an_earlier_version_goes_on(collections: Callable[[], _Collection], meta: bool) -> None:
    """Their primary keys have no version; where a writer was killed, the row that says what is written may lack."""
    collection = collections()
    collection.loaded((), 0)[0].close()
    old = [
        row | {"key": row["key"].partition("@")[0]}
        for sequence, each in enumerate(BEFORE, start=50)
        for row in rows_of(each, sequence, DIMENSION)
    ]
    said = empty_row(DIMENSION, 60) | {"key": "meta", "photograph": META, "document": "1"}
    collection.change([*old, said] if meta else old, META_KEYS)
    if meta:
        _holds(collection.follower(), BEFORE)
    writer, store = collection.writer(staleness_s=0.0)
    writer.load([BEFORE], 1)
    # Nothing but what says what is written.
    assert store.calls.made <= 2
    follower = collection.follower()
    _holds(writer, BEFORE)
    _holds(follower, BEFORE)
    _write(writer)
    _holds(writer, AFTER)
    _becomes(follower, AFTER)
    collection.becomes_clean(AFTER)


def test_a_product_that_comes_back_is_not_taken_for_a_deleted_one(collections: Callable[[], _Collection]) -> None:
    collection = collections()
    # What was replaced stays.
    writer, _ = collection.loaded(BEFORE, 1)
    follower = collection.follower()
    for version in (2, 4):
        writer.apply((), {DELETED}, version)
        _becomes(follower, [*BEFORE[:4], BEFORE[5]])
        writer.apply([BEFORE[4]], (), version + 1)
        _becomes(follower, BEFORE)
        _holds(collection.follower(), BEFORE)
    writer.apply((), {DELETED}, 6)
    _becomes(follower, [*BEFORE[:4], BEFORE[5]])
    _holds(collection.follower(), [*BEFORE[:4], BEFORE[5]])
    writer.close()
    # As from an older backup.
    _holds(collection.loaded(BEFORE, 3)[0], BEFORE)
    _becomes(follower, BEFORE)
    _holds(collection.follower(), BEFORE)


def test_another_collection_in_its_place_is_taken_over(collections: Callable[[], _Collection]) -> None:
    collection = collections()
    writer, store = collection.loaded(BEFORE, 1)
    for version in range(2, 5):
        writer.apply((), (), version, [product("p5", brand=str(version))])
    follower = collection.follower()
    store.drop()
    writer.close()
    collection.loaded(AFTER, 2)
    _becomes(follower, AFTER)
