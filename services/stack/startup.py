"""Puts all services together in one process on one port, for the command line, the demo and `services.stack`."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from services.bundle.reader import Bundle
from services.classifier.recognition import ClassifierModel
from services.classifier.service import LocalClassifier
from services.classifier.servicer import CLASSIFIER, ClassifierServicer
from services.concurrency.background import in_background
from services.contract.fakes import MemoryCandidateStore
from services.contract.protocols import EmbeddingSpace
from services.contract.values import CandidateSet
from services.embedder.deferred import EmbedderToCome
from services.embedder.encoder import Encoder
from services.embedder.runtimes.select import load_encoder
from services.embedder.service import LocalEmbedder, cold_embedder
from services.embedder.servicer import EMBEDDER, EmbedderServicer
from services.embedder.settings import EmbedderSettings
from services.gateway.settings import GatewaySettings
from services.search.assembly import running_search
from services.search.catalogue.store import Catalogue
from services.search.in_process import InProcessSearch
from services.search.preferences import RedisPreferences
from services.search.servicer import SEARCH, SearchServicer
from services.serving.run import ServeError, Server, running, serve
from services.stack.embedded_redis import redis_url_or_embedded
from services.stack.settings import DEFAULT_PORT, StackSettings

if TYPE_CHECKING:
    from services.gateway.server import Gateway

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

SERVICES: Final = (EMBEDDER, CLASSIFIER, SEARCH)

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack all of whose services are SERVING.

    Attributes:
        port: that it listens on.
        target: of a client in this machine, such as "127.0.0.1:50050".
        url: of the gateway for a browser in this machine, such as "http://127.0.0.1:8080"; None where there is none.
        storefront_url: of the storefront, such as "http://127.0.0.1:8080/"; None where there is none.
    """

    port: int
    target: str
    url: str | None = None
    storefront_url: str | None = None


class HandedOverCandidates(MemoryCandidateStore):
    """A `contract.CandidateStore` that hands what is published straight to the classifier beside it."""

    def __init__(self, use: Callable[[CandidateSet], None]) -> None:
        super().__init__()
        self._use = use

    async def publish(self, candidates: CandidateSet) -> None:
        """Replaces the candidates; the next classification compares with these."""
        self._use(candidates)
        await super().publish(candidates)


@asynccontextmanager
async def running_stack(settings: StackSettings) -> AsyncIterator[RunningStack]:
    """Runs the stack for as long as the context lasts; drains when it is left, and ends Redis.

    Raises:
        ServeError: the port cannot be had.
        CatalogueUnusable: the data directory is in use, or holds something else.
        RedisStartError: the embedded Redis cannot be started.
        FashionError: the model cannot be loaded.
    """
    gateways: list[Gateway] = []

    async def start(server: Server, resources: AsyncExitStack) -> None:
        gateways.extend(await _start(settings, server, resources))

    async with running(settings.server, SERVICES, start, default_port=DEFAULT_PORT) as server:
        yield _running_stack(settings, server, gateways)


async def serve_stack(
    settings: StackSettings, on_ready: Callable[[RunningStack], Coroutine[Any, Any, None]] | None = None
) -> None:
    """Runs the stack until SIGTERM or SIGINT, then drains.

    Args:
        settings: of the stack.
        on_ready: run beside the services once all are SERVING, until it is done or the drain begins; its error ends the
            stack.

    Raises:
        ServeError: it cannot start, or has failed.
        Exception: what `on_ready` raised.
    """
    failures: list[BaseException] = []

    async def start(server: Server, resources: AsyncExitStack) -> None:
        gateways = await _start(settings, server, resources)
        if on_ready is not None:
            stack = _running_stack(settings, server, gateways)
            await resources.enter_async_context(
                in_background(on_ready(stack), functools.partial(_ended, server, failures))
            )

    try:
        await serve(settings.server, SERVICES, start, default_port=DEFAULT_PORT)
    except ServeError:
        if failures:
            raise failures[0] from None
        raise


def _ended(server: Server, failures: list[BaseException], error: BaseException | None) -> None:
    if error is not None:
        failures.append(error)
        server.stop(f"what ran beside the stack has failed: {error}")


