"""A change of the model where all services are one process: which encoder is watched, and what is let go."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from fashion.v1 import reindex_pb2, types_pb2
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import LocalEmbedder
from services.search.indexes.faiss import FaissIndex
from services.serving.run import ServeError
from services.stack.startup import RunningStack, serve_stack
from tests.support.reindexing import PREVIOUS, READY, Operator
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

OLD, NEW = "fake-2048-80x60-0", "fake-2048-80x60-1"
SHOT = types_pb2.Image(content=photograph("Women Dresses", "Yellow", 10))
ANY_GATE = reindex_pb2.Gate(min_overlap=0)


class Deaths:
    """Ends the inference threads of models, as broken native code would."""

    def __init__(self) -> None:
        self.doomed: set[str] = set()
        self.died: set[str] = set()

    def strike(self, model_version: str) -> None:
        """Ends the thread that calls it, if the model is doomed."""
        if model_version in self.doomed:
            self.died.add(model_version)
            raise SystemExit("native code broke")


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Deaths:
    deaths, encode = Deaths(), FakeEncoder.encode

    def encode_or_die(self: FakeEncoder, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        deaths.strike(self.model.model_version)
        return encode(self, batch)

    monkeypatch.setattr(FakeEncoder, "encode", encode_or_die)
    return deaths


def changed(caller: Caller) -> Operator:
    """Fills the catalogue, and changes its model to the next one."""
    caller.upsert(rows())
    operator = Operator(caller.channel)
    operator.start("fake-1", gate=ANY_GATE)
    operator.until(PREVIOUS)
    return operator


async def until_it_fails(data_dir: Path, redis_url: str, work: Callable[[Caller], None]) -> None:
    """Runs a stack with some work beside it until the stack ends by itself."""
    worked = threading.Event()

    async def beside(stack: RunningStack) -> None:
        def call() -> None:
            with calling(stack.target) as caller:
                work(caller)
                worked.set()

        await asyncio.to_thread(call)
        await asyncio.Event().wait()

    settings = stack_settings(data_dir, redis_url=redis_url, candidates_period_s=0.2)
    with pytest.raises(ServeError, match="the encoder has stopped working"):
        async with asyncio.timeout(60):
            await serve_stack(settings, on_ready=beside)
    # The stack may end before the thread has read its last answer.
    assert worked.wait(20), "it ended too soon"


async def test_the_stack_ends_where_the_encoder_of_the_model_dies_that_it_changed_to(
    tmp_path: Path, redis_url: str, deaths: Deaths
) -> None:
    def work(caller: Caller) -> None:
        changed(caller)
        deaths.doomed.add(NEW)
        with pytest.raises(grpc.RpcError, match="The encoder has stopped working"):
            caller.find(image=SHOT, top_k=2)

    await until_it_fails(tmp_path / "data", redis_url, work)


async def test_the_former_model_may_die_until_it_is_live_again(tmp_path: Path, redis_url: str, deaths: Deaths) -> None:
    def work(caller: Caller) -> None:
        operator = changed(caller)
        deaths.doomed.add(OLD)
        # Writes still go to both.
        caller.upsert([items()[1].row(id="new", base_colour="Blue")])
        eventually(lambda: OLD in deaths.died)
        health: Any = health_pb2_grpc.HealthStub(caller.channel)
        for service in ("", "fashion.v1.EmbedderService"):
            caller.find(image=SHOT, top_k=2)
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        operator.rollback()

    await until_it_fails(tmp_path / "data", redis_url, work)


@pytest.fixture
def caller(tmp_path: Path, redis_url: str) -> Iterator[Caller]:
    settings = stack_settings(tmp_path / "data", redis_url=redis_url, candidates_period_s=0.2)
    with stack_in_thread(settings) as stack, calling(stack.target) as connected:
        yield connected


def held() -> int:
    """Returns how many embedders and indexes are in memory, and networks of the old model."""
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, FakeEncoder | LocalEmbedder | FaissIndex)]
    return sum(not isinstance(each, FakeEncoder) or each.model.model_version == OLD for each in kept)


def test_the_model_that_the_stack_began_with_leaves_memory_with_its_generation(caller: Caller) -> None:
    before = held()
    operator = changed(caller)
    caller.find(image=SHOT, top_k=2)
    assert held() == before + 2
    operator.end()
    # One embedder and one index are left, and no network of the old model.
    eventually(lambda: held() == before - 1, "the model is still in memory")
    assert caller.find(image=SHOT, top_k=2).applied.model_version == NEW

    operator.start("fake-0", gate=ANY_GATE)
    operator.until(PREVIOUS)
    assert caller.find(image=SHOT, top_k=2).applied.model_version == OLD


@pytest.mark.parametrize("back", [False, True])
def test_a_model_that_search_did_not_stay_with_leaves_memory_too(caller: Caller, back: bool) -> None:
    before = held()
    operator = Operator(caller.channel)
    if back:
        operator = changed(caller)
        operator.rollback()
    else:
        caller.upsert(rows())
        operator.start("fake-1", gate=ANY_GATE, hold=True)
        operator.until(READY)
    operator.end()
    eventually(lambda: held() == before, "the model is still in memory")
    assert caller.find(image=SHOT, top_k=2).applied.model_version == OLD
