"""Colours of a picture's own profile as colours of sRGB."""

import io
import struct
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageCms

# A picture whose profile changes no colour by more than this, of 255, keeps its pixels to the bit.
_NOTICEABLE: Final = 2
_HEADER_BYTES: Final = 128
# The modes that a profile of a colour space is for.
_MODES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_CLASSES: Final = (b"scnr", b"mntr", b"prtr", b"spac")
_GREYS: Final = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class ToSrgb:
    """Converts pictures of one profile to sRGB; several threads may convert at once."""

    def __init__(self, transform: ImageCms.ImageCmsTransform, mode: str) -> None:
        self._transform = transform
        self.mode = mode

    def convert(self, picture: Image.Image) -> Image.Image:
        """Converts a picture of mode `self.mode`; returns one of mode "RGB"."""
        return ImageCms.applyTransform(picture, self._transform) or picture


def to_srgb(profile: bytes | None, picture_mode: str) -> ToSrgb | None:
    """Returns what converts a picture of a profile to sRGB.

    Args:
        profile: an ICC profile, unchecked.
        picture_mode: Pillow's mode of the picture as stored.

    Returns:
        The conversion; None where the picture has no profile, a broken one, one for another kind of picture, or one
        whose colours are those of sRGB.
    """
    if profile is None or not _is_sound(profile):
        return None
    mode = _MODES[profile[16:20]]
    fits = {"RGB": picture_mode != "CMYK", "L": picture_mode in _GREYS, "CMYK": picture_mode == "CMYK"}
    return _conversion(profile, mode) if fits[mode] else None


@lru_cache(maxsize=8)
def _conversion(profile: bytes, mode: str) -> ToSrgb | None:
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        conversion = ToSrgb(transform, mode)
        colours = _colours(mode)
        if colours is not None:
            plain = np.asarray(colours.convert("RGB"), dtype=np.int16)
            if np.abs(np.asarray(conversion.convert(colours), dtype=np.int16) - plain).max() <= _NOTICEABLE:
                return None
    # Whatever is wrong with a profile, the picture is sound.
    except Exception:
        return None
    return conversion


def _is_sound(profile: bytes) -> bool:
    """Tells whether a profile's header and table of tags are in order."""
    if len(profile) < _HEADER_BYTES + 4 or profile[36:40] != b"acsp":
        return False
    size, tags = struct.unpack(">I", profile[:4])[0], struct.unpack(">I", profile[128:132])[0]
    kind = profile[12:16] in _CLASSES and profile[16:20] in _MODES and profile[20:24] in (b"XYZ ", b"Lab ")
    if not kind or not _HEADER_BYTES + 4 <= size <= len(profile) or not 1 <= tags <= 100:
        return False
    table = profile[132 : 132 + 12 * tags]
    entries = list(struct.iter_unpack(">4sII", table)) if len(table) == 12 * tags else []
    return bool(entries) and all(at >= _HEADER_BYTES and at + length <= size for _, at, length in entries)


def _colours(mode: str) -> Image.Image | None:
    """Returns colours from all over a space, to compare by; None for CMYK, which is never sRGB."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode == "CMYK":
        return None
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(9, 81, 3))
