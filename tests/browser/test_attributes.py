"""Facets of prices and of attributes that the shop has named: nothing in the storefront knows these names."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from fashion.v1 import types_pb2
from tests.browser.conftest import Open, expect_names, picture
from tests.browser.test_browse import SIZES, phone
from tests.support import small_shop
from tests.support.gateways import Shop, shop

MATERIALS = (["Cotton"], ["Wool"], ["Cotton", "Elastane"], None)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop of forty products; every fourth has no material, and every fifth is priced in dollars."""
    with shop(tmp_path_factory.mktemp("named")) as running:
        rows = []
        for number, item in enumerate(small_shop.items()):
            attributes = {
                "heel_mm": types_pb2.AttributeValue(number=10 * (number % 7)),
                "organic": types_pb2.AttributeValue(flag=number % 2 == 0),
            }
            if (materials := MATERIALS[number % 4]) is not None:
                attributes["material"] = types_pb2.AttributeValue(labels=types_pb2.Labels(values=materials))
            price = types_pb2.Price(
                currency_code="USD" if number % 5 == 0 else "EUR", units=9 + 3 * number, nanos=990_000_000
            )
            rows.append(item.row(attributes=attributes, price=price, brand="Harbour"))
        answer = running.grpc.upsert(rows)
        assert all(result.status.code == 0 for result in answer.results), answer
        yield running


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, open_page: Open) -> Iterator[Page]:
    with open_page(request.param) as opened:
        yield opened


def _filters(page: Page, *, shown: bool) -> None:
    if phone(page):
        page.get_by_role("button", name="Filters" if shown else "Show products").first.click()


def _facet(page: Page, title: str) -> Locator:
    facet = page.locator(".facet", has=page.locator("summary", has_text=title))
    if not facet.evaluate("one => one.open"):
        facet.locator("summary").click()
    return facet


def _ids(keep: range, *, where: object) -> list[str]:
    items = small_shop.items()
    return [items[number].id for number in keep if where(number)]  # type: ignore[operator]


def test_an_own_attribute_narrows_the_list_and_stands_on_the_product(page: Page, named: Shop) -> None:
    page.goto(named.url)
    expect(page.locator(".count")).to_have_text("40 products")
    _filters(page, shown=True)
    material = _facet(page, "Material")
    expect(material.locator(".facet-value")).to_have_text(["Cotton20", "Elastane10", "Wool10"])
    material.get_by_role("checkbox", name="Wool").check()
    expect(page.locator(".count")).to_have_text("10 products")
    material.get_by_role("checkbox", name="Elastane").check()
    expect(page.locator(".count")).to_have_text("20 products")
    _facet(page, "Organic").get_by_role("checkbox", name="Yes").check()
    expect(page.locator(".count")).to_have_text("10 products")
    # Its counts are those without its own condition.
    expect(_facet(page, "Organic").locator(".facet-value")).to_have_text(["Yes10", "No10"])
    if phone(page):
        picture(page, "attributes-sheet-phone", full_page=True)
    _filters(page, shown=False)
    assert "attribute=material%3AWool&attribute=material%3AElastane&attribute=organic%3Atrue" in page.url
    expect_names(page, _ids(range(40), where=lambda number: number % 4 == 2))
    picture(page, f"attributes-{'phone' if phone(page) else 'desktop'}", full_page=True)
    page.reload()
    expect(page.locator(".count")).to_have_text("10 products")
    page.get_by_role("button", name="Remove Elastane").click()
    expect(page.locator(".count")).to_have_text("0 products")
    page.goto(f"{named.url}/p/{small_shop.items()[2].id}")
    facts = page.locator(".facts")
    expect(facts).to_contain_text("MaterialCotton, Elastane")
    expect(facts).to_contain_text("Heel mm20")
    expect(facts).to_contain_text("OrganicYes")
    picture(page, f"attributes-product-{'phone' if phone(page) else 'desktop'}")


def test_a_range_of_prices_and_of_numbers_is_chosen_or_written(page: Page, named: Shop) -> None:
    page.goto(named.url)
    _filters(page, shown=True)
    prices = _facet(page, "Price")
    ranges = prices.locator(".facet-value")
    expect(ranges.first).to_contain_text("Up to €")
    ranges.first.get_by_role("checkbox").check()
    expect(page.locator(".count")).to_have_text(f"{ranges.first.locator('.facet-number').inner_text()} products")
    # One range at once.
    ranges.nth(1).get_by_role("checkbox").check()
    expect(prices.get_by_role("checkbox", checked=True)).to_have_count(1)
    ranges.nth(1).get_by_role("checkbox").uncheck()
    expect(page.locator(".count")).to_have_text("40 products")
    low, high = (prices.get_by_label(f"Price, {end} EUR") for end in ("from", "to"))
    low.fill("60")
    low.blur()
    expect(page.locator(".chips")).to_contain_text("From €60")
    high.fill("99,99")
    high.blur()
    expected = _ids(range(40), where=lambda number: number % 5 and 6000 <= (9 + 3 * number) * 100 + 99 <= 9999)
    expect(page.locator(".count")).to_have_text(f"{len(expected)} products")
    assert "price=60..99.99+EUR" in page.url
    high.fill("much")
    high.blur()
    expect(high).to_have_attribute("aria-invalid", "true")
    high.fill("99.99")
    high.blur()
    _facet(page, "Heel mm").get_by_label("Heel mm, from").fill("40")
    _facet(page, "Heel mm").get_by_label("Heel mm, from").blur()
    expected = [each for number, each in _numbered(expected) if 10 * (number % 7) >= 40]
    expect(page.locator(".count")).to_have_text(f"{len(expected)} products")
    picture(page, f"price-sheet-{'phone' if phone(page) else 'desktop'}", full_page=True)
    _filters(page, shown=False)
    expect_names(page, expected)
    chips = page.locator(".chips")
    expect(chips).to_contain_text("€60 – €99.99")
    expect(chips).to_contain_text("Heel mm: From 40")
    picture(page, f"price-{'phone' if phone(page) else 'desktop'}")


def _numbered(ids: list[str]) -> list[tuple[int, str]]:
    place = {item.id: number for number, item in enumerate(small_shop.items())}
    return [(place[each], each) for each in ids]
