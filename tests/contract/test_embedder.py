"""EmbedderService on a real server: every documented code."""

import asyncio
from contextlib import AsyncExitStack

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from services.embedder.service import local_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.serving.run import Server, running
from tests.support.embedders import (
    LIMITS,
    MAX_IMAGE_BYTES,
    NOT_SERVING,
    SERVING,
    GatedEncoder,
    Running,
    connected,
    details,
    embed,
    header_of,
    picture,
    raising,
    refused,
    server_settings,
)


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
    "SUBJECT_INVALID": embedder_pb2.EmbedRequest(image=types_pb2.Image(content=picture(), subject=7)),  # type: ignore[arg-type]
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


async def test_a_batch_of_rows_that_cannot_be_unpacked_has_a_status_for_each(embedder: Running) -> None:
    images = [BAD["SUBJECT_INVALID"].image] * 3

    results = (await embedder.stub.BatchEmbed(embedder_pb2.BatchEmbedRequest(images=images))).results

    assert [result.status.reason for result in results] == ["SUBJECT_INVALID"] * 3


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
        # Some calls may still be on their way: the queue is full once three are in it.
        await asyncio.gather(*(embedder.stub.Embed(embed(picture()), timeout=30) for _ in range(2)))
    embedder.encoder.gate.set()

    info, retry_s = details(caught.value)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert retry_s == 0.5
    await asyncio.gather(*waiting, return_exceptions=True)
    await embedder.stub.Embed(embed(picture()))


async def test_a_dead_encoder_turns_the_health_and_refuses(embedder: Running) -> None:
    watched = embedder.health.Watch(health_pb2.HealthCheckRequest(service=EMBEDDER.name))
    assert (await watched.read()).status == SERVING
    embedder.encoder.failure = raising(SystemExit())

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
        embedder = await resources.enter_async_context(local_embedder(encoder, LIMITS, warm_up_timeout_s=60))
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
