"""Photographs of products in the sizes that pages ask for: made off the event loop, kept in bounded memory."""

import asyncio
import io
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from PIL import Image

from services.contract.errors import FashionError, InvalidInput
from services.vision.decode import ImageLimits, decode

WEBP: Final = "image/webp"
JPEG: Final = "image/jpeg"

# For so long a product is taken to have the photograph that it had, in seconds.
_FRESH_S: Final = 30.0
_MAX_KNOWN: Final = 10_000
_THREADS: Final = 2
_QUALITY: Final = 82
# Search took these photographs in by limits of its own; these bound what memory one may cost here.
_LIMITS: Final = ImageLimits(max_bytes=256 * 1024 * 1024, max_pixels=100_000_000, min_side=1)


class Photograph(Protocol):
    """A photograph as search keeps it; the message of fashion.v1 is one."""

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


# Returns the photograph of a product, or raises NotFound.
Fetch = Callable[[str], Awaitable[Photograph]]


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture; `tag` changes whenever a byte of it does."""

    content: bytes
    media_type: str
    tag: str


class Thumbnails:
    """Fetches photographs, and makes and remembers smaller ones."""

    def __init__(self, fetch: Fetch, max_bytes: int, now: Callable[[], float] = time.monotonic) -> None:
        """Takes where photographs come from, how many bytes of thumbnails to keep, and a clock in seconds."""
        self._fetch = fetch
        self._max_bytes = max_bytes
        self._now = now
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnails")
        self._made: OrderedDict[str, Picture] = OrderedDict()
        self._made_bytes = 0
        # Product -> SHA-256 of its photograph, and until when that is believed.
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def original(self, product_id: str) -> Picture:
        """Returns a photograph as it was uploaded.

        Raises:
            FashionError: as SearchService.GetPhotograph documents.
        """
        kept = await self._fetched(product_id)
        return Picture(kept.content, kept.media_type, kept.sha256[:32])

    async def thumbnail(self, product_id: str, width: int, media_type: str) -> Picture:
        """Returns a photograph upright and at most `width` pixels wide, never enlarged.

        Args:
            product_id: whose.
            width: in pixels.
            media_type: "image/webp" or "image/jpeg".

        Raises:
            FashionError: as SearchService.GetPhotograph documents; PHOTOGRAPH_UNREADABLE.
        """
        sha256, until = self._known.get(product_id, ("", 0.0))
        if until > self._now():
            made = self._made.get(_tag(sha256, width, media_type))
            if made is not None:
                self._made.move_to_end(made.tag)
                return made
        kept = await self._fetched(product_id)
        tag = _tag(kept.sha256, width, media_type)
        made = self._made.get(tag)
        if made is None:
            loop = asyncio.get_running_loop()
            content = await loop.run_in_executor(self._threads, _reduced, kept.content, width, media_type)
            made = Picture(content, media_type, tag)
            self._keep(made)
        return made

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _fetched(self, product_id: str) -> Photograph:
        kept = await self._fetch(product_id)
        self._known[product_id] = (kept.sha256, self._now() + _FRESH_S)
        self._known.move_to_end(product_id)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return kept

    def _keep(self, made: Picture) -> None:
        replaced = self._made.pop(made.tag, None)
        self._made[made.tag] = made
        self._made_bytes += len(made.content) - (0 if replaced is None else len(replaced.content))
        while self._made_bytes > self._max_bytes:
            _, oldest = self._made.popitem(last=False)
            self._made_bytes -= len(oldest.content)


def _tag(sha256: str, width: int, media_type: str) -> str:
    return f"{sha256[:32]}-{width}-{media_type.removeprefix('image/')}"


def _reduced(content: bytes, width: int, media_type: str) -> bytes:
    try:
        picture = decode(content, _LIMITS, enough=lambda full, _: width / full)
    except InvalidInput as error:
        # Whoever asks for it has sent nothing wrong.
        raise FashionError(error.message, reason="PHOTOGRAPH_UNREADABLE") from error
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if media_type == WEBP:
        picture.save(out, "WEBP", quality=_QUALITY, method=4)
    else:
        picture.save(out, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
    return out.getvalue()
