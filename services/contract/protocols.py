"""The Protocols that the parts fulfil.

A part in the same process and a client of a remote one fulfil the same Protocol. So the one-process stack and one
container per service differ only in what is put together.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from services.contract.errors import FashionError
from services.contract.values import CandidateSet, Classification, Embedding, Garment, ModelInfo, Photograph


class Embedder(Protocol):
    """Turns photographs into embeddings: the local embedder, or a client of a remote one."""

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph.

        Raises:
            InvalidInput: the photograph cannot be used; the reason says why.
            Overloaded: the queue is full.
            Upstream: a remote embedder does not answer (reason EMBEDDER_UNAVAILABLE).
        """
        ...

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds any number of photographs; returns one embedding or error per photograph, in their order.

        Raises:
            Overloaded: the queue is full.
            Upstream: a remote embedder does not answer (reason EMBEDDER_UNAVAILABLE).
        """
        ...

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph, or in the region of it; returns them from the largest on.

        Raises:
            InvalidInput: the photograph cannot be used; the reason says why.
            Unsupported: GARMENTS_UNSUPPORTED; the model has no heads that find garments.
            Overloaded: the queue is full.
            Upstream: a remote embedder does not answer (reason EMBEDDER_UNAVAILABLE).
        """
        ...

    async def get_model(self) -> ModelInfo:
        """Describes the model.

        Raises:
            Upstream: a remote embedder does not answer (reason EMBEDDER_UNAVAILABLE).
        """
        ...


class Classifier(Protocol):
    """Recognises what an embedding shows: the local classifier, or a client of a remote one."""

    async def classify(self, embedding: Embedding, top_k: int) -> Classification:
        """Classifies an embedding; returns at most `top_k` (1..100) subCategories and derived types.

        Raises:
            ModelMismatch: the embedding is another model's.
            Upstream: a remote classifier does not answer (reason CLASSIFIER_UNAVAILABLE).
        """
        ...


@runtime_checkable
class ImmediateClassifier(Classifier, Protocol):
    """A classifier that answers without waiting for anything."""

    def classify_now(self, embedding: Embedding, top_k: int) -> Classification:
        """Classifies like `classify`, in the calling thread and in less than a millisecond."""
        ...


class CandidateStore(Protocol):
    """The store to which search publishes candidates, and which the classifier follows: Redis, or memory."""

    async def publish(self, candidates: CandidateSet) -> None:
        """Replaces the candidates of the set's model version.

        Raises:
            Upstream: the store does not answer (reason CANDIDATES_UNAVAILABLE).
        """
        ...

    async def version(self, model_version: str) -> str | None:
        """Returns the version of the candidates published for a model, or None if there are none.

        Raises:
            Upstream: the store does not answer (reason CANDIDATES_UNAVAILABLE).
        """
        ...

    async def read(self, model_version: str) -> CandidateSet | None:
        """Returns the candidates published for a model, or None if there are none.

        Raises:
            Upstream: the store does not answer, or its content is unreadable (reason CANDIDATES_UNAVAILABLE).
        """
        ...


class EmbeddingSpace(Protocol):
    """The space that embeddings are compared in; `ModelInfo` and `Bundle` fulfil it."""

    @property
    def model_version(self) -> str:
        """The bundle's content hash."""
        ...

    @property
    def dimension(self) -> int:
        """Floats in an embedding."""
        ...
