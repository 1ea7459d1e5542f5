"""Starts all services in one process on one port, for the command line, the demo and `services.stack`."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from services.bundle.reader import Bundle
from services.classifier.service import LocalClassifier
from services.classifier.servicer import CLASSIFIER, ClassifierServicer
from services.concurrency.background import in_background
from services.embedder.deferred import DeferredEmbedder
from services.embedder.runtimes.select import EncoderOptions, load_encoder
from services.embedder.service import LocalEmbedder, cold_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.embedder.settings import EmbedderSettings
from services.search.assembly import running_search
from services.search.in_process import InProcessSearch
from services.search.preferences import RedisPreferences, watch_preferences
from services.search.reindex.served import ModelParts
from services.search.servicer import DISLIKES, REINDEX, SEARCH, ReindexServicer, SearchServicer
from services.search.settings import SearchSettings
from services.serving.run import ServeError, Server, listening_socket, running, serve
from services.stack.embedded_redis import redis_url_or_embedded
from services.stack.models import HandedOverCandidates, StackModels, live_options, local_classifier
from services.stack.settings import DEFAULT_PORT, StackSettings

if TYPE_CHECKING:
    from services.gateway.server import Gateway

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

SERVICES: Final = (EMBEDDER, CLASSIFIER, SEARCH, REINDEX)

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack all of whose services are SERVING.

    Attributes:
        port: port of gRPC.
        target: target for clients on this machine, such as "127.0.0.1:50050".
        url: URL of the gateway for browsers on this machine, such as "http://127.0.0.1:8080"; None without a gateway.
        storefront_url: URL of the storefront, such as "http://127.0.0.1:8080/"; None without a storefront.
    """

    port: int
    target: str
    url: str | None = None
    storefront_url: str | None = None


@asynccontextmanager
async def running_stack(settings: StackSettings) -> AsyncIterator[RunningStack]:
    """Runs the stack for as long as the context lasts; drains when it is left, and ends Redis.

    Raises:
        ServeError: the port is not free.
        CatalogueUnusable: the data directory is in use, or is not a catalogue.
        RedisStartError: the embedded Redis cannot be started.
        FashionError: the model cannot be loaded.
    """
    gateway: Gateway | None = None

    async def start(server: Server, resources: AsyncExitStack) -> None:
        nonlocal gateway
        gateway = await _start(settings, server, resources)

    async with running(settings.server, SERVICES, start, default_port=DEFAULT_PORT) as server:
        yield _running_stack(settings, server, gateway)


async def serve_stack(
    settings: StackSettings, on_ready: Callable[[RunningStack], Coroutine[Any, Any, None]] | None = None
) -> None:
    """Runs the stack until SIGTERM or SIGINT, then drains.

    Args:
        settings: settings of the stack.
        on_ready: runs in the background once all services are SERVING, until it returns or the drain begins; its error
            ends the stack.

    Raises:
        ServeError: it cannot start, or has failed.
        Exception: what `on_ready` raised.
    """
    failures: list[BaseException] = []

    async def start(server: Server, resources: AsyncExitStack) -> None:
        def ended(error: BaseException | None) -> None:
            if error is not None:
                failures.append(error)
                server.stop(f"the work in the background of the stack has failed: {error}")

        gateway = await _start(settings, server, resources)
        if on_ready is not None:
            work = on_ready(_running_stack(settings, server, gateway))
            await resources.enter_async_context(in_background(work, ended))

    try:
        await serve(settings.server, SERVICES, start, default_port=DEFAULT_PORT)
    except ServeError:
        if failures:
            raise failures[0] from None
        raise


async def _start(settings: StackSettings, server: Server, resources: AsyncExitStack) -> "Gateway | None":
    """Starts all parts; they are closed in the reverse order, so that each is closed before what it uses.

    Loading the network takes long and hardly needs the interpreter. It runs in the background of everything else:
    importing the gateway, starting Redis, and loading the catalogue, which also go on beside one another.
    """
    enter = resources.enter_async_context
    # Steps that may fail come before slow ones.
    if settings.gateway is not None:
        listening_socket(settings.gateway.host or settings.server.host, settings.gateway.port, "GATEWAY").close()
    catalogue = await asyncio.to_thread(settings.search.open_catalogue)
    resources.callback(catalogue.close)
    options, bundle = await asyncio.to_thread(live_options, settings.embedder.encoder(), catalogue.generations)

    watch = await enter(AsyncExitStack())
    # What the first model holds. Where a reindex ends its generation, it is closed long before the stack.
    first = await enter(AsyncExitStack())
    loading = await first.enter_async_context(_loading_embedder(settings.embedder, options, bundle, server, watch))
    starting_gateway = await enter(in_background(enter(_gateway(settings, server))))
    preferences = await enter(_preferences(settings.search, server))
    embedder = DeferredEmbedder(loading)
    first.callback(embedder.close)
    # With a bundle nobody has to wait for the network to know the model.
    space = bundle or await embedder.get_model()
    first_version = space.model_version
    classifier = local_classifier(settings.classifier, space, bundle)
    first.callback(classifier.close)
    warming_up = await enter(in_background(_warm_up(settings.embedder, loading, classifier, server)))

    async def now_live(parts: ModelParts) -> None:
        # Otherwise a start that still warms up its model would put that in the place of this one.
        await asyncio.wait({warming_up})
        live = await parts.embedder.loaded() if isinstance(parts.embedder, DeferredEmbedder) else parts.embedder
        assert isinstance(live, LocalEmbedder)
        assert isinstance(parts.classifier, LocalClassifier)
        await _watch(live, server, watch)
        await server.ready(EMBEDDER, EmbedderServicer(live, settings.embedder.max_batch))
        await server.ready(CLASSIFIER, ClassifierServicer(parts.classifier, live))

    async def ended(model_version: str) -> None:
        if model_version == first_version:
            await first.aclose()

    search = await enter(
        running_search(
            # Handing candidates over to a classifier in this process costs nothing: publish after every write.
            settings.search.model_copy(update={"candidates_pause_s": 0.0}),
            catalogue=catalogue,
            embedder=embedder,
            classifier=classifier,
            preferences=preferences,
            candidate_store=HandedOverCandidates(classifier.use),
            on_failure=server.stop,
            space=space,
            models=StackModels(settings.embedder, settings.classifier, options.source, now_live, ended),
        )
    )
    await warming_up
    gateway = await starting_gateway
    servicer = SearchServicer(search)
    await server.ready(SEARCH, servicer)
    await server.ready(REINDEX, ReindexServicer(search.reindexer))
    if gateway is not None:
        # Its requests in flight are answered before search is closed.
        resources.push_async_callback(gateway.stopped)
        gateway.ready(InProcessSearch(servicer))
    await first.enter_async_context(in_background(loading.result().warm_up_further()))
    return gateway


