"""Cards of similar products link the other colours of a product."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, names_of, picture
from tests.browser.test_browse import SIZES
from tests.support import small_shop
from tests.support.gateways import Shop, shop


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop of forty products, where all colours of one type and shade have one parent, but bags none."""
    with shop(tmp_path_factory.mktemp("coloured")) as running:
        rows = [
            item.row(
                name=item.derived_type,
                in_stock=item.colour != "Black",
                parent_id=None if "bags" in item.id else f"{item.derived_type}-{item.shade}".replace(" ", "-"),
            )
            for item in small_shop.items()
        ]
        answer = running.grpc.upsert(rows)
        assert all(result.status.code == 0 for result in answer.results), answer
        yield running


@pytest.mark.parametrize("size", SIZES)
def test_a_card_links_the_other_colours_that_can_be_bought(coloured: Shop, open_page: Open, size: str) -> None:
    with open_page(size) as page:
        page.goto(f"{coloured.url}/p/women-handbags-red-0")
        expect(page.locator(".results .card").first).to_be_visible()
        picture(page, f"variants-{size}", full_page=True)
        cards = page.locator(".results .card", has=page.locator(".card-colours"))
        families = [name for name in names_of(page) if "bags" not in name]
        assert cards.count() == len(families) > 1
        first = cards.first
        links = first.locator(".card-colours a")
        colours = links.evaluate_all("all => all.map(one => one.title)")
        own = next(item.colour for item in small_shop.items() if item.id == first.get_attribute("data-product"))
        assert sorted([own, *colours]) == sorted(set(small_shop.COLOURS) - {"Black"})
        box = links.first.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24
        chosen = links.first.get_attribute("href")
        links.first.click()
        page.wait_for_url(f"**{chosen}")
        expect(page.locator("h1")).to_be_visible()
