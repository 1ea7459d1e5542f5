"""The client of a remote embedder, with the interface of a local one."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import grpc
import structlog

from fashion.v1 import embedder_pb2, embedder_pb2_grpc
from services.clients.channel import MAX_MESSAGE_BYTES, Remote, renewal
from services.clients.watch import CallWatch
from services.contract.errors import FashionError, InvalidInput, Unavailable, Upstream
from services.contract.messages import in_messages
from services.contract.protocols import Embedder
from services.contract.values import Embedding, Garment, ModelInfo, Photograph
from services.serving import conversion

_log = structlog.stdlib.get_logger(__name__)

SERVICE: Final = embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name

_NAME: Final = "embedder"
_UNAVAILABLE: Final = "EMBEDDER_UNAVAILABLE"

# Maximum bytes in a message per photograph, besides the photograph itself.
_OVERHEAD_BYTES: Final = 1024
_POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class EmbedderClientLimits:
    """How a remote embedder is called.

    Attributes:
        query_timeout_s: maximum wait for one photograph, in seconds.
        try_s: wait for one photograph after which another replica is asked too, in seconds.
        batch_timeout_s: maximum wait for one message of several photographs, in seconds.
        max_batch: maximum photographs per message.
        max_message_bytes: maximum size of a message.
        concurrent_batches: maximum messages of one `batch_embed` under way, which spread over the replicas.
    """

    query_timeout_s: float
    try_s: float = 0.5
    batch_timeout_s: float = 60.0
    max_batch: int = 64
    max_message_bytes: int = MAX_MESSAGE_BYTES
    concurrent_batches: int = 4


class EmbedderClient:
    """Fulfils `contract.Embedder` over a channel, which its owner closes."""

    def __init__(self, channel: grpc.aio.Channel, limits: EmbedderClientLimits) -> None:
        self._stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        self._limits = limits
        self._remote = Remote(_NAME, _UNAVAILABLE, try_s=limits.try_s, watch=CallWatch(_NAME), renew=renewal(channel))

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph.

        Raises:
            InvalidInput: the photograph cannot be used; the reason says why.
            Overloaded: QUEUE_FULL.
            DeadlineExceeded: the caller's deadline passed.
            Upstream: EMBEDDER_UNAVAILABLE.
        """
        self._check_size(photograph)
        request = embedder_pb2.EmbedRequest(image=conversion.photograph_to_proto(photograph))
        response = await self._remote.call(
            self._stub.Embed, request, timeout_s=self._limits.query_timeout_s, ask_another=True
        )
        view = conversion.view_from_proto(response.view) if response.HasField("view") else None
        return replace(conversion.embedding_from_proto(response.embedding), view=view)

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph, or in the region of it; returns them from the largest on.

        Raises:
            InvalidInput: the photograph cannot be used; the reason says why.
            Unsupported: GARMENTS_UNSUPPORTED; the model has no heads that find garments.
            Overloaded: QUEUE_FULL.
            DeadlineExceeded: the caller's deadline passed.
            Upstream: EMBEDDER_UNAVAILABLE.
        """
        self._check_size(photograph)
        image = conversion.photograph_to_proto(photograph)
        request = embedder_pb2.EmbedderServiceDetectGarmentsRequest(image=image)
        response = await self._remote.call(
            self._stub.DetectGarments, request, timeout_s=self._limits.query_timeout_s, ask_another=True
        )
        return conversion.garments_from_proto(response.garments)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds any number of photographs, in several messages if necessary.

        Raises:
            Overloaded: QUEUE_FULL.
            DeadlineExceeded: the caller's deadline passed before all photographs were embedded.
            Upstream: EMBEDDER_UNAVAILABLE.
        """
        results: dict[int, Embedding | FashionError] = {}
        sendable: list[int] = []
        for index, photograph in enumerate(photographs):
            try:
                self._check_size(photograph)
                sendable.append(index)
            except InvalidInput as error:
                results[index] = error
        messages = self._messages(photographs, sendable)

        async def work() -> None:
            for indices in messages:
                answers = await self._send([photographs[index] for index in indices])
                results.update(zip(indices, answers, strict=True))

        workers = [asyncio.create_task(work()) for _ in range(self._limits.concurrent_batches)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [results[index] for index in range(len(photographs))]

    async def get_model(self) -> ModelInfo:
        """Describes the model.

        Raises:
            DeadlineExceeded: the caller's deadline passed.
            Upstream: EMBEDDER_UNAVAILABLE.
        """
        request = embedder_pb2.GetModelRequest()
        response = await self._remote.call(
            self._stub.GetModel, request, timeout_s=self._limits.query_timeout_s, ask_another=True
        )
        return conversion.model_from_proto(response.model)

    async def _send(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        request = embedder_pb2.BatchEmbedRequest(images=[conversion.photograph_to_proto(each) for each in photographs])
        response = await self._remote.call(self._stub.BatchEmbed, request, timeout_s=self._limits.batch_timeout_s)
        if len(response.results) != len(photographs):
            raise Upstream(
                f"The embedder answered {len(response.results)} of {len(photographs)} photographs.",
                reason=_UNAVAILABLE,
            )
        return [
            conversion.row_error_from_proto(result.status) or conversion.embedding_from_proto(result.embedding)
            for result in response.results
        ]

    def _messages(self, photographs: Sequence[Photograph], indices: Sequence[int]) -> Iterator[list[int]]:
        return in_messages(
            indices,
            lambda index: len(photographs[index].content) + _OVERHEAD_BYTES,
            max_count=self._limits.max_batch,
            max_bytes=self._limits.max_message_bytes,
        )

    def _check_size(self, photograph: Photograph) -> None:
        # The embedder checks its own, lower limit; a larger photograph cannot even be sent.
        longest = self._limits.max_message_bytes - _OVERHEAD_BYTES
        if len(photograph.content) > longest:
            raise InvalidInput(
                f"The image has {len(photograph.content)} bytes; send at most {longest}.",
                reason="IMAGE_TOO_LARGE",
                metadata={"bytes": str(len(photograph.content)), "max_bytes": str(longest)},
            )


async def wait_for_model(embedder: Embedder, timeout_s: float) -> ModelInfo:
    """Waits until an embedder describes its model.

    Raises:
        TimeoutError: it did not within `timeout_s` seconds; the text says why.
    """
    why = ""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await embedder.get_model()
                except Unavailable as error:
                    why = f" ({error.message})"
                    _log.info("waiting for the embedder", why=error.message)
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TimeoutError(f"The embedder has not described its model within {timeout_s:g} s{why}.") from None
