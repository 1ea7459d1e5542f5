"""The event loop of search never waits for the lock of an index, which a write may hold for a while."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fashion.v1 import reindex_pb2
from services.contract.fakes import FakeClassifier, MemoryCandidateStore
from services.contract.values import Classification, Embedding, ModelInfo
from services.search.candidates.doubt_meter import DoubtMeter
from services.search.candidates.keeper import CandidateKeeper
from services.search.candidates.publisher import CandidatePublisher, PublisherSettings
from services.search.catalogue.store import Catalogue
from services.search.indexes.faiss import FaissIndex
from services.search.servicer import ReindexServicer
from services.search.writes.generation import Generation, WrittenGenerations
from services.search.writes.snapshots import SnapshotKeeper, SnapshotSettings

_SIZE = 8
_MODEL = ModelInfo("tiny", "m1", _SIZE, 8, 8, "none", "float32", "float32")
_HELD_S = 3.0


@contextmanager
def _writing(index: FaissIndex) -> Iterator[None]:
    """Has a thread hold the lock for writing, as a write does."""
    held = threading.Event()

    def hold() -> None:
        with index._lock.writing():
            held.set()
            time.sleep(_HELD_S)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        thread.join()


async def _longest_stop(work: Awaitable[object]) -> float:
    """Returns the longest time that the event loop stood still while work went on beside it, in seconds."""
    task = asyncio.ensure_future(work)
    longest = 0.0
    for _ in range(20):
        before = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - before)
    task.cancel()
    with suppress(asyncio.CancelledError, LookupError):
        await task
    return longest


def _publishing(index: FaissIndex, directory: Path) -> Awaitable[object]:
    keeper = CandidateKeeper(index, _MODEL, 0.1)
    settings = PublisherSettings(period_s=0.01, pause_s=0)
    return CandidatePublisher(keeper, MemoryCandidateStore(), _MODEL, settings).run()


def _measuring(index: FaissIndex, directory: Path) -> Awaitable[object]:
    def classify(embedding: Embedding, top_k: int) -> Classification:
        raise LookupError

    meter = DoubtMeter(
        index,
        FakeClassifier(classify),
        _MODEL,
        directory,
        candidates_version=lambda: "",
        changed_share=0.1,
        period_s=0.01,
    )
    return meter.run()


def _keeping(index: FaissIndex, directory: Path) -> Awaitable[object]:
    keeper = SnapshotKeeper(Catalogue(directory), directory, SnapshotSettings(1, 1.0, 0.01))
    embedder: Any = None
    keeper._generations = WrittenGenerations(Generation(_MODEL, index, embedder))
    return keeper.run()


def _telling(index: FaissIndex, directory: Path) -> Awaitable[object]:
    class Reindexing:
        def state(self) -> Any:
            index.facts()
            raise LookupError

    reindexer: Any = Reindexing()
    context: Any = None
    return ReindexServicer(reindexer).GetReindex(reindex_pb2.GetReindexRequest(), context)


@pytest.mark.parametrize("begin", [_publishing, _measuring, _keeping, _telling])
async def test_it_goes_on_during_a_write(
    begin: Callable[[FaissIndex, Path], Awaitable[object]], tmp_path: Path
) -> None:
    index = FaissIndex(_SIZE)
    work = begin(index, tmp_path)
    with _writing(index):
        assert await _longest_stop(work) < _HELD_S / 2


def test_the_version_of_an_index_waits_for_no_write() -> None:
    index = FaissIndex(_SIZE)
    index.apply((), (), 7)
    with _writing(index):
        before = time.monotonic()
        assert index.index_version == 7
        assert time.monotonic() - before < _HELD_S / 2
