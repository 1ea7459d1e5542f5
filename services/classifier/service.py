"""The classifier in this process: takes embeddings one by one, computes in threads, and follows the candidates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.classifier.candidate_index import CandidateIndex
from services.classifier.recognition import ClassifierModel, classify_batch
from services.classifier.taxonomy import Taxonomy, taxonomy
from services.concurrency.workers import Workers
from services.contract.embedding import check_model_version
from services.contract.errors import InvalidInput
from services.contract.values import CandidateSet, Classification, Embedding

MOST = 100


def check_top_k(top_k: int) -> None:
    """Refuses to return nothing or too much.

    Raises:
        InvalidInput: TOP_K_OUT_OF_RANGE.
    """
    if not 1 <= top_k <= MOST:
        raise InvalidInput(
            f"top_k is {top_k}, not in 1..{MOST}.", reason="TOP_K_OUT_OF_RANGE", metadata={"field": "top_k"}
        )


class LocalClassifier:
    """A `contract.Classifier` of a bundle's heads and whatever candidates it was given last."""

    def __init__(self, model: ClassifierModel, *, threads: int, max_pending: int) -> None:
        """Makes a classifier without candidates.

        Args:
            model: the heads.
            threads: how many embeddings are classified at a time, at least 1.
            max_pending: how many may be waiting or under way, at least 1; more are refused.
        """
        self._model = model
        self._index: CandidateIndex | None = None
        self._workers = Workers("classifier", threads=threads, max_pending=max_pending)

    @property
    def model(self) -> ClassifierModel:
        """The heads, and the space that embeddings must be of."""
        return self._model

    @property
    def candidates_version(self) -> str:
        """The version of the candidates that are compared with; "" where there are none."""
        index = self._index
        return "" if index is None else index.candidates.version

    def use(self, candidates: CandidateSet | None) -> None:
        """Compares with these candidates from now on; with the model's own labels where there are none.

        Args:
            candidates: of this model; None and an empty set are alike.

        Raises:
            ValueError: they are of another model or dimension; those before stay.
        """
        if candidates is None or not candidates.product_ids:
            self._index = None
            return
        if candidates.model_version != self._model.model_version:
            raise ValueError(f"the candidates are of model version {candidates.model_version!r}")
        if candidates.embeddings.shape[1] != self._model.dimension:
            raise ValueError(f"the candidates have {candidates.embeddings.shape[1]} dimensions")
        # One assignment: a classification under way keeps the index that it began with.
        self._index = self._model.index(candidates)

    def get_taxonomy(self) -> Taxonomy:
        """Lists what can be recognised now."""
        return taxonomy(self._model, self._index)

    def classify_now(self, embedding: Embedding, top_k: int) -> Classification:
        """Does what `classify` does, in the calling thread.

        Raises:
            InvalidInput: TOP_K_OUT_OF_RANGE.
            ModelMismatch: the embedding is another model's (MODEL_VERSION_MISMATCH).
        """
        check_top_k(top_k)
        check_model_version(embedding.model_version, expected=self._model)
        (found,) = self.classify_batch(embedding.values[None, :], top_k)
        return found

    async def classify(self, embedding: Embedding, top_k: int) -> Classification:
        """Classifies an embedding; returns at most `top_k` (1..100) subCategories and derived types.

        Raises:
            InvalidInput: TOP_K_OUT_OF_RANGE.
            ModelMismatch: the embedding is another model's (MODEL_VERSION_MISMATCH).
            Overloaded: too many are waiting (QUEUE_FULL).
            DeadlineExceeded: its turn came after the caller's deadline.
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
        """Ends the threads; what waits is cancelled, what is under way is waited for."""
        self._workers.close()
