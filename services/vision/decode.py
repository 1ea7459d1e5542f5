"""Decodes a photograph into upright RGB pixels of sRGB, or says plainly why that is impossible."""

import io
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import AvifImagePlugin, ExifTags, Image, UnidentifiedImageError

from services.concurrency import deadline
from services.contract.errors import FashionError, InvalidInput
from services.vision.avif import is_avif, is_heic, read_avif
from services.vision.colour import ToSrgb, to_srgb
from services.vision.container import Container, broken
from services.vision.jpeg import read_jpeg
from services.vision.memory import MemoryBudget
from services.vision.png import SIGNATURE, read_png
from services.vision.webp import read_webp

FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF")
WHITE: Final = (255, 255, 255)
# The limits of fashion.v1.Image, unless settings change them.
MAX_IMAGE_BYTES: Final = 10 * 1024 * 1024
MAX_IMAGE_PIXELS: Final = 25_000_000
MAX_SCALED_PIXELS: Final = 65_000_000
MAX_IMAGE_WORK: Final = 32_000_000

# EXIF orientations, and what makes a picture upright.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS: Final = (5, 6, 7, 8)
# Fractions of its size at which a decoder that scales can decode.
_SCALES: Final = (1, 2, 4, 8)
# Pixels that are converted at once, which bounds the memory beside the picture.
_STRIP_PIXELS: Final = 1_000_000

# Service threads share the processors; a decoder with threads of its own would take those of others.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The limits that are checked before a photograph is decoded.

    Attributes:
        max_bytes: maximum size of the file.
        max_pixels: maximum pixels that are decoded, width x height.
        max_scaled_pixels: maximum pixels of a JPEG, which beyond `max_pixels` is decoded at half its size or less.
        max_work: maximum work of decoding, in visits of a JPEG's block of 8 x 8 pixels.
        min_side: minimum of width and of height, in pixels; a smaller picture shows nothing.
        memory: what all decoding under these limits shares; None for no bound.
    """

    max_bytes: int = MAX_IMAGE_BYTES
    max_pixels: int = MAX_IMAGE_PIXELS
    max_scaled_pixels: int = MAX_SCALED_PIXELS
    max_work: int = MAX_IMAGE_WORK
    min_side: int = 8
    memory: MemoryBudget | None = None


# Takes the upright width and height, and returns the share of them that is needed.
Enough = Callable[[int, int], float]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A decoded photograph, which knows for which other uses it is decoded well.

    Attributes:
        picture: upright, mode "RGB", at its own size or a reduced one.
    """

    picture: Image.Image
    _container: Container
    _limits: ImageLimits
    _reduction: tuple[int, int]

    def serves(self, enough: Enough) -> bool:
        """Tells whether decoding with another `enough` would give the same picture."""
        return self._reduction == _reduction(self._container, *_share(self._container, self._limits, enough))


def decode(content: bytes, limits: ImageLimits | None = None, enough: Enough | None = None) -> Image.Image:
    """Returns the picture of `decoded`."""
    return decoded(content, limits, enough).picture


