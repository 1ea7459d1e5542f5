"""Runs stacks for tests: with the fake encoder, a port of their own, and a real Redis."""

import asyncio
import io
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import structlog
from pydantic import SecretStr

from fashion.v1 import search_pb2, search_pb2_grpc
from services.classifier.settings import ClassifierSettings
from services.embedder.settings import EmbedderSettings
from services.search.settings import SearchSettings
from services.serving.run import fast_loop
from services.serving.settings import ServerSettings
from services.serving.status import error_info
from services.serving.telemetry import LogLevel, configure_logging
from services.stack.settings import StackSettings
from services.stack.startup import RunningStack, running_stack

T = TypeVar("T")

# A busy machine is no fault of Redis or of the embedder.
PATIENT = {"preferences_timeout_s": 10.0, "embedder_timeout_s": 10.0}
MAX_MESSAGE = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]


def stack_settings(data_dir: Path, *, redis_url: str = "", runtime: str = "fake", **search: object) -> StackSettings:
    """Returns settings that the environment does not change; without `redis_url`, an embedded Redis."""
    return StackSettings(
        server=ServerSettings(
            host="127.0.0.1",
            port=0,
            grace_s=5.0,
            query_deadline_s=20.0,
            # Some gateways of tests listen on all addresses, as behind a proxy.
            allow_plaintext=True,
            allow_without_keys=True,
        ),
        embedder=EmbedderSettings(runtime=runtime),
        classifier=ClassifierSettings(redis_url=SecretStr("")),
        search=SearchSettings(data_dir=data_dir, redis_url=SecretStr(redis_url), **{**PATIENT, **search}),
    )


@contextmanager
def logged_to(stream: io.StringIO, level: LogLevel = "info") -> Iterator[None]:
    """Sends the log to a stream, in JSON; out of the output of tests."""
    root, known = logging.getLogger(), structlog.get_config()
    handlers, former = root.handlers[:], root.level
    configure_logging(level, "json", stream=stream)
    try:
        yield
    finally:
        structlog.configure(**known)
        root.handlers[:] = handlers
        root.setLevel(former)
        for ours in ("services", "cli", "offline"):
            logging.getLogger(ours).setLevel(logging.NOTSET)


@contextmanager
def in_thread(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Runs an asynchronous context on an event loop of its own, such as servers have, in a thread."""
    started: Future[tuple[T, Callable[[], object]]] = Future()

    async def run() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with context as value:
                started.set_result((value, lambda: loop.call_soon_threadsafe(ended.set)))
                await ended.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    def main() -> None:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(run())

    thread = threading.Thread(target=main, name="in_thread")
    thread.start()
    try:
        value, end = started.result(60)
        try:
            yield value
        finally:
            if thread.is_alive():
                end()
    finally:
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def stack_in_thread(settings: StackSettings) -> Iterator[RunningStack]:
    """Runs a stack on an event loop of its own for as long as the context lasts."""
    with logged_to(io.StringIO()), in_thread(running_stack(settings)) as stack:
        yield stack


class Caller:
    """A caller of a search service; it sees statuses and details like any other."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.channel = grpc.insecure_channel(target, options=MAX_MESSAGE)
        self.search = search_pb2_grpc.SearchServiceStub(self.channel)

    def find(self, **request: object) -> search_pb2.FindSimilarResponse:
        """Calls FindSimilar."""
        return self.search.FindSimilar(search_pb2.FindSimilarRequest(**request), timeout=20)

    def upsert(self, rows: list[search_pb2.ProductRow]) -> search_pb2.UpsertProductsResponse:
        """Calls UpsertProducts."""
        return self.search.UpsertProducts(search_pb2.UpsertProductsRequest(rows=rows), timeout=60)

    def dislike(self, user_id: str, *colours: str, exact: bool = False) -> search_pb2.AddDislikedColoursResponse:
        """Calls AddDislikedColours."""
        disliked = [search_pb2.DislikedColour(colour=colour, exact=exact) for colour in colours]
        return self.search.AddDislikedColours(
            search_pb2.AddDislikedColoursRequest(user_id=user_id, colours=disliked), timeout=20
        )

    def index(self) -> search_pb2.GetIndexResponse:
        """Calls GetIndex."""
        return self.search.GetIndex(search_pb2.GetIndexRequest(), timeout=20)


@contextmanager
def calling(target: str) -> Iterator[Caller]:
    """Connects a caller for as long as the context lasts."""
    caller = Caller(target)
    with caller.channel:
        yield caller


def refusal(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, str, dict[str, str]]:
    """Returns the code, reason, text and metadata of a refusal."""
    info = error_info(error.trailing_metadata())
    assert info is not None, f"no ErrorInfo: {error.code()} {error.details()}"
    return error.code(), info.reason, error.details(), dict(info.metadata)
