"""Looking at photographs: when a second look is taken, and where garments lie in the photograph that was sent."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

from offline.benchmark.hard_pictures import display_p3_profile
from services.contract.errors import Unsupported
from services.contract.values import Box, Photograph, Subject
from services.embedder.batching import BatchingLimits
from services.embedder.encoder import Features
from services.embedder.garment_heads import FramedGarment, Sight
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.service import EmbedderLimits, local_embedder
from services.embedder.views import embed_views, garments_in, prepare_view
from services.vision import Frame, fit, preprocess
from services.vision.decode import ImageLimits, decoded
from services.vision.preprocess import REGION_MARGIN, widened

FRAME = Frame(80, 60)
SMALL = (0.4, 0.4, 0.6, 0.7)
FLOOR, SHIRT = (120, 90, 60), (20, 40, 200)


def photograph(box: tuple[float, float, float, float], ground: tuple[int, int, int] = FLOOR, width: int = 400) -> bytes:
    """A shirt of one colour on a floor, four wide to three high."""
    picture = Image.new("RGB", (width, width * 3 // 4), ground)
    edges = [share * side for share, side in zip(box, picture.size * 2, strict=True)]
    ImageDraw.Draw(picture).rectangle(edges, fill=SHIRT)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


class ShirtHeads:
    """Finds what is blue in the pixels, which the encoder hands on as its map."""

    finds_garments = True

    def __init__(self, turns: int = 0) -> None:
        self.turns = turns

    def see(self, maps: Sequence[NDArray[np.float32]]) -> list[Sight]:
        return [self._sight(picture) for picture in maps[0]]

    def _sight(self, picture: NDArray[np.float32]) -> Sight:
        blue = picture[..., 2] > 150
        blue &= picture[..., 0] < 80
        rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
        if not len(rows):
            return Sight(self.turns)
        height, width = blue.shape
        box = Box(columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
        # Only the photograph as it was sent lies on its side.
        return Sight(self.turns if width > 0 and not picture[0, 0].any() else 0, (FramedGarment(box, "Topwear", 0.9),))


class SeeingEncoder(FakeEncoder):
    """The fake encoder, with heads that see shirts; counts its inferences."""

    def __init__(self, heads: Any) -> None:
        super().__init__(dimension=32)
        self.heads = heads
        self.seen = 0

    @property
    def garment_heads(self) -> Any:
        return self.heads

    def features(self, batch: NDArray[np.uint8], *, crowded: bool = False) -> Features:
        self.seen += len(batch)
        return Features(self.encode(batch), (batch.astype(np.float32),))


def box_of(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]


@pytest.mark.parametrize("region", [None, Box(0.25, 0.1, 0.95, 0.9)])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("place", [(0.3, 0.2, 0.7, 0.8), (0.4, 0.55, 0.6, 0.75)])
def test_a_garment_lies_where_it_was_in_the_photograph_that_was_sent(
    place: tuple[float, float, float, float], turns: int, region: Box | None
) -> None:
    prepared = prepare_view(Photograph(photograph(place), region), FRAME, turns=turns)

    (sight,) = ShirtHeads().see([prepared.pixels[None].astype(np.float32)])
    (garment,) = garments_in(prepared, sight, FRAME)

    # A pixel of the input is up to a thirtieth of the photograph.
    assert box_of(garment.box) == pytest.approx(place, abs=0.04)


def embeddings(encoder: SeeingEncoder, *photographs: Photograph) -> list[NDArray[np.float32]]:
    return embed_views(encoder, photographs, [prepare_view(each, encoder.frame) for each in photographs])


def test_the_garment_is_looked_at_only_where_the_caller_asks_for_it() -> None:
    content = photograph((0.4, 0.4, 0.6, 0.7))
    encoder = SeeingEncoder(ShirtHeads())

    (whole,) = embeddings(encoder, Photograph(content))
    assert encoder.seen == 1
    (auto,) = embeddings(encoder, Photograph(content, subject=Subject.AUTO))
    assert encoder.seen == 3
    assert not np.allclose(whole, auto)


@pytest.mark.parametrize(
    "studio_shot",
    [
        pytest.param(
            Photograph(photograph((0.4, 0.4, 0.6, 0.7), (255, 255, 255)), subject=Subject.AUTO), id="on white"
        ),
        pytest.param(Photograph(photograph((0.01, 0.01, 0.99, 0.99)), subject=Subject.AUTO), id="fills the photograph"),
        pytest.param(Photograph(photograph((0.0, 0.0, 0.0, 0.0), (90, 90, 90)), subject=Subject.AUTO), id="no garment"),
        pytest.param(Photograph(photograph((0.4, 0.4, 0.6, 0.7)), Box(0.3, 0.3, 0.8, 0.8), Subject.AUTO), id="region"),
    ],
)
def test_nothing_changes_by_a_bit_where_the_first_look_is_enough(studio_shot: Photograph) -> None:
    encoder = SeeingEncoder(ShirtHeads())

    (auto,) = embeddings(encoder, studio_shot)
    (whole,) = embeddings(encoder, Photograph(studio_shot.content, studio_shot.region))

    assert encoder.seen == 2
    np.testing.assert_array_equal(auto, whole)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photograph_on_its_side_is_turned_upright_and_embedded_as_if_it_had_been(turns: int) -> None:
    upright = Image.open(io.BytesIO(photograph((0.4, 0.4, 0.6, 0.7), (0, 0, 0)))).convert("RGB")
    content = io.BytesIO()
    upright.rotate(90 * turns, expand=True).save(content, "PNG")
    encoder = SeeingEncoder(TurnedOnceHeads(turns))

    (turned,) = embeddings(encoder, Photograph(content.getvalue()))

    assert encoder.seen == 2
    np.testing.assert_array_equal(turned, encoder.encode(fit(upright, FRAME)[None])[0])


class TurnedOnceHeads(ShirtHeads):
    """Says of the first picture that it is turned, and of later ones that they are upright."""

    def see(self, maps: Sequence[NDArray[np.float32]]) -> list[Sight]:
        turns, self.turns = self.turns, 0
        return [Sight(turns) for _ in maps[0]]


@pytest.mark.parametrize(
    ("form", "size", "box", "orientation", "profile", "decoded_again"),
    [
        pytest.param("JPEG", (200, 256), Box(0.2, 0.2, 0.7, 0.7), 1, False, False, id="small"),
        pytest.param("JPEG", (2100, 2800), Box(0.2, 0.2, 0.8, 0.8), 1, False, False, id="at an eighth both times"),
        pytest.param(
            "JPEG", (1500, 2000), Box(0.2, 0.2, 0.4, 0.4), 1, False, True, id="a small garment of a large one"
        ),
        pytest.param("JPEG", (2100, 2800), Box(0.2, 0.2, 0.8, 0.8), 6, False, False, id="stored on its side"),
        pytest.param("JPEG", (800, 1000), Box(0.3, 0.3, 0.5, 0.5), 1, True, True, id="reduced for its colours"),
        pytest.param("PNG", (400, 500), Box(0.3, 0.3, 0.5, 0.5), 1, False, False, id="no JPEG"),
        pytest.param("PNG", (600, 800), Box(0.3, 0.3, 0.5, 0.5), 1, False, True, id="too large to be kept"),
    ],
)
def test_a_second_look_decodes_nothing_that_the_first_has_and_sees_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    size: tuple[int, int],
    box: Box,
    orientation: int,
    profile: bool,
    decoded_again: bool,
) -> None:
    noise = np.random.default_rng(1).integers(0, 200, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    picture, content, exif = Image.fromarray(noise).resize(size), io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(content, form, exif=exif, icc_profile=display_p3_profile() if profile else None)
    asked = Photograph(content.getvalue(), subject=Subject.AUTO)
    first, anew = prepare_view(asked, FRAME), prepare_view(asked, FRAME, region=box)
    decodings = []
    monkeypatch.setattr(preprocess, "decoded", lambda *arguments: decodings.append(arguments) or decoded(*arguments))

    second = prepare_view(asked, FRAME, region=box, first=first)

    assert bool(decodings) == decoded_again
    np.testing.assert_array_equal(second.pixels, anew.pixels)
    assert (second.region, second.size) == (anew.region, anew.size)


def test_a_studio_shot_is_not_kept_for_a_second_look() -> None:
    content = photograph(SMALL, (255, 255, 255))
    assert prepare_view(Photograph(content, subject=Subject.AUTO), FRAME).decoded is None
    assert prepare_view(Photograph(photograph(SMALL)), FRAME).decoded is None
    assert prepare_view(Photograph(photograph(SMALL), subject=Subject.AUTO), FRAME).decoded is not None


def test_a_region_gets_its_margin_as_far_as_there_is_a_picture() -> None:
    assert box_of(widened(Box(0.4, 0.3, 0.6, 0.7))) == pytest.approx(
        [0.4 - 0.2 * REGION_MARGIN, 0.3 - 0.4 * REGION_MARGIN, 0.6 + 0.2 * REGION_MARGIN, 0.7 + 0.4 * REGION_MARGIN]
    )
    assert box_of(widened(Box(0.0, 0.0, 1.0, 1.0))) == [0, 0, 1, 1]


LIMITS = EmbedderLimits(ImageLimits(), BatchingLimits(4, 16, micro_batch=4, inference_timeout_s=30), 2)


async def test_the_service_finds_garments_and_embeds_as_an_evaluation_does() -> None:
    encoder = SeeingEncoder(ShirtHeads())
    asked = Photograph(photograph((0.4, 0.4, 0.6, 0.7)), subject=Subject.AUTO)
    async with local_embedder(encoder, LIMITS, warm_up_timeout_s=60) as embedder:
        (garment,) = await embedder.detect_garments(asked)
        embedding = await embedder.embed(asked)
        (batched,) = await embedder.batch_embed([asked])

    assert (garment.sub_category, garment.confidence) == ("Topwear", 0.9)
    assert embedding.view is not None
    assert (embedding.view.region, embedding.view.garments) == (garment.box, (garment,))
    np.testing.assert_array_equal(embedding.values, embeddings(encoder, asked)[0])
    np.testing.assert_array_equal(embedding.values, batched.values)  # type: ignore[union-attr]


class TurnHead(ShirtHeads):
    """Tells turns, and finds no garments."""

    finds_garments = False

    def see(self, maps: Sequence[NDArray[np.float32]]) -> list[Sight]:
        return [Sight() for _ in maps[0]]


@pytest.mark.parametrize("encoder", [FakeEncoder(dimension=32), SeeingEncoder(TurnHead())], ids=["none", "turns"])
async def test_a_model_without_a_head_for_garments_finds_none_and_says_so(encoder: FakeEncoder) -> None:
    asked = Photograph(photograph(SMALL), subject=Subject.AUTO)
    async with local_embedder(encoder, LIMITS, warm_up_timeout_s=60) as embedder:
        with pytest.raises(Unsupported) as refused:
            await embedder.detect_garments(asked)
        embedding = await embedder.embed(asked)

    assert refused.value.reason == "GARMENTS_UNSUPPORTED"
    np.testing.assert_array_equal(embedding.values, encoder.encode(prepare_view(asked, FRAME).pixels[None])[0])
