"""A deferred embedder: calls wait until it is loaded, or fail as its loading does."""

import asyncio

import numpy as np
import pytest

from services.contract.errors import InvalidInput, NotReady
from services.contract.fakes import FakeEmbedder
from services.contract.protocols import Embedder
from services.contract.values import Embedding, Photograph
from services.embedder.deferred import DeferredEmbedder


async def test_whoever_asks_waits_until_it_is_there() -> None:
    made: asyncio.Future[Embedder] = asyncio.get_running_loop().create_future()
    embedder: Embedder = DeferredEmbedder(made)
    asked = asyncio.gather(
        embedder.embed(Photograph(b"two")), embedder.batch_embed([Photograph(b"x")]), embedder.get_model()
    )
    impatient = asyncio.create_task(embedder.get_model())
    await asyncio.sleep(0)
    assert not asked.done()
    impatient.cancel()
    await asyncio.wait({impatient})

    ready = FakeEmbedder()
    made.set_result(ready)

    one, (other,), model = await asked
    assert np.array_equal(one.values, (await ready.embed(Photograph(b"two"))).values)
    assert isinstance(other, Embedding)
    assert model == await embedder.get_model() == await ready.get_model()


async def test_whoever_asks_is_told_why_it_never_comes() -> None:
    made: asyncio.Future[Embedder] = asyncio.get_running_loop().create_future()
    coming = DeferredEmbedder(made)
    asked = asyncio.create_task(coming.get_model())
    await asyncio.sleep(0)
    made.set_exception(InvalidInput("no bundle", reason="BUNDLE_INVALID"))
    for asking in (asked, coming.embed(Photograph(b"x"))):
        with pytest.raises(InvalidInput, match="no bundle"):
            await asking


async def test_whoever_asks_is_let_go_where_it_was_given_up() -> None:
    made: asyncio.Future[Embedder] = asyncio.get_running_loop().create_future()
    coming = DeferredEmbedder(made)
    made.cancel()
    with pytest.raises(asyncio.CancelledError):
        await coming.get_model()


async def test_one_that_is_closed_refuses_whoever_asks() -> None:
    made: asyncio.Future[Embedder] = asyncio.get_running_loop().create_future()
    made.set_result(FakeEmbedder())
    embedder = DeferredEmbedder(made)
    await embedder.get_model()
    embedder.close()
    with pytest.raises(NotReady, match="no longer served"):
        await embedder.embed(Photograph(b"x"))
