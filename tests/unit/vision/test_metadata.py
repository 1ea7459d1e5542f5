"""What leaves the pixels as they are never refuses a picture, changes it or ends in an unexpected error."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from offline.benchmark.hard_pictures import encoded, noise
from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded, InvalidInput
from services.vision import decode
from services.vision.avif import read_avif
from services.vision.container import Container, inflated
from services.vision.jpeg import read_jpeg
from services.vision.png import read_png
from services.vision.webp import read_webp

PICTURE = noise(120, 90, grain=6)
TURNED = PICTURE.transpose(Image.Transpose.ROTATE_90)


def tiff(*entries: tuple[int, int, int, bytes], count: int | None = None, order: str = "<") -> bytes:
    """Returns a TIFF directory: (tag, type, count, value or offset as four bytes)."""
    body = struct.pack(f"{order}H", len(entries) if count is None else count)
    for tag, kind, number, value in entries:
        body += struct.pack(f"{order}HHI", tag, kind, number) + value
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}I", 8) + body + bytes(4)


MANY = 30_000
ORIENTATION_6 = (0x0112, 3, 1, struct.pack("<HH", 6, 0))

EXIF = {
    "empty": b"",
    "no TIFF": b"hello world, this is no TIFF",
    "cut off in its header": b"II*\0\x08",
    "offset beyond the end": b"II*\0\xff\xff\xff\x7f",
    "offset into itself": b"II*\0\0\0\0\0",
    "fewer entries than it counts": tiff(count=40_000),
    "a directory that points to itself": tiff((0x8769, 4, 1, struct.pack("<I", 8))),
    "a date as a rational": tiff((0x0132, 5, 1, struct.pack("<I", 8))),
    "a text of 4 GiB": tiff((0x010E, 2, 0xFFFFFFFF, bytes(4))),
    "an unknown type": tiff((0x0110, 99, 3, bytes(4))),
    "resolution of 1/0": tiff((0x011A, 5, 1, struct.pack("<I", 38)), (0x0128, 3, 1, bytes(4))) + b"\1" + bytes(7),
    "a GPS directory of nothing": tiff((0x8825, 4, 1, struct.pack("<I", 0xFFFFFF00))),
    "orientation 0": tiff((0x0112, 3, 1, bytes(4))),
    "orientation 77": tiff((0x0112, 3, 1, struct.pack("<HH", 77, 0))),
    "orientation as text": tiff((0x0112, 2, 4, b"six\0")),
    "orientation without a value": tiff((0x0112, 3, 0, bytes(4))),
    "only zeros": bytes(300),
}
UPRIGHT_BESIDE = {
    "a date as a rational": tiff(ORIENTATION_6, (0x0132, 5, 1, struct.pack("<I", 4096))),
    "an unknown type": tiff(ORIENTATION_6, (0x0110, 99, 3, bytes(4))),
    "a date of type 0": tiff(ORIENTATION_6, (0x0132, 0, 20, bytes(4))),
    "a broken sub-directory": tiff(ORIENTATION_6, (0x8769, 4, 1, struct.pack("<I", 0xFFFFFFF0))),
    "fewer entries than it counts": tiff(ORIENTATION_6, count=900),
    "another byte order": tiff((0x0112, 3, 1, struct.pack(">HH", 6, 0)), order=">"),
    "four bytes": tiff((0x0112, 4, 1, struct.pack("<I", 6))),
    "two signed bytes": tiff((0x0112, 8, 1, struct.pack("<hh", 6, 0))),
    "four signed bytes": tiff((0x0112, 9, 1, struct.pack("<i", 6))),
    "two numbers": tiff((0x0112, 3, 2, struct.pack("<HH", 6, 1))),
    "a second orientation": tiff(ORIENTATION_6, (0x0112, 3, 1, struct.pack("<HH", 3, 0))),
    "its own name twice": b"Exif\0\0" + tiff(ORIENTATION_6),
}


def app(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def in_jpeg(content: bytes, *segments: bytes) -> bytes:
    return content[:2] + b"".join(segments) + content[2:]


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum or zlib.crc32(name + body))


def in_png(content: bytes, *chunks: bytes) -> bytes:
    return content[:33] + b"".join(chunks) + content[33:]


def in_webp(picture: Image.Image, *chunks: tuple[bytes, bytes], flags: int = 0, extra: int = 0) -> bytes:
    """Returns an extended WebP with chunks after its pixels, and `extra` bytes announced that do not follow."""
    body = encoded(picture, "WEBP", quality=90)[12:]
    head = (
        bytes([flags, 0, 0, 0]) + (picture.width - 1).to_bytes(3, "little") + (picture.height - 1).to_bytes(3, "little")
    )
    parts = [(b"VP8X", head), *chunks]
    extended, *rest = [
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for name, content in parts
    ]
    joined = b"WEBP" + extended + body + b"".join(rest)
    return b"RIFF" + struct.pack("<I", len(joined) + extra) + joined


def same(content: bytes, plain: bytes) -> bool:
    return np.array_equal(np.asarray(decode(content)), np.asarray(decode(plain)))


@pytest.mark.parametrize("name", EXIF)
def test_exif_that_says_nothing_leaves_a_picture_as_it_is(name: str) -> None:
    jpeg, png, webp = encoded(PICTURE), encoded(PICTURE, "PNG"), encoded(PICTURE, "WEBP", quality=90)
    assert same(in_jpeg(jpeg, app(0xE1, b"Exif\0\0" + EXIF[name])), jpeg)
    assert same(in_png(png, chunk(b"eXIf", EXIF[name])), png)
    assert same(in_webp(PICTURE, (b"EXIF", EXIF[name]), flags=0x08), webp)


@pytest.mark.parametrize("name", UPRIGHT_BESIDE)
def test_an_orientation_counts_beside_entries_that_are_odd(name: str) -> None:
    exif = UPRIGHT_BESIDE[name]
    for content in (
        in_jpeg(encoded(TURNED, quality=95), app(0xE1, b"Exif\0\0" + exif)),
        in_png(encoded(TURNED, "PNG"), chunk(b"eXIf", exif)),
        in_webp(TURNED, (b"EXIF", exif), flags=0x08),
    ):
        decoded = np.asarray(decode(content)).astype(int)
        assert decoded.shape == (90, 120, 3)
        assert np.abs(decoded - np.asarray(PICTURE)).mean() < 8


JPEG_SEGMENTS = {
    "a short JFIF": app(0xE0, b"JFIF"),
    "an empty segment": app(0xE5, b""),
    "a length of 0": b"\xff\xe6\0\0",
    "a comment that is no text": app(0xFE, bytes(range(256))),
    "a short Adobe": app(0xEE, b"Adobe"),
    "a Photoshop block that is cut off": app(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\x00\x00\x00\x00\x00\x10\x01"),
    "a Photoshop block of 4 GiB": app(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\x00\x00\xff\xff\xff\xff"),
    "a Photoshop block without a name": app(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04"),
    "two directories of pictures": app(0xE2, b"MPF\0" + tiff((0xB001, 4, 1, struct.pack("<I", 2)))) * 2,
    "a directory of pictures that is none": app(0xE2, b"MPF\0garbage"),
    "FlashPix": app(0xE2, b"FPXR\0"),
    "a profile of part 3 of 2": app(0xE2, b"ICC_PROFILE\0\x03\x02abc"),
    "a profile without a part": app(0xE2, b"ICC_PROFILE\0\x02\x02abc"),
    "a profile without a number": app(0xE2, b"ICC_PROFILE\0"),
    "XMP that is no XML": app(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='\xff\xfe"),
    "junk between segments": app(0xFE, b"x") + b"\0\0\0junk",
    "fill bytes": b"\xff\xff\xff\xff" + app(0xFE, b"x")[1:],
    "a thousand comments": app(0xFE, b"x") * 1000,
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("name", JPEG_SEGMENTS)
def test_odd_segments_leave_a_jpeg_as_it_is(name: str, progressive: bool) -> None:
    plain = encoded(PICTURE, progressive=progressive)
    assert same(in_jpeg(plain, JPEG_SEGMENTS[name]), plain)


PNG_CHUNKS = {
    "a text with a wrong checksum": chunk(b"tEXt", b"Title\0x", checksum=7),
    "a text without a key": chunk(b"tEXt", b""),
    "a compressed text that is none": chunk(b"zTXt", b"Title\0\0garbage"),
    "a compressed text by another method": chunk(b"zTXt", b"Title\0\x09garbage"),
    "a compressed text of 40 MB": chunk(b"zTXt", b"Title\0\0" + zlib.compress(bytes(40_000_000))),
    "an international text of no UTF-8": chunk(b"iTXt", b"Title\0\0\0\xff\0\xfe\0\xfd"),
    "a profile with a wrong checksum": chunk(b"iCCP", b"p\0\0x", checksum=9),
    "a profile by another method": chunk(b"iCCP", b"p\0\x05x"),
    "a profile of 40 MB": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(40_000_000))),
    "a profile without a name's end": chunk(b"iCCP", b"profile"),
    "an empty profile": chunk(b"iCCP", b""),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "short chromaticities": chunk(b"cHRM", b"\0\0"),
    "a short density": chunk(b"pHYs", b"\0\0\0"),
    "a short intent": chunk(b"sRGB", b""),
    "a background that is cut off": chunk(b"bKGD", b"\0"),
    "transparency that is cut off": chunk(b"tRNS", b"\0\0"),
    "transparency with a wrong checksum": chunk(b"tRNS", bytes(6), checksum=5),
    "an animation without frames": chunk(b"acTL", bytes(8)),
    "an animation that is cut off": chunk(b"acTL", b"\0\0"),
    "a frame out of order": chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", struct.pack(">I", 5) + bytes(22)),
    "a chunk of a name that is none": chunk(b"\x00\xff\x01\x02", b"x"),
    "an unknown private chunk": chunk(b"prVt", b"x"),
    "a palette in a picture of colours": chunk(b"PLTE", bytes(9)),
    "an orientation as raw text that is none": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzzzz"),
    "XMP that is no XML": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0\xff\xfe<"),
    "a date that is none": chunk(b"tIME", b"\xff"),
}


@pytest.mark.parametrize("name", PNG_CHUNKS)
def test_odd_chunks_leave_a_png_as_it_is(name: str) -> None:
    plain = encoded(PICTURE, "PNG")
    assert same(in_png(plain, PNG_CHUNKS[name]), plain)


@pytest.mark.parametrize(("depth", "colour_type"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)])
@pytest.mark.parametrize("share", [0, 0.3, 0.5, 1])
def test_the_transparent_colour_of_a_png_is_white_at_any_depth(depth: int, colour_type: int, share: float) -> None:
    """The left half has that colour; the right half has one that differs."""
    highest = (1 << depth) - 1
    colour, other = (round(value * highest) for value in (share, 1 if share < 0.6 else 0))
    samples = 3 if colour_type == 2 else 1
    row = "".join(f"{value:0{depth}b}" * samples * 16 for value in (colour, other))
    rows = (b"\0" + int(row, 2).to_bytes(len(row) // 8, "big")) * 32
    content = png_of(32, 32, depth, colour_type, rows)
    transparent = chunk(b"tRNS", struct.pack(">H", colour) * samples)
    picture = np.asarray(decode(in_png(content, transparent)))
    assert (picture[:, :16] == 255).all()
    assert np.array_equal(picture[:, 16:], np.asarray(decode(content))[:, 16:])


def png_of(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


PNG_TAILS = {
    "nothing": b"",
    "junk": b"junk",
    "a text with a wrong checksum": chunk(b"tEXt", b"", checksum=3),
    "EXIF of 4 GiB": b"\xff\xff\xff\xffeXIf",
    "a profile": chunk(b"iCCP", b"p\0\0x"),
    "transparency": chunk(b"tRNS", bytes(6)),
    "further pixels": chunk(b"tIME", b"x") + chunk(b"IDAT", b"x"),
    "another picture": encoded(PICTURE, "PNG")[8:],
    "another file": encoded(PICTURE, "PNG"),
}


@pytest.mark.parametrize("name", PNG_TAILS)
def test_what_follows_the_pixels_of_a_png_leaves_it_as_it_is(name: str) -> None:
    plain = encoded(PICTURE, "PNG")
    assert same(plain[:-12] + PNG_TAILS[name], plain)
    assert same(plain[:-12] + PNG_TAILS[name] + plain[-12:], plain)


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"ICCP", b"")],
        [(b"ICCP", b"no profile")],
        [(b"EXIF", b"Exif\0\0II*"), (b"EXIF", b"")],
        [(b"XMP ", b"\xff\xfe<")],
        [(b"abcd", b"unknown")],
        [(b"ANIM", b"")],
    ],
)
@pytest.mark.parametrize("flags", [0, 0x2C])
def test_odd_chunks_leave_a_webp_as_it_is(chunks: list[tuple[bytes, bytes]], flags: int) -> None:
    plain = encoded(PICTURE, "WEBP", quality=90)
    for extra in (0, 1000):
        assert same(in_webp(PICTURE, *chunks, flags=flags, extra=extra), plain)
    assert same(in_webp(PICTURE, *chunks, flags=flags) + b"junk", plain)


def test_an_orientation_in_text_still_counts() -> None:
    exif = b"Exif\0\0" + tiff(ORIENTATION_6)
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    png = encoded(TURNED, "PNG")
    for part in (
        chunk(b"tEXt", b"Raw profile type exif\0" + text),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(xmp)),
    ):
        assert np.array_equal(np.asarray(decode(in_png(png, part))), np.asarray(PICTURE))
        assert np.array_equal(np.asarray(decode(png[:-12] + part + png[-12:])), np.asarray(PICTURE))


def test_exif_behind_the_pixels_of_a_png_counts() -> None:
    png, exif = encoded(TURNED, "PNG"), chunk(b"eXIf", tiff(ORIENTATION_6))
    frames = chunk(b"fcTL", bytes(26)) + chunk(b"fdAT", bytes(9))
    for tail in (exif, frames + exif):
        assert np.array_equal(np.asarray(decode(png[:-12] + tail + png[-12:])), np.asarray(PICTURE))
    for tail in (png[-12:] + exif, chunk(b"eXIf", tiff(ORIENTATION_6), checksum=3)):
        assert same(png[:-12] + tail + png[-12:], png)


@pytest.mark.parametrize("tail", [bytes(300_000), chunk(b"fdAT", b"") * 25_000, chunk(b"tEXt", b"a\0b") * 21_000])
def test_whatever_lies_behind_the_pixels_of_a_png_leaves_it_readable(tail: bytes) -> None:
    png = encoded(PICTURE, "PNG")
    assert same(png[:-12] + tail, png)


def test_of_two_pictures_in_a_jpeg_the_first_is_taken_at_a_fraction_of_its_size() -> None:
    large = noise(1600, 1200)
    content = encoded(large, "MPO", save_all=True, append_images=[PICTURE])
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.format == "MPO"
    assert decode(content, enough=lambda *_: 0.12).size == (200, 150)
    assert same(content, encoded(large))


@pytest.mark.parametrize("inverted", [False, True])
def test_a_cmyk_jpeg_without_adobes_marker_is_read_as_with_it(inverted: bool) -> None:
    """Chromium 156 and libvips 8.18 take CMYK in JPEG as inverted, whether there is a marker or not."""
    cmyk = Image.new("CMYK", (32, 32), (0, 217, 204, 55))
    # Pillow inverts what it saves.
    marked = encoded(cmyk if inverted else Image.eval(cmyk, lambda value: 255 - value), quality=95)
    place = marked.index(b"\xff\xee")
    unmarked = marked[:place] + marked[place + 16 :]
    assert b"Adobe" in marked and b"Adobe" not in unmarked
    assert same(unmarked, marked)
    if inverted:
        assert np.abs(np.asarray(decode(unmarked))[16, 16].astype(int) - (200, 30, 40)).max() <= 3


@pytest.mark.parametrize(
    "content",
    [
        in_jpeg(encoded(PICTURE), app(0xFE, b"") * MANY),
        in_jpeg(encoded(PICTURE), b"\xff\xd0" * MANY),
        encoded(PICTURE, progressive=True)[:-2] + app(0xFE, b"") * MANY,
        encoded(PICTURE, progressive=True)[:-2] + app(0xDA, b"") * MANY,
        encoded(PICTURE, progressive=True)[:-2] + b"\xff\x01" * MANY,
        in_png(encoded(PICTURE, "PNG"), chunk(b"tEXt", b"") * MANY),
        in_webp(PICTURE, *[(b"XMP ", b"")] * MANY),
    ],
    ids=["comments", "restarts", "later comments", "empty scans", "bare markers", "texts", "WebP"],
)
def test_pieces_without_end_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="more than 20000 parts") as refused:
        decode(content)
    assert refused.value.reason == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("progressive", [False, True])
def test_fill_bytes_without_end_are_passed_over_in_the_time_of_their_number(progressive: bool) -> None:
    """With the square of it, the million before a marker that is none would take hours."""
    plain = encoded(PICTURE, progressive=progressive)
    fill = b"\xff" * 1_000_000 + b"\0"
    assert same(in_jpeg(plain, app(0xFE, b"x") + fill), plain)
    assert same(plain[:-2] + fill + plain[-2:], plain)


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (read_jpeg, encoded(PICTURE)),
        (read_png, encoded(PICTURE, "PNG")),
        (read_webp, encoded(PICTURE, "WEBP")),
        (read_avif, encoded(PICTURE, "AVIF")),
    ],
)
def test_the_walk_through_a_file_ends_at_the_deadline(read: Callable[[bytes], Container], content: bytes) -> None:
    read(content)
    with deadline.at_most(-1), pytest.raises(DeadlineExceeded):
        read(content)


def test_a_png_is_inflated_only_as_far_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    inflated_bytes: list[int] = []

    def counting(content: bytes, max_bytes: int) -> bytes | None:
        result = inflated(content, max_bytes)
        inflated_bytes.append(len(result or b""))
        return result

    monkeypatch.setattr("services.vision.png.inflated", counting)
    megabyte = zlib.compress(bytes(1_000_000))
    icc, text = chunk(b"iCCP", b"p\0\0" + megabyte), chunk(b"zTXt", b"Raw profile type exif\0\0" + megabyte)
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + megabyte)
    plain = encoded(PICTURE, "PNG")
    assert same(in_png(plain, (icc + text + xmp) * 100), plain)
    assert inflated_bytes == [1_000_000] * 3


def test_of_two_profiles_in_a_png_the_first_counts() -> None:
    first, second = (chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)) for profile in (b"first", b"second"))
    assert read_png(in_png(encoded(PICTURE, "PNG"), first, second)).profile == b"first"


def test_what_entries_of_exif_point_to_is_not_read() -> None:
    entries = [(0x9000 + number, 7, 1_000_000, struct.pack("<I", 8)) for number in range(2000)]
    exif = tiff(*entries, ORIENTATION_6) + bytes(1_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_png(in_png(encoded(TURNED, "PNG"), chunk(b"eXIf", exif))).orientation == 6


def test_the_decoder_sees_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret"
    content = encoded(PICTURE, exif=exif, comment=b"secret", xmp=b"secret", icc_profile=b"secret")
    read = read_jpeg(content)
    assert b"secret" not in read.content
    assert (read.orientation, read.profile) == (6, b"secret")
