"""The classifier in a process of its own, with a real bundle and Redis, with and without an embedder."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fashion.v1 import classifier_pb2, classifier_pb2_grpc, types_pb2
from offline.bundle import write_bundle
from services.bundle.reader import Bundle
from services.clients.candidate_store import RedisCandidateStore
from services.contract.values import CandidateSet, Gender
from services.search.candidates.clusters import Candidate, candidate_set
from services.serving.status import error_info
from services.stack.embedded_redis import embedded_redis
from services.vision import Frame
from services.vision.preprocess import Preprocessing
from tests.support.processes import ROOT, run_to_end

_SIZE = 16


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    axes = np.eye(_SIZE, dtype=np.float32)
    return write_bundle(
        tmp_path_factory.mktemp("bundle"),
        name="tiny",
        preprocessing=Preprocessing(Frame(80, 60), "RGB", 1.0, (0.0, 0.0, 0.0)),
        encoder={"kernel": axes},
        heads={"subCategory": axes[:, :2], "derivedType": axes[:, :3]},
        labels={"subCategory": ("Topwear", "Bags"), "derivedType": ("Men Tshirts", "Men Shirts", "Unisex Backpacks")},
        logit_scale=10.0,
        metrics={},
        training={},
        split={},
    )


def _candidates(bundle: Bundle, *article_types: str) -> CandidateSet:
    row = np.eye(1, _SIZE)[0]
    candidates = (Candidate("Topwear", Gender.WOMEN, name, name, row) for name in article_types)
    return candidate_set(bundle.model_version, _SIZE, candidates)


class _Process:
    def __init__(self, process: asyncio.subprocess.Process, channel: grpc.aio.Channel) -> None:
        self.process = process
        self.stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    async def serving(self) -> None:
        async for answer in self._health.Watch(
            health_pb2.HealthCheckRequest(service="fashion.v1.ClassifierService"), wait_for_ready=True, timeout=60
        ):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
        raise AssertionError("it ended before it was SERVING")

    async def classify(self, bundle: Bundle) -> types_pb2.Classification:
        embedding = types_pb2.Embedding(values=np.eye(1, _SIZE)[0], model_version=bundle.model_version)
        response = await self.stub.Classify(classifier_pb2.ClassifyRequest(embedding=embedding), timeout=20)
        return response.classification

    async def follows(self, bundle: Bundle, version: str) -> types_pb2.Classification:
        """Waits until the classifier answers with these candidates."""
        async with asyncio.timeout(30):
            while (found := await self.classify(bundle)).candidates_version != version:
                await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def _classifier(tmp_path: Path, **variables: str) -> AsyncIterator[_Process]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OMP_WAIT_POLICY": "PASSIVE",
        "CLASSIFIER_FOLLOW_PERIOD_S": "0.05",
        # Nothing listens there.
        "CLASSIFIER_EMBEDDER_TARGET": f"unix:{tmp_path}/embedder.sock",
        "SERVER_PORT": "0",
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.classifier"),
        env=environment,
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        port = await _port(process.stderr)
        reading = asyncio.create_task(process.stderr.read())
        async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
            yield _Process(process, channel)
        reading.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _port(log: asyncio.StreamReader) -> int:
    async with asyncio.timeout(60):
        while line := await log.readline():
            event = json.loads(line)
            if event["event"] == "listening":
                return int(event["port"])
    raise AssertionError("it never listened")


async def test_it_follows_what_is_published_and_drains(tmp_path: Path, bundle: Bundle, redis_url: str) -> None:
    store = RedisCandidateStore(redis_url, timeout_s=2.0)
    early = _candidates(bundle, "Kurtas")
    await store.publish(early)
    async with _classifier(tmp_path, CLASSIFIER_BUNDLE=str(bundle.path), REDIS_URL=redis_url) as classifier:
        await classifier.serving()
        # Candidates published before the start count from the first call.
        assert (await classifier.classify(bundle)).candidates_version == early.version
        late = _candidates(bundle, "Kurtas", "Tops")
        await store.publish(late)
        found = await classifier.follows(bundle, late.version)
        assert [each.label for each in found.derived_types] == ["Women Kurtas", "Women Tops"]
        classifier.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await classifier.process.wait() == 0
    await store.close()


async def test_redis_may_be_down_at_the_start_and_come_and_go(tmp_path: Path, bundle: Bundle) -> None:
    url = f"unix://{tmp_path}/redis/redis.sock"
    candidates, others = _candidates(bundle, "Kurtas"), _candidates(bundle, "Tops")
    async with _classifier(tmp_path, CLASSIFIER_BUNDLE=str(bundle.path), REDIS_URL=url) as classifier:
        await classifier.serving()
        assert (await classifier.classify(bundle)).method == types_pb2.CLASSIFICATION_METHOD_MODEL_LABELS
        for published in (candidates, others):
            with embedded_redis(tmp_path / "redis") as redis:
                store = RedisCandidateStore(redis.url, timeout_s=2.0)
                await store.publish(published)
                await classifier.follows(bundle, published.version)
                await store.close()
            # Redis is down again: the classifier keeps its candidates.
            assert (await classifier.classify(bundle)).candidates_version == published.version


async def test_without_an_embedder_embeddings_are_classified_all_the_same(tmp_path: Path, bundle: Bundle) -> None:
    async with _classifier(tmp_path, CLASSIFIER_BUNDLE=str(bundle.path)) as classifier:
        await classifier.serving()
        request = classifier_pb2.ClassifyRequest(image=types_pb2.Image(content=b"whatever"))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await classifier.stub.Classify(request, timeout=30)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        info = error_info(raised.value.trailing_metadata() or ())  # type: ignore[arg-type]
        assert info is not None and info.reason == "EMBEDDER_UNAVAILABLE"
        assert (await classifier.classify(bundle)).derived_types[0].label == "Men Tshirts"


@pytest.mark.parametrize(
    ("variables", "status", "text"),
    [
        ({"CLASSIFIER_BUNDLE": "nowhere"}, 1, "classifier: cannot start: There is no bundle in nowhere"),
        ({"CLASSIFIER_THREADS": "0"}, 2, "classifier: CLASSIFIER_THREADS: "),
        ({"REDIS_URL": "http://user:secret@redis"}, 2, "classifier: REDIS_URL: "),
    ],
)
def test_what_it_cannot_start_with_is_one_line(variables: dict[str, str], status: int, text: str) -> None:
    ended, output = run_to_end("services.classifier", **variables)
    assert ended == status
    (line,) = [line for line in output.splitlines() if not line.startswith("{")]
    assert line.startswith(text)
    assert "secret" not in output and "Traceback" not in output
