"""ClassifierService on a real server: every documented answer and error; the service goes on after each."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from PIL import Image

from fashion.v1 import classifier_pb2, classifier_pb2_grpc, types_pb2
from services.classifier import service as local
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.classifier.service import LocalClassifier
from services.classifier.servicer import CLASSIFIER, ClassifierServicer
from services.contract.values import Gender, parse_derived_type
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import local_embedder
from services.embedder.settings import EmbedderSettings
from services.search.candidates.clusters import Candidate, candidate_set
from services.serving import conversion
from services.serving.run import Server, running
from services.serving.settings import ServerSettings
from services.serving.status import error_info

_SIZE = 32
_ENCODER = FakeEncoder(dimension=_SIZE)
_VERSION = _ENCODER.model.model_version

_Stub = classifier_pb2_grpc.ClassifierServiceStub


@dataclass(frozen=True)
class _Service:
    classifier: LocalClassifier
    stub: _Stub
    channel: grpc.aio.Channel
    port: int


def _head(*labels: str) -> LabelHead:
    return LabelHead(labels, np.eye(len(labels), _SIZE, dtype=np.float32), 10.0)


def _model() -> ClassifierModel:
    labels = ("Men Tshirts", "Women Tops", "Unisex Backpacks")
    kinds = tuple(parse_derived_type(label) for label in labels)
    return ClassifierModel(_VERSION, _SIZE, _head("Topwear", "Bottomwear", "Bags"), _head(*labels), kinds)


@pytest.fixture
async def service() -> AsyncIterator[_Service]:
    classifier = LocalClassifier(_model(), threads=1, max_pending=1)

    async def start(server: Server, resources: AsyncExitStack) -> None:
        resources.callback(classifier.close)
        embedder = await resources.enter_async_context(
            local_embedder(_ENCODER, EmbedderSettings().limits(), warm_up_timeout_s=60)
        )
        await server.ready(CLASSIFIER, ClassifierServicer(classifier, embedder))

    settings = ServerSettings(host="localhost", port=0, grace_s=5)
    async with (
        running(settings, [CLASSIFIER], start, default_port=0) as server,
        grpc.aio.insecure_channel(f"localhost:{server.port}") as channel,
    ):
        yield _Service(classifier, _Stub(channel), channel, server.port)


def _embedding(*parts: tuple[int, float], version: str = _VERSION) -> types_pb2.Embedding:
    values = np.zeros(_SIZE)
    for axis, share in parts:
        values[axis] = share
    return types_pb2.Embedding(values=values / np.linalg.norm(values), model_version=version)


def _request(**fields: object) -> classifier_pb2.ClassifyRequest:
    return classifier_pb2.ClassifyRequest(**fields)  # type: ignore[arg-type]


def _png(size: tuple[int, int] = (60, 80), colour: str = "navy") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return content.getvalue()


async def _assert_refused(
    service: _Service, request: classifier_pb2.ClassifyRequest, code: grpc.StatusCode, reason: str, text: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.stub.Classify(request, timeout=20)
    assert raised.value.code() is code
    assert text in (raised.value.details() or "")
    info = error_info(raised.value.trailing_metadata() or ())  # type: ignore[arg-type]
    assert info is not None and (info.reason, info.domain) == (reason, "fashion-recommender")
    # The next call is answered.
    assert (await service.stub.Classify(_request(embedding=_embedding((0, 1))), timeout=20)).classification


async def test_an_embedding_is_classified_by_the_models_labels_at_first(service: _Service) -> None:
    response = await service.stub.Classify(_request(embedding=_embedding((0, 0.8), (1, 0.6))), timeout=20)
    found = response.classification
    assert found.method == types_pb2.CLASSIFICATION_METHOD_MODEL_LABELS
    assert (found.model_version, found.candidates_version) == (_VERSION, "")
    assert [each.label for each in found.sub_categories] == ["Topwear", "Bottomwear", "Bags"]
    assert sum(each.probability for each in found.sub_categories) == pytest.approx(1)
    assert [each.label for each in found.derived_types] == ["Men Tshirts", "Women Tops", "Unisex Backpacks"]
    first, _, last = found.derived_types
    assert (first.gender, first.article_type, first.sub_category) == (types_pb2.GENDER_MEN, "Tshirts", "")
    assert first.similarity == pytest.approx(0.8) and first.margin == pytest.approx(0.2)
    assert first.HasField("margin") and not last.HasField("margin")


async def test_candidates_are_answered_with_as_soon_as_there_are_any(service: _Service) -> None:
    row = np.eye(2, _SIZE)
    candidates = candidate_set(
        _VERSION,
        _SIZE,
        [
            Candidate("Topwear", Gender.WOMEN, "Kurtas", "17", row[0]),
            Candidate("Lederhosen", Gender.MEN, "Lederhosen", "18", row[1]),
        ],
    )
    service.classifier.use(candidates)
    response = await service.stub.Classify(_request(embedding=_embedding((0, 0.6), (1, 0.8))), timeout=20)
    found = response.classification
    assert found.method == types_pb2.CLASSIFICATION_METHOD_CANDIDATES
    assert found.candidates_version == candidates.version
    assert [(each.label, each.sub_category) for each in found.derived_types] == [
        ("Men Lederhosen", "Lederhosen"),
        ("Women Kurtas", "Topwear"),
    ]
    assert found.sub_categories[0].label == "Lederhosen"
    assert not found.sub_categories[0].HasField("probability")
    assert found.sub_categories[1].HasField("probability")


async def test_a_photograph_is_embedded_first(service: _Service) -> None:
    photograph = types_pb2.Image(content=_png())
    by_image = await service.stub.Classify(_request(image=photograph, top_k=3), timeout=20)
    async with local_embedder(_ENCODER, EmbedderSettings().limits(), warm_up_timeout_s=60) as embedder:
        embedding = conversion.embedding_to_proto(await embedder.embed(conversion.photograph_from_proto(photograph)))
    by_embedding = await service.stub.Classify(_request(embedding=embedding, top_k=3), timeout=20)
    assert [each.label for each in by_image.classification.derived_types] == [
        each.label for each in by_embedding.classification.derived_types
    ]
    assert by_image.classification.derived_types[0].similarity == pytest.approx(
        by_embedding.classification.derived_types[0].similarity, abs=1e-6
    )


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (100, 3)])
async def test_top_k_bounds_both_lists(service: _Service, top_k: int, count: int) -> None:
    response = await service.stub.Classify(_request(embedding=_embedding((0, 1)), top_k=top_k), timeout=20)
    assert len(response.classification.sub_categories) == len(response.classification.derived_types) == count


@pytest.mark.parametrize("top_k", [-1, 0, 101])
async def test_top_k_out_of_range(service: _Service, top_k: int) -> None:
    request = _request(embedding=_embedding((0, 1)), top_k=top_k)
    await _assert_refused(service, request, grpc.StatusCode.INVALID_ARGUMENT, "TOP_K_OUT_OF_RANGE", f"top_k is {top_k}")


async def test_neither_image_nor_embedding(service: _Service) -> None:
    await _assert_refused(
        service, _request(), grpc.StatusCode.INVALID_ARGUMENT, "INPUT_MISSING", "neither an image nor an embedding"
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0] + [0.0] * (_SIZE - 2), f"{_SIZE - 1} values instead of {_SIZE}"),
        ([], f"0 values instead of {_SIZE}"),
        ([float("nan")] + [0.0] * (_SIZE - 1), "not a finite number"),
        ([0.0] * _SIZE, "norm of 0 "),
        ([1.002] + [0.0] * (_SIZE - 1), "norm of 1.002"),
    ],
)
async def test_what_is_no_embedding(service: _Service, values: list[float], text: str) -> None:
    request = _request(embedding=types_pb2.Embedding(values=values, model_version=_VERSION))
    await _assert_refused(service, request, grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_INVALID", text)


@pytest.mark.parametrize("version", ["", "another"])
async def test_another_models_embedding(service: _Service, version: str) -> None:
    request = _request(embedding=_embedding((0, 1), version=version))
    await _assert_refused(
        service, request, grpc.StatusCode.FAILED_PRECONDITION, "MODEL_VERSION_MISMATCH", f"serves '{_VERSION}'"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "IMAGE_EMPTY"),
        (b"not an image", "IMAGE_FORMAT_UNSUPPORTED"),
        (_png()[:60], "IMAGE_UNREADABLE"),
        (_png((1, 1)), "IMAGE_TOO_SMALL"),
        (bytes(11 * 1024 * 1024), "IMAGE_TOO_LARGE"),
    ],
    ids=["empty", "no image", "truncated", "1x1", "11 MiB"],
)
async def test_what_is_no_photograph(service: _Service, content: bytes, reason: str) -> None:
    request = _request(image=types_pb2.Image(content=content))
    await _assert_refused(service, request, grpc.StatusCode.INVALID_ARGUMENT, reason, "")


async def test_a_region_that_is_none(service: _Service) -> None:
    region = types_pb2.Box(left=0.5, top=0, right=0.5, bottom=1)
    request = _request(image=types_pb2.Image(content=_png(), region=region))
    await _assert_refused(service, request, grpc.StatusCode.INVALID_ARGUMENT, "REGION_INVALID", "")


async def test_bytes_that_are_no_message(service: _Service) -> None:
    call = service.channel.unary_unary("/fashion.v1.ClassifierService/Classify")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(b"\xff\xff\xff", timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class _Held:
    """Holds the classifier's thread until it is released."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self._inner = local.classify_batch

    def __call__(
        self, model: ClassifierModel, index: None, embeddings: NDArray[np.float32], top_k: int
    ) -> list[object]:
        self.begun.release()
        assert self.go.wait(30)
        return list(self._inner(model, index, embeddings, top_k))