def decoded(content: bytes, limits: ImageLimits | None = None, enough: Enough | None = None) -> Decoded:
    """Decodes a photograph: upright as its EXIF orientation says, in RGB of sRGB, transparency laid on white.

    The content determines the format, never a name. Size, pixels and work are checked before any pixel is decoded.
    Of an animation the first picture is taken. Decoding a JPEG or PNG ends at the deadline
    (`services.concurrency.deadline`); limits bound the time of the others.

    Args:
        content: a JPEG, PNG, WebP or AVIF file.
        limits: the limits to check; None for the default ones.
        enough: takes the upright width and height, and returns the share of them that is needed. A JPEG is then decoded
            at the next larger of 1/8, 1/4, 1/2 and 1 of its size. That takes a fraction of the time, since libjpeg
            leaves out the finer frequencies. A picture with a colour profile is reduced before its colours are
            converted.

    Returns:
        The picture, at its own size or a reduced one.

    Raises:
        InvalidInput: IMAGE_EMPTY, IMAGE_TOO_LARGE, IMAGE_FORMAT_UNSUPPORTED, IMAGE_TOO_MANY_PIXELS, IMAGE_TOO_COMPLEX,
            IMAGE_TOO_SMALL, IMAGE_UNREADABLE.
        DeadlineExceeded: the deadline passed.
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
    container = _read(content)
    _check_pixels(container.width, container.height, container, limits)
    _check_work(container, limits)
    share, scale = _share(container, limits, enough)
    size = math.ceil(container.width / scale) * math.ceil(container.height / scale)
    needed = size * container.pixel_bytes + container.held_bytes
    with nullcontext() if limits.memory is None else limits.memory.taken(needed):
        try:
            picture = _decoded(container, limits, share, scale)
        except (FashionError, MemoryError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            text = "The image has more pixels than are accepted: scale it down."
            raise InvalidInput(text, reason="IMAGE_TOO_MANY_PIXELS") from error
        except UnidentifiedImageError as error:
            raise broken(container.format, "its header is wrong") from error
        # Pillow reports a broken file with exceptions of many kinds.
        except Exception as error:
            raise broken(container.format, error) from error
    return Decoded(picture, replace(container, content=b"", pauses=()), limits, _reduction(container, share, scale))


def _read(content: bytes) -> Container:
    if content.startswith(b"\xff\xd8\xff"):
        return read_jpeg(content)
    if content.startswith(SIGNATURE):
        return read_png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return read_webp(content)
    if is_avif(content):
        return read_avif(content)
    if is_heic(content):
        raise InvalidInput(
            "The photograph is a HEIC file, which cannot be read: send it as JPEG. "
            'An iPhone takes JPEG with Settings, Camera, Formats, "Most Compatible".',
            reason="IMAGE_FORMAT_UNSUPPORTED",
            metadata={"format": "HEIC"},
        )
    raise InvalidInput(
        "The content is no JPEG, PNG or WebP image, nor AVIF: convert it to one of these.",
        reason="IMAGE_FORMAT_UNSUPPORTED",
    )


def _check_pixels(width: int, height: int, container: Container, limits: ImageLimits) -> None:
    max_pixels = max(limits.max_pixels, limits.max_scaled_pixels) if container.scales else limits.max_pixels
    if width * height > max_pixels:
        raise InvalidInput(
            f"The image has {width} x {height} = {width * height} pixels; at most {max_pixels} are accepted.",
            reason="IMAGE_TOO_MANY_PIXELS",
            metadata={"width": str(width), "height": str(height), "max_pixels": str(max_pixels)},
        )
    if min(width, height) < limits.min_side:
        raise InvalidInput(
            f"The image has {width} x {height} pixels; at least {limits.min_side} x {limits.min_side} are needed.",
            reason="IMAGE_TOO_SMALL",
            metadata={"width": str(width), "height": str(height), "min_side": str(limits.min_side)},
        )


def _check_work(container: Container, limits: ImageLimits) -> None:
    if container.work > limits.max_work:
        raise InvalidInput(
            f"The {container.format} image would take too long to decode, since it repeats its pixels too often: "
            "save it anew.",
            reason="IMAGE_TOO_COMPLEX",
            metadata={"work": str(container.work), "max_work": str(limits.max_work)},
        )


def _share(container: Container, limits: ImageLimits, enough: Callable[[int, int], float] | None) -> tuple[float, int]:
    """Returns the share of the size that is needed, and the divisor of the size at which to decode."""
    width, height = container.width, container.height
    share = 1.0
    if enough is not None:
        share = min(1.0, enough(height, width) if container.orientation in _QUARTER_TURNS else enough(width, height))
    if not container.scales:
        return share, 1
    # As Pillow's `draft` chooses it.
    across, down = width // math.ceil(width * share), height // math.ceil(height * share)
    scale = max(each for each in _SCALES if each <= max(1, min(across, down)))
    while width * height > limits.max_pixels * scale * scale and scale < _SCALES[-1]:
        scale *= 2
    return share, scale


def _reduction(container: Container, share: float, scale: int) -> tuple[int, int]:
    """Returns the divisor at which a picture is decoded, and that by which it is then reduced for its profile."""
    # An AVIF tells about its profile only as it is decoded.
    may_reduce = container.profile is not None or container.format == "AVIF"
    return scale, int(1 / (share * scale)) if may_reduce else 1


def _decoded(container: Container, limits: ImageLimits, share: float, scale: int) -> Image.Image:
    picture = Image.open(_Source(container), formats=[container.format])
    if container.format == "AVIF":
        # The decoder may put frames together in ways that the walk does not know.
        _check_pixels(*picture.size, container, limits)
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    else:
        orientation = container.orientation
    if scale > 1:
        picture.draft(None, (container.width // scale, container.height // scale))
    picture.load()
    profile = picture.info.get("icc_profile") if container.format == "AVIF" else container.profile
    conversion = to_srgb(profile, picture.mode)
    rgb = _to_rgb(picture) if conversion is None else _to_srgb(picture, conversion, share * scale)
    del picture
    return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


class _Source(io.BytesIO):
    """A file that a decoder reads in parts, and that has no more to read once the deadline has passed."""

    def __init__(self, container: Container) -> None:
        super().__init__(container.content)
        self._pauses = iter(container.pauses)
        self._pause = next(self._pauses, None)

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads at most `size` bytes, up to the next pause.

        Raises:
            DeadlineExceeded: the deadline has passed.
        """
        if deadline.passed(deadline.current()):
            raise deadline.exceeded()
        position = self.tell()
        while self._pause is not None and self._pause <= position:
            self._pause = next(self._pauses, None)
        if self._pause is not None and size is not None and size > self._pause - position:
            size = self._pause - position
        return super().read(size)


