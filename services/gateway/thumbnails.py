"""Photographs of products in the sizes that pages need: made off the event loop, cached in bounded memory."""

import asyncio
import contextvars
import io
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from PIL import Image

from services.concurrency import deadline
from services.contract.errors import FashionError, InvalidInput
from services.vision.decode import ImageLimits, decode
from services.vision.memory import MemoryBudget

WEBP: Final = "image/webp"
JPEG: Final = "image/jpeg"

# Time before search is asked again whether a product's photograph has changed.
_FRESH_S: Final = 30.0
_MAX_KNOWN: Final = 10_000
_THREADS: Final = 2
# Photographs that arrive at once: until then nobody knows how much they hold.
_MAX_FETCHING: Final = 4
_QUALITY: Final = 82
# Larger thumbnails, of long pictures, are encoded with half the effort.
_SMALL_PIXELS: Final = 2_000_000
# Of a photograph. Search has applied its own limits before.
_MAX_BYTES: Final = 256 * 1024 * 1024
_MAX_PIXELS: Final = 100_000_000
# WebP's maximum; JPEG allows four times as much.
_MAX_HEIGHT: Final = 16_383


class Photograph(Protocol):
    """A photograph as search stores it, such as a GetPhotographResponse."""

    @property
    def content(self) -> bytes:
        """The encoded file."""
        ...

    @property
    def media_type(self) -> str:
        """Such as "image/jpeg"."""
        ...

    @property
    def sha256(self) -> str:
        """Of the content, 64 hexadecimal digits."""
        ...


# Returns a photograph of a product, by its place from 0, or raises NotFound.
Fetch = Callable[[str, int], Awaitable[Photograph]]
# Returns how many photographs a product has, or raises NotFound.
Count = Callable[[str], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture; `tag` changes whenever a byte of it does."""

    content: bytes
    media_type: str
    tag: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A photograph: its SHA-256, how many the product had, and the time until which it counts as unchanged."""

    sha256: str
    count: int
    until: float


class Thumbnails:
    """Fetches photographs, and makes and caches thumbnails."""

    def __init__(
        self,
        fetch: Fetch,
        count: Count,
        max_bytes: int,
        now: Callable[[], float] = time.monotonic,
        *,
        timeout_s: float = 30.0,
        decode_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        """Makes an empty cache.

        Args:
            fetch: fetches a photograph of a product.
            count: counts the photographs of a product.
            max_bytes: maximum size of the cache.
            now: clock, in seconds.
            timeout_s: maximum time for making a thumbnail, in seconds.
            decode_bytes: maximum memory of the photographs that are decoded at once, in bytes.
        """
        self._fetch = fetch
        self._count = count
        self._max_bytes = max_bytes
        self._now = now
        self._timeout_s = timeout_s
        self._limits = ImageLimits(
            max_bytes=_MAX_BYTES,
            max_pixels=_MAX_PIXELS,
            max_scaled_pixels=_MAX_PIXELS,
            min_side=1,
            memory=MemoryBudget(decode_bytes),
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnails")
        self._thumbnails: OrderedDict[str, Picture] = OrderedDict()
        self._cached_bytes = 0
        self._fetching = asyncio.Semaphore(_MAX_FETCHING)
        # By product and place.
        self._known: OrderedDict[tuple[str, int], _Known] = OrderedDict()

    async def original(self, product_id: str, index: int = 0) -> Picture:
        """Returns a photograph as uploaded, by its place from 0.

        Raises:
            FashionError: as SearchService.GetPhotograph documents.
        """
        photograph = await self._fetched(product_id, index)
        return Picture(photograph.content, photograph.media_type, photograph.sha256[:32])

    async def thumbnail(self, product_id: str, width: int, media_type: str, index: int = 0) -> Picture:
        """Returns a photograph, upright and at most `width` pixels wide and 16,383 high, never enlarged.

        Args:
            product_id: id of the product.
            width: maximum width, in pixels.
            media_type: "image/webp" or "image/jpeg".
            index: which of its photographs; 0 is the first.

        Raises:
            FashionError: as SearchService.GetPhotograph documents; PHOTOGRAPH_UNREADABLE.
            DeadlineExceeded: making it takes too long.
        """
        # Asked each time, so that what is deleted is gone at once, whatever is cached.
        count = await self._count(product_id)
        known = self._known.get((product_id, index))
        if known is not None and known.until > self._now() and known.count == count:
            cached = self._thumbnails.get(_tag(known.sha256, width, media_type))
            if cached is not None:
                self._thumbnails.move_to_end(cached.tag)
                return cached
        photograph = await self._fetched(product_id, index)
        self._known[product_id, index] = _Known(photograph.sha256, count, self._now() + _FRESH_S)
        self._known.move_to_end((product_id, index))
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        tag = _tag(photograph.sha256, width, media_type)
        thumbnail = self._thumbnails.get(tag)
        if thumbnail is None:
            content = await self._made(photograph.content, width, media_type)
            thumbnail = Picture(content, media_type, tag)
            self._cache(thumbnail)
        return thumbnail

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _made(self, content: bytes, width: int, media_type: str) -> bytes:
        """Makes a thumbnail in a thread, which ends at the deadline."""
        with deadline.at_most(self._timeout_s):
            async with deadline.enforced():
                run = contextvars.copy_context().run
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, run, _reduced, content, width, media_type, self._limits
                )

    async def _fetched(self, product_id: str, index: int) -> Photograph:
        async with self._fetching:
            return await self._fetch(product_id, index)

    def _cache(self, thumbnail: Picture) -> None:
        replaced = self._thumbnails.pop(thumbnail.tag, None)
        self._thumbnails[thumbnail.tag] = thumbnail
        self._cached_bytes += len(thumbnail.content) - (0 if replaced is None else len(replaced.content))
        while self._cached_bytes > self._max_bytes:
            _, oldest = self._thumbnails.popitem(last=False)
            self._cached_bytes -= len(oldest.content)


def _tag(sha256: str, width: int, media_type: str) -> str:
    return f"{sha256[:32]}-{width}-{media_type.removeprefix('image/')}"


def _reduced(content: bytes, width: int, media_type: str, limits: ImageLimits) -> bytes:
    if deadline.passed(deadline.current()):
        raise deadline.exceeded()
    try:
        picture = decode(content, limits, enough=lambda full, high: min(width / full, _MAX_HEIGHT / high))
    except InvalidInput as error:
        # The stored photograph is wrong, not the request.
        raise FashionError(error.message, reason="PHOTOGRAPH_UNREADABLE") from error
    share = min(width / picture.width, _MAX_HEIGHT / picture.height)
    if share < 1:
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if media_type == WEBP:
        small = picture.width * picture.height <= _SMALL_PIXELS
        picture.save(out, "WEBP", quality=_QUALITY, method=4 if small else 2)
    else:
        picture.save(out, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
    return out.getvalue()
