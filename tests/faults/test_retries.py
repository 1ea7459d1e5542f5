"""How many calls an embedder that fails gets for one query: those of search alone, whoever asks and retries."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
import httpx
import pytest

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from services.clients.tries import MAX_BUDGET, MAX_FAILURES
from services.contract.errors import NotReady
from services.contract.values import Embedding, ModelInfo, Photograph
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import LocalEmbedder, local_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.serving.run import Server, running
from services.serving.settings import ServerSettings
from tests.support.documents import python_example
from tests.support.embedders import ROOMY_LIMITS
from tests.support.processes import gateway_service, services, wait_until_ready
from tests.support.running import Caller, calling, in_thread, refusal
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually

SHOT = types_pb2.Image(content=photograph("Men Tshirts", "Red"))


@dataclass
class CountingEmbedder:
    """An embedder that counts the photographs of queries, and fails or hangs as the test says."""

    inner: LocalEmbedder
    calls: int = 0
    cancelled: int = 0
    behave: Callable[[int], float | None] = field(default=lambda call: None)

    async def embed(self, each: Photograph) -> Embedding:
        self.calls += 1
        wait_s = self.behave(self.calls)
        if wait_s is not None:
            try:
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            raise NotReady("Not now.", reason="MODEL_NOT_READY")
        return await self.inner.embed(each)

    async def batch_embed(self, each: object) -> object:
        return await self.inner.batch_embed(each)  # type: ignore[arg-type]

    async def get_model(self) -> ModelInfo:
        return await self.inner.get_model()


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[CountingEmbedder, str]]:
    async with local_embedder(FakeEncoder(), ROOMY_LIMITS, warm_up_timeout_s=60) as inner:
        embedder = CountingEmbedder(inner)

        async def start(server: Server, resources: AsyncExitStack) -> None:
            await server.ready(EMBEDDER, EmbedderServicer(embedder, 64))  # type: ignore[arg-type]

        settings = ServerSettings(host="127.0.0.1", port=0, grace_s=1)
        async with running(settings, [EMBEDDER], start, default_port=1) as server:
            yield embedder, f"127.0.0.1:{server.port}"


@dataclass
class Setup:
    embedder: CountingEmbedder
    caller: Caller
    url: str


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory, redis_of_the_session: object) -> Iterator[Setup]:
    folder = tmp_path_factory.mktemp("retries")
    redis_url: str = redis_of_the_session.url  # type: ignore[attr-defined]
    with (
        in_thread(counting()) as (embedder, target),
        services(folder, redis_url, SEARCH_EMBEDDER_TARGET=target) as all_,
    ):
        gateway, url = gateway_service(folder, all_.search.target)
        gateway.start()
        try:
            wait_until_ready(url)
            with calling(all_.search.target) as caller:
                caller.upsert(rows())
                yield Setup(embedder, caller, url)
        finally:
            gateway.kill()


@pytest.fixture(autouse=True)
def _rested(setup: Setup) -> None:
    """Fills the budget of search again."""
    setup.embedder.behave = lambda call: None
    for _ in range(MAX_BUDGET):
        setup.caller.find(image=SHOT)
    setup.embedder.calls = setup.embedder.cancelled = 0


def _documented_stub(target: str) -> search_pb2_grpc.SearchServiceStub:
    names: dict[str, object] = {"grpc": grpc}
    exec(python_example("docs/api.md", "healthCheckConfig").replace("dns:///search:50053", target), names)
    return search_pb2_grpc.SearchServiceStub(names["channel"])  # type: ignore[arg-type]


def test_a_query_that_fails_costs_three_calls_whoever_asks(setup: Setup) -> None:
    setup.embedder.behave = lambda call: 0.0
    stub = _documented_stub(setup.caller.target)
    with pytest.raises(grpc.RpcError) as error:
        stub.FindSimilar(search_pb2.FindSimilarRequest(image=SHOT), timeout=20)
    assert refusal(error.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "EMBEDDER_UNAVAILABLE")
    assert setup.embedder.calls == MAX_FAILURES
    answer = httpx.post(f"{setup.url}/v1/similar", content=SHOT.content, headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "EMBEDDER_UNAVAILABLE")
    assert setup.embedder.calls == 2 * MAX_FAILURES


def test_failures_and_slow_answers_share_one_count(setup: Setup) -> None:
    # Each answer fails, but only after another replica has been asked.
    setup.embedder.behave = lambda call: 0.6
    with pytest.raises(grpc.RpcError):
        setup.caller.find(image=SHOT)
    assert setup.embedder.calls <= MAX_FAILURES + 2


def test_a_long_failure_gets_each_query_once(setup: Setup) -> None:
    setup.embedder.behave = lambda call: 0.0
    for _ in range(60):
        with pytest.raises(grpc.RpcError):
            setup.caller.find(image=SHOT)
    assert setup.embedder.calls == 60 + MAX_BUDGET
    setup.embedder.behave = lambda call: None
    setup.caller.find(image=SHOT)


def test_a_caller_who_gives_up_leaves_no_call_behind(setup: Setup) -> None:
    setup.embedder.behave = lambda call: 60.0
    call = setup.caller.search.FindSimilar.future(search_pb2.FindSimilarRequest(image=SHOT), timeout=20)
    eventually(lambda: setup.embedder.calls == 2)
    call.cancel()
    eventually(lambda: setup.embedder.cancelled == setup.embedder.calls)