async def test_a_full_queue_and_a_late_answer(service: _Service, monkeypatch: pytest.MonkeyPatch) -> None:
    held = _Held()
    monkeypatch.setattr(local, "classify_batch", held)
    request = _request(embedding=_embedding((0, 1)))
    late = service.stub.Classify(request, timeout=3)
    assert await asyncio.to_thread(held.begun.acquire, timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.stub.Classify(request, timeout=20)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info = error_info(raised.value.trailing_metadata() or ())  # type: ignore[arg-type]
    assert info is not None and info.reason == "QUEUE_FULL"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await late
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    held.go.set()


async def test_what_is_broken_inside_is_not_told(service: _Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret of the house")

    with monkeypatch.context() as patch:
        patch.setattr(local, "classify_batch", broken)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.stub.Classify(_request(embedding=_embedding((0, 1))), timeout=20)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.code().value[0] == code_pb2.INTERNAL
    assert "secret" not in (raised.value.details() or "")
    assert (await service.stub.Classify(_request(embedding=_embedding((0, 1))), timeout=20)).classification


async def test_the_taxonomy_follows_the_candidates(service: _Service) -> None:
    first = await service.stub.GetTaxonomy(classifier_pb2.GetTaxonomyRequest(), timeout=20)
    assert [(each.label, each.trained, list(each.derived_types)) for each in first.sub_categories] == [
        ("", True, ["Men Tshirts", "Unisex Backpacks", "Women Tops"]),
        ("Bags", True, []),
        ("Bottomwear", True, []),
        ("Topwear", True, []),
    ]
    assert first.method == types_pb2.CLASSIFICATION_METHOD_MODEL_LABELS and first.model_version == _VERSION
    candidates = candidate_set(_VERSION, _SIZE, [Candidate("Dirndl", Gender.GIRLS, "Dirndl", "1", np.eye(1, _SIZE)[0])])
    service.classifier.use(candidates)
    second = await service.stub.GetTaxonomy(classifier_pb2.GetTaxonomyRequest(), timeout=20)
    assert [(each.label, each.trained, list(each.derived_types)) for each in second.sub_categories] == [
        ("Bags", True, []),
        ("Bottomwear", True, []),
        ("Dirndl", False, ["Girls Dirndl"]),
        ("Topwear", True, []),
    ]
    assert second.method == types_pb2.CLASSIFICATION_METHOD_CANDIDATES
    assert second.candidates_version == candidates.version


async def test_health_is_told_by_the_services_name(service: _Service) -> None:
    health = health_pb2_grpc.HealthStub(service.channel)
    for name in ("", "fashion.v1.ClassifierService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_before_it_is_loaded_it_says_so() -> None:
    go, listening = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def start(server: Server, resources: AsyncExitStack) -> None:
        listening.set_result(server.port)
        await go.wait()

    async def serve() -> None:
        async with running(ServerSettings(host="localhost", port=0), [CLASSIFIER], start, default_port=0):
            pass

    serving = asyncio.create_task(serve())
    async with asyncio.timeout(30), grpc.aio.insecure_channel(f"localhost:{await listening}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _Stub(channel).Classify(_request(embedding=_embedding((0, 1))), timeout=20)
        info = error_info(raised.value.trailing_metadata() or ())  # type: ignore[arg-type]
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert info is not None and info.reason == "MODEL_NOT_READY"
        go.set()
        await serving
