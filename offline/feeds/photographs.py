"""The photographs of a feed: files beside it, or URLs that are downloaded into a cache."""

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.request import getproxies, proxy_bypass

from offline.spool import Shelf
from offline.whole_file import whole_file
from services.contract.errors import FashionError, InvalidInput, NotFound, Upstream

if TYPE_CHECKING:
    import httpx

_TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "User-Agent": "fashion-ingest/1",
    "Accept": "image/jpeg, image/png, image/webp, image/avif, */*;q=0.1",
    "Accept-Encoding": "identity",
}
# What is not used for so long is removed.
_UNUSED_S: Final = 60 * 86_400
# An interrupted run is gone on with for so long.
_RESUMED_S: Final = 86_400
# So many downloads wait for their turn; each takes memory.
_MAX_BEGUN: Final = 256
# What a download can fail with.
_ERRORS: Final[Mapping[str, type[FashionError]]] = {each.__name__: each for each in (InvalidInput, NotFound, Upstream)}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """How photographs are downloaded.

    Attributes:
        at_once: downloads at once.
        max_bytes: bytes of a photograph at most.
        timeout_s: time of one attempt at most, redirects included.
        connect_s: time until a server answers at all.
        redirects: redirects at most.
        attempts: attempts while the server says that it is busy, or the connection breaks.
        first_delay_s: the pause before the second attempt; it doubles with each.
        max_delay_s: the longest pause, also where the server asks for more.
        private: whether private, loopback and link-local addresses are allowed.
    """

    at_once: int = 8
    max_bytes: int = 10 << 20
    timeout_s: float = 30.0
    connect_s: float = 10.0
    redirects: int = 5
    attempts: int = 4
    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    private: bool = False


@dataclass(slots=True)
class DownloadCounts:
    """What became of the photographs that were asked for."""

    downloaded: int = 0
    unchanged: int = 0
    failed: int = 0
    received_bytes: int = 0

    @property
    def done(self) -> int:
        """Those with an outcome."""
        return self.downloaded + self.unchanged + self.failed


