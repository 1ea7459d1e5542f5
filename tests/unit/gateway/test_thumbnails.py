"""Thumbnails: cached within limits, made again after the photograph has changed."""

import asyncio
import hashlib
import io
from dataclasses import dataclass

import pytest
from PIL import Image

from offline.benchmark.hard_pictures import display_p3_profile, encoded, in_profile, many_scans
from services.contract.errors import DeadlineExceeded, FashionError, NotFound
from services.gateway.thumbnails import JPEG, WEBP, Thumbnails


@dataclass(frozen=True)
class Kept:
    content: bytes
    media_type: str = "image/png"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def picture(width: int, height: int, colour: str = "red", form: str = "PNG", **options: object) -> Kept:
    content = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(content, form, **options)
    return Kept(content.getvalue(), f"image/{form.lower()}")


class Photographs:
    def __init__(self, **kept: Kept) -> None:
        self.kept = kept
        self.fetched = 0
        self.now = 0.0

    async def fetch(self, product_id: str, index: int) -> Kept:
        self.fetched += 1
        if product_id not in self.kept:
            raise NotFound("none", reason="PHOTOGRAPH_NOT_FOUND")
        return self.kept[product_id]

    async def count(self, product_id: str) -> int:
        if product_id not in self.kept:
            raise NotFound("none", reason="PRODUCT_NOT_FOUND")
        return 1

    def thumbnails(self, max_bytes: int = 1_000_000) -> Thumbnails:
        return Thumbnails(self.fetch, self.count, max_bytes, lambda: self.now, timeout_s=300)


async def test_a_thumbnail_is_made_once_while_its_photograph_is_fresh() -> None:
    photographs = Photographs(a=picture(400, 300))
    thumbnails = photographs.thumbnails()
    first = await thumbnails.thumbnail("a", 120, JPEG)
    assert await thumbnails.thumbnail("a", 120, JPEG) is first
    assert photographs.fetched == 1
    assert (await thumbnails.thumbnail("a", 120, WEBP)).tag != first.tag
    photographs.now = 31
    photographs.kept["a"] = picture(400, 300, "blue")
    later = await thumbnails.thumbnail("a", 120, JPEG)
    assert later.tag != first.tag and later.content != first.content
    thumbnails.close()


async def test_what_is_deleted_has_no_thumbnail_any_more() -> None:
    photographs = Photographs(a=picture(400, 300))
    thumbnails = photographs.thumbnails()
    await thumbnails.thumbnail("a", 120, JPEG)
    del photographs.kept["a"]
    with pytest.raises(NotFound):
        await thumbnails.thumbnail("a", 120, JPEG)
    thumbnails.close()


async def test_no_more_is_kept_than_fits() -> None:
    photographs = Photographs(**{f"p{number}": picture(300, 300, f"rgb({number},0,0)") for number in range(20)})
    one = await photographs.thumbnails().thumbnail("p0", 120, JPEG)
    thumbnails = photographs.thumbnails(max_bytes=3 * len(one.content) + 10)
    for number in range(20):
        await thumbnails.thumbnail(f"p{number}", 120, JPEG)
    before = photographs.fetched
    await thumbnails.thumbnail("p19", 120, JPEG)
    assert photographs.fetched == before
    await thumbnails.thumbnail("p0", 120, JPEG)
    assert photographs.fetched == before + 1
    assert await photographs.thumbnails(max_bytes=0).thumbnail("p0", 120, JPEG)


async def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photographs = Photographs(a=picture(400, 200, form="JPEG", exif=exif))
    made = await photographs.thumbnails().thumbnail("a", 120, WEBP)
    with Image.open(io.BytesIO(made.content)) as shown:
        assert shown.size == (120, 240)


async def test_a_photograph_that_cannot_be_read_is_no_fault_of_the_callers() -> None:
    photographs = Photographs(a=Kept(b"\x89PNG\r\n\x1a\n broken"))
    with pytest.raises(FashionError) as refused:
        await photographs.thumbnails().thumbnail("a", 120, JPEG)
    assert (type(refused.value), refused.value.reason) == (FashionError, "PHOTOGRAPH_UNREADABLE")
    with pytest.raises(NotFound):
        await photographs.thumbnails().original("b")


@pytest.mark.parametrize("media_type", [WEBP, JPEG])
@pytest.mark.parametrize("width", [120, 240, 480, 960])
async def test_a_long_picture_has_a_thumbnail_at_every_width(width: int, media_type: str) -> None:
    photographs = Photographs(
        tall=picture(100, 20_000), taller=picture(8, 70_000), page=picture(800, 17_000, form="JPEG")
    )
    thumbnails = photographs.thumbnails()
    for product_id, full in (("tall", (100, 20_000)), ("taller", (8, 70_000)), ("page", (800, 17_000))):
        made = await thumbnails.thumbnail(product_id, width, media_type)
        with Image.open(io.BytesIO(made.content)) as shown:
            assert shown.width <= min(width, full[0]) and shown.height <= 16_383
            whole = min(1.0, width / full[0], 16_383 / full[1])
            assert shown.size == (max(1, round(full[0] * whole)), round(full[1] * whole))
    thumbnails.close()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
async def test_a_thumbnail_shows_the_colours_of_the_profile(form: str) -> None:
    green = Image.new("RGB", (300, 400), (40, 140, 70))
    stored = encoded(in_profile(green, display_p3_profile()), form, quality=95, icc_profile=display_p3_profile())
    thumbnails = Photographs(a=Kept(stored)).thumbnails()
    for media_type in (WEBP, JPEG):
        made = await thumbnails.thumbnail("a", 240, media_type)
        with Image.open(io.BytesIO(made.content)) as shown:
            assert "icc_profile" not in shown.info
            pixel = shown.convert("RGB").getpixel((120, 160))
            assert isinstance(pixel, tuple)
            assert max(abs(one - other) for one, other in zip(pixel, (40, 140, 70), strict=True)) <= 4
    thumbnails.close()


async def test_a_thumbnail_that_takes_too_long_ends() -> None:
    photographs = Photographs(slow=Kept(many_scans(3000, 150)))
    thumbnails = Thumbnails(photographs.fetch, photographs.count, 1_000_000, timeout_s=0.2)
    for task in [asyncio.create_task(thumbnails.thumbnail("slow", 960, JPEG)) for _ in range(4)]:
        with pytest.raises(DeadlineExceeded):
            await task
    thumbnails.close()
