"""Dots on the garments of a photograph, by the heads of the shipped bundle."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import Open, picture
from tests.browser.test_photograph import _OVERHEAR, region_of, sent_after, show
from tests.support import small_shop
from tests.support.gateways import Shop, shop
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with the shipped model."""
    with shop(tmp_path_factory.mktemp("seeing"), runtime="openvino") as running:
        answer = running.grpc.upsert(small_shop.rows()[:12])
        assert all(result.status.code == 0 for result in answer.results), answer
        yield running


def floor(path: Path, shirts: int) -> Path:
    """Lays drawn shirts on a floor, side by side."""
    shirt = Image.open(ROOT / "tests" / "golden" / "shirt.png").convert("RGB").resize((360, 480))
    ink = shirt.convert("L").point(lambda value: 255 * (value < 238))
    canvas = Image.new("RGB", (400 * shirts, 600), (90, 100, 110))
    for index in range(shirts):
        canvas.paste(shirt, (400 * index + 20, 60), ink)
    canvas.save(path)
    return path


@pytest.mark.parametrize(
    ("device", "scheme"), [("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark")]
)
def test_a_dot_on_each_of_several_garments_searches_it(
    open_page: Open, seeing: Shop, tmp_path: Path, device: str, scheme: str
) -> None:
    with open_page(device, scheme=scheme) as page:
        page.add_init_script(_OVERHEAR)
        show(page, seeing, floor(tmp_path / "two.png", 2))
        dots = page.get_by_role("group", name="Garments in the photograph").get_by_role("button")
        expect(dots).to_have_count(2)
        expect(dots.first).to_be_visible()
        expect(dots.first).to_have_accessible_name("Search for garment 1 of 2: Topwear")
        # The largest was searched.
        expect(dots.nth(0)).to_have_attribute("aria-pressed", "true")
        expect(dots.nth(1)).to_have_attribute("aria-pressed", "false")
        box = dots.nth(1).bounding_box()
        assert box is not None and min(box["width"], box["height"]) >= 44
        picture(page, f"dots-{device}-{scheme}")

        dots.nth(1).focus()
        first = region_of(sent_after(page, lambda: page.keyboard.press("Enter")))

        expect(dots.nth(1)).to_be_focused()
        expect(dots.nth(1)).to_have_attribute("aria-pressed", "true")
        expect(dots.nth(0)).to_have_attribute("aria-pressed", "false")
        second = region_of(sent_after(page, dots.nth(0).click))
        assert abs((first[0] + first[2]) / 2 - (second[0] + second[2]) / 2) > 0.3
        picture(page, f"dot-chosen-{device}-{scheme}")
        assert "region" not in sent_after(page, dots.nth(0).click)
        expect(dots).to_have_count(2)


def test_one_garment_has_no_dot(open_page: Open, seeing: Shop, tmp_path: Path) -> None:
    with open_page("phone") as page:
        show(page, seeing, floor(tmp_path / "one.png", 1))
        expect(page.locator(".garment-dot")).to_have_count(0)
        expect(page.locator(".crop-stage")).to_be_hidden()
