"""Decoding has bounds: of pixels, of work, of memory and of time."""

import struct
import threading
import time
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from offline.benchmark.hard_pictures import announcing, encoded, grid_of, in_parts, many_scans, noise, with_full_headers
from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded, InvalidInput
from services.vision import ImageLimits, decode
from services.vision.avif import read_avif
from services.vision.jpeg import read_jpeg
from services.vision.memory import MemoryBudget
from services.vision.webp import read_webp


def refusal(content: bytes, limits: ImageLimits | None = None) -> str:
    with pytest.raises(InvalidInput) as refused:
        decode(content, limits)
    return refused.value.reason


def test_a_jpeg_of_48_megapixels_is_decoded_at_half_its_size() -> None:
    content = encoded(Image.new("RGB", (8000, 6000), (200, 30, 40)), quality=80)
    assert decode(content).size == (4000, 3000)


def test_what_cannot_be_scaled_down_keeps_to_the_limit_of_pixels() -> None:
    limits = ImageLimits(max_pixels=100 * 100, max_scaled_pixels=200 * 200)
    for form in ("PNG", "WEBP", "AVIF"):
        assert decode(encoded(Image.new("RGB", (100, 100)), form), limits).size == (100, 100)
        assert refusal(encoded(Image.new("RGB", (101, 100)), form), limits) == "IMAGE_TOO_MANY_PIXELS"
    assert decode(encoded(Image.new("RGB", (200, 200))), limits).size == (100, 100)
    assert refusal(encoded(Image.new("RGB", (201, 200))), limits) == "IMAGE_TOO_MANY_PIXELS"


def test_a_jpeg_that_repeats_its_scans_is_refused_before_it_is_decoded() -> None:
    ordinary = encoded(noise(640, 480), progressive=True)
    read = read_jpeg(ordinary)
    blocks = 80 * 60 + 2 * 40 * 30
    assert 2 * blocks < read.work < 8 * blocks
    assert read.held_bytes == blocks * 128
    assert len(read.pauses) == ordinary.count(b"\xff\xda")
    assert decode(ordinary, ImageLimits(max_work=read.work)).size == (640, 480)
    assert refusal(ordinary, ImageLimits(max_work=read.work - 1)) == "IMAGE_TOO_COMPLEX"
    content = many_scans(2000, 1000)
    assert len(content) < 200_000
    assert refusal(content) == "IMAGE_TOO_COMPLEX"


def test_a_jpeg_of_one_scan_has_the_work_of_its_pixels_alone() -> None:
    read = read_jpeg(encoded(noise(640, 480), subsampling=0))
    assert (read.work, read.held_bytes, read.pauses) == (3 * 80 * 60, 0, ())


@pytest.mark.parametrize("where", ["before", "within"])
def test_decoding_ends_at_the_deadline(where: str) -> None:
    """Of 400 scans of 4 megapixels, which take seconds, none begins after the deadline."""
    content = many_scans(2000, 400)
    with deadline.at_most(-1 if where == "before" else 0.1), pytest.raises(DeadlineExceeded):
        decode(content, ImageLimits(max_work=10**12))
    limits = ImageLimits(max_work=10**12, memory=MemoryBudget(1))
    with deadline.at_most(0.1), pytest.raises(DeadlineExceeded):
        decode(content, limits)
    assert decode(encoded(noise(64, 64)), limits).size == (64, 64)


def test_a_png_ends_at_the_deadline() -> None:
    random = np.random.default_rng(1)
    content = encoded(
        Image.fromarray(random.integers(0, 256, (1200, 1200, 3), dtype=np.uint8)), "PNG", compress_level=0
    )
    with deadline.at_most(0.001), pytest.raises(DeadlineExceeded):
        decode(content)


