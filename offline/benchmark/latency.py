"""The latency for one caller, in one process and in three, beside the floor and a bare echo."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import grpc
import numpy as np
from numpy.typing import NDArray

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.echo import METHOD
from offline.benchmark.processes import ServerProcess, running, running_echo
from offline.benchmark.timing import Series, interleaved
from services.embedder.encoder import Encoder
from services.stack.embedded_redis import redis_url_or_embedded
from services.vision import prepare

_TOP_K = 10


@dataclass(frozen=True, slots=True)
class Photographs:
    """The queries of a benchmark.

    Attributes:
        contents: files of photographs.
        product_ids: products of the catalogue.
    """

    contents: tuple[bytes, ...]
    product_ids: tuple[str, ...]


def floor(encoder: Encoder, contents: tuple[bytes, ...], type_embeddings: NDArray[np.float32]) -> Callable[[], object]:
    """Returns a workload of bare decoding, inference and FAISS over one derived type."""
    index = faiss.IndexFlatIP(type_embeddings.shape[1])
    index.add(np.ascontiguousarray(type_embeddings))
    # In turn, as in each workload, so that no cache has the answer.
    turns = itertools.cycle(contents)

    def work() -> object:
        faiss.omp_set_num_threads(1)
        return index.search(encoder.encode(prepare(next(turns), encoder.frame)[None]), _TOP_K)

    return work


def floor_steps(
    encoder: Encoder, contents: tuple[bytes, ...], type_embeddings: NDArray[np.float32]
) -> dict[str, Callable[[], object]]:
    """Returns each step of the floor as a workload."""
    index = faiss.IndexFlatIP(type_embeddings.shape[1])
    index.add(np.ascontiguousarray(type_embeddings))
    turns = itertools.cycle(contents)
    pixels = prepare(contents[0], encoder.frame)[None]
    query = encoder.encode(pixels)
    return {
        "decoding": lambda: prepare(next(turns), encoder.frame),
        "inference": lambda: encoder.encode(pixels),
        "FAISS, one derived type": lambda: index.search(query, _TOP_K),
    }


def photograph_query(channel: grpc.Channel, contents: tuple[bytes, ...]) -> Callable[[], object]:
    """Returns a workload that calls FindSimilar with a photograph."""
    stub = search_pb2_grpc.SearchServiceStub(channel)
    turns = itertools.cycle(contents)

    def work() -> object:
        image = types_pb2.Image(content=next(turns))
        return stub.FindSimilar(search_pb2.FindSimilarRequest(image=image, top_k=_TOP_K), timeout=20)

    return work


def product_query(channel: grpc.Channel, product_ids: tuple[str, ...]) -> Callable[[], object]:
    """Returns a workload that calls FindSimilar with a product, over the whole inventory."""
    stub = search_pb2_grpc.SearchServiceStub(channel)
    turns = itertools.cycle(product_ids)

    def work() -> object:
        request = search_pb2.FindSimilarRequest(product_id=next(turns), top_k=_TOP_K)
        return stub.FindSimilar(request, timeout=20)

    return work


def echo(channel: grpc.Channel, contents: tuple[bytes, ...]) -> Callable[[], object]:
    """Returns a workload that sends the bytes of a photograph in a bare call."""
    call: Any = channel.unary_unary(METHOD)
    turns = itertools.cycle(contents)
    return lambda: call(next(turns), timeout=20)


@contextlib.contextmanager
def separate_services(data_dir: Path, folder: Path) -> Iterator[ServerProcess]:
    """Runs embedder, classifier and search as processes with a real Redis, and yields search."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_url_or_embedded("", folder / "redis"))
        embedder = stack.enter_context(running("services.embedder", {}, folder / "embedder.log"))
        shared = {"REDIS_URL": redis, "CLASSIFIER_EMBEDDER_TARGET": embedder.target}
        classifier = stack.enter_context(running("services.classifier", shared, folder / "classifier.log"))
        settings = {
            "REDIS_URL": redis,
            "SEARCH_DATA_DIR": str(data_dir),
            "SEARCH_EMBEDDER_TARGET": embedder.target,
            "SEARCH_CLASSIFIER_TARGET": classifier.target,
        }
        yield stack.enter_context(running("services.search", settings, folder / "search.log"))


def measure_latency(
    encoder: Encoder,
    queries: Photographs,
    type_embeddings: NDArray[np.float32],
    search_target: str,
    rounds: int,
    calls: int,
    name: str,
) -> dict[str, Series]:
    """Times queries against one deployment, interleaved with the floor and the echo.

    Args:
        encoder: the encoder of the floor.
        queries: the photographs and products to search for.
        type_embeddings: float32, shape (n, dimension), which the floor searches.
        search_target: the address of the deployment.
        rounds: the number of rounds.
        calls: the calls of each workload per round.
        name: the name of the deployment in its series.
    """
    with contextlib.ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(search_target))
        answer = photograph_query(channel, queries.contents)()
        size = answer.ByteSize() if isinstance(answer, search_pb2.FindSimilarResponse) else 0
        echoing = stack.enter_context(grpc.insecure_channel(stack.enter_context(running_echo(size)).target))
        return interleaved(
            {
                "floor": floor(encoder, queries.contents, type_embeddings),
                "echo": echo(echoing, queries.contents),
                f"{name}, photograph": photograph_query(channel, queries.contents),
                f"{name}, product": product_query(channel, queries.product_ids),
            },
            rounds,
            calls,
        )
