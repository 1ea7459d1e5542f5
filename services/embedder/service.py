"""The embedder in this process: decodes photographs in some threads and encodes them in others, within limits."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded, FashionError
from services.contract.values import Embedding, ModelInfo, Photograph
from services.embedder.batching import BatchingLimits, Lane, MicroBatcher, Pixels
from services.embedder.encoder import Encoder
from services.vision.decode import ImageLimits
from services.vision.preprocess import prepare

Decoded = TypeVar("Decoded")

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EmbedderLimits:
    """What an embedder accepts, and how much at once.

    Attributes:
        image: limits of a photograph.
        batching: limits of the queues and of the inferences.
        decode_threads: maximum photographs decoded at once.
    """

    image: ImageLimits
    batching: BatchingLimits
    decode_threads: int


class LocalEmbedder:
    """Fulfils `contract.Embedder` in this process; made by `local_embedder` and `cold_embedder`.

    A single photograph goes before those of batches, in decoding and in inference. Photographs past the caller's
    deadline (`services.concurrency.deadline`) are dropped before decoding or encoding.
    """

    def __init__(
        self, encoder: Encoder, limits: EmbedderLimits, batcher: MicroBatcher, threads: ThreadPoolExecutor
    ) -> None:
        self._encoder = encoder
        self._limits = limits
        self._batcher = batcher
        self._threads = threads
        # Batches leave one decoding thread to queries, if there are several.
        self._batch_decoding = asyncio.Semaphore(max(1, limits.decode_threads - 1))
        # Parts of batches decoded or encoded at once: the next one is ready when an inference ends.
        self._batch_window = asyncio.Semaphore(max(2, limits.decode_threads))

    async def warm_up(self, timeout_s: float) -> None:
        """Runs the first inferences, which are slow, before any call.

        Raises:
            ThreadDied: they take longer than `timeout_s` seconds.
        """
        # Runtimes keep memory and state per thread: warm up the threads that encode.
        await self._batcher.in_every_thread(self._encoder.warm_up, timeout_s)

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph.

        Raises:
            InvalidInput: the photograph cannot be used; the reason says why.
            Overloaded: QUEUE_FULL.
            DeadlineExceeded: the caller's deadline passed.
            NotReady: MODEL_NOT_READY; the encoder has stopped working.
        """
        with self._batcher.admitted(Lane.QUERY, 1):
            async with deadline.enforced():
                pixels = await self._decode(photograph)
                return Embedding(await self._batcher.submit(pixels, Lane.QUERY), self._encoder.model.model_version)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds any number of photographs; returns one embedding or error for each, in their order.

        Raises:
            Overloaded: QUEUE_FULL; too many photographs of other batches are waiting.
            DeadlineExceeded: the caller's deadline passed before all photographs were embedded.
            NotReady: MODEL_NOT_READY; the encoder has stopped working.
        """
        size = self._limits.batching.micro_batch
        with self._batcher.admitted(Lane.BATCH, len(photographs)):
            async with deadline.enforced():
                parts = [
                    asyncio.create_task(self._part(photographs[start : start + size]))
                    for start in range(0, len(photographs), size)
                ]
                try:
                    return [result for part in await asyncio.gather(*parts) for result in part]
                finally:
                    for part in parts:
                        part.cancel()
                    await asyncio.gather(*parts, return_exceptions=True)

    async def get_model(self) -> ModelInfo:
        """Describes the model."""
        return self._encoder.model

    async def died(self) -> None:
        """Waits until the encoder has stopped working; it never recovers."""
        await self._batcher.died()

    async def _part(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds the photographs of one inference, which move between threads together."""
        async with self._batch_window:
            async with self._batch_decoding:
                decoded = await self._decode_all(photographs)
            pixels = [each for each in decoded if not isinstance(each, FashionError)]
            vectors = iter(await self._batcher.submit_all(pixels, Lane.BATCH))
            version = self._encoder.model.model_version
            return [each if isinstance(each, FashionError) else Embedding(next(vectors), version) for each in decoded]

    async def _decode(self, photograph: Photograph) -> Pixels:
        return await self._in_thread(self._decoding(photograph))

    async def _decode_all(self, photographs: Sequence[Photograph]) -> Sequence[Pixels | FashionError]:
        jobs = [self._decoding(photograph) for photograph in photographs]

        def decode() -> list[Pixels | FashionError]:
            return [_pixels_or_error(job) for job in jobs]

        return await self._in_thread(decode)

    async def _in_thread(self, decode: Callable[[], Decoded]) -> Decoded:
        """Decodes in a thread, which knows the caller's deadline, and ends at it."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, decode)

    def _decoding(self, photograph: Photograph) -> Callable[[], Pixels]:
        frame, limits = self._encoder.frame, self._limits.image

        def decode() -> Pixels:
            if deadline.passed(deadline.current()):
                raise deadline.exceeded()
            return prepare(photograph.content, frame, photograph.region, limits)

        return decode


def _pixels_or_error(decode: Callable[[], Pixels]) -> Pixels | FashionError:
    """Decodes a photograph of a batch; returns its error, which spares the others.

    Raises:
        DeadlineExceeded: the deadline of the batch has passed.
    """
    try:
        return decode()
    except DeadlineExceeded:
        raise
    except FashionError as error:
        return error
    except Exception:
        _log.exception("decoding a photograph of a batch failed")
        return FashionError("The photograph could not be decoded.", reason="INTERNAL")


@asynccontextmanager
async def cold_embedder(encoder: Encoder, limits: EmbedderLimits) -> AsyncIterator[LocalEmbedder]:
    """Runs an embedder that is not warmed up for as long as the context lasts.

    Args:
        encoder: loaded.
        limits: what the embedder accepts.

    Yields:
        The embedder.
    """
    threads = ThreadPoolExecutor(limits.decode_threads, thread_name_prefix="decode")
    try:
        async with MicroBatcher(encoder.encode, limits.batching) as batcher:
            yield LocalEmbedder(encoder, limits, batcher, threads)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def local_embedder(
    encoder: Encoder, limits: EmbedderLimits, *, warm_up_timeout_s: float
) -> AsyncIterator[LocalEmbedder]:
    """Runs an embedder that is warmed up for as long as the context lasts.

    Args:
        encoder: loaded.
        limits: what the embedder accepts.
        warm_up_timeout_s: maximum time of warming up, in seconds.

    Yields:
        The embedder.

    Raises:
        ThreadDied: warming up takes too long.
    """
    async with cold_embedder(encoder, limits) as embedder:
        await embedder.warm_up(warm_up_timeout_s)
        yield embedder
