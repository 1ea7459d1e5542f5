"""Reads the boxes of an AVIF file as far as they say how much there is to decode.

A file can announce a small picture and hold frames of any size, which the decoder decodes before it compares. So the
frames' own headers are read (`services.vision.av1`). ISO/IEC 14496-12 describes the boxes.
"""

from collections.abc import Iterator
from typing import Final

from services.contract.errors import InvalidInput
from services.vision.av1 import Frames, read_frames
from services.vision.container import Container, bounded, broken

_KIND: Final = "AVIF"
_BRANDS: Final = (b"avif", b"avis")
_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
# The decoder's own planes, its output and Pillow's picture; a picture of 10 bits and full colour has the most.
_PIXEL_BYTES: Final = 17
# A pixel takes half as long as a visit of a JPEG's block.
_PIXELS_PER_WORK: Final = 2
# Of all items together.
_MAX_PARTS: Final = 256
# Of all items together; a picture has some three.
_MAX_UNITS: Final = 4096


def brands(content: bytes) -> tuple[bytes, ...]:
    """Returns the brands of a file that consists of boxes, the major one first; none for other files."""
    if content[4:8] != b"ftyp":
        return ()
    end = min(int.from_bytes(content[:4], "big"), len(content), 512)
    return (content[8:12], *(content[at : at + 4] for at in range(16, end - 3, 4)))


def is_heic(content: bytes) -> bool:
    """Tells whether a file is a HEIC picture, as Apple's phones take them."""
    named = brands(content)
    return any(each in _HEIC_BRANDS for each in named) and not any(each in _BRANDS for each in named)


def is_avif(content: bytes) -> bool:
    """Tells whether a file is an AVIF picture."""
    return any(each in _BRANDS for each in brands(content))


def read_avif(content: bytes) -> Container:
    """Reads an AVIF file that holds a still picture.

    Width and height are those of the largest frame within, or of a grid that is put together of frames.

    Raises:
        InvalidInput: IMAGE_UNREADABLE, IMAGE_FORMAT_UNSUPPORTED for an animation.
    """
    try:
        return _read(content)
    except (IndexError, KeyError, ValueError) as error:
        raise broken(_KIND, f"its boxes are wrong: {error}") from error


def _read(content: bytes) -> Container:
    boxes: dict[bytes, tuple[int, int]] = {}
    for name, begin, end in bounded(_boxes(content, 0, len(content)), _KIND):
        if name == b"meta" and name in boxes:
            raise broken(_KIND, "it has two descriptions")
        boxes[name] = begin, end
    if b"moov" in boxes:
        raise InvalidInput(
            "The AVIF is an animation, which cannot be read: send a still picture.",
            reason="IMAGE_FORMAT_UNSUPPORTED",
            metadata={"format": _KIND},
        )
    if b"meta" not in boxes:
        raise broken(_KIND, "it has no description")
    begin, end = boxes[b"meta"]
    meta = {name: (first, last) for name, first, last in bounded(_boxes(content, begin + 4, end), _KIND)}
    without_metadata = bytearray(content)
    frames: list[Frames] = []
    sizes: list[tuple[int, int]] = []
    units = 0
    kinds = dict(_items(content, *meta[b"iinf"]))
    for item, extents in _locations(content, *meta[b"iloc"], meta.get(b"idat", (0, 0))):
        kind = kinds.get(item, (b"", 0))[0]
        if kind == b"grid":
            sizes.append(_grid_size(_data(content, extents)))
        elif kind == b"av01":
            frames.append(read_frames(_data(content, extents), _KIND, _MAX_UNITS - units))
            units += frames[-1].units
    for kind, at in kinds.values():
        if kind in (b"Exif", b"mime"):
            without_metadata[at : at + 4] = b"free"
    if not frames:
        raise broken(_KIND, "it has no picture data")
    sizes += [(each.width, each.height) for each in frames]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Container(
        format=_KIND,
        content=bytes(without_metadata),
        width=width,
        height=height,
        pixel_bytes=_PIXEL_BYTES,
        work=sum(each.pixels for each in frames) // _PIXELS_PER_WORK,
    )


def _boxes(content: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, begin and end of the body of each box in a part of the file."""
    while position + 8 <= end:
        length, head = int.from_bytes(content[position : position + 4], "big"), 8
        name = content[position + 4 : position + 8]
        if length == 1:
            length, head = int.from_bytes(content[position + 8 : position + 16], "big"), 16
        elif length == 0:
            length = end - position
        if length < head or position + length > end:
            raise ValueError("a box does not fit into its place")
        yield name, position + head, position + length
        position += length


class _Fields:
    """Numbers of a box, one after another."""

    def __init__(self, content: bytes, position: int, end: int) -> None:
        self._content, self._position, self._end = content, position, end

    def number(self, size: int) -> int:
        if self._position + size > self._end:
            raise ValueError("a box is too short")
        self._position += size
        return int.from_bytes(self._content[self._position - size : self._position], "big")


def _items(content: bytes, begin: int, end: int) -> Iterator[tuple[int, tuple[bytes, int]]]:
    """Yields the id of each item, its kind, and where the kind stands."""
    first = begin + (6 if content[begin] == 0 else 8)
    for name, at, _ in bounded(_boxes(content, first, end), _KIND):
        if name == b"infe" and content[at] in (2, 3):
            size = 2 if content[at] == 2 else 4
            kind = at + 4 + size + 2
            yield int.from_bytes(content[at + 4 : at + 4 + size], "big"), (content[kind : kind + 4], kind)


def _locations(
    content: bytes, begin: int, end: int, idat: tuple[int, int]
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yields the id of each item, and begin and end of each part of its data.

    This and the decoder copy an item that has several parts. So these are no longer than the file, all together.
    """
    fields = _Fields(content, begin, end)
    version = fields.number(1)
    fields.number(3)
    sizes = fields.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    parts = copied = 0
    for _ in range(fields.number(4 if version == 2 else 2)):
        item = fields.number(4 if version == 2 else 2)
        method = fields.number(2) & 15 if version else 0
        fields.number(2)
        base = fields.number(base_size)
        extents = []
        count = fields.number(2)
        parts += max(1, count)
        if parts > _MAX_PARTS:
            raise ValueError(f"it has more than {_MAX_PARTS} parts of items")
        for _ in range(count):
            if version:
                fields.number(index_size)
            start = base + fields.number(offset_size) + (idat[0] if method == 1 else 0)
            length = fields.number(length_size) or len(content) - start
            if start + length > len(content):
                raise ValueError("an item is cut off")
            extents.append((start, start + length))
        copied += sum(last - first for first, last in extents) if count > 1 else 0
        if copied > len(content):
            raise ValueError("the parts of its items are longer than the file")
        yield item, extents


def _data(content: bytes, extents: list[tuple[int, int]]) -> memoryview:
    """Returns the data of an item, copied only where they are in several parts."""
    view = memoryview(content)
    if len(extents) == 1:
        return view[extents[0][0] : extents[0][1]]
    return memoryview(b"".join(view[first:last] for first, last in extents))


def _grid_size(data: memoryview) -> tuple[int, int]:
    """Returns the width and height of the picture that a grid is put together to."""
    size = 4 if data[1] & 1 else 2
    if len(data) < 4 + 2 * size:
        raise ValueError("a grid is cut off")
    return int.from_bytes(data[4 : 4 + size], "big"), int.from_bytes(data[4 + size : 4 + 2 * size], "big")
