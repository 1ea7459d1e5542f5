"""Several embedders behind one channel: the load is spread, also while one of them dies, drains or is still loading."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from services.clients.channel import Remote, open_channel
from services.clients.embedder import SERVICE, EmbedderClient, EmbedderClientLimits
from services.contract.errors import FashionError
from services.contract.values import Embedding, ModelInfo, Photograph
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import LocalEmbedder, local_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.search.writes.photograph_embedder import WriteEmbedder
from services.serving.run import Server, running
from services.serving.settings import ServerSettings
from tests.support.documents import python_example
from tests.support.embedders import ROOMY_LIMITS, picture

CLIENT_LIMITS = EmbedderClientLimits(query_timeout_s=20, batch_timeout_s=20, max_batch=8, concurrent_batches=6)


PHOTOGRAPH = Photograph(picture())


class Replica:
    """One embedder on a server of its own, which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0
        self.may_be_ready = asyncio.Event()
        self.may_be_ready.set()
        self.listening = asyncio.Event()
        self._end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._inner: LocalEmbedder | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._end.set()
        self.may_be_ready.set()
        if self._task is not None:
            await self._task

    async def embed(self, photograph: Photograph) -> Embedding:
        self.calls += 1
        assert self._inner is not None
        return await self._inner.embed(photograph)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        self.calls += 1
        assert self._inner is not None
        return await self._inner.batch_embed(photographs)

    async def get_model(self) -> ModelInfo:
        assert self._inner is not None
        return await self._inner.get_model()

    async def _run(self) -> None:
        async def start(server: Server, resources: AsyncExitStack) -> None:
            self.port = server.port
            self.listening.set()
            await self.may_be_ready.wait()
            self._inner = await resources.enter_async_context(
                local_embedder(FakeEncoder(dimension=16), ROOMY_LIMITS, warm_up_timeout_s=60)
            )
            await server.ready(EMBEDDER, EmbedderServicer(self, 64))

        # Without a delay: callers still know this replica when it refuses new calls.
        settings = ServerSettings(host="127.0.0.1", port=0, grace_s=5, drain_delay_s=0)
        async with running(settings, [EMBEDDER], start, default_port=1):
            await self._end.wait()


@asynccontextmanager
async def replicas(count: int, *, loading: int = 0) -> AsyncIterator[list[Replica]]:
    started = [Replica() for _ in range(count)]
    for replica in started[count - loading :]:
        replica.may_be_ready.clear()
    for replica in started:
        replica.start()
        await replica.listening.wait()
    try:
        yield started
    finally:
        await asyncio.gather(*(replica.stop() for replica in started))


def target(replicas: Sequence[Replica]) -> str:
    return "ipv4:" + ",".join(f"127.0.0.1:{replica.port}" for replica in replicas)


async def all_serve(client: EmbedderClient, replicas: Sequence[Replica]) -> None:
    """Calls until each replica was called: connections are made one after another."""
    ends = time.monotonic() + 30
    while not all(replica.calls for replica in replicas):
        assert time.monotonic() < ends, [replica.calls for replica in replicas]
        await client.embed(PHOTOGRAPH)
    for replica in replicas:
        replica.calls = 0


async def test_queries_are_spread_evenly() -> None:
    async with asyncio.timeout(60), replicas(3) as each, open_channel(target(each), health_service=SERVICE) as channel:
        client = EmbedderClient(channel, CLIENT_LIMITS)
        await all_serve(client, each)

        for _ in range(60):
            await client.embed(PHOTOGRAPH)

        assert sum(replica.calls for replica in each) == 60
        assert all(15 <= replica.calls <= 25 for replica in each), [replica.calls for replica in each]


