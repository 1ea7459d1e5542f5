"""Decodes a photograph into upright RGB pixels, or says plainly why that is impossible."""

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
# The limits of fashion.v1.Image, unless settings change them.
MAX_IMAGE_BYTES: Final = 10 * 1024 * 1024
MAX_IMAGE_PIXELS: Final = 25_000_000

# EXIF orientations that rotate a picture by a quarter turn.
_QUARTER_TURNS: Final = (5, 6, 7, 8)

# Exceptions with which Pillow reports a broken file.
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The limits that are checked before a photograph is decoded.

    Attributes:
        max_bytes: maximum size of the file.
        max_pixels: maximum of width x height, read from the header.
        min_side: minimum of width and of height, in pixels; a smaller picture shows nothing.
    """

    max_bytes: int = MAX_IMAGE_BYTES
    max_pixels: int = MAX_IMAGE_PIXELS
    min_side: int = 8


def decode(
    content: bytes, limits: ImageLimits | None = None, enough: Callable[[int, int], float] | None = None
) -> Image.Image:
    """Decodes a photograph: upright as its EXIF orientation says, in RGB, transparency laid on white.

    The content determines the format, never a name. Size and pixels are checked before any pixel is decoded.
    Of an animation the first picture is taken. Embedded colour profiles are not applied.

    Args:
        content: a JPEG, PNG or WebP file.
        limits: the limits to check; None for the default ones.
        enough: takes the upright width and height, and returns the share of them that is needed. A JPEG is then decoded
            at the next larger of 1/8, 1/4, 1/2 and 1 of its size. That takes a fraction of the time, since libjpeg
            leaves out the finer frequencies.

    Returns:
        The picture, mode "RGB", at its own size or a reduced one.

    Raises:
        InvalidInput: IMAGE_EMPTY, IMAGE_TOO_LARGE, IMAGE_FORMAT_UNSUPPORTED, IMAGE_TOO_MANY_PIXELS, IMAGE_TOO_SMALL,
            IMAGE_UNREADABLE.
    """
    limits = limits or ImageLimits()
    if not content:
        raise InvalidInput("The image is empty: it has 0 bytes.", reason="IMAGE_EMPTY")
    if len(content) > limits.max_bytes:
        raise InvalidInput(
            f"The image has {len(content)} bytes; at most {limits.max_bytes} are accepted.",
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
                f"The {picture.format} image is broken or cut off ({error}).",
                reason="IMAGE_UNREADABLE",
                metadata={"format": str(picture.format)},
            ) from error


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    # Pillow's own limit is far above ours. Its warning is an exception wherever warnings are errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput("The image has more pixels than are accepted.", reason="IMAGE_TOO_MANY_PIXELS") from error
    except UnidentifiedImageError as error:
        raise InvalidInput("The content is no JPEG, PNG or WebP image.", reason="IMAGE_FORMAT_UNSUPPORTED") from error
    except _BROKEN as error:
        raise InvalidInput(f"The image's header is broken ({error}).", reason="IMAGE_UNREADABLE") from error


def _draft(picture: Image.Image, enough: Callable[[int, int], float]) -> None:
    width, height = picture.size
    rotated = picture.getexif().get(ExifTags.Base.Orientation, 1) in _QUARTER_TURNS
    share = enough(height, width) if rotated else enough(width, height)
    if share < 1.0:
        picture.draft(None, (math.ceil(width * share), math.ceil(height * share)))


def _check_pixels(picture: Image.Image, limits: ImageLimits) -> None:
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise InvalidInput(
            f"The image has {width} x {height} = {width * height} pixels; at most {limits.max_pixels} are accepted.",
            reason="IMAGE_TOO_MANY_PIXELS",
            metadata={"width": str(width), "height": str(height), "max_pixels": str(limits.max_pixels)},
        )
    if min(width, height) < limits.min_side:
        raise InvalidInput(
            f"The image has {width} x {height} pixels; at least {limits.min_side} x {limits.min_side} are needed.",
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
