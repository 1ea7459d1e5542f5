"""The index in Milvus: the suite of all indexes over Milvus Lite, and tests of its own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from offline.benchmark.milvus_check import AS_SERVED, CASES, Check, filled
from services.contract.errors import Upstream
from services.search.indexes.base import Eligibility, Index, IndexedProduct
from services.search.indexes.milvus import state, store
from services.search.indexes.milvus.index import MilvusIndex
from services.search.indexes.milvus.settings import MilvusSettings
from services.search.indexes.milvus.store import MilvusStore
from tests.conformance.index import IndexConformance
from tests.conformance.materials import DIMENSION, SETTINGS, embedding, product, query_vector
from tests.support.milvus_server import reachable

pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed (the extra bench has it).")


class OnMilvus(IndexConformance):
    """Empties one collection of each dimension for each test, since making one takes half a second."""

    examples = 3
    versions = 30

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _opened(cls, milvus_uri: str) -> Iterator[None]:
        cls.uri = milvus_uri
        cls.indexes: dict[int, MilvusIndex] = {}
        few = settings(SETTINGS, max_examples=cls.examples)
        with pytest.MonkeyPatch.context() as patch:
            for name in dir(cls):
                if is_hypothesis_test(getattr(cls, name)):
                    # Every write and search is a call over gRPC; the index in memory takes many more examples.
                    patch.setattr(getattr(cls, name), "_hypothesis_internal_use_settings", few)
            yield
        for index in cls.indexes.values():
            index.close()

    def make_index(self, dimension: int = DIMENSION) -> Index:
        if dimension not in self.indexes:
            collection = MilvusStore(MilvusSettings(self.uri, collection="suite"), dimension, str(dimension))
            # What was written is found in Milvus alone at once.
            self.indexes[dimension] = MilvusIndex(collection, "suite", staleness_s=0.0)
        self.indexes[dimension].load((), 0)
        return self.indexes[dimension]


class TestMilvusLite(OnMilvus):
    @pytest.fixture(scope="class")
    @classmethod
    def milvus_uri(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        folder: Path = tmp_path_factory.mktemp("milvus")
        return str(folder / "index.db")


def _differences(uri: str) -> dict[str, str]:
    outcomes = list(Check(MilvusSettings(uri, timeout_s=20.0)).run())
    assert len(outcomes) == len(CASES) + len(AS_SERVED)
    return {each.name: each.difference for each in outcomes if each.difference}


def test_the_quick_part_holds_on_milvus_lite(tmp_path: Path) -> None:
    assert _differences(str(tmp_path / "index.db")) == {}


# The first time, the server is installed.
@pytest.mark.timeout(900)
def test_the_quick_part_holds_on_a_real_server(milvus_of_the_session: Path) -> None:
    with reachable(milvus_of_the_session) as uri:
        assert _differences(uri) == {}


def test_the_quick_part_tells_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MilvusStore, "nearest", lambda self, query, limit, expression, latest: [])
    differences = _differences(str(tmp_path / "index.db"))
    assert "[INDEX_INCOMPLETE]" in differences[f"{filled.__doc__}"]


def test_where_nothing_answers_it_is_said_once() -> None:
    with pytest.raises(Upstream, match=r"cannot be used at http://127\.0\.0\.1:1: .+\.$"):
        list(Check(MilvusSettings("http://127.0.0.1:1", timeout_s=1.0)).run())


def test_more_equals_than_milvus_gives_at_once_are_all_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 300 equals; a server gives 16,384.
    monkeypatch.setattr(state, "MAX_HITS", 50)
    monkeypatch.setattr(state, "_MAX_NAMED", 40)
    monkeypatch.setattr(store, "_MAX_VECTORS", 30)
    index = MilvusIndex(MilvusStore(MilvusSettings(str(tmp_path / "index.db")), DIMENSION, "a"), "suite")
    try:
        names = [f"{number:03}" for number in range(300)]
        index.load([[IndexedProduct(product(each), embedding(1)) for each in reversed(names)]], 1)
        for k in (7, 60):
            answer = index.search(query_vector(1), k, Eligibility())
            assert [hit.product.id for hit in answer.hits] == names[:k]
    finally:
        index.close()


def test_another_process_is_told_that_it_cannot_open_the_file_of_milvus_lite(tmp_path: Path) -> None:
    uri = str(tmp_path / "index.db")
    first = MilvusIndex(MilvusStore(MilvusSettings(uri), DIMENSION, "a"), "suite")
    first.load((), 0)
    code = (
        "from services.search.indexes.milvus.settings import MilvusSettings\n"
        "from services.search.indexes.milvus.store import MilvusStore\n"
        "from services.contract.errors import Upstream, Upstream\n"
        "try:\n"
        f"    MilvusStore(MilvusSettings({uri!r}), {DIMENSION}, 'a').open()\n"
        "except Upstream as error:\n"
        "    print(error.reason)\n"
    )
    try:
        outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    finally:
        first.close()
    assert outcome.stdout.strip() == "INDEX_UNAVAILABLE"


def test_nothing_of_milvus_is_imported_unless_it_is_chosen() -> None:
    code = "import sys, services.search.__main__; print({'pymilvus', 'pandas'} & {*sys.modules})"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "set()"