async def test_one_large_batch_is_spread() -> None:
    async with asyncio.timeout(60), replicas(3) as each, open_channel(target(each), health_service=SERVICE) as channel:
        client = EmbedderClient(channel, CLIENT_LIMITS)
        await all_serve(client, each)

        results = await client.batch_embed([PHOTOGRAPH] * 240)

        assert all(isinstance(result, Embedding) for result in results)
        assert sum(replica.calls for replica in each) == 30
        assert all(replica.calls >= 5 for replica in each), [replica.calls for replica in each]


async def test_the_writes_of_an_ingest_are_spread() -> None:
    async with asyncio.timeout(60), replicas(3) as each, open_channel(target(each), health_service=SERVICE) as channel:
        client = EmbedderClient(channel, CLIENT_LIMITS)
        await all_serve(client, each)
        # As search has the photographs of writes embedded, of which an ingest has some under way.
        embedder = WriteEmbedder(client, (await client.get_model()).model_version, group_size=8, groups_in_flight=4)

        written = await asyncio.gather(*(embedder.embed([PHOTOGRAPH] * 80) for _ in range(3)))

        assert all(isinstance(result, Embedding) for results in written for result in results)
        assert sum(replica.calls for replica in each) == 30
        assert all(replica.calls >= 5 for replica in each), [replica.calls for replica in each]


async def test_no_call_fails_while_one_replica_drains_and_ends() -> None:
    async with asyncio.timeout(60), replicas(3) as each, open_channel(target(each), health_service=SERVICE) as channel:
        client = EmbedderClient(channel, CLIENT_LIMITS)
        await all_serve(client, each)
        going, *staying = each
        enough = asyncio.Event()

        async def load() -> int:
            asked = 0
            while not enough.is_set() or asked < 50:
                await client.embed(PHOTOGRAPH)
                asked += 1
            return asked

        callers = [asyncio.create_task(load()) for _ in range(4)]
        await going.stop()
        before = going.calls
        enough.set()
        # A caller that failed raises here.
        assert sum(await asyncio.gather(*callers)) >= 200
        for _ in range(20):
            await client.embed(PHOTOGRAPH)

        assert going.calls == before
        assert all(replica.calls for replica in staying)


@asynccontextmanager
async def process() -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """An embedder in a process of its own, and its port."""
    embedder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.embedder",
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SERVER_PORT": "0", "EMBEDDER_RUNTIME": "fake"},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert embedder.stderr is not None
        port = 0
        while (line := json.loads(await embedder.stderr.readline()))["event"] != "service is ready":
            port = line.get("port", port)
        yield embedder, port
    finally:
        if embedder.returncode is None:
            embedder.kill()
        # Reads the log too: a full pipe would block the process.
        await embedder.communicate()


async def test_no_call_fails_when_one_replica_is_killed() -> None:
    async with asyncio.timeout(90), process() as (doomed, port), process() as (_, other_port):
        both = f"ipv4:127.0.0.1:{port},127.0.0.1:{other_port}"
        async with open_channel(both, health_service=SERVICE) as channel:
            client = EmbedderClient(channel, CLIENT_LIMITS)
            killed = asyncio.Event()

            async def load() -> None:
                asked = asked_after = 0
                while asked_after < 20:
                    await client.embed(PHOTOGRAPH)
                    asked += 1
                    asked_after += killed.is_set()
                    if asked == 20 and not killed.is_set():
                        doomed.kill()
                        killed.set()

            # A caller that failed raises here.
            await asyncio.gather(*(load() for _ in range(4)))
            assert await doomed.wait() == -signal.SIGKILL


