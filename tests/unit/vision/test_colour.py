"""A picture shows the colours that its profile says, in sRGB; a profile never refuses a picture."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from offline.benchmark.hard_pictures import display_p3_profile, encoded, in_profile, noise, srgb_profile
from services.vision import decode
from services.vision.colour import to_srgb

P3 = display_p3_profile()
GREEN = (40, 140, 70)
PICTURE = noise(90, 120, grain=6)


def difference(picture: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(picture).astype(int) - np.asarray(other)).max())


def swapped_profile() -> bytes:
    """Returns a profile in which stored red shows as green, green as blue and blue as red."""
    profile = bytearray(srgb_profile())
    entries = {
        bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12)
    }
    places = {name: bytes(profile[at + 4 : at + 12]) for name, at in entries.items()}
    for name, source in ((b"rXYZ", b"gXYZ"), (b"gXYZ", b"bXYZ"), (b"bXYZ", b"rXYZ")):
        profile[entries[name] + 4 : entries[name] + 12] = places[source]
    return bytes(profile)


def grey_profile(gamma: float) -> bytes:
    """Returns a profile of greys: white of D50, and a curve."""

    def tag(kind: bytes, body: bytes) -> bytes:
        return kind + bytes(4) + body

    white = tag(b"XYZ ", struct.pack(">3i", 63190, 65536, 54061))
    curve = tag(b"curv", struct.pack(">IH", 1, round(gamma * 256)) + bytes(2))
    parts, position, table = [white, curve], 132 + 24, b""
    for name, part in zip((b"wtpt", b"kTRC"), parts, strict=True):
        table += struct.pack(">4sII", name, position, len(part))
        position += len(part)
    header = struct.pack(">I4sI4s4s4s", position, bytes(4), 0x02400000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", 2) + table + b"".join(parts)


FORMS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_profile_is_applied_in_every_format(form: str) -> None:
    stored = in_profile(PICTURE, P3)
    assert difference(stored, PICTURE) > 20
    decoded = decode(encoded(stored, form, icc_profile=P3, **FORMS[form]))
    assert np.abs(np.asarray(decoded).astype(int) - np.asarray(PICTURE)).mean() < 1.5


def test_primaries_in_another_order_are_put_right() -> None:
    red, green, blue = Image.new("RGB", (40, 40), GREEN).split()
    stored = Image.merge("RGB", (green, blue, red))
    pixel = np.asarray(decode(encoded(stored, "PNG", icc_profile=swapped_profile())))[20, 20]
    assert np.abs(pixel.astype(int) - GREEN).max() <= 2


@pytest.mark.parametrize("mode", ["P", "RGBA", "PA"])
def test_transparency_is_laid_on_white_after_the_colours(mode: str) -> None:
    stored = in_profile(Image.new("RGB", (40, 40), GREEN), P3).convert("RGBA")
    stored.paste((0, 0, 0, 0), (0, 0, 40, 20))
    if mode != "RGBA":
        palette = stored.convert("RGB").quantize(4)
        stored = palette.convert("RGBA")
        stored.paste((0, 0, 0, 0), (0, 0, 40, 20))
    pixels = np.asarray(decode(encoded(stored, "PNG", icc_profile=P3)))
    assert (pixels[5, 5] == 255).all()
    assert np.abs(pixels[35, 20].astype(int) - GREEN).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_a_profile_of_greys_is_applied_to_greys(mode: str) -> None:
    grey = np.full((40, 40), 128, dtype=np.uint8)
    picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    pixel = np.asarray(decode(encoded(picture, "PNG", icc_profile=grey_profile(1.0))))[20, 20]
    if mode == "1":
        assert set(pixel.tolist()) <= {0, 255}
    else:
        # Half of the light is 188 in sRGB.
        assert np.abs(pixel.astype(int) - 188).max() <= 1


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_transparent_grey_is_white_whatever_its_profile(mode: str) -> None:
    grey = np.full((40, 40), 128, dtype=np.uint8)
    grey[:, 20:] = 60
    picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey)
    key = 60 * 257 if mode == "I;16" else 60
    pixels = np.asarray(decode(encoded(picture, "PNG", icc_profile=grey_profile(1.0), transparency=key)))
    assert (pixels[:, 20:] == 255).all()
    assert (pixels[:, :20] == pixels[0, 0]).all() and 150 < pixels[0, 0, 0] < 250


def test_a_profile_of_colours_is_applied_to_a_palette_and_spares_greys() -> None:
    stored = in_profile(Image.new("RGB", (40, 40), GREEN), P3).quantize(8)
    assert np.abs(np.asarray(decode(encoded(stored, "PNG", icc_profile=P3)))[9, 9].astype(int) - GREEN).max() <= 3
    grey = Image.new("L", (40, 40), 100)
    assert difference(decode(encoded(grey, "PNG", icc_profile=P3)), grey.convert("RGB")) <= 1


def test_a_picture_is_reduced_before_its_colours_are_converted() -> None:
    large = noise(1600, 1200)
    content = encoded(in_profile(large, P3), "PNG", icc_profile=P3, compress_level=1)
    small = decode(content, enough=lambda *_: 0.25)
    assert small.size == (400, 300)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(large.reduce(4))).mean() < 1


def test_a_profile_that_changes_nothing_leaves_every_bit() -> None:
    assert to_srgb(srgb_profile(), "RGB") is None
    plain = encoded(PICTURE, quality=90)
    marked = encoded(PICTURE, quality=90, icc_profile=srgb_profile())
    assert difference(decode(plain), decode(marked)) == 0
    assert to_srgb(P3, "RGB") is not None


BROKEN = {
    "empty": b"",
    "no profile": b"hello world" * 40,
    "cut off": P3[:300],
    "header alone": P3[:128],
    "longer than it is": struct.pack(">I", 1 << 30) + P3[4:],
    "ten million tags": P3[:128] + struct.pack(">I", 10_000_000) + P3[132:],
    "tags outside": P3[:136] + struct.pack(">I", 0xFFFFFFF0) + P3[140:],
    "of an unknown space": P3[:16] + b"XYZZ" + P3[20:],
    "of a named palette": P3[:12] + b"nmcl" + P3[16:],
    "a link of two devices": P3[:12] + b"link" + P3[16:],
    "without its curves": P3.replace(b"rTRC", b"xTRC"),
    "curves of zeros": P3[:400] + bytes(len(P3) - 400),
    "for greys": grey_profile(2.2),
    "for inks": P3[:16] + b"CMYK" + P3[20:],
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_profile_that_cannot_be_used_is_passed_over(name: str, form: str) -> None:
    if not BROKEN[name]:
        pytest.skip("an encoder leaves an empty profile out")
    content = encoded(PICTURE, form, icc_profile=BROKEN[name])
    assert difference(decode(content), decode(encoded(PICTURE, form))) == 0


def test_mutated_profiles_never_refuse_a_picture() -> None:
    random = np.random.default_rng(15)
    plain = np.asarray(decode(encoded(PICTURE, "PNG")))
    for _ in range(60):
        profile = bytearray(P3)
        for place in random.integers(0, len(profile), random.integers(1, 12)):
            profile[place] = random.integers(0, 256)
        assert np.asarray(decode(encoded(PICTURE, "PNG", icc_profile=bytes(profile)))).shape == plain.shape


def test_inks_are_converted_by_their_profile() -> None:
    lab = ImageCms.createProfile("LAB")
    assert to_srgb(ImageCms.ImageCmsProfile(lab).tobytes(), "RGB") is None
    cmyk = encoded(PICTURE.convert("CMYK"), quality=95, icc_profile=P3)
    plain = encoded(PICTURE.convert("CMYK"), quality=95)
    assert difference(decode(cmyk), decode(plain)) == 0
    with Image.open(io.BytesIO(cmyk)) as opened:
        assert opened.mode == "CMYK"
