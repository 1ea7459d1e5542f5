"""The local embedder: photographs in, one embedding or error for each out."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded, FashionError, InvalidInput, NotReady, Overloaded
from services.contract.protocols import Embedder
from services.contract.values import Box, Embedding, Photograph
from services.embedder.batching import BatchingLimits
from services.embedder.encoder import Features
from services.embedder.garment_heads import Sight
from services.embedder.service import EmbedderLimits, LocalEmbedder, local_embedder
from services.vision.decode import ImageLimits
from tests.support.embedders import GatedEncoder


def limits(query_places: int = 4, batch_places: int = 64, decode_threads: int = 2) -> EmbedderLimits:
    batching = BatchingLimits(query_places, batch_places, micro_batch=4, inference_timeout_s=30)
    return EmbedderLimits(ImageLimits(), batching, decode_threads)


def picture(shade: int, width: int = 60, height: int = 80) -> bytes:
    content = io.BytesIO()
    image = Image.new("RGB", (width, height), "white")
    image.paste((shade % 256, shade * 7 % 256, shade * 31 % 256), (width // 4, height // 4, width // 2, height // 2))
    image.save(content, "PNG")
    return content.getvalue()


class GatedPhotograph(bytes):
    """A photograph whose decoding waits for its gate."""

    inside: threading.Event
    gate: threading.Event
    decoded: int

    def __new__(cls) -> Self:
        content = super().__new__(cls, picture(3))
        content.inside, content.gate, content.decoded = threading.Event(), threading.Event(), 0
        return content

    def __bool__(self) -> bool:
        """Is asked once, before anything else, whether the photograph is empty."""
        self.inside.set()
        self.decoded += 1
        assert self.gate.wait(20)
        return True


class TurningEncoder(GatedEncoder):
    """Sees every photograph lie on its side."""

    @property
    def garment_heads(self) -> Any:
        return self

    def see(self, maps: Sequence[NDArray[np.float32]]) -> list[Sight]:
        return [Sight(turns=1) for _ in maps[0]]

    def features(self, batch: NDArray[np.uint8], *, crowded: bool = False) -> Features:
        return Features(self.encode(batch), (batch.astype(np.float32),))


@asynccontextmanager
async def embedding_with(encoder: GatedEncoder, allowed: EmbedderLimits) -> AsyncIterator[LocalEmbedder]:
    async with asyncio.timeout(60), local_embedder(encoder, allowed, warm_up_timeout_s=60) as embedder:
        yield embedder


@pytest.fixture
def encoder() -> GatedEncoder:
    return GatedEncoder(dimension=16)


@pytest.fixture
async def embedder(encoder: GatedEncoder) -> AsyncIterator[LocalEmbedder]:
    async with embedding_with(encoder, limits()) as running:
        yield running


async def test_it_fulfils_the_contract_and_is_warm(embedder: LocalEmbedder, encoder: GatedEncoder) -> None:
    fulfilled: Embedder = embedder

    assert len(encoder.warm_steps) == 1
    assert await fulfilled.get_model() == encoder.model


async def test_one_photograph_gives_a_normalised_embedding_of_the_model(embedder: LocalEmbedder) -> None:
    embedding = await embedder.embed(Photograph(picture(1)))

    assert embedding.model_version == (await embedder.get_model()).model_version
    assert embedding.values.dtype == np.float32
    assert np.linalg.norm(embedding.values) == pytest.approx(1, abs=1e-5)


async def test_a_region_counts(embedder: LocalEmbedder) -> None:
    whole = await embedder.embed(Photograph(picture(1)))
    part = await embedder.embed(Photograph(picture(1), Box(0.0, 0.0, 0.5, 0.5)))

    assert not np.allclose(whole.values, part.values)


async def test_a_batch_of_any_size_comes_back_in_order(embedder: LocalEmbedder) -> None:
    photographs = [Photograph(picture(shade)) for shade in range(150)]

    results = await embedder.batch_embed(photographs)

    for photograph, result in zip(photographs[::30], results[::30], strict=True):
        assert isinstance(result, Embedding)
        alone = await embedder.embed(photograph)
        assert np.allclose(result.values, alone.values, atol=1e-6)
    assert len(results) == 150


async def test_an_empty_batch_has_no_results(embedder: LocalEmbedder) -> None:
    assert list(await embedder.batch_embed([])) == []


BAD = {
    "IMAGE_EMPTY": b"",
    "IMAGE_FORMAT_UNSUPPORTED": b"GIF89a nothing of use",
    "IMAGE_TOO_SMALL": picture(1, 1, 1),
    "IMAGE_UNREADABLE": picture(1)[:60],
    "IMAGE_TOO_LARGE": b"\x89PNG" + bytes(11 * 1024 * 1024),
}


@pytest.mark.parametrize("reason", BAD)
async def test_a_bad_photograph_is_refused_and_the_next_one_served(embedder: LocalEmbedder, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await embedder.embed(Photograph(BAD[reason]))

    assert caught.value.reason == reason
    await embedder.embed(Photograph(picture(1)))


async def test_a_bad_photograph_spoils_only_its_own_row(embedder: LocalEmbedder) -> None:
    good = Photograph(picture(1))
    batch = [good, *(Photograph(content) for content in BAD.values()), good]

    results = await embedder.batch_embed(batch)

    reasons = [result.reason if isinstance(result, FashionError) else "" for result in results]
    assert reasons == ["", *BAD, ""]


async def test_many_bad_photographs_wedge_nothing(embedder: LocalEmbedder) -> None:
    results = await embedder.batch_embed([Photograph(picture(1, 1, 1)) for _ in range(200)])

    assert {type(result) for result in results} == {InvalidInput}
    await embedder.embed(Photograph(picture(1)))


async def test_an_unexpected_error_in_decoding_spoils_only_its_own_row(embedder: LocalEmbedder) -> None:
    unreadable = Photograph(content=object())  # type: ignore[arg-type]

    bad, good = await embedder.batch_embed([unreadable, Photograph(picture(1))])

    assert type(bad) is FashionError
    assert bad.reason == "INTERNAL"
    assert isinstance(good, Embedding)


async def test_a_query_does_not_wait_for_the_whole_of_a_large_batch(encoder: GatedEncoder) -> None:
    async with embedding_with(encoder, limits(batch_places=1000)) as embedder:
        encoder.gate.clear()
        many = [Photograph(picture(1))] * 300
        under_way = asyncio.create_task(embedder.batch_embed(many))
        assert await asyncio.to_thread(encoder.inside.wait, 20)
        query = asyncio.create_task(embedder.embed(Photograph(picture(2))))
        encoder.gate.set()
        await query

        assert encoder.encoded < 150
        assert not under_way.done()
        results = await under_way
        assert len(results) == 300


async def test_queries_beyond_the_queue_are_refused_and_batches_are_not(encoder: GatedEncoder) -> None:
    async with embedding_with(encoder, limits(query_places=3)) as embedder:
        encoder.gate.clear()
        queries = [asyncio.create_task(embedder.embed(Photograph(picture(n)))) for n in range(3)]
        assert await asyncio.to_thread(encoder.inside.wait, 20)
        with pytest.raises(Overloaded) as caught:
            await embedder.embed(Photograph(picture(9)))
        batch = asyncio.create_task(embedder.batch_embed([Photograph(picture(10))]))
        encoder.gate.set()

        assert caught.value.reason == "QUEUE_FULL"
        assert len(await asyncio.gather(*queries)) == 3
        assert isinstance((await batch)[0], Embedding)


async def test_batches_beyond_their_places_are_refused_as_a_whole(encoder: GatedEncoder) -> None:
    async with embedding_with(encoder, limits(batch_places=10)) as embedder:
        encoder.gate.clear()
        first = asyncio.create_task(embedder.batch_embed([Photograph(picture(1))] * 8))
        assert await asyncio.to_thread(encoder.inside.wait, 20)
        with pytest.raises(Overloaded):
            await embedder.batch_embed([Photograph(picture(1))] * 3)
        encoder.gate.set()
        assert len(await first) == 8


async def test_the_callers_deadline_holds_in_process(encoder: GatedEncoder) -> None:
    async with embedding_with(encoder, limits()) as embedder:
        encoder.gate.clear()
        with pytest.raises(DeadlineExceeded), deadline.at_most(0.05):
            await embedder.embed(Photograph(picture(1)))
        with pytest.raises(DeadlineExceeded), deadline.at_most(0.05):
            await embedder.batch_embed([Photograph(picture(n)) for n in range(30)])
        encoder.gate.set()

        await embedder.embed(Photograph(picture(2)))
        # The photograph whose inference had begun, and this one, but none past its deadline.
        assert encoder.encoded == 2


async def test_what_is_past_its_deadline_is_not_even_decoded(embedder: LocalEmbedder, encoder: GatedEncoder) -> None:
    with pytest.raises(DeadlineExceeded), deadline.at_most(-1):
        await embedder.embed(Photograph(b"not an image"))
    assert encoder.encoded == 0


async def test_a_caller_who_goes_frees_the_place(encoder: GatedEncoder) -> None:
    async with embedding_with(encoder, limits(query_places=1)) as embedder:
        encoder.gate.clear()
        gone = asyncio.create_task(embedder.embed(Photograph(picture(1))))
        assert await asyncio.to_thread(encoder.inside.wait, 20)
        gone.cancel()
        await asyncio.wait({gone})
        encoder.gate.set()

        await embedder.embed(Photograph(picture(2)))


async def test_a_cancelled_batch_keeps_its_thread_from_other_batches_until_it_is_done(embedder: LocalEmbedder) -> None:
    first, second = GatedPhotograph(), GatedPhotograph()
    try:
        for content, begins in ((first, True), (second, False)):
            batch = asyncio.create_task(embedder.batch_embed([Photograph(content)] * 8))
            assert await asyncio.to_thread(content.inside.wait, 20 if begins else 0.2) is begins
            batch.cancel()
            await asyncio.wait({batch})
        # The other thread is left to queries, however many batches were cancelled.
        await embedder.embed(Photograph(picture(1)))
    finally:
        first.gate.set()
        second.gate.set()
    results = await embedder.batch_embed([Photograph(picture(2))])
    assert isinstance(results[0], Embedding)
    assert (first.decoded, second.decoded) == (1, 0)


async def test_a_cancelled_batch_keeps_the_places_of_what_is_being_decoded(encoder: GatedEncoder) -> None:
    content = GatedPhotograph()
    async with embedding_with(encoder, limits(batch_places=8)) as embedder:
        batch = asyncio.create_task(embedder.batch_embed([Photograph(content)] * 8))
        assert await asyncio.to_thread(content.inside.wait, 20)
        batch.cancel()
        await asyncio.wait({batch})
        with pytest.raises(Overloaded) as caught:
            await embedder.batch_embed([Photograph(picture(1))] * 5)
        content.gate.set()
        assert caught.value.metadata == {"waiting": "4", "places": "8"}
        # The thread decodes no further photograph; then its places are free.
        await embedder.batch_embed([Photograph(picture(1))] * 4)
        assert len(await embedder.batch_embed([Photograph(picture(1))] * 8)) == 8
    assert content.decoded == 1


async def test_second_looks_of_batches_leave_a_thread_to_queries_too() -> None:
    encoder = TurningEncoder()
    contents = [GatedPhotograph() for _ in range(4)]
    for content in contents:
        content.gate.set()
    async with embedding_with(encoder, limits()) as embedder:
        encoder.gate.clear()
        batch = asyncio.create_task(embedder.batch_embed([Photograph(content) for content in contents]))
        assert await asyncio.to_thread(encoder.inside.wait, 20)
        for content in contents:
            content.gate.clear()
            content.inside.clear()
        encoder.gate.set()
        try:
            assert await asyncio.to_thread(contents[0].inside.wait, 20)
            await embedder.embed(Photograph(picture(1)))
            assert not any(content.inside.is_set() for content in contents[1:])
        finally:
            for content in contents:
                content.gate.set()
        assert len(await batch) == 4


async def test_a_failed_inference_is_told_to_all_and_the_next_one_works(encoder: GatedEncoder) -> None:
    def fail() -> None:
        encoder.failure = lambda: None
        raise RuntimeError("out of memory")

    async with embedding_with(encoder, limits()) as embedder:
        encoder.failure = fail
        with pytest.raises(RuntimeError, match="out of memory"):
            await embedder.batch_embed([Photograph(picture(n)) for n in range(20)])

        assert len(await embedder.batch_embed([Photograph(picture(n)) for n in range(20)])) == 20


async def test_a_dead_encoder_refuses_everything_and_says_so(encoder: GatedEncoder) -> None:
    def die() -> None:
        raise SystemExit

    async with embedding_with(encoder, limits()) as embedder:
        encoder.failure = die
        died = asyncio.create_task(embedder.died())
        with pytest.raises(NotReady):
            await embedder.batch_embed([Photograph(picture(n)) for n in range(20)])
        with pytest.raises(NotReady) as caught:
            await embedder.embed(Photograph(picture(1)))
        await died

    assert caught.value.reason == "MODEL_NOT_READY"


async def test_the_rest_of_warming_up_comes_between_photographs(encoder: GatedEncoder) -> None:
    async with embedding_with(encoder, limits()) as embedder:
        encoder.gate.clear()
        asked = asyncio.create_task(embedder.embed(Photograph(picture(1))))
        assert await asyncio.to_thread(encoder.inside.wait, 20)
        rest = asyncio.create_task(embedder.warm_up_further())
        await asyncio.sleep(0.05)
        assert len(encoder.warm_steps) == 1
        encoder.gate.set()
        await asyncio.gather(asked, rest)
        assert len(encoder.warm_steps) == 3 and len({*encoder.warm_steps}) == 1
        await embedder.embed(Photograph(picture(2)))


async def test_warming_up_that_fails_later_spoils_no_photograph(encoder: GatedEncoder) -> None:
    class Broken(GatedEncoder):
        def warm_up(self) -> Iterator[None]:
            yield
            raise RuntimeError("no such kernel")

    async with embedding_with(Broken(), limits()) as embedder:
        await embedder.warm_up_further()
        await embedder.embed(Photograph(picture(1)))


async def test_warming_up_that_fails_is_told(encoder: GatedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(GatedEncoder):
        def warm_up(self) -> Iterator[None]:
            raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        async with embedding_with(Broken(), limits()):
            pytest.fail("started")


async def test_no_thread_is_left_behind(encoder: GatedEncoder) -> None:
    before = set(threading.enumerate())
    async with embedding_with(encoder, limits()) as embedder:
        await embedder.embed(Photograph(picture(1)))
    ends = time.monotonic() + 20
    while left := {each for each in threading.enumerate() if each.name.startswith(("decode", "inference"))} - before:
        assert time.monotonic() < ends, left
        await asyncio.sleep(0.01)