def default_cache() -> Path:
    """Returns the folder that keeps photographs where none is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fashion" / "photographs"


class _Temporary(Exception):
    """A failure that another attempt may mend, and the pause that the server asks for, in seconds."""

    def __init__(self, reason: str, delay_s: float = 0.0) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


# The name of an error's class, its message, reason and metadata.
_Failure = tuple[str, str, str, Mapping[str, str]]


class Downloads:
    """Downloads by URL into a cache on disk, in a thread of its own; a context manager.

    Of a photograph that is there the server is asked whether it changed (ETag, Last-Modified). After an interruption
    what the interrupted run downloaded is taken without asking.
    """

    def __init__(self, cache: Path, run: str, limits: DownloadLimits | None = None) -> None:
        """Makes the cache's folder.

        Args:
            cache: the folder; several runs may share it.
            run: names what is downloaded, so that an interrupted run is known again.
            limits: how to download.

        Raises:
            InvalidInput: FILE_UNWRITABLE.
        """
        self.counts = DownloadCounts()
        self._cache = cache
        self._limits = limits or DownloadLimits()
        self._marker = cache / f"unfinished-{hashlib.sha256(run.encode()).hexdigest()[:16]}"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            began = self._marker.stat().st_mtime if self._marker.exists() else 0.0
            if time.time() - began > _RESUMED_S:
                self._marker.write_bytes(b"")
                began = self._marker.stat().st_mtime
        except OSError as error:
            raise InvalidInput(f"Cannot write {cache}: {error.strerror}.", reason="FILE_UNWRITABLE") from error
        self._fresh_since = began
        # Downloads under way, and what became of the others: an error, or none.
        self._futures: dict[str, Future[Path]] = {}
        self._ended: Shelf[_Failure | None] = Shelf()
        self._planned: Iterator[str] = iter(())
        self._lock = threading.RLock()
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(self._limits.at_once)
        self._client: httpx.AsyncClient | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="downloads", daemon=True)
        self._thread.start()

    def begin(self, urls: Iterable[str]) -> None:
        """Begins to download, in order; returns at once. Most of `urls` are taken later, as others end."""
        with self._lock:
            self._planned = iter(urls)
            self._go_on()

    def _go_on(self) -> None:
        while len(self._futures) < _MAX_BEGUN and (url := next(self._planned, None)) is not None:
            if url not in self._ended:
                self._begun(url)

    def _begun(self, url: str) -> "Future[Path]":
        future = self._futures.get(url)
        if future is None:
            future = self._futures[url] = asyncio.run_coroutine_threadsafe(self._download(url), self._loop)
            future.add_done_callback(lambda done: self._end(url, done))
        return future

    def read(self, url: str) -> bytes:
        """Returns a photograph, once it is there.

        Raises:
            FashionError: it cannot be downloaded; the text says why.
        """
        with self._lock:
            future = None if url in self._ended else self._begun(url)
        try:
            failure = self._ended[url] if future is None else _failure_of(future)
        except CancelledError:
            raise Upstream(f"The download of {url} was ended.", reason="PHOTOGRAPH_NOT_DOWNLOADED") from None
        if failure is not None:
            kind, message, reason, metadata = failure
            raise _ERRORS[kind](message, reason=reason, metadata=metadata)
        try:
            return self._file(url).read_bytes()
        except OSError as error:
            raise InvalidInput(
                f"The cached photograph of {url} cannot be read: {error.strerror}.", reason="DATASET_FILE_UNREADABLE"
            ) from error

    def _end(self, url: str, future: "Future[Path]") -> None:
        """Notes what became of a download, and begins others in its place."""
        with self._lock:
            try:
                if not future.cancelled():
                    self._ended[url] = _failure_of(future)
            finally:
                self._futures.pop(url, None)
                self._go_on()

    def _file(self, url: str) -> Path:
        digest = hashlib.sha256(url.encode()).hexdigest()
        return self._cache / digest[:2] / f"{digest}.image"

    def finish(self) -> None:
        """Notes that the run came to its end, and removes what no run has used for long."""
        self._marker.unlink(missing_ok=True)
        for meta in self._cache.glob("??/*.json"):
            with contextlib.suppress(OSError):
                if time.time() - meta.stat().st_mtime > _UNUSED_S:
                    meta.with_suffix(".image").unlink(missing_ok=True)
                    meta.unlink()

    def close(self) -> None:
        """Ends the downloads; what is there stays."""
        if not self._thread.is_alive():
            return
        with self._lock:
            self._planned = iter(())

        async def end() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._client is not None:
                await self._client.aclose()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _download(self, url: str) -> Path:
        async with self._slots:
            try:
                path, is_new = await self._fetched(url)
            except FashionError:
                self.counts.failed += 1
                raise
            except Exception as error:
                # Whatever is odd about one photograph, the others come in.
                self.counts.failed += 1
                raise _failed(url, f"{type(error).__name__}: {error}".rstrip(": ")) from error
            self.counts.downloaded += is_new
            self.counts.unchanged += not is_new
            return path

    async def _fetched(self, url: str) -> tuple[Path, bool]:
        """Returns the file of a photograph, and whether it was downloaded."""
        path = self._file(url)
        known = _read_meta(path)
        if known.get("time", 0.0) >= self._fresh_since:
            return path, False
        for attempt in range(1, self._limits.attempts + 1):
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    return await self._attempt(url, path, known)
            except TimeoutError:
                # Who was slow once is rarely fast at once.
                if attempt >= 2:
                    raise _failed(url, f"no whole answer within {self._limits.timeout_s:.0f} s") from None
                delay_s = 0.0
            except _Temporary as error:
                if attempt == self._limits.attempts:
                    raise _failed(url, f"{error}, {attempt} times") from None
                delay_s = error.delay_s
            delay_s = max(delay_s, self._limits.first_delay_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
            await asyncio.sleep(min(delay_s, self._limits.max_delay_s))
        raise AssertionError

    async def _attempt(self, url: str, path: Path, known: dict[str, Any]) -> tuple[Path, bool]:
        import httpx

        if self._client is None:
            timeout = httpx.Timeout(self._limits.timeout_s, connect=self._limits.connect_s)
            self._client = httpx.AsyncClient(headers=_HEADERS, timeout=timeout)
        asked: dict[str, str] = {}
        if known.get("etag"):
            asked["If-None-Match"] = known["etag"]
        if known.get("last_modified"):
            asked["If-Modified-Since"] = known["last_modified"]
        try:
            target = httpx.URL(url)
            for _ in range(self._limits.redirects + 1):
                request = await self._request(target, asked)
                response = await self._client.send(request, stream=True)
                try:
                    if response.status_code in _REDIRECTS and "location" in response.headers:
                        target = target.join(response.headers["location"])
                        continue
                    return path, await self._kept(url, response, path, known)
                finally:
                    await response.aclose()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise _failed(url, f"it is no URL that can be asked for: {error}") from None
        except httpx.TimeoutException:
            raise TimeoutError from None
        except httpx.HTTPError as error:
            raise _Temporary(f"{type(error).__name__}: {error}".rstrip(": ")) from None
        raise _failed(url, f"more than {self._limits.redirects} redirects")

    async def _request(self, target: "httpx.URL", headers: dict[str, str]) -> "httpx.Request":
        """Returns a request to an address that was checked, so that the name cannot lead elsewhere a moment later."""
        assert self._client is not None
        if target.scheme not in ("http", "https") or not target.host:
            raise _failed(str(target), "it is no http or https URL")
        if self._limits.private:
            return self._client.build_request("GET", target, headers=headers)
        proxied = target.scheme in getproxies() and not proxy_bypass(target.host)
        try:
            address = str(ipaddress.ip_address(target.host.strip("[]")))
        except ValueError:
            if proxied:
                # The proxy looks the name up, and guards its own network.
                return self._client.build_request("GET", target, headers=headers)
            address = await self._address(target)
        if not _is_public(address):
            raise InvalidInput(
                f"{target.host} is the private address {address}. Allow it with --allow-private-addresses.",
                reason="PHOTOGRAPH_ADDRESS_PRIVATE",
            )
        return self._client.build_request(
            "GET",
            target.copy_with(host=address),
            headers={**headers, "Host": target.netloc.decode("ascii").rpartition("@")[2]},
            extensions={"sni_hostname": target.raw_host.decode("ascii")},
        )

    async def _address(self, target: "httpx.URL") -> str:
        """Returns the address of a host: a private one, where it has any."""
        port = target.port or (443 if target.scheme == "https" else 80)
        try:
            found = await self._loop.getaddrinfo(target.host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise _Temporary(f"the name {target.host} cannot be looked up") from None
            raise _failed(str(target), f"there is no host {target.host}") from None
        addresses = [str(each[4][0]) for each in found]
        return next((each for each in addresses if not _is_public(each)), addresses[0])

    async def _kept(self, url: str, response: "httpx.Response", path: Path, known: dict[str, Any]) -> bool:
        """Keeps an answer in the cache; returns whether it is new."""
        status = response.status_code
        if status == 304 and known:
            _write(path.with_suffix(".json"), json.dumps({**known, "time": time.time()}).encode())
            return False
        if status in _TEMPORARY:
            raise _Temporary(f"the server answers {status}", _asked_delay_s(response.headers.get("retry-after", "")))
        if status in (404, 410):
            raise NotFound(f"The server answers {status}: {url} is not there.", reason="PHOTOGRAPH_NOT_DOWNLOADED")
        if status != 200:
            raise _failed(url, f"the server answers {status}")
        limit = self._limits.max_bytes
        content = bytearray()
        if int(response.headers.get("content-length") or 0) <= limit:
            async for chunk in response.aiter_bytes():
                content += chunk
                self.counts.received_bytes += len(chunk)
                if len(content) > limit:
                    break
            else:
                limit = len(content)
        if len(content) != limit:
            raise InvalidInput(
                f"{url} has more than {self._limits.max_bytes:,} bytes, the most that is downloaded.",
                reason="DATASET_FILE_TOO_LARGE",
            )
        start = bytes(content[:512]).lstrip().lower()
        if response.headers.get("content-type", "").startswith("text/html") or start.startswith((b"<!doc", b"<html")):
            raise InvalidInput(f"{url} is an HTML page, no image.", reason="PHOTOGRAPH_NOT_DOWNLOADED")
        if not content:
            raise _failed(url, "the answer is empty")
        meta = {
            "url": url,
            "etag": response.headers.get("etag"),
            "last_modified": response.headers.get("last-modified"),
            "time": time.time(),
        }
        _write(path, bytes(content))
        _write(path.with_suffix(".json"), json.dumps(meta).encode())
        return True


def _failure_of(future: "Future[Path]") -> _Failure | None:
    """Returns the error of a download once it has ended, as it can be kept; None for a photograph."""
    try:
        future.result()
    except FashionError as error:
        kind = type(error).__name__
        return kind if kind in _ERRORS else Upstream.__name__, error.message, error.reason, error.metadata
    return None


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _asked_delay_s(text: str) -> float:
    """Returns the pause of a header Retry-After, in seconds or as a date."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _failed(url: str, why: str) -> Upstream:
    return Upstream(f"Cannot download {url}: {why}.", reason="PHOTOGRAPH_NOT_DOWNLOADED")


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return {}
    return meta if isinstance(meta, dict) and path.is_file() else {}


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


