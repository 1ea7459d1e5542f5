"""Offers the embedder over gRPC: unpacks, calls, packs."""

from typing import Any, Final

from fashion.v1 import embedder_pb2, embedder_pb2_grpc, types_pb2
from services.contract.errors import FashionError, InvalidInput
from services.contract.protocols import Embedder
from services.contract.values import Embedding, Photograph
from services.serving import conversion
from services.serving.registry import GrpcService

EMBEDDER: Final = GrpcService(
    name=embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name,
    not_ready_reason="MODEL_NOT_READY",
    add_to_server=embedder_pb2_grpc.add_EmbedderServiceServicer_to_server,
    writes=frozenset({"BatchEmbed"}),
)


class EmbedderServicer(embedder_pb2_grpc.EmbedderServiceServicer):
    """EmbedderService of fashion.v1."""

    def __init__(self, embedder: Embedder, max_batch: int) -> None:
        self._embedder = embedder
        self._max_batch = max_batch

    async def Embed(  # noqa: N802
        self, request: embedder_pb2.EmbedRequest, context: Any
    ) -> embedder_pb2.EmbedResponse:
        """Embeds one photograph."""
        embedding = await self._embedder.embed(conversion.photograph_from_proto(request.image))
        return embedder_pb2.EmbedResponse(
            embedding=conversion.embedding_to_proto(embedding), view=conversion.view_to_proto(embedding.view)
        )

    async def DetectGarments(  # noqa: N802
        self, request: embedder_pb2.EmbedderServiceDetectGarmentsRequest, context: Any
    ) -> embedder_pb2.EmbedderServiceDetectGarmentsResponse:
        """Finds the garments in a photograph."""
        garments = await self._embedder.detect_garments(conversion.photograph_from_proto(request.image))
        return embedder_pb2.EmbedderServiceDetectGarmentsResponse(garments=conversion.garments_to_proto(garments))

    async def BatchEmbed(  # noqa: N802
        self, request: embedder_pb2.BatchEmbedRequest, context: Any
    ) -> embedder_pb2.BatchEmbedResponse:
        """Embeds several photographs."""
        _check_batch(len(request.images), self._max_batch)
        rows = [_row_from_proto(image) for image in request.images]
        embedded = iter(await self._embedder.batch_embed([row for row in rows if isinstance(row, Photograph)]))
        results = [next(embedded) if isinstance(row, Photograph) else row for row in rows]
        return embedder_pb2.BatchEmbedResponse(results=[_result_to_proto(result) for result in results])

    async def GetModel(  # noqa: N802
        self, request: embedder_pb2.GetModelRequest, context: Any
    ) -> embedder_pb2.GetModelResponse:
        """Describes the model."""
        return embedder_pb2.GetModelResponse(model=conversion.model_to_proto(await self._embedder.get_model()))


def _check_batch(size: int, max_batch: int) -> None:
    if size == 0:
        raise InvalidInput(
            "The batch is empty; send at least one photograph.", reason="BATCH_EMPTY", metadata={"field": "images"}
        )
    if size > max_batch:
        raise InvalidInput(
            f"The batch has {size} photographs; send at most {max_batch}.",
            reason="BATCH_TOO_LARGE",
            metadata={"field": "images", "max_batch": str(max_batch)},
        )


def _row_from_proto(message: types_pb2.Image) -> Photograph | InvalidInput:
    """Unpacks a photograph of a batch. The error of one that cannot be unpacked takes its place."""
    try:
        return conversion.photograph_from_proto(message)
    except InvalidInput as error:
        return error


def _result_to_proto(result: Embedding | FashionError) -> embedder_pb2.EmbedResult:
    if isinstance(result, FashionError):
        return embedder_pb2.EmbedResult(status=conversion.row_error_to_proto(result))
    return embedder_pb2.EmbedResult(
        status=conversion.row_error_to_proto(None), embedding=conversion.embedding_to_proto(result)
    )
