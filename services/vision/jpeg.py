"""Reads the segments of a JPEG file, as libjpeg does."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from services.vision.container import MAX_PROFILE_BYTES, Container, bounded, broken, orientation

_KIND: Final = "JPEG"
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_ICC: Final = b"ICC_PROFILE\0"

_SOI: Final = b"\xff\xd8"
_EOI: Final = 0xD9
_SOS: Final = 0xDA
_APP: Final = range(0xE0, 0xF0)
_COMMENT: Final = 0xFE
# Markers without a length: restarts, TEM, and a second start, which the decoder refuses.
_BARE: Final = (0x01, *range(0xD0, 0xD9))
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = (0xC2, 0xC6, 0xCA, 0xCE)
_LOSSLESS: Final = (0xC3, 0xC7, 0xCB, 0xCF)
_ARITHMETIC: Final = range(0xC9, 0xD0)
# An arithmetic decoder takes this many times as long for a block.
_ARITHMETIC_WEIGHT: Final = 8

# Of fill bytes the last one belongs to the marker. To match all of them takes the square of their number.
_MARKER: Final = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_AFTER_SCAN: Final = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a start-of-frame segment says; `blocks` by component id."""

    marker: int
    width: int
    height: int
    blocks: dict[int, int]

    def weight(self) -> int:
        return _ARITHMETIC_WEIGHT if self.marker in _ARITHMETIC else 1


def read_jpeg(content: bytes) -> Container:
    """Reads a JPEG file up to its first scan, and the scans of one that has several.

    Of a file with several pictures (MPO) this is the first one.

    Raises:
        InvalidInput: IMAGE_UNREADABLE.
    """
    kept = [_SOI]
    exif: list[bytes] = []
    xmp: bytes | None = None
    profile: dict[int, bytes] = {}
    parts: set[int] = set()
    frame: _Frame | None = None
    for marker, body, end in _segments(content):
        segment = content[body - 4 : end]
        if marker in _FRAMES and frame is None:
            frame = _read_frame(marker, content[body:end])
        if marker == _SOS:
            header = b"".join(kept)
            break
        if marker not in _APP and marker != _COMMENT:
            kept.append(segment)
            continue
        # The two that determine colours, by libjpeg's own conditions.
        jfif = marker == 0xE0 and end - body >= 14 and content.startswith(b"JFIF\0", body)
        adobe = marker == 0xEE and end - body >= 12 and content.startswith(b"Adobe", body)
        if jfif or adobe:
            kept.append(segment)
        elif marker == 0xE1 and content.startswith(_EXIF, body):
            exif.append(content[body + len(_EXIF) : end])
        elif marker == 0xE1 and content.startswith(_XMP, body):
            xmp = content[body + len(_XMP) : end]
        elif marker == 0xE2 and content.startswith(_ICC, body) and end - body >= 14:
            number, of = content[body + 12], content[body + 13]
            parts.add(of)
            profile[number] = content[body + 14 : end] if number not in profile else b""
    else:
        raise broken(_KIND, "it has no picture data")
    if frame is None:
        raise broken(_KIND, "it has no frame header")
    whole = sum(frame.blocks.values())
    scan = _scan_components(content[body:end])
    several = frame.marker in _PROGRESSIVE or len(scan) < len(frame.blocks)
    offset = len(header) - (body - 4)
    passes, pauses, cut = (_later_scans(content, frame, body - 4)) if several else (whole, [], len(content))
    return Container(
        format=_KIND,
        content=header + content[body - 4 : cut],
        width=frame.width,
        height=frame.height,
        scales=frame.marker not in _LOSSLESS,
        # A decoder that needs several scans holds all coefficients, 64 of 2 bytes in a block.
        held_bytes=whole * 128 if several else 0,
        work=passes * frame.weight(),
        pauses=tuple(pause + offset for pause in pauses),
        orientation=orientation(b"".join(exif) if exif else None, xmp),
        profile=_joined(profile, parts),
    )


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, begin and end of the body of each segment up to the first scan."""

    def walk() -> Iterator[tuple[bytes, int, int]]:
        position = 2
        while (found := _MARKER.search(content, position)) is not None:
            position = found.end()
            if found[1][0] == _EOI:
                return
            if found[1][0] in _BARE:
                yield found[1], position, position
                continue
            length = int.from_bytes(content[position : position + 2], "big")
            end = position + max(2, length)
            if end > len(content):
                raise broken(_KIND, "a segment is cut off")
            yield found[1], position + 2, end
            position = end

    for marker, begin, end in bounded(walk(), _KIND):
        if marker[0] not in _BARE:
            yield marker[0], begin, end


def _read_frame(marker: int, body: bytes) -> _Frame:
    count = body[5] if len(body) > 5 else 0
    if not 1 <= count <= 4 or len(body) < 6 + 3 * count:
        raise broken(_KIND, "its frame header is wrong")
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    layers = [(body[at], body[at + 1] >> 4, body[at + 1] & 15) for at in range(6, 6 + 3 * count, 3)]
    most_across, most_down = max(across for _, across, _ in layers), max(down for _, _, down in layers)
    if not all(across and down for _, across, down in layers):
        raise broken(_KIND, "its frame header is wrong")
    blocks = {
        name: ceil(width * across / most_across / 8) * ceil(height * down / most_down / 8)
        for name, across, down in layers
    }
    return _Frame(marker, width, height, blocks)


def _scan_components(body: bytes) -> list[int]:
    return [body[at] for at in range(1, min(1 + 2 * body[0], len(body)), 2)] if body else []


def _later_scans(content: bytes, frame: _Frame, first: int) -> tuple[int, list[int], int]:
    """Returns the blocks that all scans visit, the offset of each scan, and where the picture ends."""

    def walk() -> Iterator[tuple[bytes, int, int]]:
        position = first
        while (found := _AFTER_SCAN.search(content, position)) is not None:
            position = found.end()
            length = 0
            if found[1][0] not in (_EOI, *_BARE):
                length = max(2, int.from_bytes(content[position : position + 2], "big"))
            yield found[1], position, position + length
            position += length

    passes = 0
    scans: list[int] = []
    for marker, begin, end in bounded(walk(), _KIND):
        if marker[0] == _EOI:
            return passes, scans, begin
        if marker[0] == _SOS:
            names = _scan_components(content[begin + 2 : end])
            passes += sum(frame.blocks.get(name, 0) for name in names)
            scans.append(begin - 2)
    return passes, scans, len(content)


def _joined(profile: dict[int, bytes], parts: set[int]) -> bytes | None:
    """Puts the parts of a profile together; returns None where one is missing or twice there."""
    if len(parts) != 1 or sorted(profile) != list(range(1, parts.pop() + 1)) or not all(profile.values()):
        return None
    joined = b"".join(profile[number] for number in sorted(profile))
    return joined if len(joined) <= MAX_PROFILE_BYTES else None
