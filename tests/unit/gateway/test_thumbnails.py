"""Thumbnails: cached within limits, made again after the photograph has changed."""

import hashlib
import io
from dataclasses import dataclass

import pytest
from PIL import Image

from services.contract.errors import FashionError, NotFound
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

    async def fetch(self, product_id: str) -> Kept:
        self.fetched += 1
        if product_id not in self.kept:
            raise NotFound("none", reason="PHOTOGRAPH_NOT_FOUND")
        return self.kept[product_id]

    def thumbnails(self, max_bytes: int = 1_000_000) -> Thumbnails:
        return Thumbnails(self.fetch, max_bytes, lambda: self.now)


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
