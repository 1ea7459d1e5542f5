"""The classifier in this process: classifies single embeddings in threads, with replaceable candidates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.classifier.candidate_index import CandidateIndex
from services.classifier.recognition import ClassifierModel, classify_batch
from services.classifier.taxonomy import Taxonomy, taxonomy
from services.concurrency import memory
from services.concurrency.workers import Workers
from services.contract.embedding import check_model_version
from services.contract.errors import InvalidInput
from services.contract.values import CandidateSet, Classification, Embedding

MAX_TOP_K = 100


def check_top_k(top_k: int) -> None:
    """Refuses a `top_k` out of 1..100.

    Raises:
        InvalidInput: TOP_K_OUT_OF_RANGE.
    """
    if not 1 <= top_k <= MAX_TOP_K:
        raise InvalidInput(
            f"top_k is {top_k}; send 1 to {MAX_TOP_K}.", reason="TOP_K_OUT_OF_RANGE", metadata={"field": "top_k"}
        )


class LocalClassifier:
    """A `contract.Classifier` of a bundle's heads and the latest candidates."""

    def __init__(self, model: ClassifierModel, *, threads: int, max_pending: int) -> None:
        """Makes a classifier without candidates.

        Args:
            model: the heads.
            threads: maximum embeddings classified at once, at least 1.
            max_pending: maximum embeddings waiting or under way, at least 1; more are refused.
        """
        self._model = model
        self._index: CandidateIndex | None = None
        self._workers = Workers("classifier", threads=threads, max_pending=max_pending)

    @property
    def model(self) -> ClassifierModel:
        """The heads, and the space of the embeddings."""
        return self._model

    @property
    def candidates_version(self) -> str:
        """The version of the candidates; "" without candidates."""
        index = self._index
        return "" if index is None else index.candidates.version

    def use(self, candidates: CandidateSet | None) -> None:
        """Replaces the candidates; without any, the model's own labels answer.

        Args:
            candidates: candidates of this model; None is an empty set.

        Raises:
            ValueError: the candidates are of another model or dimension; the old ones stay.
        """
        if candidates is None or not candidates.product_ids:
            self._index = None
            return
        if candidates.model_version != self._model.model_version:
            raise ValueError(f"the candidates are of model version {candidates.model_version!r}")
        if candidates.embeddings.shape[1] != self._model.dimension:
            raise ValueError(f"the candidates have {candidates.embeddings.shape[1]} dimensions")
        # One assignment: a classification under way keeps its index.
        self._index = self._model.index(candidates)
        # Of comparing all candidates with each other.
        memory.give_back()

    def get_taxonomy(self) -> Taxonomy:
        """Lists what the classifier can recognise now."""
        return taxonomy(self._model, self._index)

    def classify_now(self, embedding: Embedding, top_k: int) -> Classification:
        """Does what `classify` does, in the calling thread.

        Raises:
            InvalidInput: TOP_K_OUT_OF_RANGE.
            ModelMismatch: the embedding is another model's (MODEL_VERSION_MISMATCH).
        """
        check_top_k(top_k)
        check_model_version(embedding.model_version, expected=self._model)
        (classification,) = self.classify_batch(embedding.values[None, :], top_k)
        return classification

    async def classify(self, embedding: Embedding, top_k: int) -> Classification:
        """Classifies an embedding; returns at most `top_k` (1..100) subCategories and derived types.

        Raises:
            InvalidInput: TOP_K_OUT_OF_RANGE.
            ModelMismatch: the embedding is another model's (MODEL_VERSION_MISMATCH).
            Overloaded: too many embeddings are waiting (QUEUE_FULL).
            DeadlineExceeded: the caller's deadline passed before its turn.
        """
        return await self._workers.run(self.classify_now, embedding, top_k)

    def classify_batch(self, embeddings: NDArray[np.float32], top_k: int) -> Sequence[Classification]:
        """Classifies many embeddings at once, in the calling thread.

        Args:
            embeddings: float32, shape (n, dimension), L2-normalised rows, of this model.
            top_k: at least 1.
        """
        return classify_batch(self._model, self._index, embeddings, top_k)

    def close(self) -> None:
        """Cancels waiting work, waits for work under way, and ends the threads."""
        self._workers.close()
