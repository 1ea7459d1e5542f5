"""Callers who begin calls and send no message are cut off, hold up nobody else, and get nothing without a key."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from offline.benchmark.raw_http2 import RawConnection
from services.concurrency import memory
from tests.support.access import write_keys
from tests.support.embedders import SERVING, Running, embed, embedder_running, picture, refused

EMBED = "/fashion.v1.EmbedderService/Embed"
WATCH = "/grpc.health.v1.Health/Watch"


async def _idle(running: Running, connections: int, streams: int, *methods: str) -> list[RawConnection]:
    opened = [await RawConnection.open(f"127.0.0.1:{running.server.port}") for _ in range(connections)]
    for number in range(connections * streams):
        method = methods[number % len(methods)]
        opened[number % connections].call(method, b"" if method == WATCH else None)
    for connection in opened:
        await connection.flush()
    return opened


def silent_call(running: Running) -> Any:
    """Begins a call whose message never comes."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    return running.channel.stream_unary(EMBED)(nothing())


async def test_two_thousand_idle_streams_keep_nobody_from_being_answered() -> None:
    async with embedder_running() as running:
        opened = await _idle(running, 10, 200, EMBED, WATCH)
        await asyncio.sleep(0.5)
        for _ in range(20):
            await running.stub.Embed(embed(picture()), timeout=30)
            answer = await running.health.Check(health_pb2.HealthCheckRequest(), timeout=30)
            assert answer.status == SERVING
        for connection in opened:
            await connection.close()
        # Nothing of them is left.
        await running.stub.Embed(embed(picture()), timeout=30)


async def test_a_message_that_does_not_arrive_is_not_waited_for() -> None:
    async with embedder_running(message_timeout_s=0.3) as running:
        began = time.monotonic()
        assert (await refused(silent_call(running)))[:2] == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert 0.2 < time.monotonic() - began < 5
        connection = await RawConnection.open(f"127.0.0.1:{running.server.port}")
        half = connection.call(EMBED, b"x" * 100, promised=5000)
        watching = connection.call(WATCH, None)
        while connection.ended != {half, watching}:
            await asyncio.sleep(0.01)
        await connection.close()


async def test_where_too_many_wait_the_one_that_has_waited_longest_is_refused() -> None:
    async with embedder_running(max_concurrent_calls=1) as running:
        first = silent_call(running)
        await asyncio.sleep(0.2)
        # Of a server for one call at a time, four may wait.
        others = [silent_call(running) for _ in range(4)]
        assert (await refused(first))[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        await running.stub.Embed(embed(picture()), timeout=30)
        assert sum(call.done() for call in others) <= 1
        for call in others:
            call.cancel()


async def test_of_messages_that_arrive_slowly_only_as_many_are_kept_as_there_is_memory_for() -> None:
    # Room for two messages of the largest size.
    async with embedder_running(max_message_bytes=1 << 20, max_unfinished_bytes=2 << 20) as running:
        connection = await RawConnection.open(f"127.0.0.1:{running.server.port}")
        slow = [connection.call(EMBED, b"x" * 1000, promised=500_000) for _ in range(4)]
        await connection.flush()
        async with asyncio.timeout(30):
            while len(connection.ended) < 2:
                await asyncio.sleep(0.05)
        # Who sends at once is not among them, and the two that came last still are waited for.
        await running.stub.Embed(embed(picture()), timeout=30)
        await asyncio.sleep(1.5)
        assert connection.ended == set(slow[:2])
        await connection.close()


async def test_the_memory_of_slow_messages_that_have_ended_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    async with embedder_running(max_message_bytes=1 << 20, max_unfinished_bytes=8 << 20) as running:
        monkeypatch.setattr(memory, "give_back", lambda: given.append(None))
        connection = await RawConnection.open(f"127.0.0.1:{running.server.port}")
        slow = [connection.call(EMBED, b"x" * 1000, promised=500_000) for _ in range(3)]
        await connection.flush()
        await asyncio.sleep(2)
        await running.stub.Embed(embed(picture()), timeout=30)
        connection.cancel(slow[0])
        await connection.flush()
        # A single one of eight is not worth it, nor is who sends at once.
        await asyncio.sleep(1.5)
        assert not given
        connection.cancel(slow[1])
        await connection.flush()
        async with asyncio.timeout(30):
            while not given:
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)
        assert len(given) == 1
        await connection.close()


async def test_a_call_without_a_message_is_malformed() -> None:
    async with embedder_running() as running:
        assert (await refused(running.channel.stream_unary(EMBED)(iter(()))))[:2] == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "REQUEST_MALFORMED",
        )


async def test_who_has_no_key_is_refused_before_the_message_is_there(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys.json", shop="read")
    async with embedder_running(keys_file=tmp_path / "keys.json") as running:
        assert (await refused(silent_call(running)))[0] == grpc.StatusCode.UNAUTHENTICATED


async def _may_watch(running: Running) -> bool:
    try:
        answer = await running.health.Watch(health_pb2.HealthCheckRequest()).read()
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return False
    return bool(answer.status == SERVING)


async def test_streams_that_watch_health_are_bounded_and_leave_room_for_calls() -> None:
    async with embedder_running(max_concurrent_calls=1) as running:
        watching = [running.health.Watch(health_pb2.HealthCheckRequest()) for _ in range(8)]
        for stream in watching:
            assert (await stream.read()).status == SERVING
        assert not await _may_watch(running)
        await running.stub.Embed(embed(picture()), timeout=30)
        watching[0].cancel()
        async with asyncio.timeout(20):
            while not await _may_watch(running):
                await asyncio.sleep(0.05)
