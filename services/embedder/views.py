"""How an encoder looks at a photograph: at the whole of it first, then upright or at its garment, with a reason.

Most photographs are looked at once. One that lies on its side, or whose garment is to be found, is looked at again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.contract.values import Box, Garment, Photograph, Subject, View
from services.embedder.encoder import Encoder, normalise
from services.embedder.garment_heads import UPRIGHT, FramedGarment, Sight
from services.vision.decode import Decoded, ImageLimits
from services.vision.preprocess import Frame, cut_out, decoded_for, fit, stands_on_white, widened

# A garment that fills more of its photograph than this, margin included, is not looked at again.
_MAX_AREA: Final = 0.8
# A photograph decoded to more pixels than this is decoded anew for a second look, rather than kept until then. A JPEG
# of any size has fewer, in the proportions of clothes.
_MAX_KEPT_PIXELS: Final = 262_144
_WHOLE: Final = Box(0.0, 0.0, 1.0, 1.0)
_BLANK: Final = Sight()


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What an inference says of one picture.

    Attributes:
        embedding: float32, shape (dimension,), L2-normalised.
        sight: what the garment heads see; nothing where the model has none.
    """

    embedding: NDArray[np.float32]
    sight: Sight


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photograph, or a part of it, as the network sees it.

    Attributes:
        pixels: (height, width, 3), uint8, RGB.
        region: the part, without its margin; None for the whole.
        turns: quarter turns clockwise that were made.
        size: width and height of the part after that, in pixels of whatever size it was decoded at.
        on_white: whether it is a studio shot, by what surrounds its product; False where no garment is to be found.
        decoded: the photograph, where its garment may be cut out of it; None otherwise.
    """

    pixels: NDArray[np.uint8]
    region: Box | None
    turns: int
    size: tuple[int, int]
    on_white: bool
    decoded: Decoded | None = None


def see(encoder: Encoder, batch: NDArray[np.uint8], crowded: bool = False) -> list[Seen]:
    """Runs an inference.

    Args:
        encoder: the model.
        batch: uint8 (n, height, width, 3).
        crowded: whether others need the processors too.

    Returns:
        What it says of each picture.
    """
    heads = encoder.garment_heads
    features = encoder.features(batch, crowded=crowded)
    if heads is None:
        return [Seen(embedding, _BLANK) for embedding in features.embeddings]
    sights = heads.see(features.maps) if features.logits is None else heads.sights(features.logits)
    return [Seen(*each) for each in zip(features.embeddings, sights, strict=True)]


def prepare_view(
    photograph: Photograph,
    frame: Frame,
    limits: ImageLimits | None = None,
    *,
    region: Box | None = None,
    turns: int = 0,
    first: Prepared | None = None,
) -> Prepared:
    """Decodes a photograph, or a part of it, for one look.

    Args:
        photograph: the photograph.
        frame: the network's input.
        limits: the limits to check; None for the default ones.
        region: the part; None for that which the photograph names.
        turns: quarter turns clockwise to make.
        first: what the first look was taken at, for a second one.

    Raises:
        InvalidInput: those of `prepare`.
    """
    region = region or photograph.region
    decoded = decoded_for(photograph.content, frame, region, limits, None if first is None else first.decoded)
    part = cut_out(decoded.picture, region)
    if turns:
        part = part.transpose(_CLOCKWISE[turns])
    # Only a garment that is to be found depends on it.
    to_find = photograph.subject is Subject.AUTO and region is None
    on_white = to_find and stands_on_white(part)
    kept = to_find and not on_white and part.width * part.height <= _MAX_KEPT_PIXELS
    return Prepared(fit(part, frame), region, turns, part.size, on_white, decoded if kept else None)


_CLOCKWISE: Final = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}


def look_again(photograph: Photograph, prepared: Prepared, sight: Sight, frame: Frame) -> tuple[Box | None, int] | None:
    """Decides after the first look whether a second one is worth its time.

    Returns:
        Region and quarter turns clockwise of the second look; None where the first one is enough.
    """
    region = photograph.region
    if photograph.subject is Subject.AUTO and region is None and not prepared.on_white:
        garments = garments_in(prepared, sight, frame)
        if garments and _area(widened(garments[0].box)) <= _MAX_AREA:
            region = garments[0].box
    if region == photograph.region and sight.turns == UPRIGHT:
        return None
    return region, sight.turns


def view_of(prepared: Prepared, garments: tuple[Garment, ...]) -> View:
    """Returns what was looked at."""
    return View(prepared.region, prepared.turns, garments)


def garments_in(prepared: Prepared, sight: Sight, frame: Frame) -> tuple[Garment, ...]:
    """Returns the garments that were seen, in shares of the whole photograph as it was sent, the largest first."""
    found = [Garment(_sent(each, prepared, frame), each.sub_category, each.confidence) for each in sight.garments]
    return tuple(each for each in found if _area(each.box) > 0)


def second_embedding(first: Seen, second: Seen, prepared: Prepared) -> NDArray[np.float32]:
    """Returns the embedding after a second look: between both looks, unless the first one was not upright.

    Args:
        first: the whole photograph, as it was sent.
        second: its garment, or the photograph turned upright.
        prepared: what was looked at the second time.
    """
    if prepared.turns:
        return second.embedding
    mean: NDArray[np.float32] = normalise((first.embedding + second.embedding)[None])[0]
    return mean


def embed_views(
    encoder: Encoder, photographs: Sequence[Photograph], prepared: Sequence[Prepared]
) -> list[NDArray[np.float32]]:
    """Embeds prepared photographs as the service does, one after another and in this thread.

    Args:
        encoder: the model.
        photographs: n photographs, at least one.
        prepared: the first look at each.

    Returns:
        The embedding of each: float32, shape (dimension,).
    """
    frame = encoder.frame
    first = see(encoder, np.stack([each.pixels for each in prepared]))
    embeddings = [each.embedding for each in first]
    again = {
        index: prepare_view(photograph, frame, region=second[0], turns=second[1], first=look)
        for index, (photograph, look, seen) in enumerate(zip(photographs, prepared, first, strict=True))
        if (second := look_again(photograph, look, seen.sight, frame)) is not None
    }
    if again:
        looks = see(encoder, np.stack([part.pixels for part in again.values()]))
        for (index, part), look in zip(again.items(), looks, strict=True):
            embeddings[index] = second_embedding(first[index], look, part)
    return embeddings


def _sent(garment: FramedGarment, prepared: Prepared, frame: Frame) -> Box:
    """Returns a garment's box in the photograph: without the padding, the turns and the rest of the region."""
    left, top, width, height = frame.place(*prepared.size)
    box = garment.box
    across = [min(max((edge * frame.width - left) / width, 0.0), 1.0) for edge in (box.left, box.right)]
    down = [min(max((edge * frame.height - top) / height, 0.0), 1.0) for edge in (box.top, box.bottom)]
    edges = across[0], down[0], across[1], down[1]
    for _ in range(prepared.turns):
        # Back by a quarter turn, counter-clockwise.
        edges = edges[1], 1 - edges[2], edges[3], 1 - edges[0]
    part = _WHOLE if prepared.region is None else widened(prepared.region)
    wide, high = part.right - part.left, part.bottom - part.top
    return Box(
        part.left + edges[0] * wide, part.top + edges[1] * high, part.left + edges[2] * wide, part.top + edges[3] * high
    )


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)
