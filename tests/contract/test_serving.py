"""What every service does on a real server, shown by the embedder: limits, deadlines, errors, log, ids, health."""

import asyncio
import gc
import io
import json
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from services.clients.channel import open_channel
from services.clients.embedder import EmbedderClient, EmbedderClientLimits
from services.concurrency import spans
from services.contract.errors import AlreadyExists, FashionError, NotFound, Upstream
from services.contract.fakes import FakeEmbedder
from services.contract.values import Photograph
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.serving.registry import GrpcService
from services.serving.run import ServeError, Server, running
from services.serving.settings import TracingSettings
from services.serving.status import error_info
from services.serving.traces import Traces
from tests.support.embedders import (
    SERVING,
    Running,
    connected,
    details,
    embed,
    embedder_running,
    picture,
    raising,
    refused,
    server_settings,
)
from tests.support.running import logged_to
from tests.support.waiting import eventually


async def test_a_message_beyond_the_servers_limit_is_refused_by_grpc_itself() -> None:
    async with embedder_running(max_message_bytes=256 * 1024) as embedder:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embedder.stub.Embed(embed(bytes(300 * 1024)))

        # As documented: gRPC refuses it before our code is called, so there are no details.
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in (caught.value.details() or "")
        await embedder.stub.Embed(embed(picture()))


async def held_up(embedder: Running) -> "asyncio.Future[Any]":
    """Begins a call that stays under way until the gate opens."""
    embedder.encoder.gate.clear()
    call = asyncio.ensure_future(embedder.stub.Embed(embed(picture()), timeout=30))
    assert await asyncio.to_thread(embedder.encoder.inside.wait, 20)
    return call