async def _start(settings: StackSettings, server: Server, resources: AsyncExitStack) -> "list[Gateway]":
    # What can refuse goes before what takes long.
    data_dir = settings.search.data_dir
    catalogue = await asyncio.to_thread(Catalogue, data_dir)
    resources.callback(catalogue.close)
    bundle = await asyncio.to_thread(settings.embedder.encoder().open_bundle)
    # Compiling needs no interpreter: the gateway is imported, and Redis started, meanwhile.
    loading = asyncio.to_thread(load_encoder, settings.embedder.encoder(), bundle)
    encoder = await resources.enter_async_context(in_background(loading))
    gateways = []
    if settings.gateway is not None:
        gateways.append(await _start_gateway(settings.gateway, settings, server, resources))
    redis = redis_url_or_embedded(settings.search.redis_url.get_secret_value(), data_dir / "redis")
    redis_url = await _entered(resources, redis)
    preferences = RedisPreferences(redis_url, timeout_s=settings.search.preferences_timeout_s)
    resources.push_async_callback(preferences.close)

    # What the embedder and its threads are is left after the search that asks it, though it comes later.
    embedding = await resources.enter_async_context(AsyncExitStack())
    starting = await resources.enter_async_context(
        in_background(_start_embedder(settings.embedder, encoder, server, embedding))
    )
    embedder = EmbedderToCome(starting)
    space = bundle or await embedder.model()
    classifier = _classifier(settings, space, bundle)
    resources.callback(classifier.close)

    async def warm_up() -> None:
        local = await starting
        await local.warm_up(settings.embedder.warm_up_timeout_s)
        await server.ready(EMBEDDER, EmbedderServicer(local, settings.embedder.max_batch))
        await server.ready(CLASSIFIER, ClassifierServicer(classifier, local))

    # The first inferences need no interpreter. The catalogue is loaded meanwhile, and while the network compiles: what
    # it has to know of the model the bundle says.
    warming = await resources.enter_async_context(in_background(warm_up()))
    search = await resources.enter_async_context(
        running_search(
            # With the classifier beside it, candidates cost nothing to hand over: it follows every write at once.
            settings.search.model_copy(update={"candidates_pause_s": 0.0}),
            catalogue=catalogue,
            embedder=embedder,
            classifier=classifier,
            preferences=preferences,
            candidate_store=HandedOverCandidates(classifier.use),
            on_failure=server.stop,
            space=space,
        )
    )
    await warming
    servicer = SearchServicer(search)
    await server.ready(SEARCH, servicer)
    # Left before what it asks, so that requests in flight are answered.
    for gateway in gateways:
        resources.push_async_callback(gateway.stopped)
        gateway.ready(InProcessSearch(servicer))
    return gateways


async def _start_gateway(
    settings: GatewaySettings, stack: StackSettings, server: Server, resources: AsyncExitStack
) -> "Gateway":
    def gateway_to_run() -> "AbstractAsyncContextManager[Gateway]":
        # FastAPI takes its time and memory, which a stack without a gateway need not spend.
        from services.gateway.server import running_gateway

        return running_gateway(
            settings,
            default_host=stack.server.host,
            grace_s=stack.server.grace_s,
            map_file=stack.search.data_dir / "map" / "map.json",
        )

    gateway = await resources.enter_async_context(await asyncio.to_thread(gateway_to_run))
    server.before_drain(gateway.drain)
    return gateway


async def _start_embedder(
    settings: EmbedderSettings, encoder: "asyncio.Task[Encoder]", server: Server, resources: AsyncExitStack
) -> LocalEmbedder:
    embedder = await resources.enter_async_context(cold_embedder(await encoder, settings.limits()))
    await resources.enter_async_context(
        server.watched(EMBEDDER, embedder.died, why="the encoder has stopped working", stop=True)
    )
    return embedder


def _classifier(settings: StackSettings, space: EmbeddingSpace, bundle: Bundle | None) -> LocalClassifier:
    return LocalClassifier(
        # The fake runtime and the plain weights of ImageNet know no labels.
        ClassifierModel.without_heads(space) if bundle is None else ClassifierModel.of(bundle),
        threads=settings.classifier.threads,
        max_pending=settings.classifier.max_pending,
    )


async def _entered(resources: AsyncExitStack, context: AbstractContextManager[T]) -> T:
    """Enters a context that takes its time, off the event loop; one that was cancelled meanwhile is left again."""
    entering = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        value = await asyncio.shield(entering)
    except asyncio.CancelledError:
        with suppress(Exception):
            await entering
            await asyncio.to_thread(context.__exit__, None, None, None)
        raise

    async def leave() -> None:
        await asyncio.to_thread(context.__exit__, None, None, None)

    resources.push_async_callback(leave)
    return value


def _running_stack(settings: StackSettings, server: Server, gateways: "Sequence[Gateway]") -> RunningStack:
    target = _reachable(settings.server.host, server.port)
    if settings.gateway is None or not gateways:
        return RunningStack(server.port, target)
    url = f"http://{_reachable(gateways[0].host, gateways[0].port)}"
    return RunningStack(server.port, target, url, f"{url}/" if settings.gateway.storefront else None)


def _reachable(host: str, port: int) -> str:
    return f"{_ANY_ADDRESS.get(host, f'[{host}]' if ':' in host and not host.startswith('[') else host)}:{port}"
