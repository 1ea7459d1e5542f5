"""The inspector, the map, the icon on a phone's home screen, and the accessibility of all pages (axe-core)."""

import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from offline.catalogue_map.layout import MAP_FILE, draw_sample, lay_out, write_document
from tests.browser.conftest import Open, picture
from tests.support.gateways import Shop

SIZES = ["desktop", "phone"]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
GRAVE = {"serious", "critical"}


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, open_page: Open) -> Iterator[Page]:
    with open_page(request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def laid_out(stocked: Shop) -> dict[str, Any]:
    return lay_out(draw_sample(stocked.data_dir)).document()


@pytest.fixture
def mapped(stocked: Shop, laid_out: dict[str, Any]) -> Iterator[Shop]:
    """The shop with its map."""
    path = stocked.data_dir / MAP_FILE
    write_document(laid_out, path)
    yield stocked
    path.unlink()


def width(page: Page) -> int:
    size = page.viewport_size
    assert size is not None
    return size["width"]


def test_a_products_query_is_inspected(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/p/men-tshirts-blue-0")
    page.get_by_role("link", name="Inspect the query").click()
    expect(page).to_have_url(re.compile(r"/inspect\?product=men-tshirts-blue-0$"))
    after = page.get_by_role("region", name="After your colours")
    before = page.get_by_role("region", name="Before your colours")
    expect(after.locator("li")).to_have_count(12)
    edges = [each.bounding_box() for each in (after.get_by_role("heading"), after.locator("li").first)]
    assert edges[0] is not None and edges[1] is not None and edges[0]["x"] == edges[1]["x"]
    expect(page.locator(".timings tbody tr")).to_have_count(3)
    page.locator("#colours-button").click()
    page.locator('[data-key="false-Red"]').click()
    expect(page.locator('[data-key="false-Red"]')).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(before.locator(".left-out").first).to_be_visible()
    gone = before.locator(".left-out").count()
    expect(after.locator(".moved-in")).to_have_count(gone)
    expect(after.get_by_text("· Red")).to_have_count(0)
    expect(page.locator(".inspector-query .colour-list")).to_have_text("Red")
    left_out = "1 out of stock, 10 of your colours, 1 excluded"
    expect(page.locator(".inspector-query .facts").last).to_contain_text(left_out)
    picture(page, f"inspect-{width(page)}", full_page=True)
    page.get_by_label("Product", exact=True).fill("women-dresses-black-0")
    page.get_by_role("button", name="Inspect", exact=True).click()
    expect(page).to_have_url(re.compile("product=women-dresses-black-0"))
    expect(after.locator("li")).to_have_count(12)


def test_a_photographs_query_is_inspected(page: Page, stocked: Shop, photograph: Path) -> None:
    page.goto(f"{stocked.url}/photo")
    page.locator('input[type="file"]').first.set_input_files(photograph)
    page.locator(".photo-buttons").get_by_role("link", name="Inspect").click()
    types = page.locator(".types").last
    expect(types.locator("tr").first).to_contain_text("Women Handbags")
    expect(types.locator("tr").first).to_contain_text(re.compile(r"\d\d\.\d %\s+0\.\d{3}"))
    steps = page.locator(".timings tbody th")
    expect(steps).to_contain_text(
        ["Whole way", "Look at the picture", "Recognise its type", "Search"], use_inner_text=True
    )
    expect(page.locator(".inspector-query canvas")).to_be_visible()


def test_the_map_shows_products_and_leads_to_them(page: Page, mapped: Shop) -> None:
    page.goto(f"{mapped.url}/map")
    canvas = page.locator(".map-stage canvas")
    expect(page.locator(".legend button")).to_have_count(3)
    # Points are painted in the colours of the legend.
    page.get_by_label("Coloured by").select_option("base_colour")
    expect(page.locator(".legend button")).to_have_count(5)
    expect(page).to_have_url(re.compile("by=base_colour"))
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Whole map").click()
    page.locator(".legend button").first.click()
    expect(page.locator(".legend button").first).to_have_attribute("aria-pressed", "true")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".map-card")).to_be_visible()
    first = page.locator("#announcements").inner_text()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("+")
    expect(page.locator(".map-card")).to_be_visible()
    assert first
    picture(page, f"map-{width(page)}")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/p/"))
    expect(page.locator(".similar .card")).to_have_count(18)


def test_a_pointer_over_the_map_shows_the_product(open_page: Open, mapped: Shop) -> None:
    with open_page() as page:
        page.goto(f"{mapped.url}/map")
        canvas = page.locator(".map-stage canvas")
        expect(page.locator(".legend button")).to_have_count(3)
        canvas.hover()
        page.mouse.wheel(0, -400)
        page.get_by_role("button", name="Whole map").click()
        canvas.focus()
        page.keyboard.press("ArrowRight")
        x = page.locator(".map-card").evaluate("one => parseFloat(one.style.getPropertyValue('--x'))")
        frame = canvas.bounding_box()
        assert frame is not None
        page.mouse.move(frame["x"] + 3, frame["y"] + 3)
        expect(page.locator(".map-card")).to_be_hidden()
        # The card stands beside its point, sixteen pixels to one side.
        for side in (-16, 16 + 148):
            for down in range(0, int(frame["height"]), 12):
                page.mouse.move(frame["x"] + x + side, frame["y"] + down)
                if page.locator(".map-card").is_visible():
                    page.mouse.down()
                    page.mouse.up()
                    expect(page).to_have_url(re.compile("/p/"))
                    return
        raise AssertionError("no point was found under the pointer")


