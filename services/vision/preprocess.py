"""Fits a photograph whole into the network's input, and scales its pixels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.contract.errors import InvalidInput
from services.contract.values import Box
from services.vision.decode import WHITE, Decoded, ImageLimits, decoded

RESAMPLE: Final = "bicubic-antialias"


class Padding(StrEnum):
    """What surrounds a photograph whose shape is not the input's."""

    WHITE = "white"
    RIM = "rim"
    """The median colour of the photograph's outermost pixels: a floor goes on as floor, a white wall as white."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The picture that a network sees.

    Attributes:
        height: rows, in pixels.
        width: columns, in pixels.
        padding: what surrounds a photograph of another shape.
    """

    height: int
    width: int
    padding: Padding = Padding.WHITE

    def place(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Returns where a picture of a size lies in the frame: left, top, width and height, in pixels."""
        factor = min(self.width / width, self.height / height)
        across = min(self.width, max(1, round(width * factor)))
        down = min(self.height, max(1, round(height * factor)))
        return (self.width - across) // 2, (self.height - down) // 2, across, down


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a photograph becomes a bundle's input; fixed in training, stored in `bundle.json`.

    A channel of the input is `pixel * scale + offset`, pixels in [0, 255].

    Attributes:
        frame: the network's input.
        channels: order of the colour channels.
        scale: factor.
        offset: summand of each channel, in the order of `channels`.
    """

    frame: Frame
    channels: Literal["RGB", "BGR"]
    scale: float
    offset: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        """Returns the description in `bundle.json` of everything that is done to a photograph."""
        return {
            "colour": "RGB, EXIF orientation applied, transparency on white",
            "resize": RESAMPLE,
            "fit": f"whole image, aspect kept, centred, padded with {_PADDING_WORDS[self.frame.padding]}",
            "pad": _PADDING_JSON[self.frame.padding],
            "channels": self.channels,
            "scale": self.scale,
            "offset": list(self.offset),
        }

    @classmethod
    def from_json(cls, height: int, width: int, described: Mapping[str, Any]) -> Self:
        """Reads the description in `bundle.json`.

        Raises:
            InvalidInput: BUNDLE_INVALID: the description asks for something that this version cannot do.
            ValueError: a number is none, or not finite.
        """
        paddings = [padding for padding, value in _PADDING_JSON.items() if value == described.get("pad")]
        known = described.get("resize") == RESAMPLE and described.get("channels") in ("RGB", "BGR")
        if not known or not paddings:
            raise InvalidInput(
                "This version cannot do the bundle's preprocessing.",
                reason="BUNDLE_INVALID",
                metadata={"field": "preprocessing"},
            )
        scale, offset = float(described["scale"]), tuple(float(value) for value in described["offset"])
        if not all(map(math.isfinite, (scale, *offset))):
            raise ValueError("preprocessing.scale and preprocessing.offset must be finite")
        if len(offset) != 3:
            raise InvalidInput(
                f"The bundle's preprocessing.offset has {len(offset)} values instead of 3.",
                reason="BUNDLE_INVALID",
                metadata={"field": "preprocessing.offset"},
            )
        frame = Frame(height, width, paddings[0])
        return cls(frame, described["channels"], scale, offset)


# How `bundle.json` names a padding, in words and in its field `pad`.
_PADDING_WORDS: Final = {Padding.WHITE: "white", Padding.RIM: "the median colour of its rim"}
_PADDING_JSON: Final[Mapping[Padding, Any]] = {Padding.WHITE: list(WHITE), Padding.RIM: "rim"}

# A JPEG is decoded at this multiple, or more, of the size that it is then reduced to. At twice that size, embeddings
# begin to differ (docs/decisions/0007).
_OVERSAMPLING: Final = 3.0

# A region gets this share of its sides more at each side: networks see a garment best with a little of what is around
# it (docs/decisions/0017).
REGION_MARGIN: Final = 0.15
# Nearly white, as studio shots are around their product.
_NEARLY_WHITE: Final = 240
_WHITE_SHARE: Final = 0.75
# A picture of at most so many pixels is copied sooner than its four edges are cut out of it.
_MAX_COPIED_PIXELS: Final = 50_000


def prepare(
    content: bytes, frame: Frame, region: Box | None = None, limits: ImageLimits | None = None
) -> NDArray[np.uint8]:
    """Decodes a photograph and fits it into the input, still as pixels; see `decoded_for`, `cut_out` and `fit`.

    Args:
        content: a JPEG, PNG, WebP or AVIF file.
        frame: the input.
        region: the part to use; None for the whole.
        limits: the limits to check; None for the default ones.

    Returns:
        Pixels (height, width, 3), uint8, RGB in [0, 255].

    Raises:
        InvalidInput: REGION_INVALID, and those of `decode`.
    """
    return fit(cut_out(decoded_for(content, frame, region, limits).picture, region), frame)


def decoded_for(
    content: bytes,
    frame: Frame,
    region: Box | None = None,
    limits: ImageLimits | None = None,
    earlier: Decoded | None = None,
) -> Decoded:
    """Decodes a photograph, as large as the input needs for a region with a margin around it.

    Args:
        content: a JPEG, PNG, WebP or AVIF file.
        frame: the input.
        region: the part that is needed; None for the whole.
        limits: the limits to check; None for the default ones.
        earlier: the same photograph, decoded for another part; it is returned where it would be decoded as large again.

    Raises:
        InvalidInput: REGION_INVALID, and those of `decode`.
    """
    if region is not None:
        check_region(region)
        region = widened(region)
    across, down = (region.right - region.left, region.bottom - region.top) if region is not None else (1.0, 1.0)

    def enough(picture_width: int, picture_height: int) -> float:
        return _OVERSAMPLING * min(frame.width / (picture_width * across), frame.height / (picture_height * down))

    if earlier is not None and earlier.serves(enough):
        return earlier
    return decoded(content, limits, enough)


def cut_out(picture: Image.Image, region: Box | None) -> Image.Image:
    """Cuts a region out of a picture, with a margin around it; returns the picture for None."""
    return picture if region is None else _crop(picture, widened(region))


def widened(region: Box) -> Box:
    """Returns a region with the margin that helps a network to recognise a garment, as far as there is a picture."""
    across, down = REGION_MARGIN * (region.right - region.left), REGION_MARGIN * (region.bottom - region.top)
    return Box(
        max(0.0, region.left - across),
        max(0.0, region.top - down),
        min(1.0, region.right + across),
        min(1.0, region.bottom + down),
    )


def check_region(region: Box) -> None:
    """Refuses a region that is no box within the photograph.

    Raises:
        InvalidInput: REGION_INVALID: an edge is outside [0, 1] or not a number, or the box is empty.
    """
    for name in ("left", "top", "right", "bottom"):
        edge = getattr(region, name)
        if not (math.isfinite(edge) and 0.0 <= edge <= 1.0):
            raise InvalidInput(
                f"region.{name} is {edge}; it must be in [0, 1].",
                reason="REGION_INVALID",
                metadata={"field": f"region.{name}"},
            )
    if region.left >= region.right or region.top >= region.bottom:
        raise InvalidInput(
            "The region is empty: left must be less than right, and top less than bottom.",
            reason="REGION_INVALID",
            metadata={"field": "region"},
        )


def fit(picture: Image.Image, frame: Frame) -> NDArray[np.uint8]:
    """Fits an RGB picture whole into the input, its aspect kept, centred on the padding.

    Args:
        picture: mode "RGB".
        frame: the input.

    Returns:
        Pixels (height, width, 3), uint8, RGB in [0, 255].
    """
    left, top, *size = frame.place(picture.width, picture.height)
    if picture.size != tuple(size):
        # Pillow's bicubic filter widens with the reduction, so it antialiases.
        picture = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    if picture.size != (frame.width, frame.height):
        colour = _rim_colour(picture) if frame.padding is Padding.RIM else WHITE
        canvas = Image.new("RGB", (frame.width, frame.height), colour)
        canvas.paste(picture, (left, top))
        picture = canvas
    return np.array(picture, dtype=np.uint8)


def scale(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scales pixels to the network's input.

    Args:
        pixels: (..., 3), uint8, RGB.
        preprocessing: the bundle's.

    Returns:
        The same shape, float32, in the bundle's channel order.
    """
    if preprocessing.channels == "BGR":
        pixels = pixels[..., ::-1]
    offset = np.asarray(preprocessing.offset, dtype=np.float32)
    return pixels.astype(np.float32) * np.float32(preprocessing.scale) + offset


def stands_on_white(picture: Image.Image) -> bool:
    """Tells whether three quarters of a picture's outermost pixels are nearly white, as those of studio shots are."""
    return bool((_rim(picture).min(axis=1) >= _NEARLY_WHITE).mean() >= _WHITE_SHARE)


def _rim_colour(picture: Image.Image) -> tuple[int, int, int]:
    """The median of the outermost pixels, channel by channel."""
    red, green, blue = np.median(_rim(picture), axis=0).astype(np.uint8).tolist()
    return red, green, blue


def _rim(picture: Image.Image) -> NDArray[np.uint8]:
    """Returns the outermost pixels: (n, 3), uint8."""
    width, height = picture.size
    if width * height <= _MAX_COPIED_PIXELS:
        pixels = np.asarray(picture)
        return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    edges = ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    return np.concatenate([np.asarray(picture.crop(edge)).reshape(-1, 3) for edge in edges])


def _crop(picture: Image.Image, region: Box) -> Image.Image:
    left = min(int(region.left * picture.width), picture.width - 1)
    top = min(int(region.top * picture.height), picture.height - 1)
    right = max(left + 1, round(region.right * picture.width))
    bottom = max(top + 1, round(region.bottom * picture.height))
    return picture.crop((left, top, right, bottom))