async def test_more_calls_than_allowed_are_refused_with_a_time_to_come_back() -> None:
    async with embedder_running(max_concurrent_calls=1) as embedder:
        first = await held_up(embedder)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embedder.stub.Embed(embed(picture()), timeout=30)
        # Health is still answered.
        probe = await embedder.health.Check(health_pb2.HealthCheckRequest())
        embedder.encoder.gate.set()

        info, retry_s = details(caught.value)
        assert (caught.value.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert retry_s == 0.5
        assert probe.status == SERVING
        await first
        # Both have ended: there is room for the next one.
        await embedder.stub.Embed(embed(picture()))


async def test_a_flood_of_calls_is_refused_to_the_last_and_harms_none_that_is_under_way() -> None:
    async with embedder_running(max_concurrent_calls=1) as embedder:
        first = await held_up(embedder)
        rest = [asyncio.ensure_future(embedder.stub.Embed(embed(picture()), timeout=30)) for _ in range(200)]
        outcomes = await asyncio.gather(*rest, return_exceptions=True)
        embedder.encoder.gate.set()

        assert {one.code() for one in outcomes} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        await first


@pytest.mark.parametrize("callers_s", [None, 0.1], ids=["default", "the caller's"])
async def test_a_deadline_ends_the_call_and_what_is_past_it_is_not_encoded(callers_s: float | None) -> None:
    async with embedder_running(query_deadline_s=0.1) as embedder:
        embedder.encoder.gate.clear()
        calls = [embedder.stub.Embed(embed(picture()), timeout=callers_s) for _ in range(2)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        embedder.encoder.gate.set()

        assert [answer.code() for answer in answers] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
        await embedder.stub.Embed(embed(picture()), timeout=20)
        # At most the one of the two that had begun.
        assert embedder.encoder.encoded <= 3


async def test_writes_have_longer_by_default() -> None:
    async with embedder_running(query_deadline_s=0.05, write_deadline_s=30) as embedder:
        embedder.encoder.gate.clear()
        request = embedder_pb2.BatchEmbedRequest(images=[types_pb2.Image(content=picture())])
        batch = asyncio.ensure_future(embedder.stub.BatchEmbed(request))
        # A query that began later ends by its own deadline while the batch still waits.
        code, reason, _ = await refused(embedder.stub.Embed(embed(picture())))
        assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert not batch.done()
        embedder.encoder.gate.set()
        assert len((await batch).results) == 1


async def test_the_operator_names_whose_the_reasons_are() -> None:
    async with embedder_running(error_domain="recommender.shop.example") as embedder:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embedder.stub.Embed(embed(b""))
        info = error_info(caught.value.trailing_metadata() or ())
        assert info is not None and (info.reason, info.domain) == ("IMAGE_EMPTY", "recommender.shop.example")


async def test_a_traced_call_ends_with_its_caller(embedder: Running) -> None:
    # Its spans go nowhere, which changes nothing for the calls.
    tracer = Traces("fashion-test", TracingSettings(traces_exporter="none"))
    spans.use(tracer)
    try:
        channel = open_channel(f"127.0.0.1:{embedder.server.port}")
    finally:
        spans.use(None)
    client = EmbedderClient(channel, EmbedderClientLimits(query_timeout_s=30))
    # The queue takes 2: each caller that has gone makes room.
    for _ in range(6):
        embedder.encoder.inside.clear()
        embedder.encoder.gate.clear()
        call = asyncio.ensure_future(client.embed(Photograph(picture())))
        assert await asyncio.to_thread(embedder.encoder.inside.wait, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        embedder.encoder.gate.set()
    assert len((await client.embed(Photograph(picture()))).values) == 2048
    await channel.close()
    tracer.shut_down()


async def test_a_caller_who_goes_leaves_nothing_behind(embedder: Running) -> None:
    # The queue takes 2: each caller that has gone makes room.
    for _ in range(6):
        embedder.encoder.inside.clear()
        embedder.encoder.gate.clear()
        call = embedder.stub.Embed(embed(picture()), timeout=30)
        waiting = asyncio.ensure_future(call)
        assert await asyncio.to_thread(embedder.encoder.inside.wait, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        embedder.encoder.gate.set()
    await embedder.stub.Embed(embed(picture()), timeout=20)


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Captures the log of a service; calling it returns the lines."""
    stream = io.StringIO()
    with logged_to(stream):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_an_unexpected_error_tells_nothing_and_is_logged_with_its_traceback(
    log: Callable[[], list[dict[str, Any]]], embedder: Running
) -> None:
    embedder.encoder.failure = raising(RuntimeError("secret path /srv/model"))
    metadata = (("x-request-id", "r-17"),)
    code, reason, message = await refused(embedder.stub.Embed(embed(picture()), metadata=metadata))

    assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in message
    [logged] = [line for line in log() if "exception" in line]
    assert "RuntimeError: secret path /srv/model" in logged["exception"]
    assert logged["request_id"] == "r-17"
    embedder.encoder.failure = lambda: None
    await embedder.stub.Embed(embed(picture()))


async def test_each_call_is_one_line_and_probes_are_none(
    log: Callable[[], list[dict[str, Any]]], embedder: Running
) -> None:
    await embedder.stub.Embed(embed(picture()), metadata=(("x-request-id", "good"),))
    await refused(embedder.stub.Embed(embed(b""), metadata=(("x-request-id", "bad"),)))
    await embedder.health.Check(health_pb2.HealthCheckRequest())

    names = ("method", "code", "request_id", "level", "reason")
    lines = [tuple(line.get(name) for name in names) for line in log() if line["event"] == "call"]
    method = "/fashion.v1.EmbedderService/Embed"
    assert lines == [
        (method, "OK", "good", "info", None),
        (method, "INVALID_ARGUMENT", "bad", "warning", "IMAGE_EMPTY"),
    ]


async def test_bytes_that_are_no_request_are_the_callers_mistake(embedder: Running) -> None:
    call = embedder.channel.unary_unary("/fashion.v1.EmbedderService/Embed")

    code, reason, _ = await refused(call(b"\xff\xff\xff\xff"))

    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


@pytest.mark.parametrize("method", ["/fashion.v1.EmbedderService/Nothing", "/fashion.v1.Nobody/Embed", "/x"])
async def test_a_method_that_does_not_exist_is_unimplemented(embedder: Running, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embedder.channel.unary_unary(method)(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("sent", "kept"), [("order-17", True), ("x" * 200, False), ("two words", False), (None, False)]
)
async def test_the_request_id_comes_back_on_success_and_failure(
    embedder: Running, sent: str | None, kept: bool
) -> None:
    metadata = (("x-request-id", sent),) if sent is not None else ()
    good = embedder.stub.Embed(embed(picture()), metadata=metadata)
    await good
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embedder.stub.Embed(embed(b""), metadata=metadata)

    returned = [
        dict(await good.trailing_metadata())["x-request-id"],
        dict(caught.value.trailing_metadata())["x-request-id"],
    ]
    if kept:
        assert returned == [sent, sent]
    else:
        assert sent not in returned
        assert len(set(returned)) == 2
        assert all(len(each) == 32 for each in returned)


async def test_health_knows_the_services_of_this_server(embedder: Running) -> None:
    for name in ("", EMBEDDER.name):
        assert (await embedder.health.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embedder.health.Check(health_pb2.HealthCheckRequest(service="fashion.v1.Nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watched = embedder.health.Watch(health_pb2.HealthCheckRequest(service="fashion.v1.Nobody"))
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.mark.parametrize("reflection", [True, False])
async def test_reflection_is_a_setting(reflection: bool) -> None:
    async with embedder_running(reflection=reflection) as embedder:
        call = reflection_pb2_grpc.ServerReflectionStub(embedder.channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        if reflection:
            names = {service.name for service in (await call.read()).list_services_response.service}
            assert {EMBEDDER.name, "grpc.health.v1.Health"} <= names
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def failing(what: Callable[[], Awaitable[Any]]) -> tuple[grpc.StatusCode, str, str]:
    async def start(server: Server, resources: AsyncExitStack) -> None:
        embedder = FakeEmbedder()
        embedder.before = what
        await server.ready(EMBEDDER, EmbedderServicer(embedder, 64))

    async with (
        asyncio.timeout(60),
        running(server_settings(), [EMBEDDER], start, default_port=1) as server,
        connected(server) as channel,
    ):
        return await refused(embedder_pb2_grpc.EmbedderServiceStub(channel).Embed(embed(b"x"), timeout=20))


@pytest.mark.parametrize("again", [False, True], ids=["refused", "refused by another service"])
async def test_a_refused_call_holds_nothing_once_it_has_ended(again: bool) -> None:
    held: list[weakref.ref[Any]] = []

    class Request:
        """What a call is about, such as a large photograph."""

    async def refuse() -> None:
        request = Request()
        held.append(weakref.ref(request))
        error = NotFound("There is no such thing.", reason="PRODUCT_NOT_FOUND")
        if not again:
            raise error
        # As an error that a task has brought, which its frames know.
        task = asyncio.create_task(_raise(error))
        try:
            await task
        except NotFound as first:
            raise Upstream("It does not answer.", reason="EMBEDDER_UNAVAILABLE") from first

    # Full collections of garbage are rare: nothing may wait for one.
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await failing(refuse)
        eventually(lambda: not any(each() for each in held), "a call that has ended holds its request", timeout_s=10)
    finally:
        gc.enable()


async def _raise(error: FashionError) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("Nothing.", reason="SOME_REASON"), grpc.StatusCode.NOT_FOUND),
        (AlreadyExists("Twice.", reason="SOME_REASON"), grpc.StatusCode.ALREADY_EXISTS),
        (Upstream("Down.", reason="SOME_REASON"), grpc.StatusCode.UNAVAILABLE),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_any_category_from_the_domain_gets_its_code(error: FashionError, code: grpc.StatusCode) -> None:
    async def fail() -> None:
        raise error

    assert await failing(fail) == (code, "SOME_REASON", error.message)


async def test_something_cancelled_inside_does_not_leave_the_caller_waiting() -> None:
    async def fail() -> None:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    code, reason, _ = await failing(fail)

    assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_a_timeout_inside_is_not_taken_for_the_callers() -> None:
    async def fail() -> None:
        raise TimeoutError

    assert (await failing(fail))[0] is grpc.StatusCode.INTERNAL


async def test_a_long_message_with_any_characters_arrives() -> None:
    async def fail() -> None:
        raise NotFound("\U0001f457\n%\x00" * 10_000, reason="SOME_REASON", metadata={"name": "\u00e9" * 10_000})

    code, reason, message = await failing(fail)

    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "SOME_REASON")
    assert message.startswith("\U0001f457\n%")


async def test_a_port_that_is_taken_is_told(embedder: Running) -> None:
    async def start(server: Server, resources: AsyncExitStack) -> None:
        pytest.fail("started")

    with pytest.raises(ServeError, match=str(embedder.server.port)):
        async with running(server_settings(port=embedder.server.port), [EMBEDDER], start, default_port=1):
            pytest.fail("ran")


async def test_only_the_services_of_a_server_can_be_put_on_it() -> None:
    other = GrpcService("fashion.v1.Other", "MODEL_NOT_READY", EMBEDDER.add_to_server)

    async def start(server: Server, resources: AsyncExitStack) -> None:
        await server.ready(other, object())

    with pytest.raises(ValueError, match=r"fashion\.v1\.Other"):
        async with running(server_settings(), [EMBEDDER], start, default_port=1):
            pytest.fail("ran")
