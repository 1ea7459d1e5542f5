"""SIGTERM to a real embedder process: health turns NOT_SERVING first, calls in flight finish, and it exits with 0."""

import asyncio
import io
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.serving.run import ServeError, Server, serve
from services.serving.settings import ServerSettings
from tests.support.processes import ROOT

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Embedder:
    """A process, its log, and a channel to it."""

    process: asyncio.subprocess.Process
    log: list[dict[str, Any]]
    channel: grpc.aio.Channel

    async def logged(self, event: str) -> dict[str, Any]:
        """Reads on to a line of the log."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == event:
                return self.log[-1]
        raise AssertionError(f"the process ended without {event!r}: {self.log}")


@asynccontextmanager
async def embedder_process(**environment: str) -> AsyncIterator[Embedder]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.embedder",
        cwd=ROOT,
        env={
            **os.environ,
            "SERVER_PORT": "0",
            "EMBEDDER_RUNTIME": "fake",
            "EMBEDDER_DECODE_THREADS": "1",
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    log: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(90):
            running = Embedder(process, log, None)  # type: ignore[arg-type]
            port = (await running.logged("listening"))["port"]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as running.channel:
                await running.logged("service is ready")
                yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def slow_batch() -> embedder_pb2.BatchEmbedRequest:
    """A batch that takes a good part of a second to decode: large photographs of noise."""
    content = io.BytesIO()
    noise = random.Random(0).randbytes(1500 * 1500 * 3)
    Image.frombytes("RGB", (1500, 1500), noise).save(content, "JPEG", quality=60)
    return embedder_pb2.BatchEmbedRequest(images=[types_pb2.Image(content=content.getvalue())] * 12)


async def test_calls_in_flight_finish_and_the_exit_code_is_0() -> None:
    async with embedder_process() as embedder:
        stub = embedder_pb2_grpc.EmbedderServiceStub(embedder.channel)
        watched = health_pb2_grpc.HealthStub(embedder.channel).Watch(
            health_pb2.HealthCheckRequest(service=EMBEDDER.name)
        )
        assert (await watched.read()).status == SERVING
        order: list[str] = []

        async def batch() -> embedder_pb2.BatchEmbedResponse:
            response = await stub.BatchEmbed(slow_batch(), timeout=60)
            order.append("answer")
            return response

        async def health() -> None:
            assert (await watched.read()).status == NOT_SERVING
            order.append("not serving")
            # The stream ends too: an open one must not delay the exit.
            assert await watched.read() is grpc.aio.EOF

        in_flight, turned = asyncio.create_task(batch()), asyncio.create_task(health())
        # Once a later call on the same connection is answered, the batch has reached the server.
        await stub.GetModel(embedder_pb2.GetModelRequest())
        embedder.process.send_signal(signal.SIGTERM)
        await embedder.logged("draining")
        response = await in_flight
        await turned

        assert order == ["not serving", "answer"]
        assert [result.status.code for result in response.results] == [0] * 12
        await embedder.logged("stopped")
        assert await embedder.process.wait() == 0


async def test_while_draining_new_calls_are_refused() -> None:
    async with embedder_process() as embedder:
        stub = embedder_pb2_grpc.EmbedderServiceStub(embedder.channel)
        in_flight = asyncio.ensure_future(stub.BatchEmbed(slow_batch(), timeout=60))
        await stub.GetModel(embedder_pb2.GetModelRequest())
        embedder.process.send_signal(signal.SIGTERM)
        await embedder.logged("draining")

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while True:
                await stub.GetModel(embedder_pb2.GetModelRequest(), timeout=20)
        # CANCELLED is gRPC's answer to a call that had arrived and not begun; our own clients repeat either elsewhere.
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert len((await in_flight).results) == 12
        assert await embedder.process.wait() == 0


async def test_calls_that_outlast_the_grace_are_cut_and_the_process_still_ends_well() -> None:
    async with embedder_process(SERVER_GRACE_S="0.05") as embedder:
        stub = embedder_pb2_grpc.EmbedderServiceStub(embedder.channel)
        in_flight = asyncio.ensure_future(stub.BatchEmbed(slow_batch(), timeout=60))
        await stub.GetModel(embedder_pb2.GetModelRequest())
        embedder.process.send_signal(signal.SIGTERM)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await in_flight
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        await embedder.logged("stopped")
        assert await embedder.process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_server_ends_at_once_and_well(number: signal.Signals) -> None:
    async with embedder_process(SERVER_GRACE_S="3600") as embedder:
        embedder.process.send_signal(number)
        await embedder.logged("stopped")
        assert await embedder.process.wait() == 0


def settings() -> ServerSettings:
    return ServerSettings(host="127.0.0.1", port=0, grace_s=1)


async def test_a_signal_while_it_starts_ends_it_and_closes_what_was_opened() -> None:
    closed: list[str] = []

    async def start(server: Server, resources: AsyncExitStack) -> None:
        resources.callback(closed.append, "first")
        resources.callback(closed.append, "second")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    async with asyncio.timeout(30):
        await serve(settings(), [EMBEDDER], start, default_port=1)

    assert closed == ["second", "first"]


async def test_a_failed_start_is_one_line_and_closes_what_was_opened() -> None:
    closed: list[str] = []

    async def start(server: Server, resources: AsyncExitStack) -> None:
        resources.callback(closed.append, "opened")
        raise ValueError("no such file:\n  weights")

    async with asyncio.timeout(30):
        with pytest.raises(ServeError, match=r"^cannot start: no such file: weights$"):
            await serve(settings(), [EMBEDDER], start, default_port=1)

    assert closed == ["opened"]


async def test_the_death_of_a_part_ends_a_process_that_offers_nothing_else() -> None:
    died = asyncio.Event()

    async def wait_for_death() -> None:
        await died.wait()

    async def start(server: Server, resources: AsyncExitStack) -> None:
        await resources.enter_async_context(
            server.watched(EMBEDDER, wait_for_death, why="the encoder has stopped working", stop=True)
        )
        await server.ready(EMBEDDER, EmbedderServicer(None, 64))  # type: ignore[arg-type]
        died.set()

    async with asyncio.timeout(30):
        with pytest.raises(ServeError, match="the encoder has stopped working"):
            await serve(settings(), [EMBEDDER], start, default_port=1)