def test_pictures_beyond_the_budget_wait_for_one_another() -> None:
    budget = MemoryBudget(100)
    order: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with budget.taken(80):
            begun.set()
            may_end.wait(10)
            order.append("first ends")

    def second() -> None:
        with budget.taken(30):
            order.append("second begins")

    threads = [threading.Thread(target=work) for work in (first, second)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    with budget.taken(20):
        order.append("small begins")
    with deadline.at_most(0.05), pytest.raises(DeadlineExceeded), budget.taken(30):
        order.append("never")
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert order == ["small begins", "first ends", "second begins"]
    with budget.taken(1000):
        order.append("a large one goes alone")


def test_an_avif_is_judged_by_its_frames_not_by_what_it_announces() -> None:
    limits = ImageLimits(max_pixels=500 * 500)
    content = encoded(Image.new("RGB", (600, 600), (9, 9, 9)), "AVIF", speed=10)
    assert refusal(content, limits) == "IMAGE_TOO_MANY_PIXELS"
    assert refusal(announcing(content, 64, 64), limits) == "IMAGE_TOO_MANY_PIXELS"
    small = encoded(Image.new("RGB", (64, 64)), "AVIF")
    assert refusal(announcing(small, 20_000, 20_000)) in ("IMAGE_TOO_MANY_PIXELS", "IMAGE_UNREADABLE")


def test_the_frames_of_an_avif_count_as_work() -> None:
    opaque = read_avif(encoded(noise(320, 240), "AVIF"))
    assert (opaque.width, opaque.height, opaque.work) == (320, 240, 320 * 240 // 2)
    transparent = read_avif(encoded(noise(320, 240).convert("RGBA").rotate(9), "AVIF"))
    assert transparent.work == 2 * opaque.work
    content = encoded(noise(320, 240).convert("RGBA").rotate(9), "AVIF")
    assert refusal(content, ImageLimits(max_work=opaque.work)) == "IMAGE_TOO_COMPLEX"


def test_an_avif_in_parts_is_read_as_if_it_were_in_one() -> None:
    whole = encoded(noise(320, 240), "AVIF", speed=10)
    parts = in_parts(whole, [(0, 0.3), (0.3, 0.4), (0.4, 1)])
    assert read_avif(parts).work == read_avif(whole).work
    assert np.array_equal(np.asarray(decode(parts)), np.asarray(decode(whole)))


def test_parts_of_an_avif_are_never_joined_to_more_than_the_file() -> None:
    content = encoded(noise(320, 240), "AVIF", speed=10) + box(b"free", bytes(1_000_000))
    place = content.index(b"iloc") + 22
    whole = content[:place] + (len(content) - int.from_bytes(content[place - 4 : place], "big")).to_bytes(4, "big")
    hostile = in_parts(whole + content[place + 4 :], [(0, 1)] * 200)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="longer than the file"):
            decode(hostile)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(hostile)
    finally:
        tracemalloc.stop()


def test_units_of_an_avif_are_bounded_over_all_its_items() -> None:
    header, frame = b"\x0a\x06\x18\x15\x7f\xff\x00\x00", b"\x32\x01\x00"
    delimiter = b"\x12\0"
    few, many = header + delimiter * 10 + frame, header + delimiter * 400 + frame
    assert read_avif(avif([few] * 100)).work > 0
    with pytest.raises(InvalidInput, match="too many units"):
        read_avif(avif([many] * 100))
    with pytest.raises(InvalidInput, match="256 parts"):
        read_avif(avif([few], empty=60_000))


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def avif(items: Sequence[bytes], empty: int = 0) -> bytes:
    """Returns an AVIF of items with AV1 data, and of further ones without data."""
    kinds = [struct.pack(">HH4sx", number, 0, b"av01") for number in range(len(items))]
    infos = b"".join(box(b"infe", b"\2\0\0\0" + kind) for kind in kinds)
    data = b"".join(items)

    def file(begin: int) -> bytes:
        ends = np.cumsum([0, *map(len, items)])
        places = [
            struct.pack(">HHHII", number, 0, 1, begin + ends[number], len(item)) for number, item in enumerate(items)
        ]
        nothing = [struct.pack(">HHH", len(items) + number, 0, 0) for number in range(empty)]
        meta = box(b"iinf", bytes(4) + struct.pack(">H", len(items)) + infos)
        meta += box(b"iloc", b"\0\0\0\0\x44\0" + struct.pack(">H", len(items) + empty) + b"".join([*places, *nothing]))
        return box(b"ftyp", b"avif" + bytes(4)) + box(b"meta", bytes(4) + meta) + box(b"mdat", data)

    return file(len(file(0)) - len(data))


def test_an_avif_with_full_headers_is_as_large_as_its_sequence_says() -> None:
    """Its fields of the size have 13 bits, which could say 8,192 pixels."""
    picture = noise(4100, 64, grain=6)
    content = with_full_headers(picture)
    read = read_avif(content)
    assert (read.width, read.height, read.work) == (4100, 64, 4100 * 64 // 2)
    decoded = np.asarray(decode(content, ImageLimits(max_pixels=4100 * 64))).astype(int)
    assert np.abs(decoded - np.asarray(picture)).mean() < 8


# Of a sequence header, then of a frame's header: the time of presentation, the id, and content of screens.
TIMINGS = {
    "none": ("0", "", ""),
    "of each frame": ("10" + "0" * 63 + "0" + "1" + "00000" + "0" * 32 + "00000" + "00111", "0", "1" * 8),
    "equal": ("1" * 66 + "10", "", ""),
}
FRAME_IDS = {"none": ("0", ""), "8 bits": ("1" + "0011" + "010", "1" * 8)}
SCREENS = {
    "the frame says all": ("11", "11"),
    "the frame says whether": ("101", "1"),
    "never": ("00", ""),
    "always": ("0100", ""),
}


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("frame_id", FRAME_IDS)
@pytest.mark.parametrize("screen", SCREENS)
def test_a_frame_with_a_size_of_its_own_may_be_as_large_as_its_fields_allow(
    timing: str, frame_id: str, screen: str
) -> None:
    (times, delays, time), (ids, number), (screens, choice) = TIMINGS[timing], FRAME_IDS[frame_id], SCREENS[screen]
    points = times + "0" + "00000" + "0" * 12 + "00000" + delays
    sequence = "00000" + points + "1111" * 2 + f"{63:016b}" * 2 + ids + "000" + "0000" + "0" + screens
    # A key frame that is shown.
    frame = "0001" + time + "0" + choice + number
    for own_size, side in (("0", 64), ("1", 65_536)):
        read = read_avif(avif([unit(1, sequence) + unit(6, frame + own_size)]))
        assert (read.width, read.height, read.work) == (side, side, side * side // 2)


def unit(kind: int, bits: str) -> bytes:
    """Returns a unit of AV1."""
    body = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return bytes([kind << 3 | 2, len(body)]) + body


def test_a_grid_of_an_avif_counts_as_large_as_the_picture_that_it_makes() -> None:
    tile = noise(96, 80, grain=6)
    content = grid_of(tile, 5, 3, speed=10)
    read = read_avif(content)
    assert (read.width, read.height, read.work) == (480, 240, 480 * 240 // 2)
    assert refusal(content, ImageLimits(max_pixels=480 * 240 - 1)) == "IMAGE_TOO_MANY_PIXELS"
    # A budget with room for a tile, and not for the picture beside what is taken already.
    budget = MemoryBudget(480 * 240 * read.pixel_bytes)
    with budget.taken(1), deadline.at_most(0.05), pytest.raises(DeadlineExceeded):
        decode(content, ImageLimits(memory=budget))
    picture = np.asarray(decode(content, ImageLimits(memory=budget))).astype(int)
    assert np.abs(picture - np.tile(np.asarray(tile), (3, 5, 1))).mean() < 8


def test_an_animated_avif_is_refused_with_what_to_do() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    with pytest.raises(InvalidInput) as refused:
        decode(encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:]))
    assert refused.value.reason == "IMAGE_FORMAT_UNSUPPORTED"
    assert "still picture" in refused.value.message


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_a_heic_is_refused_with_what_to_do(brand: bytes) -> None:
    content = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(400)
    with pytest.raises(InvalidInput) as refused:
        decode(content)
    assert (refused.value.reason, refused.value.metadata) == ("IMAGE_FORMAT_UNSUPPORTED", {"format": "HEIC"})
    assert "JPEG" in refused.value.message and "Most Compatible" in refused.value.message


def test_a_webp_that_announces_a_canvas_without_bound_is_refused_by_its_header() -> None:
    content = encoded(Image.new("RGB", (16, 16)), "WEBP")
    head = b"VP8X\n\0\0\0" + bytes(4) + (16_382).to_bytes(3, "little") * 2
    read = read_webp(content[:12] + head + content[12:])
    assert (read.width, read.height) == (16_383, 16_383)
    assert refusal(content[:12] + head + content[12:]) == "IMAGE_TOO_MANY_PIXELS"


def test_later_frames_of_an_animation_are_not_looked_at() -> None:
    frames = [noise(64, 64, seed) for seed in range(40)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert len(read_webp(content).content) < len(content) / 20
    assert np.array_equal(np.asarray(decode(content)), np.asarray(frames[0]))


def test_a_budget_waits_without_holding_the_processor() -> None:
    budget = MemoryBudget(10)
    with budget.taken(10):
        before = time.thread_time()
        with deadline.at_most(0.3), pytest.raises(DeadlineExceeded), budget.taken(10):
            pass
        assert time.thread_time() - before < 0.2
