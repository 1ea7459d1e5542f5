"""The quick part of the suite of indexes, against any Milvus: `fashion index check`.

Each case holds the index in Milvus to what a comparison with every product gives, where Milvus's versions differ.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark.correctness.material import Material
from offline.benchmark.correctness.oracle import Oracle
from services.contract.errors import FailedPrecondition, FashionError, InvalidInput, Upstream
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.filters.filter import Filter, LabelFilter, YearRange
from services.search.filters.ranking import BY_SIMILARITY, Ranking
from services.search.indexes.base import Eligibility, IndexAnswer, IndexedProduct, ReadableIndex
from services.search.indexes.milvus.expressions import SEARCHABLE
from services.search.indexes.milvus.follower import MilvusFollower
from services.search.indexes.milvus.index import MilvusIndex
from services.search.indexes.milvus.reader import STALENESS_S
from services.search.indexes.milvus.rows import CONTINUED, MAX_DOCUMENT_BYTES, MAX_TEXT_BYTES, empty_row
from services.search.indexes.milvus.settings import MilvusSettings
from services.search.indexes.milvus.store import MAX_HITS, MilvusStore

_DIMENSION: Final = 8
_CATALOGUE: Final = "suite"
_FOLLOWED_WITHIN_S: Final = 15.0
_IDS: Final = tuple(f"p{number}" for number in range(12))


class Differs(Exception):
    """An answer is not what it must be; the text says how."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: what holds, as a sentence.
        difference: how it does not; empty where it does.
        took_s: how long it took, in seconds.
    """

    name: str
    difference: str
    took_s: float


class Check:
    """Runs cases on collections of its own, which it deletes afterwards."""

    def __init__(self, settings: MilvusSettings) -> None:
        """Takes where Milvus is; the collection is another one."""
        self._settings = replace(settings, collection=f"check_{secrets.token_hex(6)}")

    def run(self) -> Iterator[Outcome]:
        """Yields what became of each case.

        Raises:
            Upstream: INDEX_UNAVAILABLE; nothing answers, so that no case says anything.
        """
        try:
            self._reach()
            for case in (*CASES, *AS_SERVED):
                begun = time.monotonic()
                index = self.reopened(STALENESS_S if case in AS_SERVED else 0.0)
                try:
                    index.load((), 0)
                    case(self, index)
                    difference = ""
                except Differs as error:
                    difference = str(error)
                except FashionError as error:
                    difference = f"{error.message} [{error.reason}]"
                    difference += f" ({error.__cause__})" if error.__cause__ else ""
                finally:
                    index.close()
                name = (case.__doc__ or "").partition("\n")[0]
                yield Outcome(name, difference, time.monotonic() - begun)
        finally:
            self._drop()

    def store(self, dimension: int = _DIMENSION, model_version: str = "a") -> MilvusStore:
        """Makes a store, which is not open."""
        return MilvusStore(self._settings, dimension, model_version)

    def reopened(self, staleness_s: float = 0.0) -> MilvusIndex:
        """Makes an index of the same collection; with 0 each search waits for all writes, so that Milvus answers."""
        return self.index(self.store(), staleness_s)

    def index(self, store: MilvusStore, staleness_s: float = 0.0, catalogue: str = _CATALOGUE) -> MilvusIndex:
        """Makes an index of any collection."""
        return MilvusIndex(store, catalogue, staleness_s=staleness_s)

    def _reach(self) -> None:
        store = self.store()
        try:
            store.open()
        except Upstream as error:
            why = " ".join(str(error.__cause__ or error.message).split())
            raise Upstream(f"Milvus cannot be used at {self._settings.uri}: {why}.", reason=error.reason) from error
        finally:
            store.close()

    def _drop(self) -> None:
        for version in ("a", "another-model"):
            store = self.store(model_version=version)
            try:
                store.open(create=False)
                store.drop()
            except Upstream:
                # There is none.
                continue
            finally:
                store.close()


def unit(seed: int, dimension: int = _DIMENSION) -> NDArray[np.float16]:
    """Returns an embedding; equal seeds give equal ones."""
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def query(seed: int) -> NDArray[np.float32]:
    """Returns a query."""
    vector = unit(seed).astype(np.float32)
    normalised: NDArray[np.float32] = vector / np.linalg.norm(vector)
    return normalised


def product(product_id: str, **attributes: object) -> Product:
    """Returns a product."""
    values: dict[str, object] = {"gender": Gender.MEN, "sub_category": "Topwear", "article_type": "Tshirts"}
    return Product(id=product_id, **{**values, **attributes})  # type: ignore[arg-type]


def hold(answer: IndexAnswer, oracle: Oracle, asked: tuple[NDArray[np.float32], int, Eligibility, Ranking]) -> None:
    """Holds an answer to the comparison with every product.

    Raises:
        Differs: it is another one.
    """
    expected = oracle.answer(*asked)
    for what, found, wanted in (
        ("ids", [hit.product.id for hit in answer.hits], expected.ids),
        ("similarities", [hit.similarity for hit in answer.hits], [hit.similarity for hit in expected.hits]),
        ("eligible products", answer.eligible_count, expected.eligible_count),
    ):
        if found != wanted:
            raise Differs(f"The {what} are {found} rather than {wanted}.")


def _ask(index: ReadableIndex, oracle: Oracle, seed: int, k: int, eligibility: Eligibility, ranking: Ranking) -> None:
    try:
        answer = index.search(query(seed), k, eligibility, ranking)
    except InvalidInput:
        # A value that no product has; the index in memory is held to that.
        return
    hold(answer, oracle, (query(seed), k, eligibility, ranking))


def _write(index: MilvusIndex, oracle: Oracle, version: int, rows: Sequence[IndexedProduct], deletes: set[str]) -> None:
    index.apply(rows, deletes, version)
    oracle.apply(rows, deletes)


def _history(index: MilvusIndex, dice: Random, *, writes: int, counts: Sequence[int]) -> None:
    """Writes, and after each write searches for each of some numbers of products, as by comparing all of them."""
    oracle, material = Oracle(), Material(_IDS, ("p1", "p2", "q"))
    for version in range(1, 1 + writes):
        ids = dice.sample(_IDS, 6)
        rows = [IndexedProduct(material.product(dice, each), unit(dice.randrange(5))) for each in ids[:4]]
        _write(index, oracle, version, rows, set(ids[4:]))
        for seed, count in enumerate(counts):
            _ask(index, oracle, seed, count, material.eligibility(dice), material.ranking(dice))


def random_histories(check: Check, index: MilvusIndex) -> None:
    """Random writes and searches are answered as by comparing every product."""
    _history(index, Random(7), writes=4, counts=(1, 3, 5))


def missing_values(check: Check, index: MilvusIndex) -> None:
    """A product without a value passes every "none of", and no "any of" and no range."""
    oracle = Oracle()
    rows = [
        IndexedProduct(product(str(number), brand=(None, "Velora", "Harbour")[number % 3], year=year), unit(number))
        for number, year in enumerate([None, 2012, 1950] * 4)
    ]
    _write(index, oracle, 1, rows, set())
    for filter in (
        Filter(brand=LabelFilter(none_of=("Velora",))),
        Filter(brand=LabelFilter(any_of=("Velora",))),
        Filter(year=YearRange(None, 2000)),
        Filter(year=YearRange(1960, None)),
    ):
        _ask(index, oracle, 1, 12, Eligibility(filter=filter), BY_SIMILARITY)


def filled(check: Check, index: MilvusIndex) -> None:
    """An answer is filled where one product in 200 passes the filter."""
    oracle = Oracle()
    rows = [
        IndexedProduct(
            product(f"{number:04}", brand="Rare" if number % 200 == 0 else "Velora", article_type=f"T{number % 5}"),
            unit(number),
        )
        for number in range(2000)
    ]
    _write(index, oracle, 1, rows, set())
    for eligibility in (Eligibility(filter=Filter(brand=LabelFilter(("Rare",)))), Eligibility()):
        _ask(index, oracle, 1, 10, eligibility, BY_SIMILARITY)


def partition_key(check: Check, index: MilvusIndex) -> None:
    """A product that was written again is found within its derived type, and only there."""
    oracle = Oracle()
    for version, kinds in enumerate(["AAAA", "AABB", "BBBA"], start=1):
        rows = [
            IndexedProduct(product(str(number), article_type=kind), unit(number)) for number, kind in enumerate(kinds)
        ]
        _write(index, oracle, version, rows, set())
        for label in ("Men A", "Men B"):
            _ask(index, oracle, 1, 10, Eligibility(frozenset({label})), BY_SIMILARITY)


def one_row_an_id(check: Check, index: MilvusIndex) -> None:
    """Of a product that is written twice the last one counts, once."""
    oracle = Oracle()
    for version in range(1, 4):
        _write(
            index,
            oracle,
            version,
            [IndexedProduct(product("a"), unit(version)), IndexedProduct(product("b"), unit(9))],
            set(),
        )
        _ask(index, oracle, 1, 10, Eligibility(), BY_SIMILARITY)


def equals_in_order(check: Check, index: MilvusIndex) -> None:
    """Products of equal similarity come in the order of their ids, however many are asked for."""
    oracle = Oracle()
    names = [f"{number:03}" for number in range(300)]
    _write(index, oracle, 1, [IndexedProduct(product(each), unit(1)) for each in reversed(names)], set())
    for k in (1, 7, 50, 299):
        _ask(index, oracle, 1, k, Eligibility(), BY_SIMILARITY)


def pages(check: Check, index: MilvusIndex) -> None:
    """Pages of products that are equal in all but their ids name each once, wherever they are asked for."""
    names = [f"{number:03}" for number in range(100)]
    index.apply([IndexedProduct(product(each), unit(1)) for each in reversed(names)], (), 1)
    with _following(check) as follower:
        for reader in (index, follower):
            listed: list[str] = []
            while (page := reader.page(Filter(), (listed[-1],) if listed else None, 7)).products:
                listed += [each.id for each in page.products]
            if listed != names:
                raise Differs(f"The pages hold {listed}.")


def limits(check: Check, index: MilvusIndex) -> None:
    """Milvus gives as many rows as a search asks for at most, and takes a write that is larger than a request."""
    oracle, store = Oracle(), check.store()
    _write(index, oracle, 1, [IndexedProduct(product(each), unit(place)) for place, each in enumerate(_IDS)], set())
    try:
        store.open()
        found = store.nearest(query(1), MAX_HITS, SEARCHABLE, latest=True)
        if len(found) != len(_IDS):
            raise Differs(f"A search for {MAX_HITS} rows gives {len(found)} of {len(_IDS)}.")
        # 65.8 MiB. They are of no product, so that the next load deletes them.
        labels = dict.fromkeys(("brand", "season"), "x" * (MAX_TEXT_BYTES - 48))
        row = empty_row(_DIMENSION, 1) | labels | {"photograph": CONTINUED, "document": "x" * MAX_DOCUMENT_BYTES}
        store.insert([row | {"key": f"d1/{number}"} for number in range(1000)])
        written = sum(1 for _ in store.every(f"photograph == {CONTINUED}", []))
        if written != 1000:
            raise Differs(f"Of a large write {written} of 1000 rows are there.")
    finally:
        store.close()


def bad_writes(check: Check, index: MilvusIndex) -> None:
    """An embedding that is no number, and an id that comes twice in a write, are refused and change nothing."""
    oracle = Oracle()
    _write(index, oracle, 1, [IndexedProduct(product("a"), unit(1))], set())
    nowhere = np.full(_DIMENSION, np.nan, dtype=np.float16)
    for bad in (
        [IndexedProduct(product("a"), unit(2)), IndexedProduct(product("b"), nowhere)],
        [IndexedProduct(product("a"), unit(2)), IndexedProduct(product("a"), unit(3))],
    ):
        try:
            index.apply(bad, (), 2)
        except ValueError:
            _ask(index, oracle, 1, 10, Eligibility(), BY_SIMILARITY)
            continue
        raise Differs(f"{bad[1].product.id} is taken.")


def one_catalogue(check: Check, index: MilvusIndex) -> None:
    """A collection belongs to one catalogue: another one is refused, and changes nothing."""
    oracle = Oracle()
    _write(index, oracle, 1, [IndexedProduct(product("a"), unit(1))], set())
    other = check.index(check.store(), catalogue="another")
    try:
        other.load([[IndexedProduct(product("b"), unit(2))]], 1)
    except FailedPrecondition:
        _ask(index, oracle, 1, 10, Eligibility(), BY_SIMILARITY)
        return
    finally:
        other.close()
    raise Differs("Another catalogue is written to it.")


def own_deletes(check: Check, index: MilvusIndex) -> None:
    """A product that was just deleted is in no answer, and one that was just written is."""
    oracle = Oracle()
    _write(index, oracle, 1, [IndexedProduct(product(each), unit(place)) for place, each in enumerate(_IDS)], set())
    for version, each in enumerate(_IDS[:6], start=2):
        _write(index, oracle, version, [IndexedProduct(product(f"new-{each}"), unit(version))], {each})
        _ask(index, oracle, 1, 20, Eligibility(), BY_SIMILARITY)


def at_once(check: Check, index: MilvusIndex) -> None:
    """What was just written is found without waiting for Milvus, as it was written last."""
    _history(index, Random(8), writes=8, counts=(1, 2, 3, 4, 5, 6))


def any_text(check: Check, index: MilvusIndex) -> None:
    """Ids and labels may hold quotes, backslashes, any letters, and as many bytes as 128 characters can have."""
    oracle = Oracle()
    labels = ['"', "'", "\\", "a\\nb", "%", "Élan & Söhne", "\U0001f457" * 128, "in [", '") or (true']
    rows = [
        IndexedProduct(product(f"i-{label.replace(' ', '_')}"[:128], brand=label), unit(place))
        for place, label in enumerate(labels)
    ]
    _write(index, oracle, 1, rows, set())
    for filter in (*(LabelFilter((label,)) for label in labels), LabelFilter(none_of=tuple(labels[:4]))):
        _ask(index, oracle, 1, 10, Eligibility(filter=Filter(brand=filter)), BY_SIMILARITY)


def long_products(check: Check, index: MilvusIndex) -> None:
    """A product may be longer than a field of Milvus."""
    long = {f"name{number}": tuple(secrets.token_hex(64) for _ in range(20)) for number in range(50)}
    rows = [IndexedProduct(product("long", attributes=long), unit(1)), IndexedProduct(product("short"), unit(2))]
    index.apply(rows, (), 1)
    with _following(check) as follower:
        if follower.product("long") != rows[0].product:
            raise Differs("The product has changed on its way.")
    index.apply([IndexedProduct(product("long"), unit(1))], (), 2)
    index.close()
    again = check.reopened()
    try:
        again.load([[IndexedProduct(product("long"), unit(1)), rows[1]]], 2)
        if again.facts().product_count != 2:
            raise Differs("Parts of the long product are left.")
    finally:
        again.close()


def several_photographs(check: Check, index: MilvusIndex) -> None:
    """A product is as similar as its most similar photograph, also after it has lost some."""
    oracle = Oracle()
    for version, further in enumerate([3, 1, 0], start=1):
        rows = [
            IndexedProduct(product(each), unit(10 * place), tuple(unit(10 * place + 1 + n) for n in range(further)))
            for place, each in enumerate(_IDS)
        ]
        _write(index, oracle, version, rows, set())
        for seed in (11, 50):
            _ask(index, oracle, seed, 5, Eligibility(), BY_SIMILARITY)


def updates(check: Check, index: MilvusIndex) -> None:
    """A product whose attributes change keeps its embeddings, and is found by its new attributes."""
    oracle = Oracle()
    rows = [IndexedProduct(product(each), unit(place), (unit(50 + place),)) for place, each in enumerate(_IDS)]
    _write(index, oracle, 1, rows, set())
    changed = [product(each, brand="New", in_stock=place % 2 == 0) for place, each in enumerate(_IDS[:6])]
    index.apply((), (), 2, changed)
    oracle.update(changed)
    for filter in (Filter(), Filter(brand=LabelFilter(("New",)))):
        _ask(index, oracle, 52, 20, Eligibility(filter=filter), BY_SIMILARITY)


def restart(check: Check, index: MilvusIndex) -> None:
    """Another process finds the same products after a restart, and writes none of them again."""
    oracle = Oracle()
    rows = [IndexedProduct(product(each), unit(place)) for place, each in enumerate(_IDS)]
    _write(index, oracle, 1, rows, set())
    index.close()
    again = check.reopened()
    try:
        again.load([rows[:5], [replace(rows[5], product=product(_IDS[5], brand="Changed")), *rows[6:9]]], 2)
        oracle.apply([], set(_IDS[9:]))
        oracle.update([product(_IDS[5], brand="Changed")])
        _ask(again, oracle, 1, 20, Eligibility(), BY_SIMILARITY)
    finally:
        again.close()


def followed(check: Check, index: MilvusIndex) -> None:
    """A process that only reads follows writes, updates and deletions, each as a whole."""
    oracle = Oracle()
    _write(index, oracle, 1, [IndexedProduct(product(each), unit(place)) for place, each in enumerate(_IDS)], set())
    with _following(check) as follower:
        for version in range(2, 4):
            _write(index, oracle, version, [IndexedProduct(product(f"v{version}"), unit(version))], {_IDS[version]})
            end = time.monotonic() + _FOLLOWED_WITHIN_S
            while follower.facts().index_version < version:
                if time.monotonic() > end:
                    raise Differs(f"The write {version} is not followed within {_FOLLOWED_WITHIN_S:.0f} s.")
                time.sleep(0.02)
            _ask(follower, oracle, 1, 20, Eligibility(), BY_SIMILARITY)
            _ask(follower, oracle, 1, 3, Eligibility(), BY_SIMILARITY)


def generations(check: Check, index: MilvusIndex) -> None:
    """Each model version has products of its own, and another dimension is refused."""
    index.apply([IndexedProduct(product("a"), unit(1))], (), 1)
    other = check.index(check.store(model_version="another-model"))
    try:
        other.load([[IndexedProduct(product("b"), unit(2))]], 1)
        if [hit.product.id for hit in other.search(query(1), 5, Eligibility()).hits] != ["b"]:
            raise Differs("Products of one model are found by another.")
    finally:
        other.close()
    wrong = check.store(dimension=2 * _DIMENSION)
    try:
        wrong.open()
    except FailedPrecondition:
        return
    finally:
        wrong.close()
    raise Differs("A collection of another dimension is taken.")


@contextmanager
def _following(check: Check) -> Iterator[MilvusFollower]:
    follower = MilvusFollower(check.store(), check_s=0.1)
    try:
        follower.begin()
        yield follower
    finally:
        follower.close()


CASES: Final[Sequence[Callable[[Check, MilvusIndex], None]]] = (
    random_histories,
    missing_values,
    filled,
    partition_key,
    one_row_an_id,
    equals_in_order,
    pages,
    limits,
    bad_writes,
    one_catalogue,
    any_text,
    long_products,
    several_photographs,
    updates,
    restart,
    followed,
    generations,
)
# Here a search does not wait, and what was written a moment ago is compared in this process, as it is served.
AS_SERVED: Final[Sequence[Callable[[Check, MilvusIndex], None]]] = (own_deletes, at_once)
