"""Reads the chunks of a WebP file."""

from collections.abc import Iterator
from typing import Final

from services.vision.container import MAX_PROFILE_BYTES, Container, bounded, broken, orientation

_KIND: Final = "WEBP"
# What the header of an extended file says about alpha and animation; the rest is metadata.
_KEPT_FLAGS: Final = 0x12
# The decoder holds two canvases, its output, Pillow's picture and that picture on white, each of 4 bytes per pixel.
_PIXEL_BYTES: Final = 20


def read_webp(content: bytes) -> Container:
    """Reads a WebP file; of an animation the first picture.

    Raises:
        InvalidInput: IMAGE_UNREADABLE.
    """
    kept: list[bytes] = []
    metadata: dict[str, bytes] = {}
    size: tuple[int, int] | None = None
    pixels = False
    for name, begin, end in bounded(_chunks(content), _KIND):
        body = content[begin:end]
        if name == b"VP8X" and not kept and len(body) >= 10:
            kept.append(_chunk(name, bytes([body[0] & _KEPT_FLAGS]) + body[1:10]))
            size = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        elif name in (b"VP8 ", b"VP8L", b"ANMF") and not pixels:
            kept.append(_chunk(name, body))
            size = size or _bitstream_size(name, body)
            pixels = True
        elif name in (b"ALPH", b"ANIM") and not pixels:
            kept.append(_chunk(name, body))
        elif name in (b"ICCP", b"EXIF", b"XMP "):
            metadata.setdefault(name.decode(), body)
    if size is None or not pixels:
        raise broken(_KIND, "it has no picture data")
    joined = b"WEBP" + b"".join(kept)
    profile = metadata.get("ICCP")
    return Container(
        format=_KIND,
        content=b"RIFF" + len(joined).to_bytes(4, "little") + joined,
        width=size[0],
        height=size[1],
        pixel_bytes=_PIXEL_BYTES,
        orientation=orientation(metadata.get("EXIF"), metadata.get("XMP ")),
        profile=profile if profile is not None and len(profile) <= MAX_PROFILE_BYTES else None,
    )


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, begin and end of the body of each chunk.

    Raises:
        InvalidInput: IMAGE_UNREADABLE: pixels are cut off.
    """
    position = 12
    while position + 8 <= len(content):
        name = content[position : position + 4]
        end = position + 8 + int.from_bytes(content[position + 4 : position + 8], "little")
        if end > len(content) and name in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANMF"):
            raise broken(_KIND, "it ends within its pixels")
        yield name, position + 8, end
        position = end + end % 2


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def _bitstream_size(name: bytes, body: bytes) -> tuple[int, int] | None:
    if name == b"VP8 " and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if name == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
