"""The embedder in this process: decodes photographs in some threads and encodes them in others, within limits."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog
from prometheus_client import Gauge, Histogram

from services.concurrency import deadline, memory, spans
from services.concurrency.metrics import SECONDS
from services.contract.errors import DeadlineExceeded, FashionError, Unsupported
from services.contract.values import Box, Embedding, Garment, ModelInfo, Photograph
from services.embedder.batching import BatchingLimits, Lane, MicroBatcher
from services.embedder.encoder import Encoder
from services.embedder.views import (
    Prepared,
    Seen,
    garments_in,
    look_again,
    prepare_view,
    second_embedding,
    see,
    view_of,
)
from services.vision.decode import ImageLimits

Decoded = TypeVar("Decoded")

_DECODE_SECONDS: Final = Histogram("fashion_embedder_decode_seconds", "Time of decoding a photograph.", buckets=SECONDS)
_MODEL: Final = Gauge(
    "fashion_model_info", "The model that is served.", ("name", "model_version", "runtime", "precision")
)

_END: Final = object()
# A step of warming up takes 0.1 to 0.2 s of a call that comes just then. So it waits this long for a calm while.
_STEP_PATIENCE_S: Final = 5.0

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
        self, encoder: Encoder, limits: EmbedderLimits, batcher: MicroBatcher[Seen], threads: ThreadPoolExecutor
    ) -> None:
        self._encoder = encoder
        self._limits = limits
        self._batcher = batcher
        self._threads = threads
        # Batches leave one decoding thread to queries, if there are several.
        self._batch_decoding = asyncio.Semaphore(max(1, limits.decode_threads - 1))
        # Parts of batches decoded or encoded at once: the next one is ready when an inference ends.
        self._batch_window = asyncio.Semaphore(max(2, limits.decode_threads))

        # The steps of warming up that each thread has begun.
        self._steps: Sequence[Iterator[None]] = ()

        model = encoder.model
        _MODEL.labels(model.name, model.model_version, model.runtime, model.precision).set(1)

    async def warm_up(self, timeout_s: float) -> None:
        """Runs the first inferences, which are slow, before any call; enough for calls to be answered.

        Raises:
            ThreadDied: they take longer than `timeout_s` seconds.
        """

        def first_step() -> Iterator[None]:
            steps = self._encoder.warm_up()
            next(steps, None)
            return steps

        # Runtimes keep memory and state per thread: warm up the threads that encode.
        self._steps = await self._batcher.in_every_thread(first_step, timeout_s)

    async def warm_up_further(self) -> None:
        """Does what `warm_up` has left, step by step between inferences; a failure is logged."""
        try:
            for steps in self._steps[:1]:
                while await self._batcher.between(0, partial(_take_step, steps), _STEP_PATIENCE_S):
                    pass
            if self._steps:
                await asyncio.to_thread(memory.give_back)
        except Exception:
            _log.exception("warming up further has failed")

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
                prepared = await self._decode(photograph, Lane.QUERY)
                seen = await self._batcher.submit(prepared.pixels, Lane.QUERY)
                return await self._embedding(photograph, prepared, seen, Lane.QUERY)

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph, or in the region of it; returns them from the largest on.

        Raises:
            Unsupported: GARMENTS_UNSUPPORTED; the model has no heads that find garments.
            InvalidInput: the photograph cannot be used; the reason says why.
            Overloaded: QUEUE_FULL.
            DeadlineExceeded: the caller's deadline passed.
            NotReady: MODEL_NOT_READY; the encoder has stopped working.
        """
        heads = self._encoder.garment_heads
        if heads is None or not heads.finds_garments:
            raise Unsupported(
                f"The model {self._encoder.model.name} finds no garments; name the region of a garment instead.",
                reason="GARMENTS_UNSUPPORTED",
            )
        with self._batcher.admitted(Lane.QUERY, 1):
            async with deadline.enforced():
                prepared = await self._decode(photograph, Lane.QUERY)
                seen = await self._batcher.submit(prepared.pixels, Lane.QUERY)
                if seen.sight.turns:
                    # Garments are found best in an upright photograph.
                    prepared = await self._decode(photograph, Lane.QUERY, turns=seen.sight.turns)
                    seen = await self._batcher.submit(prepared.pixels, Lane.QUERY)
                return garments_in(prepared, seen.sight, self._encoder.frame)

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
            decoded = await self._decode_all(photographs)
            pixels = [each.pixels for each in decoded if not isinstance(each, FashionError)]
            seen = iter(await self._batcher.submit_all(pixels, Lane.BATCH))
            embeddings = iter(
                await asyncio.gather(
                    *(
                        self._embedding(photograph, each, next(seen), Lane.BATCH)
                        for photograph, each in zip(photographs, decoded, strict=True)
                        if not isinstance(each, FashionError)
                    )
                )
            )
            return [each if isinstance(each, FashionError) else next(embeddings) for each in decoded]

    async def _embedding(self, photograph: Photograph, prepared: Prepared, seen: Seen, lane: Lane) -> Embedding:
        """Returns the embedding of a photograph that was looked at once; looks again where that is worth its time."""
        frame, version = self._encoder.frame, self._encoder.model.model_version
        garments = garments_in(prepared, seen.sight, frame)
        again = look_again(photograph, prepared, seen.sight, frame)
        if again is None:
            return Embedding(seen.embedding, version, view_of(prepared, garments))
        region, turns = again
        part = await self._decode(photograph, lane, region, turns, prepared)
        second = await self._batcher.submit(part.pixels, lane)
        return Embedding(second_embedding(seen, second, part), version, view_of(part, garments))

    async def _decode(
        self,
        photograph: Photograph,
        lane: Lane,
        region: Box | None = None,
        turns: int = 0,
        first: Prepared | None = None,
    ) -> Prepared:
        job = self._decoding(photograph, region, turns, first)
        return await self._in_thread(lambda _: job(), lane, 1)

    async def _decode_all(self, photographs: Sequence[Photograph]) -> Sequence[Prepared | FashionError]:
        jobs = [self._decoding(photograph) for photograph in photographs]

        def decode(gone: threading.Event) -> list[Prepared | FashionError]:
            return [_prepared_or_error(job) for job in jobs if not gone.is_set()]

        return await self._in_thread(decode, Lane.BATCH, len(jobs))

    async def _in_thread(self, decode: Callable[[threading.Event], Decoded], lane: Lane, count: int) -> Decoded:
        """Decodes in a thread, which knows the caller's deadline, and ends at it.

        Where the caller goes, the permit and the places stay taken until the thread is done.

        Args:
            decode: is told whether the caller has gone.
            lane: of the photographs.
            count: of photographs.
        """
        with ExitStack() as held:
            if lane is Lane.BATCH:
                await self._batch_decoding.acquire()
                held.callback(self._batch_decoding.release)
            gone = threading.Event()
            work = self._threads.submit(contextvars.copy_context().run, decode, gone)
            done = asyncio.wrap_future(work)
            try:
                return await asyncio.shield(done)
            finally:
                if not done.done() and not work.cancel():
                    gone.set()
                    held.enter_context(self._batcher.kept(lane, count))
                    kept = held.pop_all()
                    done.add_done_callback(lambda _: kept.close())

    def _decoding(
        self, photograph: Photograph, region: Box | None = None, turns: int = 0, first: Prepared | None = None
    ) -> Callable[[], Prepared]:
        frame, limits = self._encoder.frame, self._limits.image

        def decode() -> Prepared:
            if deadline.passed(deadline.current()):
                raise deadline.exceeded()
            with _DECODE_SECONDS.time(), spans.step("embedder.decode"):
                return prepare_view(photograph, frame, limits, region=region, turns=turns, first=first)

        return decode


def _take_step(steps: Iterator[None]) -> bool:
    """Takes a step; returns whether there was one."""
    return next(steps, _END) is not _END


def _prepared_or_error(decode: Callable[[], Prepared]) -> Prepared | FashionError:
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
        async with MicroBatcher(partial(see, encoder), limits.batching) as batcher:
            yield LocalEmbedder(encoder, limits, batcher, threads)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def local_embedder(
    encoder: Encoder, limits: EmbedderLimits, *, warm_up_timeout_s: float
) -> AsyncIterator[LocalEmbedder]:
    """Runs an embedder that is warmed up for as long as the context lasts; `warm_up_further` does the rest.

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
