"""The embedder that several of these files call."""

from collections.abc import AsyncIterator

import pytest

from tests.support.embedders import Running, embedder_running


@pytest.fixture
async def embedder() -> AsyncIterator[Running]:
    async with embedder_running() as server:
        yield server
