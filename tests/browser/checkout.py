"""The documented checkout page with the element, served from another origin."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from tests.browser.conftest import Answer, serving
from tests.support import small_shop
from tests.support.processes import ROOT

DOCS = ROOT / "docs"
ELEMENT = "similar-items"
CARDS = "similar-items [part=card]"
# Answers of a gateway that fails; None hangs.
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


@contextmanager
def checkout(
    shop_url: str, port: int, change: Callable[[str], str] = lambda page: page, *, images: str = ""
) -> Iterator[str]:
    """Serves the documented checkout page from another origin, with the policy that it documents."""
    policy = (
        f"default-src 'self'; script-src 'self' {shop_url}; connect-src http://127.0.0.1:*; "
        f"img-src 'self' {shop_url} {images}; style-src 'self'"
    )
    files = {
        "/": ("checkout-example.html", "text/html; charset=utf-8"),
        "/checkout-example.css": ("checkout-example.css", "text/css"),
        "/checkout-example.js": ("checkout-example.js", "text/javascript"),
    }

    def answer(path: str) -> Answer:
        if path == "/checkout-picture.png":
            return Answer(small_shop.photograph("Men Tshirts"), "image/png")
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
