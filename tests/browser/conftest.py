"""A real Chromium in front of a real gateway and stack, with a small drawn shop."""

import contextlib
import functools
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from fashion.v1 import types_pb2
from offline.catalogue_map.layout import MAP_FILE
from tests.support import small_shop
from tests.support.gateways import Shop, shop
from tests.support.processes import ROOT, free_port

SCREENSHOTS = ROOT / "out" / "screenshots"
MARKUP = '<img src=x onerror="window.harmed=1"><b>Bold</b> & "quoted"'
PATIENCE_MS = 20_000

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DEVICES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "tablet": {"viewport": {"width": 768, "height": 1024}, "has_touch": True},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one module: its event loop would disturb tests that bring their own."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed: what runs in the browser is not tested")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def foreign_port() -> int:
    """Where pages of another origin are served."""
    return free_port()


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory, foreign_port: int) -> Iterator[Shop]:
    """A shop of forty plain products, and three odd ones. Its storefront has demo users of its own."""
    data_dir = tmp_path_factory.mktemp("shop")
    with shop(data_dir, allowed_origins=f"http://127.0.0.1:{foreign_port}", map=data_dir / MAP_FILE) as running:
        rows = small_shop.rows()
        tshirt = small_shop.Item("", "Men Tshirts", "Red", 10)
        price = types_pb2.Price(currency_code="EUR", units=19, nanos=990_000_000)
        for identifier, attributes in {
            "odd-markup": {"name": MARKUP},
            "odd-priced": {
                "name": "Priced Tshirt",
                "price": price,
                "url": "https://shop.example/p/1",
                "brand": "Harbour",
                "usage": "Casual",
            },
            "odd-unlinked": {"name": "Unlinked", "in_stock": False},
        }.items():
            row = tshirt.row(**attributes)
            row.product.id = identifier
            rows.append(row)
        answer = running.grpc.upsert(rows)
        assert all(result.status.code == 0 for result in answer.results), answer
        yield running


@pytest.fixture
def open_page(chromium: Browser, request: pytest.FixtureRequest) -> Open:
    """Opens pages with a browser profile of their own; their console has to stay free of errors."""

    @contextmanager
    def opened(device: str = "desktop", *, scheme: str = "light", quiet: bool = True) -> Iterator[Page]:
        context = chromium.new_context(**DEVICES[device], color_scheme=scheme, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page = context.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(f"thrown: {error}"))
        if quiet:
            page.on("console", lambda line: said.append(line.text) if line.type in {"error", "warning"} else None)
        try:
            yield page
            assert said == []
            assert page.evaluate("window.harmed") is None
        except BaseException:
            picture(page, f"failed-{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())}")
            raise
        finally:
            context.close()

    return opened


def picture(page: Page, name: str, *, full_page: bool = False) -> None:
    """Keeps a screenshot as an artefact."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)


def names_of(page: Page, within: str = ".results") -> list[str]:
    """Lists the ids of the products that are shown."""
    found: list[str] = page.locator(f"{within} .card").evaluate_all("all => all.map(one => one.dataset.product)")
    return found


def expect_names(page: Page, names: list[str], within: str = ".results") -> None:
    """Waits until just these products are shown, in this order."""
    shown = "([cards, names]) => [...document.querySelectorAll(cards)].map(one => one.dataset.product).join() === names"
    # The comparison below says what differs.
    with contextlib.suppress(PlaywrightTimeout):
        page.wait_for_function(shown, arg=[f"{within} .card", ",".join(names)])
    assert names_of(page, within) == names


@dataclass(frozen=True)
class Answer:
    """The answer of a test's server."""

    content: bytes
    media_type: str = "text/html; charset=utf-8"
    status: int = 200
    policy: str | None = None


@contextmanager
def serving(answer: Callable[[str], Answer | None], port: int = 0) -> Iterator[str]:
    """Runs a web server; a path that is answered with None hangs until the context ends."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(self.path.split("?")[0])
            if found is None:
                ended.wait(60)
                return
            self.send_response(found.status)
            self.send_header("Content-Type", found.media_type)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Headers", "*")
            if found.policy:
                self.send_header("Content-Security-Policy", found.policy)
            self.end_headers()
            self.wfile.write(found.content)

        do_OPTIONS = do_GET  # noqa: N815

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.05), name="web server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join(20)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A photograph that is not in the catalogue."""
    path = tmp_path / "photograph.png"
    path.write_bytes(small_shop.photograph("Women Handbags", "Red", 12, size=400))
    return path
