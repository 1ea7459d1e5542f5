"""Has the photographs of writes embedded a few at a time, so that queries find room between them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from services.contract.embedding import check_served_model
from services.contract.errors import DeadlineExceeded, FashionError, Unavailable
from services.contract.protocols import Embedder
from services.contract.values import Embedding, Photograph


class WriteEmbedder:
    """Embeds the photographs of writes in small groups.

    Whole uploads would fill the embedder's queue, and every query would wait behind them.
    """

    def __init__(self, embedder: Embedder, model_version: str, *, group_size: int, groups_in_flight: int) -> None:
        """Prepares the way to an embedder.

        Args:
            embedder: embeds the photographs.
            model_version: the model that its embeddings must be of.
            group_size: photographs per call, at least 1.
            groups_in_flight: calls at the same time, by all writes together, at least 1.
        """
        self._embedder = embedder
        self._model_version = model_version
        self._group_size = group_size
        self._slots = asyncio.Semaphore(groups_in_flight)

    async def embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds photographs; returns one embedding or error per photograph, in their order.

        Raises:
            Unavailable: EMBEDDER_UNAVAILABLE: the embedder does not answer.
            ModelMismatch: MODEL_VERSION_MISMATCH: it serves another model.
            Overloaded: QUEUE_FULL: the embedder's queue is full.
            DeadlineExceeded: the deadline passed before all were embedded.
        """
        results: list[Embedding | FashionError] = []
        async for group in self.embed_groups(photographs):
            results += group
        return results

    async def embed_groups(
        self, photographs: Sequence[Photograph]
    ) -> AsyncGenerator[Sequence[Embedding | FashionError], None]:
        """Embeds photographs as `embed` does, and yields the results of one group after another."""
        for start in range(0, len(photographs), self._group_size):
            async with self._slots:
                results = await self._embedder.batch_embed(photographs[start : start + self._group_size])
            self._check(results)
            yield results

    def _check(self, results: Sequence[Embedding | FashionError]) -> None:
        for result in results:
            # These errors are not about the photograph: the same row may succeed a moment later.
            if isinstance(result, Unavailable | DeadlineExceeded):
                raise result
            if isinstance(result, Embedding):
                check_served_model(result, self._model_version)
