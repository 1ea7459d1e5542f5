"""Where something fails or nothing is there, shoppers read what it is and find a way on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open, picture
from tests.support import small_shop
from tests.support.gateways import Shop, shop

SIZES = ["desktop", "phone"]
BLUE = "men-tshirts-blue-0"


@contextmanager
def without_tls(page: Page, served: Shop) -> Iterator[str]:
    """Serves the shop at an address that is no secure context: neither TLS nor localhost."""

    def forward(route: Route) -> None:
        parts = urlsplit(route.request.url)
        route.fulfill(response=route.fetch(url=f"{served.url}{parts.path}{'?' * bool(parts.query)}{parts.query}"))

    page.route("http://shop.example/**", forward)
    yield "http://shop.example"
    page.unroute_all(behavior="ignoreErrors")


def test_every_page_is_drawn_without_tls(open_page: Open, stocked: Shop) -> None:
    # The browser itself logs that it ignores a header there.
    with open_page(quiet=False) as page, without_tls(page, stocked) as url:
        page.goto(url)
        assert not page.evaluate("isSecureContext")
        page.locator(".results .card-link").first.click()
        expect(page.locator(".similar .card")).to_have_count(18)
        page.go_back()
        expect(page.locator(".count")).to_have_text("43 products")
        page.get_by_role("link", name="Photograph").click()
        expect(page.locator(".drop")).to_be_visible()
        page.get_by_role("link", name="Inspect").click()
        expect(page.locator(".timings")).to_be_visible()
        page.get_by_role("link", name="Map").click()
        expect(page.get_by_role("heading", name="Map of the catalogue")).to_be_visible()


def test_the_element_is_drawn_without_tls(open_page: Open, stocked: Shop) -> None:
    with open_page(quiet=False) as page, without_tls(page, stocked) as url:
        page.goto(f"{url}/docs")
        page.set_content(
            f'<script type="module" src="/elements/similar-items.js"></script><similar-items product-id="{BLUE}">'
        )
        expect(page.locator("similar-items [part=card]")).to_have_count(8)


def view_is_said_to_have_failed(page: Page) -> None:
    expect(page.get_by_role("alert")).to_contain_text("No connection to the shop")
    expect(page.locator(".card")).to_have_count(0)


@pytest.mark.parametrize("device", SIZES)
def test_a_view_that_could_not_be_loaded_is_tried_again(open_page: Open, stocked: Shop, device: str) -> None:
    with open_page(device, quiet=False) as page:
        page.goto(stocked.url)
        expect(page.locator(".results .card-link").first).to_be_visible()
        page.context.set_offline(True)
        page.locator(".results .card-link").first.click()
        view_is_said_to_have_failed(page)
        picture(page, f"view-failed-{device}")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_timeout(500)
        view_is_said_to_have_failed(page)
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".similar .card")).to_have_count(18)


@pytest.mark.parametrize("module", ["views/product.js", "similar-list.js"])
def test_a_view_that_failed_once_is_loaded_by_the_next_link(open_page: Open, stocked: Shop, module: str) -> None:
    with open_page(quiet=False) as page:
        page.goto(stocked.url)
        expect(page.locator(".results .card-link").first).to_be_visible()
        page.route(f"**/assets/{module}", lambda route: route.fulfill(status=503, body="{}"), times=1)
        page.locator(".results .card-link").first.click()
        view_is_said_to_have_failed(page)
        page.go_back()
        page.locator(".results .card-link").nth(1).click()
        expect(page.locator(".similar .card")).to_have_count(18)


def test_the_first_view_that_failed_is_tried_again(open_page: Open, stocked: Shop) -> None:
    with open_page(quiet=False) as page:
        page.route("**/assets/views/browse.js", lambda route: route.fulfill(status=503, body="{}"), times=1)
        page.goto(stocked.url)
        view_is_said_to_have_failed(page)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".count")).to_have_text("43 products")


# What the chip says, by the query of the address.
REFUSED = {
    "brand=Gone": "Gone",
    "base_colour=Gone": "Gone",
    "price=abc": "abc",
    "price=1..abc": "1..abc",
    "year_first=abc": "From abc",
    "attribute=abc": "abc",
    "attribute=heel_mm:40..80": "Heel mm: 40 – 80",
    "gender=Nobody": "Nobody",
}


@pytest.mark.parametrize("query", REFUSED)
def test_a_filter_that_the_shop_refuses_can_be_removed(open_page: Open, stocked: Shop, query: str) -> None:
    # The browser itself logs the 400 to the console.
    with open_page(quiet=False) as page:
        page.goto(f"{stocked.url}/?article_type=Dresses&{query}")
        expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
        expect(page.get_by_role("button", name="Try again")).to_have_count(0)
        expect(page.locator(".count")).to_have_text("0 products")
        assert "pattern" not in page.locator("main").inner_text()
        expect(page.get_by_role("combobox", name="Sort by")).to_have_value("")
        expect(page.locator('input[data-key="article_type-Dresses"]')).to_be_checked()
        expect(page.get_by_role("button", name="Clear all")).to_be_visible()
        page.get_by_role("button", name=f"Remove {REFUSED[query]}", exact=True).click()
        expect(page.locator(".count")).to_have_text("10 products")


@pytest.mark.parametrize(("device", "scheme"), [("desktop", "light"), ("phone", "light"), ("desktop", "dark")])
def test_a_refused_filter_is_told_in_plain_words(open_page: Open, stocked: Shop, device: str, scheme: str) -> None:
    with open_page(device, scheme=scheme, quiet=False) as page:
        page.goto(f"{stocked.url}/?brand=Gone")
        expect(page.get_by_text("No product has all that you have chosen.")).to_be_visible()
        picture(page, f"filter-gone-{device}-{scheme}")
        page.goto(f"{stocked.url}/?price=abc")
        expect(page.get_by_text("The address of this page has a filter that cannot be read.")).to_be_visible()
        picture(page, f"filter-unreadable-{device}-{scheme}")
        page.get_by_role("link", name="Show all products").click()
        expect(page.locator(".count")).to_have_text("43 products")


@pytest.fixture(scope="module")
def empty_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop without products."""
    with shop(tmp_path_factory.mktemp("empty")) as running:
        yield running


