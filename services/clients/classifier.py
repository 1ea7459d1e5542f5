"""The client of a remote classifier, with the interface of a local one."""

from typing import Final

import grpc

from fashion.v1 import classifier_pb2, classifier_pb2_grpc
from services.clients.channel import Remote, renewal
from services.clients.watch import CallWatch
from services.contract.errors import Upstream
from services.contract.values import Classification, Embedding
from services.serving import conversion

SERVICE: Final = classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name

_NAME: Final = "classifier"
_UNAVAILABLE: Final = "CLASSIFIER_UNAVAILABLE"


class ClassifierClient:
    """Fulfils `contract.Classifier` over a channel, which its owner closes."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float, try_s: float = 0.5) -> None:
        """Makes a client.

        Args:
            channel: channel to the classifier.
            timeout_s: maximum wait for an answer, in seconds.
            try_s: wait after which another replica is asked too, in seconds.
        """
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self._timeout_s = timeout_s
        self._remote = Remote(_NAME, _UNAVAILABLE, try_s=try_s, watch=CallWatch(_NAME), renew=renewal(channel))

    async def classify(self, embedding: Embedding, top_k: int) -> Classification:
        """Classifies an embedding.

        Raises:
            InvalidInput: TOP_K_OUT_OF_RANGE, EMBEDDING_INVALID.
            ModelMismatch: MODEL_VERSION_MISMATCH.
            DeadlineExceeded: the caller's deadline passed.
            Upstream: CLASSIFIER_UNAVAILABLE.
        """
        request = classifier_pb2.ClassifyRequest(embedding=conversion.embedding_to_proto(embedding), top_k=top_k)
        response = await self._remote.call(self._stub.Classify, request, timeout_s=self._timeout_s, ask_another=True)
        try:
            return conversion.classification_from_proto(response.classification)
        except ValueError as error:
            raise Upstream(
                f"The answer of the classifier is unknown to this version: {error}.",
                reason=_UNAVAILABLE,
            ) from error
