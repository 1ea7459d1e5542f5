"""Runs the classifier as a process of its own: `python -m services.classifier`."""

import services.serving.quick_start  # noqa: F401 - before all else

# isort: split
import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import structlog

from services.bundle.reader import load_bundle
from services.classifier.candidate_follower import CandidateFollower
from services.classifier.recognition import ClassifierModel
from services.classifier.service import LocalClassifier
from services.classifier.servicer import CLASSIFIER, ClassifierServicer
from services.classifier.settings import DEFAULT_PORT, IMAGENET, ClassifierSettings
from services.clients.candidate_store import RedisCandidateStore
from services.clients.channel import open_channel
from services.clients.embedder import SERVICE as EMBEDDER_SERVICE
from services.clients.embedder import EmbedderClient, EmbedderClientLimits, wait_for_model
from services.concurrency.background import in_background
from services.contract.protocols import Embedder
from services.serving.run import Server, run_process, serve
from services.serving.settings import ServerSettings, read_settings
from services.serving.telemetry import configure_logging
from services.serving.tracing import configure_tracing

_log = structlog.stdlib.get_logger(__name__)


async def main() -> None:
    """Serves until SIGTERM.

    Raises:
        SettingsError: a variable is bad.
        ServeError: it cannot start, or has stopped following the candidates.
    """
    server_settings = read_settings(ServerSettings)
    settings = read_settings(ClassifierSettings)
    configure_logging(server_settings.log_level, server_settings.log_format)
    configure_tracing("fashion-classifier")

    async def start(server: Server, resources: AsyncExitStack) -> None:
        channel = open_channel(
            settings.embedder_target,
            health_service=EMBEDDER_SERVICE,
            max_message_bytes=server_settings.max_message_bytes,
        )
        resources.push_async_callback(channel.close)
        embedder = EmbedderClient(
            channel,
            EmbedderClientLimits(
                query_timeout_s=settings.embedder_timeout_s, max_message_bytes=server_settings.max_message_bytes
            ),
        )
        model = await _model(settings, embedder)
        classifier = LocalClassifier(model, threads=settings.threads, max_pending=settings.max_pending)
        resources.callback(classifier.close)
        if settings.redis_url.get_secret_value():
            await _follow(settings, classifier, server, resources)
        else:
            _log.warning(
                "REDIS_URL is not set: the classifier follows no candidates and answers with the bundle's labels"
            )
        # Warms up, so that the first call is not slow.
        classifier.classify_batch(np.eye(1, model.dimension, dtype=np.float32), 1)
        await server.ready(CLASSIFIER, ClassifierServicer(classifier, embedder))

    await serve(server_settings, [CLASSIFIER], start, default_port=DEFAULT_PORT)


async def _model(settings: ClassifierSettings, embedder: Embedder) -> ClassifierModel:
    if settings.bundle != IMAGENET:
        # It has no use for the network.
        return ClassifierModel.of(await asyncio.to_thread(load_bundle, Path(settings.bundle), encoder=False))
    # Only the embedder knows the model of weights without a bundle.
    return ClassifierModel.without_heads(await wait_for_model(embedder, settings.start_timeout_s))


async def _follow(
    settings: ClassifierSettings, classifier: LocalClassifier, server: Server, resources: AsyncExitStack
) -> None:
    store = RedisCandidateStore(settings.redis_address(), timeout_s=settings.redis_timeout_s)
    resources.push_async_callback(store.close)
    follower = CandidateFollower(
        store, classifier.model.model_version, classifier.use, period_s=settings.follow_period_s
    )
    # Candidates published before count from the first call on. A Redis that is down delays the start by its timeout.
    await follower.look()

    def ended(error: BaseException | None) -> None:
        server.stop(f"following the candidates has ended: {error!r}")

    await resources.enter_async_context(in_background(follower.run(), ended))


if __name__ == "__main__":
    run_process("classifier", main)
