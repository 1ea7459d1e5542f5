"""EmbedderService on a real server: every documented code, with the interceptors that a service runs with."""

import asyncio
import io
import json
import logging
import struct
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from numpy.typing import NDArray
from PIL import Image

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from services.contract import Embedding, ModelInfo, Photograph
from services.embedder.batching import BatchingLimits
from services.embedder.local import EmbedderLimits, local_embedder
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.serving.errors import AlreadyExists, FashionError, NotFound, Upstream
from services.serving.run import GrpcService, ServeError, Server, running
from services.serving.settings import ServerSettings
from services.serving.telemetry import configure_logging
from services.vision.decode import ImageLimits

MAX_IMAGE_BYTES = 200_000
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def picture(width: int = 60, height: int = 80) -> bytes:
    content = io.BytesIO()
    image = Image.new("RGB", (width, height), "white")
    image.paste((200, 30, 40), (width // 4, height // 4, width // 2, height // 2))
    image.save(content, "PNG")
    return content.getvalue()


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


class GatedEncoder:
    """The fake encoder, which can be held up and made to fail."""

    def __init__(self) -> None:
        self._fake = FakeEncoder(dimension=2048)
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()
        self.encoded = 0
        self.failure: BaseException | None = None

    @property
    def model(self) -> ModelInfo:
        return self._fake.model

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.inside.set()
        assert self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        self.encoded += len(batch)
        return self._fake.encode(batch)

    def warm_up(self) -> None:
        """There is nothing to warm up."""


@dataclass
class Running:
    """A server and what is needed to call it."""

    server: Server
    encoder: GatedEncoder
    channel: grpc.aio.Channel
    stub: Any
    health: Any


LIMITS = EmbedderLimits(
    ImageLimits(max_bytes=MAX_IMAGE_BYTES), BatchingLimits(2, 128, micro_batch=4, inference_timeout_s=30), 2
)


def server_settings(**overrides: Any) -> ServerSettings:
    return ServerSettings(**{"host": "127.0.0.1", "port": 0, "grace_s": 1.0, **overrides})


@asynccontextmanager
async def embedder_running(**overrides: Any) -> AsyncIterator[Running]:
    encoder = GatedEncoder()

    async def start(server: Server, resources: AsyncExitStack) -> None:
        embedder = await resources.enter_async_context(local_embedder(encoder, LIMITS))
        await resources.enter_async_context(server.watched(EMBEDDER, embedder.died, why="dead", stop=False))
        await server.ready(EMBEDDER, EmbedderServicer(embedder, max_batch=64))

    async with (
        asyncio.timeout(60),
        running(server_settings(**overrides), [EMBEDDER], start, default_port=1) as server,
        connected(server) as channel,
    ):
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        yield Running(server, encoder, channel, stub, health_pb2_grpc.HealthStub(channel))
        encoder.gate.set()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        yield channel


@pytest.fixture
async def embedder() -> AsyncIterator[Running]:
    async with embedder_running() as server:
        yield server


def details(error: grpc.aio.AioRpcError) -> tuple[error_details_pb2.ErrorInfo, float | None]:
    """Reads the details as a client in any language would, without our code."""
    content = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info, retry, retry_s = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), None
    for detail in status_pb2.Status.FromString(content).details:
        if detail.Unpack(retry):
            retry_s = retry.retry_delay.ToTimedelta().total_seconds()
        detail.Unpack(info)
    return info, retry_s


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, str]:
    """Returns the code, reason and message of a call that has to fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info, _ = details(caught.value)
    assert info.domain == "fashion"
    return caught.value.code(), info.reason, caught.value.details() or ""


def embed(content: bytes, region: types_pb2.Box | None = None) -> embedder_pb2.EmbedRequest:
    return embedder_pb2.EmbedRequest(image=types_pb2.Image(content=content, region=region))


async def test_embed_answers_2048_floats_of_norm_1(embedder: Running) -> None:
    response = await embedder.stub.Embed(embed(picture()))

    assert len(response.embedding.values) == 2048
    assert np.linalg.norm(response.embedding.values) == pytest.approx(1, abs=1e-5)
    assert response.embedding.model_version == embedder.encoder.model.model_version


async def test_get_model_describes_it(embedder: Running) -> None:
    model = (await embedder.stub.GetModel(embedder_pb2.GetModelRequest())).model

    assert (model.name, model.dimension, model.runtime) == ("fake", 2048, "fake")
    assert (model.input_height, model.input_width) == (80, 60)


BAD = {
    "IMAGE_EMPTY": embed(b""),
    "IMAGE_TOO_LARGE": embed(b"\x89PNG" + bytes(MAX_IMAGE_BYTES)),
    "IMAGE_TOO_MANY_PIXELS": embed(header_of(30_000, 30_000)),
    "IMAGE_TOO_SMALL": embed(picture(1, 1)),
    "IMAGE_FORMAT_UNSUPPORTED": embed(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "IMAGE_UNREADABLE": embed(picture()[:80]),
    "REGION_INVALID": embed(picture(), types_pb2.Box(left=0.5, top=0, right=0.25, bottom=1)),
}


@pytest.mark.parametrize("reason", BAD)
async def test_a_bad_photograph_is_invalid_for_its_documented_reason(embedder: Running, reason: str) -> None:
    code, told, message = await refused(embedder.stub.Embed(BAD[reason]))

    assert (code, told) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert message
    await embedder.stub.Embed(embed(picture()))
    assert (await embedder.health.Check(health_pb2.HealthCheckRequest())).status == SERVING


async def test_an_image_left_out_is_empty(embedder: Running) -> None:
    code, reason, _ = await refused(embedder.stub.Embed(embedder_pb2.EmbedRequest()))

    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_EMPTY")


async def test_a_batch_has_a_status_for_each_in_order(embedder: Running) -> None:
    good = types_pb2.Image(content=picture())
    images = [good, *(request.image for request in BAD.values()), good]

    results = (await embedder.stub.BatchEmbed(embedder_pb2.BatchEmbedRequest(images=images))).results

    assert [result.status.reason for result in results] == ["", *BAD, ""]
    assert [result.status.code for result in results] == [0, *[3] * len(BAD), 0]
    assert [result.HasField("embedding") for result in results] == [True, *[False] * len(BAD), True]
    assert all(result.status.message for result in results[1:-1])


@pytest.mark.parametrize(("count", "reason"), [(0, "BATCH_EMPTY"), (65, "BATCH_TOO_LARGE")])
async def test_a_batch_takes_1_to_64(embedder: Running, count: int, reason: str) -> None:
    images = [types_pb2.Image(content=picture())] * count

    code, told, _ = await refused(embedder.stub.BatchEmbed(embedder_pb2.BatchEmbedRequest(images=images)))

    assert (code, told) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    full = embedder_pb2.BatchEmbedRequest(images=[types_pb2.Image(content=picture())] * 64)
    assert len((await embedder.stub.BatchEmbed(full)).results) == 64


async def test_a_full_queue_is_told_at_once_with_a_time_to_come_back(embedder: Running) -> None:
    embedder.encoder.gate.clear()
    waiting = [asyncio.ensure_future(embedder.stub.Embed(embed(picture()), timeout=30)) for _ in range(2)]
    assert await asyncio.to_thread(embedder.encoder.inside.wait, 20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        # Those that wait may still be on their way: the queue is full when three are there.
        await asyncio.gather(*(embedder.stub.Embed(embed(picture()), timeout=30) for _ in range(2)))
    embedder.encoder.gate.set()

    info, retry_s = details(caught.value)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert retry_s == 0.5
    await asyncio.gather(*waiting, return_exceptions=True)
    await embedder.stub.Embed(embed(picture()))


async def test_a_message_beyond_the_servers_limit_is_refused_by_grpc_itself() -> None:
    async with embedder_running(max_message_bytes=256 * 1024) as embedder:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embedder.stub.Embed(embed(bytes(300 * 1024)))

        # Documented: gRPC refuses it before our code is asked, so there are no details.
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in (caught.value.details() or "")
        await embedder.stub.Embed(embed(picture()))


async def test_more_calls_than_allowed_are_refused_with_a_time_to_come_back() -> None:
    async with embedder_running(max_concurrent_calls=1) as embedder:
        embedder.encoder.gate.clear()
        first = asyncio.ensure_future(embedder.stub.Embed(embed(picture()), timeout=30))
        assert await asyncio.to_thread(embedder.encoder.inside.wait, 20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embedder.stub.Embed(embed(picture()), timeout=30)
        # Whoever looks after the server still gets an answer.
        probe = await embedder.health.Check(health_pb2.HealthCheckRequest())
        embedder.encoder.gate.set()

        info, retry_s = details(caught.value)
        assert (caught.value.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert retry_s == 0.5
        assert probe.status == SERVING
        await first
        # Both have left: the next one finds a place.
        await embedder.stub.Embed(embed(picture()))


async def test_a_flood_of_calls_is_refused_to_the_last_and_harms_none_that_is_under_way() -> None:
    async with embedder_running(max_concurrent_calls=1) as embedder:
        embedder.encoder.gate.clear()
        first = asyncio.ensure_future(embedder.stub.Embed(embed(picture()), timeout=30))
        assert await asyncio.to_thread(embedder.encoder.inside.wait, 20)
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
        # Of the two, at most the one that had begun.
        assert embedder.encoder.encoded <= 3


async def test_writes_have_longer_by_default() -> None:
    async with embedder_running(query_deadline_s=0.05, write_deadline_s=30) as embedder:
        embedder.encoder.gate.clear()
        request = embedder_pb2.BatchEmbedRequest(images=[types_pb2.Image(content=picture())])
        batch = asyncio.ensure_future(embedder.stub.BatchEmbed(request))
        # A query that began later is over by its own deadline, while the batch still waits.
        code, reason, _ = await refused(embedder.stub.Embed(embed(picture())))
        assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert not batch.done()
        embedder.encoder.gate.set()
        assert len((await batch).results) == 1


async def test_a_caller_who_goes_leaves_nothing_behind(embedder: Running) -> None:
    # The queue takes 2: each caller who has gone makes room.
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
    """Captures the log as a service writes it; call it for its lines."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, io.StringIO()
    configure_logging("info", "json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    for ours in ("services", "cli", "offline"):
        logging.getLogger(ours).setLevel(logging.NOTSET)
    structlog.reset_defaults()


async def test_an_unexpected_error_tells_nothing_and_is_logged_with_its_traceback(
    log: Callable[[], list[dict[str, Any]]], embedder: Running
) -> None:
    embedder.encoder.failure = RuntimeError("secret path /srv/model")
    metadata = (("x-request-id", "r-17"),)
    code, reason, message = await refused(embedder.stub.Embed(embed(picture()), metadata=metadata))

    assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in message
    [logged] = [line for line in log() if "exception" in line]
    assert "RuntimeError: secret path /srv/model" in logged["exception"]
    assert logged["request_id"] == "r-17"
    embedder.encoder.failure = None
    await embedder.stub.Embed(embed(picture()))


async def test_each_call_is_one_line_and_probes_are_none(
    log: Callable[[], list[dict[str, Any]]], embedder: Running
) -> None:
    await embedder.stub.Embed(embed(picture()), metadata=(("x-request-id", "good"),))
    await refused(embedder.stub.Embed(embed(b""), metadata=(("x-request-id", "bad"),)))
    await embedder.health.Check(health_pb2.HealthCheckRequest())

    lines = [(line["method"], line["code"], line["request_id"]) for line in log() if line["event"] == "call"]
    method = "/fashion.v1.EmbedderService/Embed"
    assert lines == [(method, "OK", "good"), (method, "INVALID_ARGUMENT", "bad")]


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


async def test_a_dead_encoder_turns_the_health_and_refuses(embedder: Running) -> None:
    watched = embedder.health.Watch(health_pb2.HealthCheckRequest(service=EMBEDDER.name))
    assert (await watched.read()).status == SERVING
    embedder.encoder.failure = SystemExit()

    code, reason, _ = await refused(embedder.stub.Embed(embed(picture()), timeout=20))

    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_NOT_READY")
    assert (await watched.read()).status == NOT_SERVING
    assert (await embedder.health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING


async def test_before_warm_up_it_is_not_serving_and_says_so() -> None:
    may_start, encoder = asyncio.Event(), GatedEncoder()
    listening: asyncio.Future[Server] = asyncio.get_running_loop().create_future()

    async def start(server: Server, resources: AsyncExitStack) -> None:
        listening.set_result(server)
        await may_start.wait()
        embedder = await resources.enter_async_context(local_embedder(encoder, LIMITS))
        await server.ready(EMBEDDER, EmbedderServicer(embedder, 64))

    async def run(done: asyncio.Event) -> None:
        async with running(server_settings(), [EMBEDDER], start, default_port=1):
            await done.wait()

    async with asyncio.timeout(60):
        done = asyncio.Event()
        task = asyncio.create_task(run(done))
        async with connected(await listening) as channel:
            stub, health = embedder_pb2_grpc.EmbedderServiceStub(channel), health_pb2_grpc.HealthStub(channel)
            watched = health.Watch(health_pb2.HealthCheckRequest(service=EMBEDDER.name))
            assert (await watched.read()).status == NOT_SERVING
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
            code, reason, _ = await refused(stub.Embed(embed(picture())))
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_NOT_READY")
            may_start.set()
            assert (await watched.read()).status == SERVING
            await stub.Embed(embed(picture()))
        done.set()
        await task


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


class FailingEmbedder:
    """An embedder that answers everything with what it is told to do."""

    def __init__(self, what: Callable[[], Awaitable[Any]]) -> None:
        self._what = what

    async def embed(self, photograph: Photograph) -> Embedding:
        return await self._what()

    async def embed_batch(self, photographs: Any) -> Any:
        return await self._what()

    async def model(self) -> ModelInfo:
        return await self._what()


async def failing(what: Callable[[], Awaitable[Any]]) -> tuple[grpc.StatusCode, str, str]:
    async def start(server: Server, resources: AsyncExitStack) -> None:
        await server.ready(EMBEDDER, EmbedderServicer(FailingEmbedder(what), 64))

    async with (
        asyncio.timeout(60),
        running(server_settings(), [EMBEDDER], start, default_port=1) as server,
        connected(server) as channel,
    ):
        return await refused(embedder_pb2_grpc.EmbedderServiceStub(channel).Embed(embed(b"x"), timeout=20))


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