class FeedPhotographs:
    """The photographs of a feed; see `offline.dataset.files.DatasetFiles`."""

    def __init__(self, folder: Path, downloads: Downloads | None) -> None:
        """Takes the folder of the feed, which files may not leave, and what downloads URLs."""
        self._folder = folder.resolve()
        self._downloads = downloads

    def photographs(self) -> Iterator[str]:
        """Returns nothing: a feed names its photographs."""
        return iter(())

    def further(self) -> Iterator[str]:
        """Returns nothing: a feed names its photographs."""
        return iter(())

    def holds(self, name: str) -> bool:
        """Tells whether there is a file of this name within the folder."""
        try:
            path = (self._folder / name).resolve()
            return path.is_relative_to(self._folder) and path.is_file()
        except (OSError, ValueError):
            return False

    def read(self, name: str, limit: int) -> bytes:
        """Returns a photograph; raises FashionError where it cannot be read or downloaded."""
        if name.startswith(("http://", "https://")):
            if self._downloads is None:
                raise InvalidInput(
                    f"The photograph {name} is a URL. Download it first, with `fashion ingest`.",
                    reason="PHOTOGRAPH_NOT_DOWNLOADED",
                )
            return self._downloads.read(name)
        if not self.holds(name):
            raise NotFound(f"There is no file {name} beside the feed.", reason="DATASET_FILE_UNREADABLE")
        try:
            with (self._folder / name).open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise InvalidInput(f"Cannot read {name}: {error.strerror}.", reason="DATASET_FILE_UNREADABLE") from error
        if len(content) > limit:
            raise InvalidInput(
                f"{name} has more than {limit:,} bytes, the most that is read.", reason="DATASET_FILE_TOO_LARGE"
            )
        return content

    def close(self) -> None:
        """Ends the downloads."""
        if self._downloads is not None:
            self._downloads.close()
