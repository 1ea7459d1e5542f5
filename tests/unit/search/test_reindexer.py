"""A change of the model that its operator has asked for is done whole, also where the operator leaves meanwhile."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.concurrency import deadline
from services.contract.errors import Overloaded
from services.contract.fakes import FakeClassifier, FakeEmbedder, MemoryCandidateStore
from services.contract.values import Classification, Embedding, Gender, Photograph
from services.search.assembly import running_search
from services.search.catalogue.generations import Generations, Status
from services.search.catalogue.products import Product
from services.search.catalogue.store import Catalogue
from services.search.preferences import MemoryPreferences
from services.search.query.request import SimilarRequest
from services.search.reindex.comparison import Gate
from services.search.reindex.reindexer import Reindexer, ReindexState
from services.search.reindex.served import ModelParts, ServedGeneration
from services.search.remote_models import RemoteModels
from services.search.service import LocalSearch
from services.search.settings import SearchSettings
from services.search.writes.rows import UpsertRow
from tests.support.small_shop import photograph


def classify(embedding: Embedding, top_k: int) -> Classification:
    raise Overloaded("It is busy.", reason="QUEUE_FULL")


@pytest.fixture
async def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalSearch]:
    """Search over a few products, with embedders of two models."""
    # The classifier follows nobody here.
    monkeypatch.setattr("services.search.reindex.builder._FOLLOW_S", 0.0)
    embedders = [FakeEmbedder(16, "m1"), FakeEmbedder(16, "m2")]
    classifier, store = FakeClassifier(classify), MemoryCandidateStore()
    with Catalogue(tmp_path) as catalogue:
        async with running_search(
            SearchSettings(data_dir=tmp_path, redis_url=SecretStr(""), candidates_period_s=0.1),
            catalogue=catalogue,
            embedder=embedders[0],
            classifier=classifier,
            preferences=MemoryPreferences(),
            candidate_store=store,
            on_failure=lambda why: pytest.fail(why),
            models=RemoteModels(embedders, [classifier], store),
        ) as running:
            kind = {"gender": Gender.MEN, "sub_category": "Topwear", "article_type": "Tshirts"}
            await running.upsert_products(
                [
                    UpsertRow(each, Product(id=each, **kind), Photograph(photograph("Men Tshirts", "Red", number)))
                    for number, each in enumerate("abcdef")
                ]
            )
            yield running


async def until(reindexer: Reindexer, status: Status) -> ReindexState:
    async with asyncio.timeout(30):
        while (state := reindexer.state()).other is None or state.other.status is not status or not state.loaded:
            await asyncio.sleep(0.02)
    return state


async def begin(search: LocalSearch) -> None:
    await search.reindexer.start("", Gate(min_overlap=0.0, max_label_loss=1.0), (), hold=True)
    await until(search.reindexer, Status.READY)


async def models(search: LocalSearch) -> set[str]:
    """The models that answer, and the one that the catalogue names."""
    answer = await search.find_similar(SimilarRequest(query="a", top_k=3))
    assert len(answer.result.hits) == 3
    return {answer.model_version, (await search.get_index()).model_version, search.reindexer.state().live.model_version}


class Held:
    """A function that waits in its thread until it may go on."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        work: Callable[..., Any] = getattr(owner, name)

        def hold(*arguments: Any) -> Any:
            self.begun.set()
            assert self.may_go_on.wait(30)
            return work(*arguments)

        patch.setattr(owner, name, hold)


async def left_by_its_caller(call: Coroutine[Any, Any, None], held: Held) -> None:
    """Runs a call whose caller leaves while it is held."""
    task = asyncio.create_task(call)
    assert await asyncio.to_thread(held.begun.wait, 30)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    held.may_go_on.set()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_switch_whose_caller_leaves_is_done_whole(search: LocalSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    live: list[str] = []

    async def note(self: RemoteModels, parts: ModelParts) -> None:
        live.append(parts.space.model_version)

    monkeypatch.setattr(RemoteModels, "now_live", note)
    await begin(search)
    with monkeypatch.context() as patch:
        await left_by_its_caller(search.reindexer.switch(), Held(patch, Generations, "switch"))
        # After it in the thread that writes.
        await search._writer.beside.lag()
    assert await models(search) == {"m2"} and live == ["m2"]
    await search.reindexer.rollback()
    assert await models(search) == {"m1"} and live == ["m2", "m1"]
    await search.reindexer.end()
    assert await models(search) == {"m1"}


async def test_a_switch_is_done_whole_where_its_deadline_passes(
    search: LocalSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(search)
    with deadline.at_most(0.001):
        await asyncio.sleep(0.01)
        await search.reindexer.switch(force=True)
    assert await models(search) == {"m2"}


async def test_a_start_whose_caller_leaves_goes_on(search: LocalSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    start = search.reindexer.start("", Gate(min_overlap=0.0, max_label_loss=1.0), (), hold=True)
    with monkeypatch.context() as patch:
        await left_by_its_caller(start, Held(patch, Generations, "begin"))
    await until(search.reindexer, Status.READY)


async def test_an_end_whose_caller_leaves_is_done_whole(search: LocalSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    await begin(search)
    await search.reindexer.switch()
    with monkeypatch.context() as patch:
        drained, begun, may_go_on = ServedGeneration.drained, asyncio.Event(), asyncio.Event()

        async def hold(self: ServedGeneration) -> None:
            begun.set()
            await may_go_on.wait()
            await drained(self)

        patch.setattr(ServedGeneration, "drained", hold)
        task = asyncio.create_task(search.reindexer.end(force=True))
        await begun.wait()
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        may_go_on.set()
        with suppress(asyncio.CancelledError):
            await task
    state = search.reindexer.state()
    assert state.other is None and not state.loaded
    assert await models(search) == {"m2"}
    # The way is free for the next one.
    await begin(search)


async def test_an_end_for_which_the_disk_has_no_room_changes_nothing(
    search: LocalSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Generations) -> None:
        raise Overloaded("The disk of the catalogue is full.", reason="STORAGE_FULL")

    await begin(search)
    await search.reindexer.switch()
    with monkeypatch.context() as patch:
        patch.setattr(Generations, "drop_other", full)
        with pytest.raises(Overloaded):
            await search.reindexer.end(force=True)
    await search.reindexer.rollback()
    assert await models(search) == {"m1"}