@pytest.mark.parametrize(("device", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_an_empty_catalogue_is_said_to_be(
    open_page: Open, empty_shop: Shop, photograph: Path, device: str, scheme: str
) -> None:
    with open_page(device, scheme=scheme, quiet=False) as page:
        for query in ("", "?words=shirt", "?brand=Gone", "?price=..20+EUR"):
            page.goto(f"{empty_shop.url}/{query}")
            expect(page.get_by_text("The catalogue is empty.")).to_be_visible()
            expect(page.get_by_text("Show all products")).to_have_count(0)
            if not query:
                picture(page, f"empty-catalogue-{device}-{scheme}")
        page.goto(f"{empty_shop.url}/photo")
        page.locator('input[type="file"]').first.set_input_files(photograph)
        expect(page.get_by_text("The catalogue is empty.")).to_be_visible()
        expect(page.locator(".recognised")).to_be_empty()
        assert "whole catalogue" not in page.locator("main").inner_text().lower()
        picture(page, f"empty-catalogue-photograph-{device}-{scheme}")


def test_a_shop_of_left_out_colours_is_not_called_empty(open_page: Open, tmp_path: Path) -> None:
    with shop(tmp_path) as running:
        running.grpc.upsert([row for row in small_shop.rows() if row.product.base_colour == "Red"])
        with open_page() as page:
            page.goto(running.url)
            expect(page.locator(".results .card").first).to_be_visible()
            page.locator("#colours-button").click()
            page.locator('[data-key="false-Red"]').click()
            expect(page.get_by_text("Every product has a colour that you leave out.")).to_be_visible()


def test_the_order_is_shown_and_kept_while_the_list_loads_and_fails(open_page: Open, stocked: Shop) -> None:
    with open_page(quiet=False) as page:
        held: list[Route] = []
        page.route("**/v1/products?**", lambda route: held.append(route))
        page.goto(f"{stocked.url}/?article_type=Dresses&order=price")
        order = page.get_by_role("combobox", name="Sort by")
        expect(order.locator("option:checked")).to_have_text("Price, low to high")
        expect(order).to_be_enabled()
        picture(page, "order-loading")
        page.wait_for_function("() => document.querySelector('.results[aria-busy]')")
        held[0].fulfill(status=503, body='{"detail": "too much at once", "status": 503}')
        expect(page.get_by_role("alert")).to_contain_text("That did not work")
        expect(order.locator("option:checked")).to_have_text("Price, low to high")
        picture(page, "order-failed")
        page.unroute_all(behavior="ignoreErrors")
        order.select_option("Name")
        expect(page.locator(".count")).to_have_text("10 products")
        assert "article_type=Dresses" in page.url and "order=name" in page.url


def test_the_order_waits_for_the_filters_of_the_address(open_page: Open, stocked: Shop) -> None:
    with open_page(quiet=False) as page:
        page.route("**/v1/facets**", lambda route: route.fulfill(status=503, body="{}"))
        page.goto(f"{stocked.url}/?article_type=Dresses")
        expect(page.get_by_role("alert")).to_contain_text("That did not work")
        order = page.get_by_role("combobox", name="Sort by")
        expect(order.locator("option:checked")).to_have_text("Article no.")
        expect(order).to_be_disabled()


@pytest.mark.parametrize(("device", "scheme"), [("desktop", "light"), ("phone", "light"), ("desktop", "dark")])
def test_an_address_without_a_page_says_so(open_page: Open, stocked: Shop, device: str, scheme: str) -> None:
    # The browser itself logs the 404 to the console.
    with open_page(device, scheme=scheme, quiet=False) as page:
        answer = page.goto(f"{stocked.url}/product/{BLUE}?size=m")
        assert answer is not None and answer.status == 404
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
        expect(page).to_have_title("Not found · Fashion")
        picture(page, f"not-found-{device}-{scheme}")
        page.get_by_role("link", name="Show all products").click()
        expect(page.locator(".count")).to_have_text("43 products")
        page.go_back()
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
