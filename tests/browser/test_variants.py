"""Cards of similar products say in how many colours a product comes, and link the others."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from fashion.v1 import types_pb2
from tests.browser.conftest import Answer, Open, names_of, picture, serving
from tests.browser.test_browse import SIZES
from tests.support import small_shop
from tests.support.gateways import Shop, shop


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory, foreign_port: int) -> Iterator[Shop]:
    """A shop of forty products, where all colours of one type and shade have one parent, but bags none."""
    data_dir = tmp_path_factory.mktemp("coloured")
    with shop(data_dir, allowed_origins=f"http://127.0.0.1:{foreign_port}") as running:
        rows = [
            item.row(
                name=item.derived_type,
                in_stock=item.colour != "Black",
                parent_id=None if "bags" in item.id else f"{item.derived_type}-{item.shade}".replace(" ", "-"),
                price=types_pb2.Price(currency_code="EUR", units=1_299, nanos=990_000_000),
            )
            for item in small_shop.items()
        ]
        answer = running.grpc.upsert(rows)
        assert all(result.status.code == 0 for result in answer.results), answer
        yield running


SCHEMES = ("light", "dark")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_the_element_says_in_how_many_colours_a_product_comes(
    coloured: Shop, open_page: Open, foreign_port: int, size: str, scheme: str
) -> None:
    tag = f'''<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
      <meta name="color-scheme" content="light dark"><body>
      <script type="module" src="{coloured.url}/elements/similar-items.js"></script>
      <similar-items product-id="women-handbags-red-0" limit="20"></similar-items></body></html>'''
    with (
        serving(lambda path: Answer(tag.encode()) if path == "/" else Answer(b""), foreign_port) as url,
        open_page(size, scheme=scheme) as page,
    ):
        page.goto(url)
        cards = page.locator("similar-items [part=card]")
        expect(cards).to_have_count(13)
        said = cards.filter(has=page.locator("[part=colours]:not(:empty)"))
        others = cards.filter(has=page.locator("[part=colours]:empty"))
        expect(others).to_have_count(7)
        expect(said).to_have_count(6)
        expect(others.filter(has_text="Handbags")).to_have_count(7)
        count = len(set(small_shop.COLOURS) - {"Black"})
        for card in said.all():
            expect(card).to_have_accessible_name(re.compile(rf"€1,299\.99 · {count} colours$"))
        expect(others.first).to_have_accessible_name(re.compile(r"€1,299\.99$"))
        line = said.first.locator(".facts")
        assert line.evaluate("one => one.scrollHeight <= one.clientHeight + 1"), "the line is cut off"
        picture(page, f"element-colours-{size}-{scheme}")
        element = page.locator("similar-items")
        element.evaluate("one => { one.colours = 'in {} Farben'; }")
        expect(said.first).to_contain_text(f"in {count} Farben")
        element.evaluate("one => { one.colours = ''; }")
        expect(said).to_have_count(0)
        element.evaluate("one => { one.colours = null; }")
        expect(said).to_have_count(6)


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
        expect(first.locator(".card-colours")).to_have_text(f"{len(colours) + 1} colours")
        box = links.first.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24
        chosen = links.first.get_attribute("href")
        links.first.click()
        page.wait_for_url(f"**{chosen}")
        expect(page.locator("h1")).to_be_visible()
