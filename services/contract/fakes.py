"""Parts without model, network or disk that fulfil the Protocols, for tests.

Each has a switch to be held up or to fail, so that no test has to write its own.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from services.contract.embedding import renormalised
from services.contract.errors import FashionError, InvalidInput
from services.contract.values import CandidateSet, Classification, Embedding, Garment, ModelInfo, Photograph


async def _nothing() -> None:
    pass


class FakeEmbedder:
    """An `Embedder` whose embeddings are repeatable and mean nothing: the same photograph, the same embedding.

    Attributes:
        batches: the number of photographs in each call of `batch_embed`.
        photographs: how many photographs were embedded.
        before: awaited at the beginning of every call; it may wait, raise, or do something else first.
        garments: those that it finds in every photograph.
    """

    def __init__(
        self,
        dimension: int = 16,
        model_version: str = "fake",
        answer: Callable[[Photograph], Embedding | FashionError] | None = None,
    ) -> None:
        """Makes an embedder.

        Args:
            dimension: floats in an embedding.
            model_version: the model that it says it serves.
            answer: embeds a photograph, or says what is wrong with it; None for the default.
        """
        self.batches: list[int] = []
        self.photographs = 0
        self.before: Callable[[], Awaitable[object]] = _nothing
        self.garments: tuple[Garment, ...] = ()
        self._model = ModelInfo("fake", model_version, dimension, 80, 60, "fake", "float32", "float32")
        self._answer = answer or self._embedding

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph."""
        await self.before()
        self.photographs += 1
        result = self._answer(photograph)
        if isinstance(result, FashionError):
            raise result
        return result

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds photographs."""
        self.batches.append(len(photographs))
        await self.before()
        self.photographs += len(photographs)
        return [self._answer(photograph) for photograph in photographs]

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds `garments`."""
        await self.before()
        return self.garments

    async def get_model(self) -> ModelInfo:
        """Describes the model."""
        await self.before()
        return self._model

    def _embedding(self, photograph: Photograph) -> Embedding | FashionError:
        if not photograph.content:
            return InvalidInput("The image is empty: it has 0 bytes.", reason="IMAGE_EMPTY")
        version = self._model.model_version
        digest = hashlib.sha256(f"{version} {photograph.region}".encode() + photograph.content).digest()
        values = np.random.default_rng(list(digest)).standard_normal(self._model.dimension)
        return Embedding(renormalised(values), version)


class FakeClassifier:
    """A `Classifier` that answers as it is told.

    Attributes:
        calls: how many embeddings it was asked about.
        answer: classifies an embedding.
        before: awaited at the beginning of every call; it may wait or raise.
    """

    def __init__(self, answer: Callable[[Embedding, int], Classification]) -> None:
        self.calls = 0
        self.answer = answer
        self.before: Callable[[], Awaitable[object]] = _nothing

    async def classify(self, embedding: Embedding, top_k: int) -> Classification:
        """Classifies an embedding."""
        self.calls += 1
        await self.before()
        return self.answer(embedding, top_k)


class MemoryCandidateStore:
    """A `CandidateStore` within one process.

    Attributes:
        failure: raised by every call, unless None.
        publications: how many sets were published.
        reads: how many times candidates were read.
        changed: set by every publication.
    """

    def __init__(self) -> None:
        self.failure: FashionError | None = None
        self.publications = 0
        self.reads = 0
        self.changed = asyncio.Event()
        self._candidates: dict[str, CandidateSet] = {}

    async def publish(self, candidates: CandidateSet) -> None:
        """Replaces the candidates of the set's model version."""
        self._check()
        self.publications += 1
        self._candidates[candidates.model_version] = candidates
        self.changed.set()

    async def version(self, model_version: str) -> str | None:
        """Returns the version of the candidates published for a model, or None if there are none."""
        self._check()
        candidates = self._candidates.get(model_version)
        return candidates.version if candidates else None

    async def read(self, model_version: str) -> CandidateSet | None:
        """Returns the candidates published for a model, or None if there are none."""
        self._check()
        self.reads += 1
        return self._candidates.get(model_version)

    def lose(self) -> None:
        """Forgets all candidates, as a store does that restarts empty."""
        self._candidates.clear()
        self.changed.clear()

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
