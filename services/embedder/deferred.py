"""An embedder that is still being made, for those who need one to begin with and will ask it later."""

import asyncio
from collections.abc import Awaitable, Sequence

from services.contract.errors import FashionError
from services.contract.protocols import Embedder
from services.contract.values import Embedding, ModelInfo, Photograph


class DeferredEmbedder:
    """Fulfils `contract.Embedder`: whoever asks waits until the embedder is there, or is told why it never will be.

    All methods belong to one event loop.
    """

    def __init__(self, embedder: Awaitable[Embedder]) -> None:
        """Takes the task that makes it; its error is what whoever asks is told."""
        self._embedder = asyncio.ensure_future(embedder)

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph; see `Embedder.embed`."""
        return await (await self._there()).embed(photograph)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds any number of photographs; see `Embedder.batch_embed`."""
        return await (await self._there()).batch_embed(photographs)

    async def get_model(self) -> ModelInfo:
        """Describes the model; see `Embedder.get_model`."""
        return await (await self._there()).get_model()

    async def _there(self) -> Embedder:
        # One of many who wait may leave without taking it from the others.
        return await asyncio.shield(self._embedder)
