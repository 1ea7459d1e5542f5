"""Runs embedders for tests: the real service on a real server, with an encoder that the test controls."""

import asyncio
import io
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
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from PIL import Image

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from services.contract.values import ModelInfo
from services.embedder.batching import BatchingLimits
from services.embedder.encoder import Features
from services.embedder.garment_heads import GarmentHeads
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import EmbedderLimits, local_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.serving.run import Server, running
from services.serving.settings import ServerSettings
from services.vision import Frame
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
    """Returns a PNG that announces a size and has no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


class GatedEncoder:
    """The fake encoder; tests can block it, make it fail, and count its photographs."""

    def __init__(self, dimension: int = 2048) -> None:
        self._fake = FakeEncoder(dimension=dimension)
        self.heads: GarmentHeads | None = None
        # Steps of warming up, by the thread that took them.
        self.warm_steps: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()
        self.encoded = 0
        self.failure: Callable[[], None] = lambda: None

    @property
    def model(self) -> ModelInfo:
        return self._fake.model

    @property
    def frame(self) -> Frame:
        return self._fake.frame

    @property
    def garment_heads(self) -> GarmentHeads | None:
        return self.heads

    def features(self, batch: NDArray[np.uint8], *, crowded: bool = False) -> Features:
        return Features(self.encode(batch))

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.inside.set()
        assert self.gate.wait(20)
        self.failure()
        self.encoded += len(batch)
        return self._fake.encode(batch)

    def warm_up(self) -> Iterator[None]:
        for _ in range(3):
            self.warm_steps.append(threading.get_ident())
            yield


def raising(error: BaseException) -> Callable[[], None]:
    """Returns a function that raises an error, for an encoder to fail with."""

    def fail() -> None:
        raise error

    return fail


@dataclass
class Running:
    """A server, its encoder, and what is needed to call it."""

    server: Server
    encoder: GatedEncoder
    channel: grpc.aio.Channel
    stub: Any
    health: Any


ROOMY_LIMITS = EmbedderLimits(ImageLimits(), BatchingLimits(64, 1024, micro_batch=8, inference_timeout_s=30), 2)
LIMITS = EmbedderLimits(
    ImageLimits(max_bytes=MAX_IMAGE_BYTES), BatchingLimits(2, 128, micro_batch=4, inference_timeout_s=30), 2
)


def server_settings(**overrides: Any) -> ServerSettings:
    return ServerSettings(**{"host": "127.0.0.1", "port": 0, "grace_s": 1.0, **overrides})


@asynccontextmanager
async def embedder_running(**overrides: Any) -> AsyncIterator[Running]:
    encoder = GatedEncoder()

    async def start(server: Server, resources: AsyncExitStack) -> None:
        embedder = await resources.enter_async_context(local_embedder(encoder, LIMITS, warm_up_timeout_s=60))
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
    assert info.domain == "fashion-recommender"
    return caught.value.code(), info.reason, caught.value.details() or ""


def embed(content: bytes, region: types_pb2.Box | None = None) -> embedder_pb2.EmbedRequest:
    return embedder_pb2.EmbedRequest(image=types_pb2.Image(content=content, region=region))
