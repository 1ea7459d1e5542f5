"""Waiting for an embedder that is still starting."""

import pytest

from services.clients import embedder as clients
from services.clients.embedder import wait_for_model
from services.contract.errors import Upstream
from services.contract.values import ModelInfo
from services.embedder.runtimes.fake import FakeEncoder


class _StartingEmbedder:
    """Does not answer the first few calls."""

    def __init__(self, refusals: int) -> None:
        self._refusals = refusals

    async def model(self) -> ModelInfo:
        self._refusals -= 1
        if self._refusals >= 0:
            raise Upstream("Nobody answers.", reason="EMBEDDER_UNAVAILABLE")
        return FakeEncoder(dimension=16).model


async def test_an_embedder_that_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_POLL_S", 0.01)
    assert (await wait_for_model(_StartingEmbedder(3), timeout_s=30)).dimension == 16


async def test_one_that_never_answers_is_given_up_with_its_reason() -> None:
    with pytest.raises(TimeoutError, match=r"^The embedder .* within 0\.05 s \(Nobody answers\.\)\.$"):
        await wait_for_model(_StartingEmbedder(1000), timeout_s=0.05)
