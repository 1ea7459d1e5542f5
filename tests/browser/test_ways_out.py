"""Where something fails or nothing is there, shoppers read what it is and find a way on."""

from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open
from tests.support.gateways import Shop

BLUE = "men-tshirts-blue-0"


def without_tls(page: Page, shop: Shop) -> str:
    """Serves the shop at an address that is no secure context: neither TLS nor localhost."""

    def forward(route: Route) -> None:
        parts = urlsplit(route.request.url)
        route.fulfill(response=route.fetch(url=f"{shop.url}{parts.path}{'?' * bool(parts.query)}{parts.query}"))

    page.route("http://shop.example/**", forward)
    return "http://shop.example"


def test_every_page_is_drawn_without_tls(open_page: Open, stocked: Shop) -> None:
    # The browser itself logs that it ignores a header there.
    with open_page(quiet=False) as page:
        url = without_tls(page, stocked)
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
    with open_page(quiet=False) as page:
        url = without_tls(page, stocked)
        page.goto(f"{url}/docs")
        page.set_content(
            f'<script type="module" src="/elements/similar-items.js"></script><similar-items product-id="{BLUE}">'
        )
        expect(page.locator("similar-items [part=card]")).to_have_count(8)
