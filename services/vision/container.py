"""What a picture's file consists of, read without decoding: size, orientation, profile, and the work it asks for."""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from services.concurrency import deadline
from services.contract.errors import InvalidInput

Piece = TypeVar("Piece")

# Larger profiles are passed over; those of printing presses have at most some megabytes.
MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
# Bounds the time of walking through a file that consists of empty pieces.
MAX_PIECES: Final = 20_000
_PIECES_BETWEEN_LOOKS: Final = 256

_EXIF: Final = b"Exif\0\0"
# Byte orders of TIFF; some writers swap the bytes of the number that follows.
_BYTE_ORDERS: Final = {b"II*\0": "<", b"II\0*": "<", b"MM\0*": ">", b"MM*\0": ">"}
_ORIENTATION: Final = 0x0112
# By type of a TIFF entry: how its number is read.
_NUMBERS: Final = {3: "H", 4: "L", 8: "h", 9: "l"}
_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


@dataclass(frozen=True, slots=True)
class Container:
    """A picture's file without all that leaves its pixels as they are.

    Metadata never reaches the decoder, so that no fault of theirs can refuse the picture.

    Attributes:
        format: Pillow's name of the format.
        content: the file, freed of metadata.
        width: columns as stored, in pixels.
        height: rows as stored, in pixels.
        scales: whether the decoder can decode it at a fraction of its size.
        pixel_bytes: memory per decoded pixel, at most, in bytes, until the picture is RGB.
        held_bytes: memory that decoding takes at any size, in bytes.
        work: the time that decoding takes at most, in visits of a JPEG's block of 8 x 8 pixels (some 50 ns).
        pauses: offsets in `content`, ascending, at which decoding can end early.
        orientation: of EXIF, in [1, 8].
        profile: the ICC profile, unchecked.
    """

    format: str
    content: bytes
    width: int
    height: int
    scales: bool = False
    pixel_bytes: int = 8
    held_bytes: int = 0
    work: int = 0
    pauses: tuple[int, ...] = ()
    orientation: int = 1
    profile: bytes | None = None


def broken(kind: str, detail: object) -> InvalidInput:
    """Makes the error of a file that breaks the rules of its format."""
    return InvalidInput(
        f"The {kind} image is broken or cut off ({detail}).", reason="IMAGE_UNREADABLE", metadata={"format": kind}
    )


def bounded(pieces: Iterable[Piece], kind: str) -> Iterator[Piece]:
    """Yields the pieces of a file. Every walk through a file goes through here.

    Raises:
        InvalidInput: IMAGE_UNREADABLE: there are more than any encoder writes.
        DeadlineExceeded: the deadline has passed.
    """
    for count, piece in enumerate(pieces):
        if count % _PIECES_BETWEEN_LOOKS == 0 and deadline.passed(deadline.current()):
            raise deadline.exceeded()
        if count >= MAX_PIECES:
            raise broken(kind, f"it has more than {MAX_PIECES} parts")
        yield piece


def orientation(exif: bytes | None = None, xmp: bytes | None = None) -> int:
    """Returns the orientation that metadata tell, in [1, 8]; 1 where they tell none or are broken.

    Args:
        exif: a TIFF file, which counts before `xmp`.
        xmp: XML.
    """
    value = None if exif is None else _exif_orientation(exif)
    if value is None and xmp is not None and (match := _XMP_ORIENTATION.search(xmp)) is not None:
        value = int(match[1])
    return value if value is not None and 1 <= value <= 8 else 1


def _exif_orientation(exif: bytes) -> int | None:
    """Returns what the first directory says; None for nothing. Pillow would read all entries and what they point to."""
    tiff = exif.removeprefix(_EXIF).removeprefix(_EXIF)
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    begin = 2 + int(struct.unpack(f"{order}L", tiff[4:8])[0])
    if begin > len(tiff):
        return None
    (count,) = struct.unpack(f"{order}H", tiff[begin - 2 : begin])
    count = min(count, (len(tiff) - begin) // 12)
    for tag, kind, numbers, value in struct.iter_unpack(f"{order}HHL4s", tiff[begin : begin + 12 * count]):
        if tag == _ORIENTATION and kind in _NUMBERS and 0 < numbers <= 4 // struct.calcsize(f"={_NUMBERS[kind]}"):
            return int(struct.unpack_from(f"{order}{_NUMBERS[kind]}", value)[0])
    return None


def inflated(content: bytes, max_bytes: int) -> bytes | None:
    """Inflates a zlib stream; returns None where it is broken or longer than `max_bytes`."""
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(content, max_bytes)
    except zlib.error:
        return None
    return out if stream.eof else None
