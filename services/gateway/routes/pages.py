"""Serves files: the storefront's pages, the element, and the map of the catalogue."""

import asyncio
import base64
import hashlib
import json
import mimetypes
import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypedDict

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from services.contract.errors import NotFound
from services.gateway.schema.caching import IMMUTABLE, REVALIDATE, public, tagged
from services.gateway.schema.reference import STYLES_PATH, reference_page

WEB: Final = Path(__file__).parents[1] / "web"

# The paths of the storefront, all of them one page.
_PAGES: Final = ("/", "/p/{product_id}", "/photo", "/inspect", "/map")
_API: Final = "/v1/"
_ELEMENTS: Final = "elements"
# Comments, indentation and empty lines, each from the beginning of a line: shoppers need not load them.
_ASIDES: Final = re.compile(rb"^ */\*\*(?:[^*]|\*(?!/))*\*/\n|^ *//[^\n]*\n|^ +|^\n", re.MULTILINE)
_ELEMENT: Final = "similar-items"
_ELEMENT_MAX_AGE_S: Final = 300
_VERSION_DIGITS: Final = 12
_MEDIA_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is served, and when it was changed."""

    modified_ns: int
    content: bytes
    etag: str


class ElementManifest(TypedDict):
    """What a page needs to load one version of the element for good.

    Attributes:
        version: changes with the content.
        path: at the gateway; its content never changes.
        integrity: for the attribute of the same name (W3C, "Subresource Integrity").
    """

    version: str
    path: str
    integrity: str


def element_manifest(content: bytes) -> ElementManifest:
    """Returns the manifest of the element, as it is served."""
    version = hashlib.sha256(content).hexdigest()[:_VERSION_DIGITS]
    integrity = f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"
    return {"version": version, "path": f"/{_ELEMENTS}/{_ELEMENT}-{version}.js", "integrity": integrity}


class Files:
    """The files of a folder, read again when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._read: dict[Path, File] = {}

    async def answer(self, request: Request, name: str, cache_control: str) -> Response:
        """Answers with a file.

        Raises:
            NotFound: PAGE_NOT_FOUND; the folder has no such file.
        """
        file = await self.read(name)
        media_type = _MEDIA_TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return tagged(request, file.content, media_type, file.etag, {"Cache-Control": cache_control})

    async def read(self, name: str) -> File:
        """Returns a file as it is served; raises as `answer` does."""
        return await asyncio.to_thread(self._file, name)

    def _file(self, name: str) -> File:
        try:
            path = (self._folder / name).resolve()
            if not path.is_relative_to(self._folder):
                raise FileNotFoundError(name)
            modified_ns = path.stat().st_mtime_ns
            known = self._read.get(path)
            if known is None or known.modified_ns != modified_ns:
                content = path.read_bytes()
                if path.parent.name == _ELEMENTS and path.suffix == ".js":
                    content = _ASIDES.sub(b"", content)
                # Weak, because the file may be sent compressed.
                etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
                known = self._read[path] = File(modified_ns, content, etag)
            return known
        except (OSError, ValueError):
            raise NotFound("There is no page at this path.", reason="PAGE_NOT_FOUND") from None


def is_page_request(request: Request) -> bool:
    """Returns whether a browser asks for a page, and not a program for the API."""
    ranges = [each.split(";")[0].strip().lower() for each in request.headers.get("accept", "").split(",")]
    return request.method in {"GET", "HEAD"} and "text/html" in ranges and not request.url.path.startswith(_API)


class NotFoundPage:
    """The storefront's answer at a path where nothing is."""

    def __init__(self, web: Path = WEB) -> None:
        self._files = Files(web)

    async def answer(self) -> Response:
        """Answers with the storefront, whose script says that nothing is at this path."""
        file = await self._files.read("index.html")
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        return Response(file.content, HTTPStatus.NOT_FOUND, headers, _MEDIA_TYPES[".html"])


def reference_router(app: FastAPI, web: Path = WEB) -> APIRouter:
    """Makes the routes of the reference page, which the OpenAPI document omits.

    Args:
        app: the application whose OpenAPI document the page shows.
        web: folder of the page's styles.
    """
    router = APIRouter(include_in_schema=False)
    files = Files(web)

    @router.get("/docs")
    async def reference(request: Request) -> Response:
        content = reference_page(app.openapi()).encode()
        etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
        return tagged(request, content, _MEDIA_TYPES[".html"], etag, {"Cache-Control": REVALIDATE})

    @router.get(STYLES_PATH)
    async def styles(request: Request) -> Response:
        return await files.answer(request, STYLES_PATH.removeprefix("/"), REVALIDATE)

    return router


def pages_router(*, storefront: bool, map_file: Path | None, web: Path = WEB) -> APIRouter:
    """Makes the routes of files, which the OpenAPI document omits.

    Args:
        storefront: whether to serve the storefront's pages; the element is always served.
        map_file: file of the map of the catalogue, or None.
        web: folder of the pages, the assets and the element.
    """
    router = APIRouter(include_in_schema=False)
    files = Files(web)

    script = f"{_ELEMENTS}/{_ELEMENT}.js"

    @router.get(f"/{script}")
    async def element(request: Request) -> Response:
        return await files.answer(request, script, public(_ELEMENT_MAX_AGE_S))

    @router.get(f"/{_ELEMENTS}/{_ELEMENT}-{{version}}.js")
    async def element_version(request: Request, version: str) -> Response:
        current = element_manifest((await files.read(script)).content)
        if version != current["version"]:
            raise NotFound(
                f"This gateway has another version of the element: load {current['path']}.", reason="PAGE_NOT_FOUND"
            )
        return await files.answer(request, script, IMMUTABLE)

    @router.get(f"/{_ELEMENTS}/manifest.json")
    async def manifest_of_elements(request: Request) -> Response:
        file = await files.read(script)
        content = json.dumps({_ELEMENT: element_manifest(file.content)}).encode()
        return tagged(request, content, _MEDIA_TYPES[".json"], file.etag, {"Cache-Control": REVALIDATE})

    @router.get(f"/{_ELEMENTS}/custom-elements.json")
    async def custom_elements(request: Request) -> Response:
        return await files.answer(request, f"{_ELEMENTS}/custom-elements.json", public(_ELEMENT_MAX_AGE_S))

    if not storefront:
        return router

    async def page(request: Request) -> Response:
        return await files.answer(request, "index.html", REVALIDATE)

    for path in _PAGES:
        router.add_api_route(path, page, methods=["GET"])

    @router.get("/assets/{name:path}")
    async def asset(request: Request, name: str) -> Response:
        return await files.answer(request, f"assets/{name}", REVALIDATE)

    @router.get("/icons/{name:path}")
    async def icon(request: Request, name: str) -> Response:
        return await files.answer(request, f"icons/{name}", REVALIDATE)

    @router.get("/manifest.webmanifest")
    async def manifest(request: Request) -> Response:
        return await files.answer(request, "manifest.webmanifest", REVALIDATE)

    @router.get("/favicon.ico")
    async def favicon(request: Request) -> Response:
        return await files.answer(request, "icons/favicon.ico", REVALIDATE)

    if map_file is not None:
        maps = Files(map_file.parent)

        @router.get("/map.json")
        async def catalogue_map(request: Request) -> Response:
            return await maps.answer(request, map_file.name, REVALIDATE)

    return router
