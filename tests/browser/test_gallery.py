"""A product with several photographs: its page shows all of them, a result the one that is similar."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from fashion.v1 import search_pb2, types_pb2
from tests.browser.conftest import Open, picture
from tests.browser.test_browse import SIZES
from tests.support import small_shop
from tests.support.gateways import Shop, shop

BAG = "several"
COLOURS = ("Blue", "Yellow", "Black", "Red", "Navy Blue")


def shot(colour: str) -> bytes:
    return small_shop.photograph("Women Handbags", colour, 7, size=400)


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop of forty products and a bag with five photographs."""
    with shop(tmp_path_factory.mktemp("pictured")) as running:
        rows = small_shop.rows()
        product = types_pb2.Product(
            id=BAG, gender=types_pb2.GENDER_WOMEN, sub_category="Bags", article_type="Handbags", name="A bag to turn"
        )
        first, *further = (types_pb2.Image(content=shot(colour)) for colour in COLOURS)
        rows.append(search_pb2.ProductRow(product=product, image=first, further_images=further))
        answer = running.grpc.upsert(rows)
        assert all(result.status.code == 0 for result in answer.results), answer
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_of_a_product_shows_each_photograph(pictured: Shop, open_page: Open, size: str, scheme: str) -> None:
    with open_page(size, scheme=scheme) as page:
        page.goto(f"{pictured.url}/p/{BAG}")
        choices = page.get_by_role("group", name="Photographs").get_by_role("button")
        expect(choices).to_have_count(len(COLOURS))
        large = page.locator(".gallery img").first
        expect(large).to_have_attribute("src", re.compile(rf"/v1/products/{BAG}/image\?width="))
        expect(choices.first).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".results .card").first).to_be_visible()
        for each in choices.all():
            expect(each.locator("img.loaded")).to_be_visible()
        picture(page, f"gallery-{size}-{scheme}")
        second = page.get_by_role("button", name="Photograph 2 of 5")
        box = second.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
        second.focus()
        page.keyboard.press("Enter")
        expect(large).to_have_attribute("src", re.compile(rf"/v1/products/{BAG}/photographs/1\?width="))
        expect(page.locator('.gallery [aria-pressed="true"]')).to_have_count(1)
        expect(second).to_have_attribute("aria-pressed", "true")
        expect(second).to_be_focused()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # A product with one has nothing to choose from.
        page.goto(f"{pictured.url}/p/women-handbags-red-0")
        expect(page.locator(".product img").first).to_be_visible()
        expect(page.locator(".gallery")).to_have_count(0)


def test_a_result_shows_the_photograph_that_is_similar(pictured: Shop, open_page: Open, tmp_path: Path) -> None:
    query = tmp_path / "query.png"
    query.write_bytes(shot("Yellow"))
    with open_page("desktop") as page:
        page.goto(f"{pictured.url}/photo")
        page.locator('input[type="file"]').first.set_input_files(query)
        found = page.locator(f'.card[data-product="{BAG}"] img').first
        expect(found).to_have_attribute("src", re.compile(rf"/v1/products/{BAG}/photographs/1\?width="))
        picture(page, "gallery-result")
