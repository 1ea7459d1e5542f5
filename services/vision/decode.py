"""Turning the bytes of a photograph into upright RGB pixels, and saying plainly why that cannot be done."""

import io
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from services.contract.errors import InvalidInput

FORMATS: Final = ("JPEG", "PNG", "WEBP")
WHITE: Final = (255, 255, 255)

# EXIF orientations that turn a picture by a quarter.
_LYING: Final = (5, 6, 7, 8)

# What Pillow raises for files that are broken rather than for bugs of ours.
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is refused before it is decoded.

    Attributes:
        max_bytes: longest file, in bytes.
        max_pixels: most pixels (width x height), read from the header.
        min_side: fewest pixels of width and of height; less shows nothing.
    """

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 25_000_000
    min_side: int = 8


def decode(
    content: bytes, limits: ImageLimits | None = None, enough: Callable[[int, int], float] | None = None
) -> Image.Image:
    """Decode a photograph: upright as its EXIF orientation says, in RGB, transparency laid on white.

    The format is told by the content, never by a name. Size and pixels are checked before any pixel is decoded.
    The first picture of an animation is taken. Embedded colour profiles are not applied.

    Args:
        content: a JPEG, PNG or WebP file.
        limits: what to refuse; `ImageLimits()` where not given.
        enough: given the upright width and height, the share of them that is needed. A JPEG is decoded at the smallest
            of 1/8, 1/4, 1/2 and 1 of its size that is no less: libjpeg leaves the finer frequencies out, which takes a
            fraction of the time.

    Returns:
        The picture, mode "RGB", at its own size, or a reduced one.

    Raises:
        InvalidInput: the file is empty, too long, of another format, too large in pixels, or broken.
    """
    limits = limits or ImageLimits()
    if not content:
        raise InvalidInput("the image is empty: 0 bytes", reason="IMAGE_EMPTY")
    if len(content) > limits.max_bytes:
        raise InvalidInput(
            f"the image has {len(content)} bytes, at most {limits.max_bytes} are accepted",
            reason="IMAGE_TOO_LARGE",
            metadata={"bytes": str(len(content)), "max_bytes": str(limits.max_bytes)},
        )
    with _open(content) as picture:
        _check_pixels(picture, limits)
        try:
            if enough is not None and picture.format == "JPEG":
                _draft(picture, enough)
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture))
        except _BROKEN as error:
            raise InvalidInput(
                f"the {picture.format} image is broken or cut off: {error}",
                reason="IMAGE_UNREADABLE",
                metadata={"format": str(picture.format)},
            ) from error


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    # Pillow's own limit is far above ours; its warning is an exception where warnings are errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput("the image has more pixels than are accepted", reason="IMAGE_TOO_MANY_PIXELS") from error
    except UnidentifiedImageError as error:
        raise InvalidInput("the content is no JPEG, PNG or WebP image", reason="IMAGE_FORMAT_UNSUPPORTED") from error
    except _BROKEN as error:
        raise InvalidInput(f"the image's header is broken: {error}", reason="IMAGE_UNREADABLE") from error


def _draft(picture: Image.Image, enough: Callable[[int, int], float]) -> None:
    width, height = picture.size
    lies = picture.getexif().get(ExifTags.Base.Orientation, 1) in _LYING
    share = enough(height, width) if lies else enough(width, height)
    if share < 1.0:
        picture.draft(None, (math.ceil(width * share), math.ceil(height * share)))


def _check_pixels(picture: Image.Image, limits: ImageLimits) -> None:
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise InvalidInput(
            f"the image has {width} x {height} = {width * height} pixels, at most {limits.max_pixels} are accepted",
            reason="IMAGE_TOO_MANY_PIXELS",
            metadata={"width": str(width), "height": str(height), "max_pixels": str(limits.max_pixels)},
        )
    if min(width, height) < limits.min_side:
        raise InvalidInput(
            f"the image has {width} x {height} pixels, at least {limits.min_side} x {limits.min_side} are needed",
            reason="IMAGE_TOO_SMALL",
            metadata={"width": str(width), "height": str(height), "min_side": str(limits.min_side)},
        )


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow's own conversion clips 16-bit greys at 255 instead of scaling them.
        grey = np.asarray(picture, dtype=np.float64) / 257.0
        picture = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8), mode="L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        on_white = Image.new("RGBA", picture.size, (*WHITE, 255))
        return Image.alpha_composite(on_white, picture).convert("RGB")
    return picture.convert("RGB")