@asynccontextmanager
async def _loading_embedder(
    settings: EmbedderSettings, options: EncoderOptions, bundle: Bundle | None, server: Server, watch: AsyncExitStack
) -> "AsyncIterator[asyncio.Task[LocalEmbedder]]":
    """Loads an embedder in the background and yields the task; at the end closes the embedder."""
    async with AsyncExitStack() as resources:

        async def load() -> LocalEmbedder:
            encoder = await asyncio.to_thread(load_encoder, options, bundle)
            embedder = await resources.enter_async_context(cold_embedder(encoder, settings.limits()))
            await _watch(embedder, server, watch)
            return embedder

        async with in_background(load()) as loading:
            yield loading


async def _watch(embedder: LocalEmbedder, server: Server, watch: AsyncExitStack) -> None:
    """Ends the stack once the embedder of the live model has died; the watch on a former one ends.

    Nothing else tells whoever restarts the process. A former model may die: nobody needs it until it is live again.
    """
    await watch.aclose()
    watched = server.watched(EMBEDDER, embedder.died, why="the encoder has stopped working", stop=True)
    await watch.enter_async_context(watched)


async def _warm_up(
    settings: EmbedderSettings, loading: "asyncio.Task[LocalEmbedder]", classifier: LocalClassifier, server: Server
) -> None:
    embedder = await loading
    await embedder.warm_up(settings.warm_up_timeout_s)
    await server.ready(EMBEDDER, EmbedderServicer(embedder, settings.max_batch))
    await server.ready(CLASSIFIER, ClassifierServicer(classifier, embedder))


@asynccontextmanager
async def _gateway(settings: StackSettings, server: Server) -> "AsyncIterator[Gateway | None]":
    if settings.gateway is None:
        yield None
        return
    # FastAPI takes time and memory to import, which a stack without a gateway need not spend.
    await asyncio.to_thread(importlib.import_module, "services.gateway.server")
    from services.gateway.server import running_gateway

    async with running_gateway(
        settings.gateway,
        settings.server,
        map_file=settings.search.data_dir / "map" / "map.json",
    ) as gateway:
        server.before_drain(gateway.drain)
        yield gateway


@asynccontextmanager
async def _preferences(settings: SearchSettings, server: Server) -> AsyncIterator[RedisPreferences]:
    redis = redis_url_or_embedded(settings.redis_address(), settings.data_dir / "redis")
    async with _off_loop(redis) as redis_url:
        preferences = settings.preferences(redis_url)
        watching = watch_preferences(preferences, settings.preferences_check_s, partial(server.part, DISLIKES))
        try:
            async with in_background(watching):
                yield preferences
        finally:
            await preferences.close()


@asynccontextmanager
async def _off_loop(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enters and leaves a slow context in threads; leaves it too where the wait for entering it is cancelled."""
    entering = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        value = await asyncio.shield(entering)
    except asyncio.CancelledError:
        with suppress(Exception):
            await entering
            await asyncio.to_thread(context.__exit__, None, None, None)
        raise
    try:
        yield value
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def _running_stack(settings: StackSettings, server: Server, gateway: "Gateway | None") -> RunningStack:
    target = _reachable(settings.server.host, server.port)
    if settings.gateway is None or gateway is None:
        return RunningStack(server.port, target)
    url = f"{gateway.scheme}://{_reachable(gateway.host, gateway.port)}"
    return RunningStack(server.port, target, url, f"{url}/" if settings.gateway.storefront else None)


def _reachable(host: str, port: int) -> str:
    return f"{_ANY_ADDRESS.get(host, f'[{host}]' if ':' in host and not host.startswith('[') else host)}:{port}"
