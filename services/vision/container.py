"""What a picture's file consists of, read without decoding: size, orientation, profile, and the work it asks for."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from PIL import ExifTags, Image

from services.contract.errors import InvalidInput

# Larger profiles are passed over; those of printing presses have at most some megabytes.
MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
# Bounds the time of walking through a file that consists of empty pieces.
MAX_PIECES: Final = 20_000


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


def bounded(pieces: Iterable[tuple[bytes, int, int]], kind: str) -> Iterator[tuple[bytes, int, int]]:
    """Yields the pieces of a file.

    Raises:
        InvalidInput: IMAGE_UNREADABLE: there are more than any encoder writes.
    """
    for count, piece in enumerate(pieces):
        if count >= MAX_PIECES:
            raise broken(kind, f"it has more than {MAX_PIECES} parts")
        yield piece


def orientation(**metadata: bytes | str | None) -> int:
    """Returns the orientation that metadata tell; 1 where they tell none or are broken.

    Args:
        metadata: the entries of `Image.info` that Pillow would have read from the file.
    """
    shell = Image.new("L", (1, 1))
    shell.info.update({name: value for name, value in metadata.items() if value is not None})
    try:
        value = shell.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Whatever Pillow stumbles over, the pixels are sound.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def inflated(content: bytes, max_bytes: int) -> bytes | None:
    """Inflates a zlib stream; returns None where it is broken or longer than `max_bytes`."""
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(content, max_bytes)
    except zlib.error:
        return None
    return out if stream.eof else None
