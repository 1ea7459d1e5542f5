"""The photographs of writes are embedded in groups, a few groups at a time."""

import asyncio

import numpy as np
import pytest

from services.contract.errors import DeadlineExceeded, FashionError, InvalidInput, ModelMismatch, Upstream
from services.contract.fakes import FakeEmbedder
from services.contract.values import Embedding, Photograph
from services.search.writes.photograph_embedder import WriteEmbedder

VECTOR = np.array([1.0, 0.0], dtype=np.float32)


def _fine(photograph: Photograph) -> Embedding:
    return Embedding(VECTOR, "m1")


def _photographs(count: int) -> list[Photograph]:
    return [Photograph(bytes([number])) for number in range(count)]


async def test_a_write_goes_in_groups() -> None:
    embedder = FakeEmbedder(answer=_fine)
    queue = WriteEmbedder(embedder, "m1", group_size=4, groups_in_flight=2)
    assert len(await queue.embed(_photographs(10))) == 10
    assert embedder.batches == [4, 4, 2]


async def test_all_writes_together_have_few_groups_in_flight() -> None:
    embedder = FakeEmbedder(answer=_fine)
    under_way: list[int] = []

    async def take_a_while() -> None:
        under_way.append(len(embedder.batches) - embedder.photographs)
        await asyncio.sleep(0)

    embedder.before = take_a_while
    queue = WriteEmbedder(embedder, "m1", group_size=1, groups_in_flight=2)
    await asyncio.gather(*(queue.embed(_photographs(3)) for _ in range(4)))
    assert len(embedder.batches) == 12
    assert max(under_way) == 2


async def test_a_bad_photograph_fails_alone() -> None:
    bad = InvalidInput("broken", reason="IMAGE_UNREADABLE")
    embedder = FakeEmbedder(answer=lambda photograph: bad if photograph.content == b"\x01" else _fine(photograph))
    queue = WriteEmbedder(embedder, "m1", group_size=2, groups_in_flight=1)
    results = await queue.embed(_photographs(3))
    assert results[1] is bad
    assert isinstance(results[0], Embedding)
    assert isinstance(results[2], Embedding)


@pytest.mark.parametrize(
    "error", [Upstream("gone", reason="EMBEDDER_UNAVAILABLE"), DeadlineExceeded("late", reason="DEADLINE_EXCEEDED")]
)
async def test_an_error_that_is_not_about_the_photograph_fails_the_write(error: FashionError) -> None:
    queue = WriteEmbedder(FakeEmbedder(answer=lambda photograph: error), "m1", group_size=2, groups_in_flight=1)
    with pytest.raises(type(error)):
        await queue.embed(_photographs(1))


async def test_an_embedder_of_another_model_is_refused() -> None:
    embedder = FakeEmbedder(answer=lambda photograph: Embedding(VECTOR, "m2"))
    queue = WriteEmbedder(embedder, "m1", group_size=2, groups_in_flight=1)
    with pytest.raises(ModelMismatch) as error:
        await queue.embed(_photographs(1))
    assert error.value.reason == "MODEL_VERSION_MISMATCH"
    assert error.value.metadata == {"given": "m2", "served": "m1"}
