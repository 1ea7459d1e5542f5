"""Reads the chunks of a PNG file."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from services.vision.container import MAX_PROFILE_BYTES, Container, bounded, broken, inflated, orientation

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KIND: Final = "PNG"
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_PALETTE: Final = 3
# By colour type: the lengths of a tRNS chunk that means something.
_TRANSPARENCY: Final = {0: range(2, 3), 2: range(6, 7), _PALETTE: range(1, 257)}
_MAX_TEXT_BYTES: Final = 1024 * 1024
_EXIF_TEXT: Final = "Raw profile type exif"
_XMP_TEXT: Final = "XML:com.adobe.xmp"


def read_png(content: bytes) -> Container:
    """Reads a PNG file; of an animation the picture for those who show none.

    Raises:
        InvalidInput: IMAGE_UNREADABLE.
    """
    header: bytes | None = None
    kept = [SIGNATURE]
    profile: bytes | None = None
    metadata: dict[str, bytes | str] = {}
    data = False
    for name, begin, end in bounded(_chunks(content), _KIND):
        if data and name != b"IDAT":
            break
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
            kept.append(whole)
        elif name == b"iCCP":
            profile = _profile(body)
        elif name == b"eXIf":
            metadata["exif"] = body
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            metadata.update(_text(name, body))
    if header is None or not data:
        raise broken(_KIND, "it has no picture data")
    if data:
        kept.append(_END)
    width, height = struct.unpack(">II", header[:8])
    return Container(
        format=_KIND,
        content=b"".join(kept),
        width=width,
        height=height,
        orientation=orientation(**metadata),
        profile=profile,
    )


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, begin and end of the body of each chunk; the last one may be cut off."""
    position = len(SIGNATURE)
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        yield content[position + 4 : position + 8], position + 8, position + 8 + length
        position += 12 + length


def _profile(body: bytes) -> bytes | None:
    name, _, rest = body.partition(b"\0")
    return inflated(rest[1:], MAX_PROFILE_BYTES) if len(name) < len(body) and rest[:1] == b"\0" else None


def _text(kind: bytes, body: bytes) -> dict[str, bytes | str]:
    """Returns the entry of `Image.info` of a text chunk that can hold an orientation."""
    key, _, text = body.partition(b"\0")
    name = key.decode("latin-1")
    if name not in (_EXIF_TEXT, _XMP_TEXT):
        return {}
    compressed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]
    elif kind == b"iTXt":
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    plain = inflated(text, _MAX_TEXT_BYTES) if compressed else text
    if plain is None:
        return {}
    return {"xmp": plain} if name == _XMP_TEXT else {name: plain.decode("latin-1")}
