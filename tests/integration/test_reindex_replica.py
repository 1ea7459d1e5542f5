"""A replica during a change of the model: it follows the writer, and answers by one model or the other, whole."""

import asyncio
import io
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from fashion.v1 import reindex_pb2, search_pb2, types_pb2
from services.clients.channel import open_channel
from services.clients.search import SearchClient
from services.contract.errors import ModelMismatch
from services.contract.fakes import FakeClassifier, FakeEmbedder
from services.contract.values import Classification, Embedding
from services.search.preferences import MemoryPreferences
from services.search.replica import ReplicaServicer, running_replica
from services.search.servicer import SEARCH
from services.search.settings import SearchSettings
from tests.support.processes import free_port
from tests.support.reindexing import PREVIOUS, Operator
from tests.support.running import calling, in_thread, logged_to, stack_in_thread, stack_settings
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed (the extra bench has it).")

OLD, NEW = "fake-2048-80x60-0", "fake-2048-80x60-1"
KNOWN = items()[0].id
SHOT = types_pb2.Image(content=photograph("Women Dresses", "Yellow", 10))


class Replica:
    """Asks a replica, from any thread.

    Attributes:
        stopped: why it has asked to be stopped.
    """

    def __init__(self, servicer: ReplicaServicer, loop: asyncio.AbstractEventLoop, stopped: list[str]) -> None:
        self._servicer = servicer
        self._loop = loop
        self.stopped = stopped

    def find(self, **request: object) -> search_pb2.FindSimilarResponse:
        """Calls FindSimilar."""
        call = self._servicer.FindSimilar(search_pb2.FindSimilarRequest(**request), None)
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(60)

    def by(self, **request: object) -> str:
        """Finds five products; returns the model that has found them."""
        found = self.find(top_k=5, **request)
        assert len(found.products) == 5
        return found.applied.model_version


@contextmanager
def replica(uri: str, writer: str, *served: str) -> Iterator[Replica]:
    """Runs a replica whose embedders serve these models, the one of every day first."""
    stopped: list[str] = []
    settings = SearchSettings(
        index="milvus", milvus_uri=uri, writer_target=writer, candidates_period_s=0.1, start_timeout_s=30
    )

    def unclassified(embedding: Embedding, _: int) -> Classification:
        raise ModelMismatch("It serves none.", reason="MODEL_VERSION_MISMATCH")

    @asynccontextmanager
    async def running() -> AsyncIterator[Replica]:
        client = SearchClient(open_channel(writer, health_service=SEARCH.name, max_message_bytes=1 << 25), writer)
        try:
            async with running_replica(
                settings,
                embedders=[FakeEmbedder(2048, each) for each in served],
                classifiers=[FakeClassifier(unclassified)],
                preferences=MemoryPreferences(),
                writer=client,
                on_failure=stopped.append,
            ) as servicer:
                yield Replica(servicer, asyncio.get_running_loop(), stopped)
        finally:
            await client.close()

    with logged_to(io.StringIO()), in_thread(running()) as started:
        yield started


@contextmanager
def shop(folder: Path) -> Iterator[tuple[str, str, Operator]]:
    """Runs a writer with products; yields the file of Milvus, its target, and who changes its model."""
    uri = str(folder / "index.db")
    settings = stack_settings(folder / "data", index="milvus", milvus_uri=uri, candidates_period_s=0.2)
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        yield uri, stack.target, Operator(caller.channel)


def change(operator: Operator) -> None:
    """Changes the model of the writer from the old to the new one; the former can still come back."""
    operator.start("fake-1", gate=reindex_pb2.Gate(min_overlap=0))
    operator.until(PREVIOUS)


def test_a_replica_follows_the_writer_to_the_next_model_and_back_and_no_query_fails(tmp_path: Path) -> None:
    with shop(tmp_path) as (uri, target, operator), replica(uri, target, OLD, NEW) as followed:
        assert (followed.by(product_id=KNOWN), followed.by(image=SHOT)) == (OLD, OLD)
        answers: Counter[str] = Counter()
        wrong: list[object] = []
        ended = threading.Event()

        def shop_on() -> None:
            while not ended.is_set():
                try:
                    answers[followed.by(product_id=KNOWN)] += 1
                    answers[followed.by(image=SHOT)] += 1
                except Exception as error:
                    wrong.append(error)

        with ThreadPoolExecutor() as shoppers:
            shopping = shoppers.submit(shop_on)
            try:
                change(operator)
                eventually(lambda: answers[NEW] > 10)
                operator.rollback()
                before = answers[OLD]
                eventually(lambda: answers[OLD] > before + 10)
                operator.rollback()
                before = answers[NEW]
                eventually(lambda: answers[NEW] > before + 10)
                # The former collection goes, and nobody asks it any more.
                operator.end(force=True)
                before = answers[NEW]
                eventually(lambda: answers[NEW] > before + 10)
            finally:
                ended.set()
            shopping.result(60)
        assert not wrong and not followed.stopped


def test_a_replica_that_starts_amid_a_change_answers_by_the_model_of_the_writer(tmp_path: Path) -> None:
    with shop(tmp_path) as (uri, target, operator):
        change(operator)
        # Until the embedder of every day gets the next bundle, it serves the former model.
        with replica(uri, target, OLD, NEW) as started:
            assert (started.by(product_id=KNOWN), started.by(image=SHOT)) == (NEW, NEW)
            assert not started.stopped
        with replica(uri, target, OLD) as alone:
            assert alone.by(product_id=KNOWN) == NEW
            with pytest.raises(ModelMismatch) as error:
                alone.by(image=SHOT)
            assert OLD in error.value.message and NEW in error.value.message


def test_a_replica_that_starts_while_its_writer_is_away_answers_by_the_model_of_its_embedder(tmp_path: Path) -> None:
    with shop(tmp_path) as (uri, _, _), replica(uri, f"127.0.0.1:{free_port()}", NEW, OLD) as started:
        # There is no collection of the other one.
        assert (started.by(product_id=KNOWN), started.by(image=SHOT)) == (OLD, OLD)
        assert not started.stopped
