"""A proxy for an embedder that is still loading."""

import asyncio
from collections.abc import Awaitable, Sequence

from services.contract.errors import FashionError
from services.contract.protocols import Embedder
from services.contract.values import Embedding, Garment, ModelInfo, Photograph


class DeferredEmbedder:
    """Fulfils `contract.Embedder`: calls wait for the embedder, or raise the error that it failed to load with.

    All methods belong to one event loop.
    """

    def __init__(self, embedder: Awaitable[Embedder]) -> None:
        """Takes the task that loads the embedder."""
        self._embedder = asyncio.ensure_future(embedder)

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph; see `Embedder.embed`."""
        return await (await self._loaded()).embed(photograph)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds any number of photographs; see `Embedder.batch_embed`."""
        return await (await self._loaded()).batch_embed(photographs)

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph; see `Embedder.detect_garments`."""
        return await (await self._loaded()).detect_garments(photograph)

    async def get_model(self) -> ModelInfo:
        """Describes the model; see `Embedder.get_model`."""
        return await (await self._loaded()).get_model()

    async def _loaded(self) -> Embedder:
        # Cancelling one of several waiting calls must not cancel the loading.
        return await asyncio.shield(self._embedder)
