"""An embedder that is still being made: whoever asks waits, and is told where it never comes."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from services.contract.errors import FashionError, InvalidInput
from services.contract.protocols import Embedder
from services.contract.values import Embedding, ModelInfo, Photograph
from services.embedder.deferred import EmbedderToCome

MODEL = ModelInfo("m", "v1", 2, 80, 60, "fake", "float32", "float32")


class Ready:
    """An embedder that answers with as many ones as the photograph has bytes."""

    async def embed(self, photograph: Photograph) -> Embedding:
        return Embedding(np.ones(len(photograph.content), dtype=np.float32), "v1")

    async def embed_batch(self, photographs: Sequence[Photograph]) -> Sequence[Embedding | FashionError]:
        return [await self.embed(each) for each in photographs]

    async def model(self) -> ModelInfo:
        return MODEL


async def test_whoever_asks_waits_until_it_is_there() -> None:
    made: asyncio.Future[Embedder] = asyncio.get_running_loop().create_future()
    embedder: Embedder = EmbedderToCome(made)
    asked = asyncio.gather(
        embedder.embed(Photograph(b"two")), embedder.embed_batch([Photograph(b"x")]), embedder.model()
    )
    impatient = asyncio.create_task(embedder.model())
    await asyncio.sleep(0)
    assert not asked.done()
    impatient.cancel()
    await asyncio.wait({impatient})

    made.set_result(Ready())

    one, (other,), model = await asked
    assert (len(one.values), len(other.values), model) == (3, 1, MODEL)
    assert await embedder.model() == MODEL


async def test_whoever_asks_is_told_why_it_never_comes() -> None:
    made: asyncio.Future[Embedder] = asyncio.get_running_loop().create_future()
    coming = EmbedderToCome(made)
    asked = asyncio.create_task(coming.model())
    await asyncio.sleep(0)
    made.set_exception(InvalidInput("no bundle", reason="BUNDLE_INVALID"))
    for asking in (asked, coming.embed(Photograph(b"x"))):
        with pytest.raises(InvalidInput, match="no bundle"):
            await asking


async def test_whoever_asks_is_let_go_where_it_was_given_up() -> None:
    made: asyncio.Future[Embedder] = asyncio.get_running_loop().create_future()
    coming = EmbedderToCome(made)
    made.cancel()
    with pytest.raises(asyncio.CancelledError):
        await coming.model()
