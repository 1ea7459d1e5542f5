"""What a reindex leaves in Milvus and in the process: the collection and the thread of each generation that is left."""

import threading
from pathlib import Path

import pytest

from fashion.v1 import reindex_pb2
from services.contract.errors import FailedPrecondition
from services.search.indexes.milvus.settings import MilvusSettings
from services.search.indexes.milvus.store import MilvusStore
from tests.support.reindexing import PREVIOUS, READY, Operator
from tests.support.running import calling, stack_in_thread, stack_settings
from tests.support.small_shop import items, rows

pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed (the extra bench has it).")

OLD, NEW, NEXT = "fake-2048-80x60-0", "fake-2048-80x60-1", "fake-2048-80x60-2"
_ALL = (OLD, NEW, NEXT)
_OPEN = reindex_pb2.Gate(min_overlap=0)


def _keepers() -> int:
    return sum(each.name == "milvus-keeper" for each in threading.enumerate())


def test_a_generation_that_is_given_up_leaves_nothing_and_one_that_may_come_back_stays(tmp_path: Path) -> None:
    uri = str(tmp_path / "index.db")
    settings = stack_settings(tmp_path / "data", index="milvus", milvus_uri=uri, candidates_period_s=0.2)

    def collections() -> set[str]:
        found = set()
        for each in _ALL:
            store = MilvusStore(MilvusSettings(uri), 2048, each)
            client = store._connected(10.0)
            found |= {each} if client.has_collection(store.name) else set()
            client.close()
        return found

    before = _keepers()
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(rows()[:12])
        operator = Operator(caller.channel)
        operator.start("fake-1", gate=_OPEN)
        operator.until(PREVIOUS)
        assert (collections(), _keepers()) == ({OLD, NEW}, before + 2)
        operator.rollback()
        operator.rollback()
        assert collections() == {OLD, NEW}
        operator.end(force=True)
        assert (collections(), _keepers()) == ({NEW}, before + 1)
        assert len(caller.find(product_id=items()[0].id, top_k=5).products) == 5
        # One that never was live is given up too.
        operator.start("fake-2", gate=_OPEN, hold=True)
        operator.until(READY)
        assert collections() == {NEW, NEXT}
        operator.end(force=True)
        assert (collections(), _keepers()) == ({NEW}, before + 1)
        caller.upsert(rows()[12:14])
        assert len(caller.find(product_id=items()[12].id, top_k=5).products) == 5
    assert _keepers() == before


def test_nobody_gives_up_the_collection_of_another_catalogue(tmp_path: Path) -> None:
    settings = MilvusSettings(str(tmp_path / "index.db"))
    store = MilvusStore(settings, 8, "m1")
    store.open()
    store.claim("first")
    store.close()
    with pytest.raises(FailedPrecondition) as error:
        MilvusStore(settings, 8, "m1").give_up("second")
    assert error.value.reason == "INDEX_FOREIGN"
    assert MilvusStore(settings, 8, "m1").give_up("first")
    assert not MilvusStore(settings, 8, "m1").give_up("first")
