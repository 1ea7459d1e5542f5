"""Reads the chunks of a PNG file."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from services.vision.container import MAX_PROFILE_BYTES, Container, bounded, broken, inflated, orientation

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KIND: Final = "PNG"
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_GREY: Final = 0
_COLOURS: Final = 2
_PALETTE: Final = 3
# By colour type: the lengths of a tRNS chunk that means something.
_TRANSPARENCY: Final = {_GREY: range(2, 3), _COLOURS: range(6, 7), _PALETTE: range(1, 257)}
_MAX_TEXT_BYTES: Final = 1024 * 1024
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_METADATA: Final = (b"eXIf", *_TEXTS)
# Chunks behind the pixels that are looked at.
_MAX_BEHIND: Final = 1000
# Texts that can hold an orientation, by their keys.
_EXIF_TEXT: Final = b"Raw profile type exif"
_XMP_TEXT: Final = b"XML:com.adobe.xmp"


def read_png(content: bytes) -> Container:
    """Reads a PNG file; of an animation the picture for those who show none.

    Raises:
        InvalidInput: IMAGE_UNREADABLE.
    """
    header: bytes | None = None
    kept = [SIGNATURE]
    profile: bytes | None = None
    metadata: dict[bytes, tuple[bytes, bytes]] = {}
    data, behind = False, 0
    for name, begin, end in bounded(_chunks(content), _KIND):
        if name == b"IEND":
            break
        if data and name != b"IDAT":
            behind += 1
        # Behind its pixels a picture may still have metadata; or zeros, each twelve of which look like a chunk.
        if behind > _MAX_BEHIND:
            break
        if behind and name not in _METADATA:
            continue
        body, whole = content[begin:end], content[begin - 8 : end + 4]
        if name == b"IHDR" and header is None and len(body) == 13:
            header = body
            kept.append(whole)
        elif header is None:
            raise broken(_KIND, "it does not begin with its header")
        elif name == b"IDAT":
            data = True
            kept.append(whole)
        elif name == b"PLTE" and header[9] == _PALETTE:
            kept.append(whole)
        elif struct.pack(">I", zlib.crc32(name + body)) != content[end : end + 4]:
            continue
        elif name == b"tRNS" and len(body) in _TRANSPARENCY.get(header[9], ()):
            kept.append(_chunk(name, _transparency(body, header[8], header[9])))
        elif name == b"iCCP":
            profile = body if profile is None else profile
        elif name == b"eXIf":
            metadata[name] = name, body
        elif name in _TEXTS:
            key, _, text = body.partition(b"\0")
            if key in (_EXIF_TEXT, _XMP_TEXT):
                metadata[key] = name, text
    if header is None or not data:
        raise broken(_KIND, "it has no picture data")
    if data:
        kept.append(_END)
    width, height = struct.unpack(">II", header[:8])
    # Only what is used is inflated, and each once.
    exif = metadata[b"eXIf"][1] if b"eXIf" in metadata else _exif(*metadata.get(_EXIF_TEXT, (b"", b"")))
    xmp = _plain(*metadata.get(_XMP_TEXT, (b"", b"")))
    return Container(
        format=_KIND,
        content=b"".join(kept),
        width=width,
        height=height,
        # Greys of 16 bits with transparency, the same with 8 bits, and RGB.
        pixel_bytes=10 if header[8:10] == b"\x10\0" else 8,
        orientation=orientation(exif, xmp),
        profile=None if profile is None else _profile(profile),
    )


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, begin and end of the body of each chunk; the last one may be cut off."""
    position = len(SIGNATURE)
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        yield content[position + 4 : position + 8], position + 8, position + 8 + length
        position += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _transparency(body: bytes, depth: int, colour_type: int) -> bytes:
    """Returns the colour that is transparent as the decoder compares it, which is with pixels of 8 bits."""
    if colour_type == _GREY and depth in (2, 4):
        highest = (1 << depth) - 1
        return bytes([0, (body[1] & highest) * 255 // highest])
    if colour_type == _COLOURS and depth == 16:
        return bytes([0, body[0], 0, body[2], 0, body[4]])
    return body


def _profile(body: bytes) -> bytes | None:
    name, _, rest = body.partition(b"\0")
    return inflated(rest[1:], MAX_PROFILE_BYTES) if len(name) < len(body) and rest[:1] == b"\0" else None


def _plain(kind: bytes, text: bytes) -> bytes | None:
    """Returns the text of a text chunk; None where it is broken or compressed and too long.

    Args:
        kind: name of the chunk.
        text: what follows the key.
    """
    compressed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]
    elif kind == b"iTXt":
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    return inflated(text, _MAX_TEXT_BYTES) if compressed else text


def _exif(kind: bytes, text: bytes) -> bytes | None:
    """Returns the EXIF that a text chunk holds in hexadecimal digits, from its fourth line on."""
    lines = (_plain(kind, text) or b"").split(b"\n", 3)
    try:
        return bytes.fromhex(lines[3].decode("ascii")) if len(lines) > 3 else None
    except ValueError:
        return None
