"""Every kind of picture that shoppers upload is decoded or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.contract.errors import InvalidInput
from services.contract.values import Box
from services.vision import Frame, ImageLimits, decode, fit, prepare
from services.vision.preprocess import widened

RED = (200, 30, 40)


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Returns a picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """Returns a picture of 40 x 60 pixels, red above and blue below."""
    pixels = np.zeros((60, 40, 3), dtype=np.uint8)
    pixels[:30], pixels[30:] = RED, (20, 40, 210)
    return Image.fromarray(pixels).convert(mode)


def near(pixel: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int = 6) -> bool:
    return bool(np.abs(pixel.astype(int) - np.array(colour)).max() <= tolerance)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_content_determines_the_format(kind: str) -> None:
    pixels = np.asarray(decode(encode(halves(), kind, quality=95)))
    assert pixels.shape == (60, 40, 3)
    assert near(pixels[5, 20], RED, 12)
    assert near(pixels[55, 20], (20, 40, 210), 12)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(encode(halves(), kind))
    assert refused.value.reason == "IMAGE_FORMAT_UNSUPPORTED"
    assert "JPEG, PNG or WebP" in refused.value.message


def test_greyscale_keeps_its_brightness() -> None:
    picture = Image.new("L", (20, 20), 77)
    assert near(np.asarray(decode(encode(picture)))[10, 10], (77, 77, 77), 0)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 32, dtype=np.uint16)[None].repeat(16, axis=0)
    pixels = np.asarray(decode(encode(Image.fromarray(ramp))))
    assert pixels[8, 0, 0] == 0
    assert pixels[8, -1, 0] == 255
    assert abs(int(pixels[8, 16, 0]) - 132) <= 1
    assert len(np.unique(pixels[8, :, 0])) == 32


def test_cmyk_jpeg_comes_out_in_its_colours() -> None:
    pixels = np.asarray(decode(encode(halves("CMYK"), "JPEG", quality=95)))
    assert near(pixels[5, 20], RED, 14)
    assert near(pixels[55, 20], (20, 40, 210), 14)


def test_a_palette_with_a_transparent_entry_lies_on_white() -> None:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([10, 20, 30, *RED])
    picture.paste(0, (0, 0, 20, 10))
    pixels = np.asarray(decode(encode(picture, transparency=0)))
    assert near(pixels[2, 10], (255, 255, 255), 0)
    assert near(pixels[15, 10], RED, 0)


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (*RED, 0)), ("LA", (5, 0))])
def test_transparency_lies_on_white(mode: str, colour: tuple[int, ...]) -> None:
    pixels = np.asarray(decode(encode(Image.new(mode, (10, 10), colour))))
    assert (pixels == 255).all()


def test_half_transparent_is_half_white() -> None:
    pixels = np.asarray(decode(encode(Image.new("RGBA", (10, 10), (0, 0, 0, 128)))))
    assert abs(int(pixels[5, 5, 0]) - 127) <= 1


@pytest.mark.parametrize(
    ("orientation", "way"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
    ],
)
def test_exif_orientation_is_applied(orientation: int, way: Image.Transpose) -> None:
    upright = halves()
    upright.paste((0, 255, 0), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encode(upright.transpose(way), "PNG", exif=exif)
    assert np.array_equal(np.asarray(decode(stored)), np.asarray(upright))


def test_an_animation_gives_its_first_picture() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, (0, 0, 255))]
    content = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert near(np.asarray(decode(content))[8, 8], RED, 2)


def test_empty_content_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(b"")
    assert refused.value.reason == "IMAGE_EMPTY"


@pytest.mark.parametrize("content", [b"hello", b"%PDF-1.7 ...", bytes(1000)])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(content)
    assert refused.value.reason == "IMAGE_FORMAT_UNSUPPORTED"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_is_cut_off_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), kind)
    with pytest.raises(InvalidInput) as refused:
        decode(content[: len(content) // 2])
    assert refused.value.reason == "IMAGE_UNREADABLE"


def test_too_many_bytes_are_refused_before_anything_is_parsed() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(bytes(101), ImageLimits(max_bytes=100))
    assert refused.value.reason == "IMAGE_TOO_LARGE"
    assert refused.value.metadata == {"bytes": "101", "max_bytes": "100"}


@pytest.mark.parametrize("side", [5001, 30_000])
def test_too_many_pixels_are_refused_by_the_header_alone(side: int) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(InvalidInput) as refused:
        decode(content)
    assert refused.value.reason == "IMAGE_TOO_MANY_PIXELS"


def test_a_picture_of_one_pixel_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(encode(Image.new("RGB", (1, 1), RED)))
    assert refused.value.reason == "IMAGE_TOO_SMALL"


def test_a_region_is_cut_out_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = encode(halves().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    below = prepare(stored, Frame(30, 40), Box(0.0, 0.75, 1.0, 1.0))
    # Above and below it, the part is padded.
    assert (below[12:18] == np.array((20, 40, 210), dtype=np.uint8)).all()


@pytest.mark.parametrize(
    "box",
    [Box(0.5, 0, 0.5, 1), Box(0, 0.6, 1, 0.5), Box(-0.1, 0, 1, 1), Box(0, 0, 1, 1.5), Box(float("nan"), 0, 1, 1)],
)
def test_an_impossible_region_is_refused(box: Box) -> None:
    with pytest.raises(InvalidInput) as refused:
        prepare(encode(halves()), Frame(80, 60), box)
    assert refused.value.reason == "REGION_INVALID"


def test_a_tiny_region_still_shows_a_pixel() -> None:
    pixels = prepare(encode(halves()), Frame(8, 8), Box(0.999, 0.999, 1.0, 1.0))
    assert near(pixels[4, 4], (20, 40, 210), 0)


def large_photograph(seed: int = 3, orientation: int = 1, size: tuple[int, int] = (1800, 2400)) -> bytes:
    """Returns a drawn product as a camera would store it, with the noise of a sensor."""
    from offline.drawn import catalogue_specs, draw_product

    picture = draw_product(catalogue_specs(seed, 40)[seed]).resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).normal(0, 4, (size[1], size[0], 3))
    picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(picture, "JPEG", quality=92, exif=exif)


@pytest.mark.parametrize("region", [None, Box(0.3, 0.25, 0.7, 0.6), Box(0.5, 0.5, 0.53, 0.55)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(region: Box | None, orientation: int) -> None:
    content = large_photograph(orientation=orientation)
    whole_picture = decode(content)
    if region is not None:
        part, (width, height) = widened(region), whole_picture.size
        edges = (part.left * width, part.top * height, part.right * width, part.bottom * height)
        whole_picture = whole_picture.crop(tuple(round(edge) for edge in edges))
    whole = fit(whole_picture, Frame(80, 60))
    # The edges of a region are rounded to pixels of the reduced picture: at most a sixth of an input pixel.
    assert np.abs(prepare(content, Frame(80, 60), region).astype(int) - whole.astype(int)).mean() < 2.5


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    content = large_photograph()
    assert decode(content, enough=lambda width, height: 240 / height).size == (225, 300)
    assert decode(content, enough=lambda width, height: 0.6).size == (1800, 2400)
    lying = large_photograph(orientation=6)
    assert decode(lying, enough=lambda width, height: 240 / width).size == (300, 225)
    assert decode(lying, enough=lambda width, height: 1.2).size == (2400, 1800)


def test_a_small_part_of_a_large_jpeg_keeps_its_detail() -> None:
    content = large_photograph()
    sizes: list[float] = []
    decode(content, enough=lambda width, height: sizes.append(width) or 2.0)
    assert sizes == [1800]
    small = Box(0.4, 0.4, 0.45, 0.45)
    picture, part = decode(content), widened(small)
    across, down = picture.size
    edges = (int(part.left * across), int(part.top * down), round(part.right * across), round(part.bottom * down))
    assert np.array_equal(prepare(content, Frame(80, 60), small), fit(picture.crop(edges), Frame(80, 60)))


def test_embeddings_of_reduced_decoding_are_those_of_full_decoding() -> None:
    from pathlib import Path

    from services.bundle.reader import load_bundle
    from services.embedder.runtimes.openvino import OpenvinoEncoder

    bundle = load_bundle(Path(__file__).parents[3] / "models" / "fashion-resnet50")
    encoder = OpenvinoEncoder.from_bundle(bundle, precision="float32")
    contents = [
        large_photograph(seed, size=pixels) for seed in range(8) for pixels in ((1800, 2400), (1080, 1440), (600, 800))
    ]
    reduced = encoder.encode(np.stack([prepare(content, bundle.frame) for content in contents]))
    whole = encoder.encode(np.stack([fit(decode(content), bundle.frame) for content in contents]))
    assert (reduced * whole).sum(axis=1).min() >= 0.999
