"""A proxy for an embedder that is still loading."""

import asyncio
from collections.abc import Awaitable, Sequence

from services.contract.errors import FashionError, NotReady
from services.contract.protocols import Embedder
from services.contract.values import Embedding, Garment, ModelInfo, Photograph


class DeferredEmbedder:
    """Fulfils `contract.Embedder`: calls wait for the embedder, or raise the error that it failed to load with.

    All methods belong to one event loop.
    """

    def __init__(self, embedder: Awaitable[Embedder]) -> None:
        """Takes the task that loads the embedder."""
        self._embedder: asyncio.Future[Embedder] | None = asyncio.ensure_future(embedder)

    async def embed(self, photograph: Photograph) -> Embedding:
        """Embeds one photograph; see `Embedder.embed`."""
        return await (await self.loaded()).embed(photograph)

    async def batch_embed(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        """Embeds any number of photographs; see `Embedder.batch_embed`."""
        return await (await self.loaded()).batch_embed(photographs)

    async def detect_garments(self, photograph: Photograph) -> tuple[Garment, ...]:
        """Finds the garments in a photograph; see `Embedder.detect_garments`."""
        return await (await self.loaded()).detect_garments(photograph)

    async def get_model(self) -> ModelInfo:
        """Describes the model; see `Embedder.get_model`."""
        return await (await self.loaded()).get_model()

    async def loaded(self) -> Embedder:
        """Waits for the embedder itself.

        Raises:
            FashionError: it could not be loaded.
            NotReady: MODEL_NOT_READY; this was closed.
        """
        if self._embedder is None:
            raise NotReady("This model is no longer served; ask again for the live one.", reason="MODEL_NOT_READY")
        # Cancelling one of several waiting calls must not cancel the loading.
        return await asyncio.shield(self._embedder)

    def close(self) -> None:
        """Lets go of the embedder, so that its memory is free; whoever asks from now on is refused."""
        self._embedder = None
