"""Reads the headers of an AV1 bitstream as far as they say how large its frames are.

The AV1 specification describes them: units in 5.3, sequence headers in 5.5, frame headers in 5.9.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.vision.container import bounded

# Types of units: a sequence header; a frame's header, a frame with its header, and a frame's header once more. Decoders
# take the last of these for the first one where that is missing.
_SEQUENCE_HEADER: Final = 1
_FRAMES: Final = (3, 6, 7)
# Types of frames.
_KEY: Final = 0
_SWITCH: Final = 3
# What a sequence header says of a choice that each frame makes.
_EACH_FRAME: Final = 2
# Headers are shorter.
_MAX_HEADER_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a bitstream.

    Attributes:
        units: units of the bitstream, of any type.
        width: columns of the largest frame, in pixels.
        height: rows of the largest frame, in pixels.
        pixels: of all frames together.
    """

    units: int
    width: int
    height: int
    pixels: int


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence header says; bits are lengths of fields, 0 for those that are absent."""

    reduced: bool
    max_size: tuple[int, int]
    width_bits: int
    height_bits: int
    presentation_bits: int
    frame_id_bits: int
    screen_content: int
    integer_motion: int


def read_frames(content: memoryview, kind: str, max_units: int) -> Frames:
    """Reads the units of a bitstream.

    Args:
        content: the bitstream.
        kind: format of the file, for errors.
        max_units: maximum units.

    Raises:
        ValueError: the bitstream is wrong, without a frame, or has more units.
        IndexError: it is cut off.
        InvalidInput: IMAGE_UNREADABLE.
        DeadlineExceeded: the deadline has passed.
    """
    sequence: _Sequence | None = None
    sizes: list[tuple[int, int]] = []
    units = 0
    for unit, begin, end in bounded(_units(content), kind):
        units += 1
        if units > max_units:
            raise ValueError("it has too many units")
        if unit == _SEQUENCE_HEADER:
            sequence = _read_sequence(_Bits(content[begin:end]))
        elif unit in _FRAMES:
            if sequence is None:
                raise ValueError("a frame has no sequence header")
            sizes.append(_frame_size(_Bits(content[begin:end]), sequence))
    if not sizes:
        raise ValueError("an item has no frame")
    areas = [width * height for width, height in sizes]
    return Frames(units, *sizes[areas.index(max(areas))], sum(areas))


def _units(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yields type, begin and end of the body of each unit."""
    position = 0
    while position < len(content):
        first = content[position]
        position += 2 if first & 4 else 1
        length = len(content) - position
        if first & 2:
            length, position = _leb128(content, position)
        yield first >> 3 & 15, position, position + length
        position += length


def _leb128(content: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for at in range(8):
        byte = content[position + at]
        value |= (byte & 127) << (7 * at)
        if not byte & 128:
            return value, position + at + 1
    raise ValueError("a length is too long")


class _Bits:
    """The bits of a header, the highest first."""

    def __init__(self, content: memoryview) -> None:
        header = content[:_MAX_HEADER_BYTES]
        self._value, self._left = int.from_bytes(header, "big"), 8 * len(header)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header is too short")
        return self._value >> self._left & ((1 << count) - 1)


def _read_sequence(bits: _Bits) -> _Sequence:
    bits.take(4)
    reduced = bool(bits.take(1))
    presentation_bits = 0
    if reduced:
        bits.take(5)
    else:
        presentation_bits = _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    max_size = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    frame_id_bits = 0
    if not reduced and bits.take(1):  # frame_id_numbers_present_flag
        frame_id_bits = bits.take(4) + 2
        frame_id_bits += bits.take(3) + 1
    bits.take(3)
    screen_content = integer_motion = _EACH_FRAME
    if not reduced:
        bits.take(4)
        if bits.take(1):  # enable_order_hint
            bits.take(2)
        if not bits.take(1):  # seq_choose_screen_content_tools
            screen_content = bits.take(1)
        if screen_content and not bits.take(1):  # seq_choose_integer_mv
            integer_motion = bits.take(1)
    return _Sequence(
        reduced, max_size, width_bits, height_bits, presentation_bits, frame_id_bits, screen_content, integer_motion
    )


def _skip_operating_points(bits: _Bits) -> int:
    """Skips what stands before the size; returns the length of a frame's time of presentation, in bits."""
    delay_bits = presentation_bits = 0
    if bits.take(1):  # timing_info_present_flag
        bits.take(64)
        equal_intervals = bits.take(1)
        if equal_intervals:
            zeros = 0
            while not bits.take(1):
                zeros += 1
                if zeros > 32:
                    raise ValueError("a number of a sequence header is too long")
            bits.take(zeros if zeros < 32 else 0)
        if bits.take(1):  # decoder_model_info_present_flag
            delay_bits = bits.take(5) + 1
            bits.take(37)
            presentation_bits = bits.take(5) + 1
            presentation_bits = 0 if equal_intervals else presentation_bits
    initial_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if initial_delay and bits.take(1):
            bits.take(4)
    return presentation_bits


def _frame_size(bits: _Bits, sequence: _Sequence) -> tuple[int, int]:
    """Returns the maximum width and height of a frame: the sequence's, unless the frame has a size of its own.

    Decoders allow a size of its own up to what its fields can hold, whatever the sequence says.
    """
    if sequence.reduced:
        return sequence.max_size
    if bits.take(1):  # show_existing_frame
        return sequence.max_size
    kind, shown = bits.take(2), bits.take(1)
    if shown:
        bits.take(sequence.presentation_bits)
    else:
        bits.take(1)  # showable_frame
    if kind != _SWITCH and not (kind == _KEY and shown):
        bits.take(1)  # error_resilient_mode
    bits.take(1)  # disable_cdf_update
    screen_content = bits.take(1) if sequence.screen_content == _EACH_FRAME else sequence.screen_content
    if screen_content and sequence.integer_motion == _EACH_FRAME:
        bits.take(1)
    bits.take(sequence.frame_id_bits)
    own_size = kind == _SWITCH or bits.take(1)  # frame_size_override_flag
    return (1 << sequence.width_bits, 1 << sequence.height_bits) if own_size else sequence.max_size
