"""Clients of remote services fulfil the same contracts as the parts in one process, errors included."""

import asyncio
import io
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from fashion.v1 import classifier_pb2, classifier_pb2_grpc, types_pb2
from services.clients.channel import open_channel
from services.clients.classifier import SERVICE as CLASSIFIER_SERVICE
from services.clients.classifier import ClassifierClient
from services.clients.embedder import SERVICE as EMBEDDER_SERVICE
from services.clients.embedder import EmbedderClient, EmbedderClientLimits
from services.concurrency import deadline
from services.contract.errors import (
    DeadlineExceeded,
    FashionError,
    InvalidInput,
    ModelMismatch,
    NotReady,
    Overloaded,
    Upstream,
)
from services.contract.protocols import Classifier, Embedder
from services.contract.values import (
    Box,
    Classification,
    ClassificationMethod,
    DerivedTypePrediction,
    Embedding,
    Gender,
    ModelInfo,
    Photograph,
    SubCategoryPrediction,
)
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import LocalEmbedder, local_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.serving import conversion
from services.serving.registry import GrpcService
from services.serving.request_id import current_request_id, request_id_bound
from services.serving.run import Server, running
from services.serving.settings import ServerSettings
from tests.support.embedders import ROOMY_LIMITS

CLASSIFIER = GrpcService(
    CLASSIFIER_SERVICE, "MODEL_NOT_READY", classifier_pb2_grpc.add_ClassifierServiceServicer_to_server
)
EMBEDDING = Embedding(np.full(4, 0.5, dtype=np.float32), "model-1")
CLASSIFICATION = Classification(
    sub_categories=(SubCategoryPrediction("Topwear", 0.75), SubCategoryPrediction("Kimonos", None)),
    derived_types=(DerivedTypePrediction(Gender.WOMEN, "Tops", "Topwear", 0.5, None),),
    method=ClassificationMethod.CANDIDATES,
    model_version="model-1",
    candidates_version="7",
)


def picture(shade: int) -> bytes:
    content = io.BytesIO()
    image = Image.new("RGB", (60, 80), "white")
    image.paste((shade % 256, shade * 7 % 256, shade * 31 % 256), (15, 20, 30, 40))
    image.save(content, "PNG")
    return content.getvalue()


