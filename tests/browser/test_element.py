"""The element on a checkout page of another origin, under a strict policy, with gateways that work and that fail."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MARKUP, Answer, Open, picture, serving
from tests.support.gateways import KEY, Shop, bearer
from tests.support.processes import ROOT, free_port

DOCS = ROOT / "docs"
MOST_BYTES = 15_000
ELEMENT = "similar-items"
CARDS = "similar-items [part=card]"


@contextmanager
def checkout(shop_url: str, port: int, change: Callable[[str], str] = lambda page: page) -> Iterator[str]:
    """Serves the documented checkout page from another origin, with the policy that it documents."""
    policy = (
        f"default-src 'self'; script-src 'self' {shop_url}; connect-src http://127.0.0.1:*; "
        f"img-src 'self' {shop_url}; style-src 'self'"
    )
    files = {
        "/": ("checkout-example.html", "text/html; charset=utf-8"),
        "/checkout-example.css": ("checkout-example.css", "text/css"),
        "/checkout-example.js": ("checkout-example.js", "text/javascript"),
    }

    def answer(path: str) -> Answer:
        if path not in files:
            return Answer(b"", "image/x-icon")
        name, media_type = files[path]
        text = (DOCS / name).read_text().replace("https://GATEWAY", shop_url).replace('"10014"', '"men-tshirts-blue-0"')
        return Answer(change(text).encode(), media_type, policy=policy)

    with serving(answer, port) as url:
        yield url


def pays(page: Page) -> None:
    """Checks that the page itself works."""
    page.get_by_role("button", name="Pay now").click()
    expect(page.locator("#paid")).to_have_text("Thank you.")


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_similar_products_on_a_page_of_another_origin(
    open_page: Open, stocked: Shop, foreign_port: int, device: str
) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page(device) as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        expect(page.get_by_role("heading", name="You may also like")).to_be_visible()
        page.wait_for_function(
            "() => document.querySelector('similar-items').shadowRoot.querySelector('img').naturalWidth > 0"
        )
        picture(page, f"checkout-{device}")
        page.locator(CARDS).nth(2).click()
        expect(page.locator("#paid")).to_contain_text("(no. 3)")
        pays(page)


def test_a_token_leaves_the_shoppers_colours_out(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    stocked.grpc.dislike("ada", "Blue")
    token = bearer("ada")["Authorization"].removeprefix("Bearer ")
    assert KEY not in token

    def signed(page: str) -> str:
        return page.replace("<similar-items ", f'<similar-items user-token="{token}" ')

    with checkout(stocked.url, foreign_port, signed) as url, open_page() as page:
        with page.expect_response(lambda answer: "/similar?" in answer.url) as answered:
            page.goto(url)
        told = answered.value.json()
        assert told["applied"]["excluded_colours"] == ["Blue", "Navy Blue"]
        assert "no-store" in answered.value.headers["cache-control"]
        expect(page.locator(CARDS)).to_have_count(8)


def test_a_changed_attribute_loads_anew_and_keys_are_enough(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page() as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        page.locator(ELEMENT).evaluate(
            "one => { one.setAttribute('limit', '3'); one.setAttribute('heading', 'More'); }"
        )
        expect(page.locator(CARDS)).to_have_count(3)
        expect(page.get_by_role("heading", name="More")).to_be_visible()
        page.locator(ELEMENT).evaluate("one => one.setAttribute('product-id', 'men-tshirts-red-0')")
        expect(page.locator(CARDS).filter(has_text="onerror")).to_have_text(MARKUP)
        page.get_by_role("button", name="Pay now").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#paid")).to_contain_text("(no. 1)")


def test_a_product_with_a_page_is_a_link_that_the_shop_may_keep_from_being_followed(
    open_page: Open, stocked: Shop, foreign_port: int
) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page() as page:
        page.goto(url)
        page.locator(ELEMENT).evaluate("one => one.setAttribute('limit', '40')")
        link = page.locator("similar-items a[part=card]")
        expect(link).to_have_count(1)
        assert link.get_attribute("href") == "https://shop.example/p/1"
        expect(link).to_contain_text("19.99")
        page.evaluate(
            """() => document.addEventListener("similar-items:select", (event) => {
                event.preventDefault();
                window.chosen = event.detail.product.id;
            })"""
        )
        link.click()
        assert page.evaluate("window.chosen") == "odd-priced"
        assert page.url == f"{url}/"


def test_nothing_is_asked_for_before_it_comes_near_the_screen(
    open_page: Open, stocked: Shop, foreign_port: int
) -> None:
    def pushed_down(page: str) -> str:
        return page.replace("main {", "").replace("body {", "#pay { margin-bottom: 4000px; }\nbody {")

    with checkout(stocked.url, foreign_port, pushed_down) as url, open_page() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/similar?" in request.url else None)
        page.goto(url, wait_until="networkidle")
        assert asked == []
        page.locator(ELEMENT).scroll_into_view_if_needed()
        expect(page.locator(CARDS)).to_have_count(8)
        assert len(asked) == 1


BROKEN: dict[str, Answer | None] = {
    "hangs": None,
    "says 500": Answer(b'{"title": "oops"}', "application/problem+json", 500),
    "answers HTML": Answer(b"<html><script>window.harmed = 1</script></html>"),
    "answers garbage": Answer(b"\x00\xff{{{", "application/json"),
    "answers other JSON": Answer(b'{"products": {"a": 1}}', "application/json"),
    "answers null": Answer(b"null", "application/json"),
    "answers odd products": Answer(
        json.dumps({"products": [None, 7, {"product": None}, {"product": {"id": 3}}]}).encode(), "application/json"
    ),
}


@pytest.mark.parametrize("how", [*BROKEN, "is down"])
def test_a_page_is_unharmed_by_a_gateway_that(open_page: Open, stocked: Shop, foreign_port: int, how: str) -> None:
    with serving(lambda _path: BROKEN.get(how)) as broken:
        gateway = f"http://127.0.0.1:{free_port()}" if how == "is down" else broken

        def elsewhere(page: str) -> str:
            return page.replace("<similar-items ", f'<similar-items gateway="{gateway}" ')

        # The browser itself logs the failure to the console; nothing is thrown.
        with checkout(stocked.url, foreign_port, elsewhere) as url, open_page(quiet=False) as page:
            page.goto(url)
            expect(page.locator(ELEMENT)).to_be_hidden()
            assert page.locator(ELEMENT).evaluate("one => one.getBoundingClientRect().height") == 0
            pays(page)
            picture(page, f"checkout-gateway-{how.replace(' ', '-').lower()}")


def test_a_page_is_unharmed_by_a_gateway_that_serves_no_element(open_page: Open, foreign_port: int) -> None:
    with checkout(f"http://127.0.0.1:{free_port()}", foreign_port) as url, open_page(quiet=False) as page:
        page.goto(url)
        pays(page)


def test_it_recovers_when_the_gateway_does(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page(quiet=False) as page:
        page.route("**/similar?**", lambda route: route.abort())
        page.goto(url)
        expect(page.locator(ELEMENT)).to_be_hidden()
        page.unroute("**/similar?**")
        page.locator(ELEMENT).evaluate("one => one.reload()")
        expect(page.locator(CARDS)).to_have_count(8)


def test_it_is_small_and_free_of_dependencies(stocked: Shop) -> None:
    answer = stocked.http.get("/elements/similar-items.js", headers={"Origin": "https://shop.example"})
    assert answer.headers["content-type"].startswith("text/javascript")
    assert len(answer.content) < MOST_BYTES
    assert "import " not in answer.text.replace("import.meta", "")
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_token_that_has_run_out_shows_nothing_and_says_why(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    token = bearer("ada", lifetime_s=-time.time())["Authorization"].removeprefix("Bearer ")
    # The page's own script adds the listener before the element loads.
    with checkout(stocked.url, foreign_port) as url, open_page(quiet=False) as page:
        page.add_init_script("addEventListener('similar-items:error', (event) => { window.why = event.detail.why; })")
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        page.locator(ELEMENT).evaluate("(one, token) => one.setAttribute('user-token', token)", token)
        expect(page.locator(ELEMENT)).to_be_hidden()
        assert page.evaluate("window.why") == "The gateway answered 401."