async def test_a_hung_replica_delays_calls_at_first_and_fails_none() -> None:
    async with asyncio.timeout(90), process() as (hung, port), process() as (_, other_port):
        both = f"ipv4:127.0.0.1:{port},127.0.0.1:{other_port}"
        async with open_channel(both, health_service=SERVICE) as channel:
            client = EmbedderClient(channel, EmbedderClientLimits(query_timeout_s=10))
            for _ in range(20):
                await client.embed(PHOTOGRAPH)
            hung.send_signal(signal.SIGSTOP)

            async def call(at_s: float) -> float:
                await asyncio.sleep(at_s)
                began = time.monotonic()
                await client.embed(PHOTOGRAPH)
                return time.monotonic() - began

            # A caller that failed raises here. Without ejection, half of the last calls would wait for a second try.
            took_s = await asyncio.gather(*(call(n / 20) for n in range(100)))
            assert max(took_s[:20]) > 0.5
            assert sum(each > 0.5 for each in took_s[-20:]) < 5, took_s
            hung.send_signal(signal.SIGCONT)


async def test_replicas_that_are_all_slow_do_not_get_each_call_several_times() -> None:
    calls = 0

    async def slow(request: object, *, timeout: float, metadata: object) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.1)
        return "answer"

    remote = Remote("embedder", "EMBEDDER_UNAVAILABLE", try_s=0.01)
    for _ in range(50):
        assert await remote.call(slow, None, timeout_s=5, ask_another=True) == "answer"
    assert calls == 50 + 20


async def test_a_replica_that_still_loads_gets_nothing_until_it_is_ready() -> None:
    async with (
        asyncio.timeout(60),
        replicas(2, loading=1) as each,
        open_channel(target(each), health_service=SERVICE) as channel,
    ):
        client = EmbedderClient(channel, CLIENT_LIMITS)
        for _ in range(40):
            await client.embed(PHOTOGRAPH)
        assert [replica.calls for replica in each] == [40, 0]

        each[1].may_be_ready.set()
        await all_serve(client, each)


def documented_channel(target: str) -> grpc.Channel:
    """Opens the channel that docs/api.md shows, to embedders instead of search."""
    example = python_example("docs/api.md", "healthCheckConfig")
    for shown, used in {"dns:///search:50053": target, "fashion.v1.SearchService": SERVICE}.items():
        assert shown in example
        example = example.replace(shown, used)
    names: dict[str, Any] = {"grpc": grpc}
    exec(example, names)
    channel: grpc.Channel = names["channel"]
    return channel


def failures(channel: grpc.Channel, calls: int) -> int:
    """Makes calls one after another, and counts those that fail."""
    stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
    failed = 0
    for _ in range(calls):
        try:
            stub.Embed(embedder_pb2.EmbedRequest(image=types_pb2.Image(content=picture())), timeout=20)
        except grpc.RpcError:
            failed += 1
    return failed


async def test_the_documented_channel_loses_no_call_while_a_replica_loads_and_another_ends() -> None:
    async with asyncio.timeout(60), replicas(2, loading=1) as each:
        first, second = each
        with documented_channel(target(each)) as channel:
            assert await asyncio.to_thread(failures, channel, 40) == 0
            assert [replica.calls for replica in each] == [40, 0]

            second.may_be_ready.set()
            ends = time.monotonic() + 30
            while not second.calls:
                assert time.monotonic() < ends
                assert await asyncio.to_thread(failures, channel, 1) == 0

            calls = asyncio.create_task(asyncio.to_thread(failures, channel, 200))
            await first.stop()
            assert await calls == 0


async def test_a_plain_round_robin_loses_calls_while_a_replica_loads() -> None:
    async with asyncio.timeout(60), replicas(2, loading=1) as each:
        options = [("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')]
        with grpc.insecure_channel(target(each), options=options) as channel:
            assert await asyncio.to_thread(failures, channel, 40) > 0


@pytest.mark.parametrize("scheme", ["ipv4:127.0.0.1:{port}", "dns:///localhost:{port}", "localhost:{port}"])
async def test_targets_may_have_a_scheme(scheme: str) -> None:
    async with asyncio.timeout(60), replicas(1) as [replica]:
        async with open_channel(scheme.format(port=replica.port), health_service=SERVICE) as channel:
            await EmbedderClient(channel, CLIENT_LIMITS).embed(PHOTOGRAPH)
        assert replica.calls == 1
