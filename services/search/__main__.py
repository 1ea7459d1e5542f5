"""Runs search as a process of its own: `python -m services.search`."""

import services.serving.quick_start  # noqa: F401 - before all else

# isort: split
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from services.clients.candidate_store import RedisCandidateStore
from services.clients.channel import open_channel
from services.clients.classifier import SERVICE as CLASSIFIER_SERVICE
from services.clients.classifier import ClassifierClient
from services.clients.embedder import SERVICE as EMBEDDER_SERVICE
from services.clients.embedder import EmbedderClient, EmbedderClientLimits
from services.clients.search import SearchClient
from services.concurrency.background import in_background
from services.contract.protocols import Classifier, Embedder
from services.search.assembly import running_search
from services.search.preferences import RedisPreferences, watch_preferences
from services.search.remote_models import RemoteModels
from services.search.servicer import DISLIKES, REINDEX, SEARCH, ReindexServicer, SearchServicer
from services.search.settings import DEFAULT_PORT, DEFAULT_REDIS_URL, SearchSettings
from services.serving.run import Server, run_process, serve
from services.serving.settings import ServerSettings, read_settings
from services.serving.telemetry import configure_logging
from services.serving.tracing import configure_tracing


async def main() -> None:
    """Serves until SIGTERM.

    Raises:
        SettingsError: a variable is bad.
        ServeError: it cannot start.
    """
    settings, server_settings = read_settings(SearchSettings), read_settings(ServerSettings)
    configure_logging(server_settings.log_level, server_settings.log_format)
    configure_tracing("fashion-search")

    async def start(server: Server, resources: AsyncExitStack) -> None:
        preferences = settings.preferences(settings.redis_address(DEFAULT_REDIS_URL))
        resources.push_async_callback(preferences.close)
        size = server_settings.max_message_bytes
        limits = EmbedderClientLimits(
            query_timeout_s=settings.embedder_timeout_s,
            try_s=settings.try_s,
            batch_timeout_s=settings.write_timeout_s,
            max_message_bytes=size,
        )
        embedders: list[Embedder] = []
        for target in filter(None, (settings.embedder_target, settings.next_embedder_target)):
            channel = open_channel(target, health_service=EMBEDDER_SERVICE, max_message_bytes=size)
            resources.push_async_callback(channel.close)
            embedders.append(EmbedderClient(channel, limits))
        classifiers: list[Classifier] = []
        for target in filter(None, (settings.classifier_target, settings.next_classifier_target)):
            channel = open_channel(target, health_service=CLASSIFIER_SERVICE, max_message_bytes=size)
            resources.push_async_callback(channel.close)
            classifiers.append(ClassifierClient(channel, settings.classifier_timeout_s, settings.try_s))
        if settings.writer_target:
            await start_replica(server, resources, preferences, embedders, classifiers)
        else:
            await start_writer(server, resources, preferences, embedders, classifiers)
        await resources.enter_async_context(
            in_background(watch_preferences(preferences, settings.preferences_check_s, partial(server.part, DISLIKES)))
        )

    async def start_replica(
        server: Server,
        resources: AsyncExitStack,
        preferences: RedisPreferences,
        embedders: Sequence[Embedder],
        classifiers: Sequence[Classifier],
    ) -> None:
        from services.search.replica import running_replica

        channel = open_channel(
            settings.writer_target, health_service=SEARCH.name, max_message_bytes=server_settings.max_message_bytes
        )
        writer = SearchClient(channel, settings.writer_target)
        resources.push_async_callback(writer.close)
        replica = running_replica(
            settings,
            embedders=embedders,
            classifiers=classifiers,
            preferences=preferences,
            writer=writer,
            on_failure=server.stop,
        )
        await server.ready(SEARCH, await resources.enter_async_context(replica))

    async def start_writer(
        server: Server,
        resources: AsyncExitStack,
        preferences: RedisPreferences,
        embedders: Sequence[Embedder],
        classifiers: Sequence[Classifier],
    ) -> None:
        catalogue = await asyncio.to_thread(settings.open_catalogue)
        resources.callback(catalogue.close)
        candidate_store = RedisCandidateStore(
            settings.redis_address(DEFAULT_REDIS_URL), timeout_s=settings.candidates_timeout_s
        )
        resources.push_async_callback(candidate_store.close)
        models = RemoteModels(embedders, classifiers, candidate_store)
        parts = models.parts(await models.live_space(catalogue.generations, settings.start_timeout_s))
        search = await resources.enter_async_context(
            running_search(
                settings,
                catalogue=catalogue,
                embedder=parts.embedder,
                classifier=parts.classifier,
                preferences=preferences,
                candidate_store=candidate_store,
                on_failure=server.stop,
                space=parts.space,
                models=models,
            )
        )
        await server.ready(SEARCH, SearchServicer(search))
        await server.ready(REINDEX, ReindexServicer(search.reindexer))

    # A replica changes no model.
    offered = [SEARCH] if settings.writer_target else [SEARCH, REINDEX]
    await serve(server_settings, offered, start, default_port=DEFAULT_PORT)


if __name__ == "__main__":
    run_process("search", main)