class Recording:
    """An embedder that records its calls, with their request id and deadline, and then behaves as the test sets it."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.batches: list[int] = []
        self.request_ids: list[str | None] = []
        self.remaining_s: list[float | None] = []
        self.before: Callable[[], Any] = lambda: None

    async def embed(self, photograph: Photograph) -> Embedding:
        await self._note()
        return await self._inner.embed(photograph)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        self.batches.append(len(photographs))
        await self._note()
        return await self._inner.batch_embed(photographs)

    async def get_model(self) -> ModelInfo:
        await self._note()
        return await self._inner.get_model()

    async def _note(self) -> None:
        self.request_ids.append(current_request_id())
        self.remaining_s.append(deadline.remaining_s())
        if (waiting := self.before()) is not None:
            await waiting


class ScriptedClassifier(classifier_pb2_grpc.ClassifierServiceServicer):
    """Answers with one classification, or fails as the test sets it."""

    def __init__(self) -> None:
        self.requests: list[classifier_pb2.ClassifyRequest] = []
        self.answer = conversion.classification_to_proto(CLASSIFICATION)
        self.error: Exception | None = None
        self.wait: asyncio.Event | None = None

    async def Classify(self, request: classifier_pb2.ClassifyRequest, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        if self.wait is not None:
            await self.wait.wait()
        if self.error is not None:
            raise self.error
        return classifier_pb2.ClassifyResponse(classification=self.answer)

    async def GetTaxonomy(self, request: classifier_pb2.GetTaxonomyRequest, context: Any) -> Any:  # noqa: N802
        return classifier_pb2.GetTaxonomyResponse()


@asynccontextmanager
async def served(service: GrpcService, servicer: object) -> AsyncIterator[str]:
    async def start(server: Server, resources: AsyncExitStack) -> None:
        await server.ready(service, servicer)

    settings = ServerSettings(host="127.0.0.1", port=0, grace_s=0.5, write_deadline_s=30)
    async with running(settings, [service], start, default_port=1) as server:
        yield f"127.0.0.1:{server.port}"


class Setup:
    """A local embedder, the same one behind a server, and its clients."""

    def __init__(self, local: LocalEmbedder, recording: Recording, channel: grpc.aio.Channel) -> None:
        self.local = local
        self.recording = recording
        self.channel = channel
        self.client = EmbedderClient(channel, EmbedderClientLimits(query_timeout_s=20))

    def with_limits(self, **limits: Any) -> EmbedderClient:
        return EmbedderClient(self.channel, EmbedderClientLimits(**{"query_timeout_s": 20.0, **limits}))


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    async with (
        asyncio.timeout(60),
        local_embedder(FakeEncoder(dimension=16), ROOMY_LIMITS, warm_up_timeout_s=60) as local,
    ):
        recording = Recording(local)
        async with served(EMBEDDER, EmbedderServicer(recording, 64)) as target:
            channel = open_channel(target, health_service=EMBEDDER_SERVICE)
            async with channel:
                yield Setup(local, recording, channel)


async def test_near_and_far_embed_alike(setup: Setup) -> None:
    parts: list[Embedder] = [setup.local, setup.client]
    photograph = Photograph(picture(5), Box(0.0, 0.0, 0.5, 1.0))

    near, far = [await part.embed(photograph) for part in parts]

    assert np.array_equal(near.values, far.values)
    assert near.model_version == far.model_version
    assert await setup.client.get_model() == await setup.local.get_model()


@pytest.mark.parametrize(
    "photograph",
    [Photograph(b""), Photograph(b"text"), Photograph(picture(1)[:50]), Photograph(picture(1), Box(0, 0, 0, 0))],
    ids=["empty", "text", "truncated", "region"],
)
async def test_near_and_far_refuse_alike(setup: Setup, photograph: Photograph) -> None:
    errors = []
    for part in (setup.local, setup.client):
        with pytest.raises(InvalidInput) as caught:
            await part.embed(photograph)
        errors.append((caught.value.reason, caught.value.message, caught.value.metadata))
        [row] = await part.batch_embed([photograph])
        assert isinstance(row, InvalidInput)
        errors.append((row.reason, row.message, caught.value.metadata))

    assert len({(reason, message) for reason, message, _ in errors}) == 1
    assert errors[0] == errors[2]


async def test_a_large_batch_goes_in_messages_of_64_and_returns_in_order(setup: Setup) -> None:
    photographs = [Photograph(picture(shade)) for shade in range(200)]

    results = await setup.client.batch_embed(photographs)

    assert sorted(setup.recording.batches) == [8, 64, 64, 64]
    near = await setup.local.batch_embed(photographs)
    for one, other in zip(results, near, strict=True):
        assert isinstance(one, Embedding)
        assert isinstance(other, Embedding)
        assert np.allclose(one.values, other.values, atol=1e-6)


async def test_a_batch_of_large_photographs_is_cut_by_bytes(setup: Setup) -> None:
    # Not images: the embedder refuses each, which shows that they arrived.
    client = setup.with_limits(max_message_bytes=1024 * 1024)
    photographs = [Photograph(bytes([65]) * 400_000) for _ in range(6)]

    results = await client.batch_embed(photographs)

    assert sorted(setup.recording.batches) == [2, 2, 2]
    assert [getattr(result, "reason", None) for result in results] == ["IMAGE_FORMAT_UNSUPPORTED"] * 6


async def test_what_fits_no_message_is_too_large_and_spoils_only_its_row(setup: Setup) -> None:
    client = setup.with_limits(max_message_bytes=100_000)
    huge, good = Photograph(bytes(100_001)), Photograph(picture(1))

    with pytest.raises(InvalidInput) as caught:
        await client.embed(huge)
    first, second = await client.batch_embed([huge, good])

    assert caught.value.reason == "IMAGE_TOO_LARGE"
    assert isinstance(first, InvalidInput)
    assert first.reason == "IMAGE_TOO_LARGE"
    assert isinstance(second, Embedding)


async def test_an_empty_batch_asks_nobody(setup: Setup) -> None:
    assert list(await setup.client.batch_embed([])) == []
    assert setup.recording.batches == []


async def test_a_message_beyond_the_channels_limit_is_the_callers_mistake(setup: Setup) -> None:
    # gRPC itself refuses it before anything is sent. Our own clients send no such message; others may.
    target = setup.recording
    async with (
        served(EMBEDDER, EmbedderServicer(target, 64)) as address,
        open_channel(address, max_message_bytes=50_000) as channel,
    ):
        with pytest.raises(InvalidInput) as caught:
            await EmbedderClient(channel, EmbedderClientLimits(query_timeout_s=20)).embed(Photograph(bytes(60_000)))
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


async def test_the_request_id_goes_along(setup: Setup) -> None:
    with request_id_bound("shop-42"):
        await setup.client.embed(Photograph(picture(1)))
        await setup.client.batch_embed([Photograph(picture(1))])
    await setup.client.get_model()

    first, second, third = setup.recording.request_ids
    assert (first, second) == ("shop-42", "shop-42")
    assert third not in (None, "shop-42")


async def test_what_is_left_of_the_deadline_goes_along(setup: Setup) -> None:
    with deadline.at_most(7):
        await setup.client.embed(Photograph(picture(1)))
    await setup.client.embed(Photograph(picture(1)))
    with deadline.at_most(1000):
        await setup.client.embed(Photograph(picture(1)))

    assert all(left is not None for left in setup.recording.remaining_s)
    within, own, longer = [left or 0.0 for left in setup.recording.remaining_s]
    # gRPC rounds the rest of a deadline up to milliseconds.
    assert within <= 7.1
    assert 7.1 < own <= 20.1
    assert 7.1 < longer <= 20.1


async def test_the_callers_own_deadline_is_told_as_such(setup: Setup) -> None:
    setup.recording.before = lambda: asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded), deadline.at_most(0.1):
        await setup.client.embed(Photograph(picture(1)))
    with pytest.raises(DeadlineExceeded), deadline.at_most(0.1):
        await setup.client.batch_embed([Photograph(picture(1))])


async def test_past_the_deadline_nothing_is_sent(setup: Setup) -> None:
    with pytest.raises(DeadlineExceeded), deadline.at_most(0):
        await setup.client.embed(Photograph(picture(1)))
    assert setup.recording.request_ids == []


async def test_a_service_that_hangs_is_unavailable(setup: Setup) -> None:
    setup.recording.before = lambda: asyncio.Event().wait()

    with pytest.raises(Upstream) as caught, deadline.at_most(30):
        await setup.with_limits(query_timeout_s=0.1).embed(Photograph(picture(1)))
    assert caught.value.reason == "EMBEDDER_UNAVAILABLE"
    with pytest.raises(Upstream):
        await setup.with_limits(batch_timeout_s=0.1).batch_embed([Photograph(picture(1))] * 100)


async def test_nobody_there_is_unavailable_at_once() -> None:
    with socket.socket() as bound:
        # Bound, so that nobody else takes the port, but not listening.
        bound.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{bound.getsockname()[1]}"
        for health in (None, EMBEDDER_SERVICE):
            async with asyncio.timeout(20), open_channel(target, health_service=health) as channel:
                client = EmbedderClient(channel, EmbedderClientLimits(query_timeout_s=20, batch_timeout_s=20))
                for call in (
                    client.embed(Photograph(b"x")),
                    client.batch_embed([Photograph(b"x")]),
                    client.get_model(),
                ):
                    with pytest.raises(Upstream) as caught:
                        await call
                    assert caught.value.reason == "EMBEDDER_UNAVAILABLE"


@pytest.mark.parametrize(
    ("error", "expected", "reason"),
    [
        (Overloaded("Full.", reason="QUEUE_FULL"), Overloaded, "QUEUE_FULL"),
        (NotReady("Not yet.", reason="MODEL_NOT_READY"), Upstream, "EMBEDDER_UNAVAILABLE"),
        (RuntimeError("a bug"), Upstream, "EMBEDDER_UNAVAILABLE"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_the_embedder_answers_comes_back_as_its_category(
    setup: Setup, error: Exception, expected: type[FashionError], reason: str
) -> None:
    def fail() -> None:
        raise error

    setup.recording.before = fail
    for call in (setup.client.embed(Photograph(picture(1))), setup.client.batch_embed([Photograph(picture(1))] * 70)):
        with pytest.raises(expected) as caught:
            await call
        assert type(caught.value) is expected
        assert caught.value.reason == reason


async def test_one_who_gives_up_is_not_told_of_a_failure(setup: Setup) -> None:
    reached = asyncio.Event()

    def hang() -> Any:
        reached.set()
        return asyncio.Event().wait()

    setup.recording.before = hang
    task = asyncio.create_task(setup.client.batch_embed([Photograph(picture(1))] * 100))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[ScriptedClassifier, Classifier]]:
    servicer = ScriptedClassifier()
    async with (
        asyncio.timeout(60),
        served(CLASSIFIER, servicer) as target,
        open_channel(target, health_service=CLASSIFIER_SERVICE) as channel,
    ):
        yield servicer, ClassifierClient(channel, timeout_s=20)


async def test_a_remote_classification_is_the_classifiers(scripted: tuple[ScriptedClassifier, Classifier]) -> None:
    servicer, client = scripted

    assert await client.classify(EMBEDDING, 3) == CLASSIFICATION
    [request] = servicer.requests
    assert request.top_k == 3
    assert request.embedding.model_version == "model-1"
    assert list(request.embedding.values) == [0.5] * 4


@pytest.mark.parametrize(
    ("error", "expected", "reason"),
    [
        (InvalidInput("Bad.", reason="EMBEDDING_INVALID"), InvalidInput, "EMBEDDING_INVALID"),
        (ModelMismatch("Other.", reason="MODEL_VERSION_MISMATCH"), ModelMismatch, "MODEL_VERSION_MISMATCH"),
        (NotReady("Not yet.", reason="MODEL_NOT_READY"), Upstream, "CLASSIFIER_UNAVAILABLE"),
        (ZeroDivisionError(), Upstream, "CLASSIFIER_UNAVAILABLE"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_the_classifier_answers_comes_back_as_its_category(
    scripted: tuple[ScriptedClassifier, Classifier], error: Exception, expected: type[FashionError], reason: str
) -> None:
    servicer, client = scripted
    servicer.error = error

    with pytest.raises(expected) as caught:
        await client.classify(EMBEDDING, 3)
    assert caught.value.reason == reason


async def test_a_classifier_that_hangs_leaves_time_to_answer_without_it() -> None:
    servicer = ScriptedClassifier()
    servicer.wait = asyncio.Event()
    async with asyncio.timeout(60), served(CLASSIFIER, servicer) as target, open_channel(target) as channel:
        with pytest.raises(Upstream) as caught, deadline.at_most(30):
            await ClassifierClient(channel, timeout_s=0.1).classify(EMBEDDING, 3)
        assert caught.value.reason == "CLASSIFIER_UNAVAILABLE"
        with pytest.raises(DeadlineExceeded), deadline.at_most(0.1):
            await ClassifierClient(channel, timeout_s=20).classify(EMBEDDING, 3)


async def test_an_answer_of_a_newer_version_is_unavailable(scripted: tuple[ScriptedClassifier, Classifier]) -> None:
    servicer, client = scripted
    servicer.answer = types_pb2.Classification(model_version="model-1")

    with pytest.raises(Upstream, match="method 0"):
        await client.classify(EMBEDDING, 3)


async def test_a_service_that_comes_back_is_found_again() -> None:
    servicer = ScriptedClassifier()
    async with served(CLASSIFIER, servicer) as target:
        port = int(target.rpartition(":")[2])
    async with asyncio.timeout(60), open_channel(target, health_service=CLASSIFIER_SERVICE) as channel:
        client = ClassifierClient(channel, timeout_s=20)
        with pytest.raises(Upstream):
            await client.classify(EMBEDDING, 3)

        async def start(server: Server, resources: AsyncExitStack) -> None:
            await server.ready(CLASSIFIER, servicer)

        settings = ServerSettings(host="127.0.0.1", port=port, grace_s=0.5)
        async with running(settings, [CLASSIFIER], start, default_port=1):
            ends = time.monotonic() + 30
            while True:
                try:
                    assert await client.classify(EMBEDDING, 3) == CLASSIFICATION
                    break
                except Upstream:
                    assert time.monotonic() < ends, "the service was never found again"
                    await asyncio.sleep(0.1)