def _to_srgb(picture: Image.Image, conversion: ToSrgb, share: float) -> Image.Image:
    """Reduces a picture to the share of its size that is needed, and converts its colours."""
    if conversion.mode == "L":
        picture = _to_grey(picture)
    elif conversion.mode == "RGB" and picture.mode not in ("RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
    if (factor := int(1 / share)) > 1:
        picture = picture.reduce(factor)
    bands = len(conversion.mode)
    if len(picture.getbands()) == bands:
        return _in_strips(picture, conversion.convert)

    def on_white(strip: Image.Image) -> Image.Image:
        *colours, alpha = strip.split()
        opaque = conversion.convert(Image.merge(conversion.mode, colours))
        opaque.putalpha(alpha)
        return _on_white(opaque)

    return _in_strips(picture, on_white)


def _to_grey(picture: Image.Image) -> Image.Image:
    """Converts a grey picture of any depth to 8 bits, with alpha where it has any."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _in_strips(picture, _eight_bits, "LA" if picture.has_transparency_data else "L")
    return picture.convert("LA" if picture.has_transparency_data else "L")


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return _in_strips(picture, lambda strip: _to_rgb(_eight_bits(strip)))
    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.has_transparency_data:
        return _in_strips(picture, _on_white)
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    # Pillow's own conversion clips 16-bit greys at 255 instead of scaling them.
    sixteen_bits = np.asarray(picture, dtype=np.float64)
    grey = Image.fromarray(np.clip(np.rint(sixteen_bits / 257.0), 0, 255).astype(np.uint8), mode="L")
    if picture.has_transparency_data:
        opaque = sixteen_bits != picture.info["transparency"]
        grey.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255, mode="L"))
    return grey


def _on_white(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, (*WHITE, 255)), picture).convert("RGB")


def _in_strips(picture: Image.Image, convert: Callable[[Image.Image], Image.Image], mode: str = "RGB") -> Image.Image:
    """Converts a picture some rows at a time, as its memory beside the picture's own is then small."""
    rows = max(1, _STRIP_PIXELS // picture.width)
    if rows >= picture.height:
        return convert(picture)
    out = Image.new(mode, picture.size)
    for top in range(0, picture.height, rows):
        if deadline.passed(deadline.current()):
            raise deadline.exceeded()
        strip = picture.crop((0, top, picture.width, min(picture.height, top + rows)))
        out.paste(convert(strip), (0, top))
    return out
