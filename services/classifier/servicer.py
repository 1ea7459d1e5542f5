"""Offers the classifier over gRPC: unpacks, calls, packs."""

from typing import Any, Final, Protocol

import grpc

from fashion.v1 import classifier_pb2, classifier_pb2_grpc, types_pb2
from services.classifier.service import check_top_k
from services.classifier.taxonomy import Taxonomy
from services.contract.embedding import checked_embedding
from services.contract.errors import InvalidInput
from services.contract.protocols import Classifier, Embedder, EmbeddingSpace
from services.contract.values import Embedding, Subject
from services.serving import conversion
from services.serving.registry import GrpcService

CLASSIFIER: Final = GrpcService(
    name=classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name,
    not_ready_reason="MODEL_NOT_READY",
    add_to_server=classifier_pb2_grpc.add_ClassifierServiceServicer_to_server,
)

DEFAULT_TOP_K: Final = 5


class DescribedClassifier(Classifier, Protocol):
    """A classifier that knows what it can recognise, such as a `LocalClassifier`."""

    @property
    def model(self) -> EmbeddingSpace:
        """The space of the embeddings."""
        ...

    def get_taxonomy(self) -> Taxonomy:
        """Lists what the classifier can recognise now."""
        ...


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """ClassifierService of fashion.v1."""

    def __init__(self, classifier: DescribedClassifier, embedder: Embedder) -> None:
        """Takes the classifier, and the embedder for photographs."""
        self._classifier = classifier
        self._embedder = embedder

    async def Classify(  # noqa: N802
        self,
        request: classifier_pb2.ClassifyRequest,
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> classifier_pb2.ClassifyResponse:
        """Classifies a photograph, or an embedding of one."""
        top_k = request.top_k if request.HasField("top_k") else DEFAULT_TOP_K
        # Checked before the embedder works.
        check_top_k(top_k)
        classification = await self._classifier.classify(await self._embedding(request), top_k)
        return classifier_pb2.ClassifyResponse(classification=conversion.classification_to_proto(classification))

    async def _embedding(self, request: classifier_pb2.ClassifyRequest) -> Embedding:
        match request.WhichOneof("input"):
            case "image":
                return await self._embedder.embed(conversion.photograph_from_proto(request.image, Subject.AUTO))
            case "embedding":
                return self._embedding_from_proto(request.embedding)
            case _:
                raise InvalidInput(
                    "The request has neither an image nor an embedding; send one of them.",
                    reason="INPUT_MISSING",
                    metadata={"field": "input"},
                )

    def _embedding_from_proto(self, message: types_pb2.Embedding) -> Embedding:
        embedding = conversion.embedding_from_proto(message)
        return checked_embedding(embedding.values, embedding.model_version, expected=self._classifier.model)

    async def GetTaxonomy(  # noqa: N802
        self,
        request: classifier_pb2.GetTaxonomyRequest,
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> classifier_pb2.GetTaxonomyResponse:
        """Lists the subCategories and derived types that the classifier can recognise now."""
        taxonomy = self._classifier.get_taxonomy()
        return classifier_pb2.GetTaxonomyResponse(
            sub_categories=[
                classifier_pb2.TaxonomySubCategory(
                    label=each.label, trained=each.trained, derived_types=each.derived_types
                )
                for each in taxonomy.sub_categories
            ],
            method=conversion.method_to_proto(taxonomy.method),
            model_version=taxonomy.model_version,
            candidates_version=taxonomy.candidates_version,
        )