def test_two_fingers_zoom_into_the_map(open_page: Open, mapped: Shop, laid_out: dict[str, Any]) -> None:
    # A map is another one on each kind of processor. These points stay in sight, right of the middle.
    places = [
        each | {"x": 0.65 + number % 7 / 200, "y": 0.5 + number % 5 / 200}
        for number, each in enumerate(laid_out["products"])
    ]
    write_document(laid_out | {"products": places}, mapped.data_dir / MAP_FILE)
    with open_page("phone") as page:
        page.goto(f"{mapped.url}/map")
        canvas = page.locator(".map-stage canvas")
        expect(page.locator(".legend button")).to_have_count(3)
        canvas.scroll_into_view_if_needed()
        frame = canvas.bounding_box()
        assert frame is not None
        centre = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
        fingers = page.context.new_cdp_session(page)

        def touch(kind: str, apart: float | None = None) -> None:
            points = [] if apart is None else [{"x": centre[0] + side * apart, "y": centre[1]} for side in (-1, 1)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        def distance_of_the_point() -> float:
            """Returns the distance in pixels of the focused point from the middle; its card stands to the left."""
            style = "one => ['--x', '--y'].map((name) => parseFloat(one.style.getPropertyValue(name)))"
            x, y = page.locator(".map-card").evaluate(style)
            return math.hypot(x + 148 + 16 - frame["width"] / 2, y + 80 - frame["height"] / 2)

        canvas.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".map-card")).to_be_visible()
        before = distance_of_the_point()
        touch("touchStart", 50)
        for apart in (54, 57, 60):
            touch("touchMove", apart)
        touch("touchEnd")
        # The middle stays; all other points move away from it in proportion to the distance of the fingers.
        assert before > 20 and distance_of_the_point() == pytest.approx(1.2 * before, rel=0.02)
        # Neither the page was zoomed nor a product opened.
        assert page.evaluate("visualViewport.scale") == 1
        assert page.url.endswith("/map")


@pytest.mark.parametrize("device", SIZES)
def test_without_a_map_it_is_said_how_to_make_one(open_page: Open, stocked: Shop, device: str) -> None:
    # The browser itself logs the 404 to the console.
    with open_page(device, quiet=False) as page:
        page.goto(f"{stocked.url}/map")
        expect(page.get_by_text("fashion catalogue map")).to_be_visible()


def test_a_phone_can_keep_it_on_its_home_screen(stocked: Shop) -> None:
    answer = stocked.http.get("/manifest.webmanifest")
    assert answer.headers["content-type"].startswith("application/manifest+json")
    manifest = answer.json()
    assert manifest["display"] == "standalone" and manifest["start_url"] == "/"
    seen = set()
    for icon in manifest["icons"]:
        file = stocked.http.get(icon["src"])
        assert file.headers["content-type"].startswith(icon["type"])
        if icon["type"] == "image/png":
            size = Image.open(io.BytesIO(file.content)).size
            assert icon["sizes"] == f"{size[0]}x{size[1]}"
            seen.add((icon["sizes"], icon.get("purpose", "any")))
    assert seen >= {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")}


def browse(page: Page, shop: Shop, _photograph: Path) -> None:
    page.goto(f"{shop.url}/?gender=Women&article_type=Dresses")
    expect(page.locator(".results .card").first).to_be_visible()


def empty(page: Page, shop: Shop, _photograph: Path) -> None:
    page.goto(f"{shop.url}/?gender=Men&article_type=Dresses")
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()


def colours(page: Page, shop: Shop, photograph: Path) -> None:
    browse(page, shop, photograph)
    page.locator("#colours-button").click()
    page.locator('[data-key="false-Blue"]').click()
    page.get_by_text("Single shades").click()
    expect(page.locator('[data-key="false-Blue"]')).to_have_attribute("aria-pressed", "true")


def product(page: Page, shop: Shop, _photograph: Path) -> None:
    page.goto(f"{shop.url}/p/men-tshirts-blue-0?liked=men-tshirts-red-0&disliked=women-dresses-red-0")
    expect(page.locator(".steer")).to_have_count(2)
    page.get_by_text("How this list came about").click()
    expect(page.locator(".explanation .timings")).to_be_visible()


def search(page: Page, shop: Shop, photograph: Path) -> None:
    page.goto(f"{shop.url}/photo")
    page.locator('input[type="file"]').first.set_input_files(photograph)
    expect(page.locator(".recognised select")).to_be_visible()


def inspect(page: Page, shop: Shop, _photograph: Path) -> None:
    page.goto(f"{shop.url}/inspect?product=men-tshirts-blue-0")
    expect(page.locator(".timings")).to_be_visible()


def chart(page: Page, shop: Shop, _photograph: Path) -> None:
    page.goto(f"{shop.url}/map")
    expect(page.locator(".legend button").first).to_be_visible()


PAGES = (browse, empty, colours, product, search, inspect, chart)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("device", "scheme"),
    [("desktop", "light"), ("desktop", "dark"), ("tablet", "light"), ("phone", "light"), ("phone", "dark")],
)
def test_axe_finds_nothing_serious_on_any_page(
    open_page: Open, mapped: Shop, photograph: Path, device: str, scheme: str
) -> None:
    with open_page(device, scheme=scheme) as page:
        grave = []
        for reach in PAGES:
            reach(page, mapped, photograph)
            page.evaluate(AXE)
            found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
            assert len(found["passes"]) > 10
            grave += [
                (reach.__name__, each["id"], node["html"][:200], node["failureSummary"][:300])
                for each in found["violations"]
                if each["impact"] in GRAVE
                for node in each["nodes"]
            ]
            too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert too_wide <= 0, f"{reach.__name__} is wider than the screen"
            picture(page, f"{reach.__name__}-{device}-{scheme}")
        assert grave == []
