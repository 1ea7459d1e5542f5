"""Waiting for an embedder that is still starting."""

import pytest

from services.clients import embedder as clients
from services.clients.embedder import wait_for_model
from services.contract.errors import Upstream
from services.contract.fakes import FakeEmbedder


def starting(refusals: int) -> FakeEmbedder:
    """An embedder that does not answer the first few calls."""
    answers = iter([False] * refusals)

    async def refuse() -> None:
        if not next(answers, True):
            raise Upstream("Nobody answers.", reason="EMBEDDER_UNAVAILABLE")

    embedder = FakeEmbedder()
    embedder.before = refuse
    return embedder


async def test_an_embedder_that_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_POLL_S", 0.01)
    assert (await wait_for_model(starting(3), timeout_s=30)).dimension == 16


async def test_one_that_never_answers_is_given_up_with_its_reason() -> None:
    with pytest.raises(TimeoutError, match=r"^The embedder .* within 0\.05 s \(Nobody answers\.\)\.$"):
        await wait_for_model(starting(1000), timeout_s=0.05)
