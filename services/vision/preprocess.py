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
from services.vision.decode import WHITE, ImageLimits, decode

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
        """
        paddings = [padding for padding, value in _PADDING_JSON.items() if value == described.get("pad")]
        known = described.get("resize") == RESAMPLE and described.get("channels") in ("RGB", "BGR")
        if not known or not paddings:
            raise InvalidInput(
                "This version cannot do the bundle's preprocessing.",
                reason="BUNDLE_INVALID",
                metadata={"field": "preprocessing"},
            )
        offset = tuple(float(value) for value in described["offset"])
        if len(offset) != 3:
            raise InvalidInput(
                f"The bundle's preprocessing.offset has {len(offset)} values instead of 3.",
                reason="BUNDLE_INVALID",
                metadata={"field": "preprocessing.offset"},
            )
        frame = Frame(height, width, paddings[0])
        return cls(frame, described["channels"], float(described["scale"]), offset)


# How `bundle.json` names a padding, in words and in its field `pad`.
_PADDING_WORDS: Final = {Padding.WHITE: "white", Padding.RIM: "the median colour of its rim"}
_PADDING_JSON: Final[Mapping[Padding, Any]] = {Padding.WHITE: list(WHITE), Padding.RIM: "rim"}

# A JPEG is decoded at this multiple, or more, of the size that it is then reduced to. At twice that size, embeddings
# begin to differ (docs/decisions/0007).
_OVERSAMPLING: Final = 3.0


def prepare(
    content: bytes, frame: Frame, region: Box | None = None, limits: ImageLimits | None = None
) -> NDArray[np.uint8]:
    """Decodes a photograph and fits it into the input, still as pixels.

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
    if region is not None:
        check_region(region)
    across, down = (region.right - region.left, region.bottom - region.top) if region is not None else (1.0, 1.0)

    def enough(picture_width: int, picture_height: int) -> float:
        return _OVERSAMPLING * min(frame.width / (picture_width * across), frame.height / (picture_height * down))

    return fit(decode(content, limits, enough), frame, region)


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


def fit(picture: Image.Image, frame: Frame, region: Box | None = None) -> NDArray[np.uint8]:
    """Fits an RGB picture whole into the input, its aspect kept, centred on the padding.

    Args:
        picture: mode "RGB".
        frame: the input.
        region: the part to use, at least one pixel of it; None for the whole.

    Returns:
        Pixels (height, width, 3), uint8, RGB in [0, 255].
    """
    if region is not None:
        picture = _crop(picture, region)
    height, width = frame.height, frame.width
    factor = min(width / picture.width, height / picture.height)
    size = (
        min(width, max(1, round(picture.width * factor))),
        min(height, max(1, round(picture.height * factor))),
    )
    if picture.size != size:
        # Pillow's bicubic filter widens with the reduction, so it antialiases.
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    if size != (width, height):
        colour = _rim_colour(picture) if frame.padding is Padding.RIM else WHITE
        canvas = Image.new("RGB", (width, height), colour)
        canvas.paste(picture, ((width - size[0]) // 2, (height - size[1]) // 2))
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


def _rim_colour(picture: Image.Image) -> tuple[int, int, int]:
    """The median of the outermost pixels, channel by channel."""
    pixels = np.asarray(picture)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(rim, axis=0).astype(np.uint8).tolist()
    return red, green, blue


def _crop(picture: Image.Image, region: Box) -> Image.Image:
    left = min(int(region.left * picture.width), picture.width - 1)
    top = min(int(region.top * picture.height), picture.height - 1)
    right = max(left + 1, round(region.right * picture.width))
    bottom = max(top + 1, round(region.bottom * picture.height))
    return picture.crop((left, top, right, bottom))
