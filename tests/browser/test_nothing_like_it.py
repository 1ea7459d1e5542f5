"""A page says where nothing is really like it, by what GetIndex says is usual."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open, picture
from tests.support.gateways import Shop

NOTE = "Nothing here is really like it. These come closest."
SHIRT = "men-tshirts-red-0"


def _usual(page: Page, similarity: float | None, product_count: int = 1024) -> None:
    """Has the gateway say that 99 % of the products have a nearest one above a similarity; None: not measured yet."""

    def answer(route: Route) -> None:
        index = route.fetch().json()
        quantiles = [{"share": 0.01, "similarity": similarity}, {"share": 0.5, "similarity": 1.0}]
        measured = {"quantiles": quantiles, "product_count": product_count}
        route.fulfill(json={**index, "nearest_similarity": None if similarity is None else measured})

    page.route("**/v1/index", answer)


@pytest.mark.parametrize(("device", "scheme"), [("desktop", "light"), ("phone", "light"), ("desktop", "dark")])
def test_a_product_without_its_like_says_so(stocked: Shop, open_page: Open, device: str, scheme: str) -> None:
    with open_page(device, scheme=scheme) as page:
        _usual(page, 1.0)
        page.goto(f"{stocked.url}/p/odd-priced")
        expect(page.locator(".results .card").first).to_be_visible()
        expect(page.get_by_text(NOTE)).to_be_visible()
        picture(page, f"nothing-like-it-{device}-{scheme}", full_page=True)


@pytest.mark.parametrize(("similarity", "product_count"), [(-1.0, 1024), (1.0, 40), (None, 1024)])
def test_it_is_not_said_without_reason(
    stocked: Shop, open_page: Open, similarity: float | None, product_count: int
) -> None:
    with open_page() as page:
        _usual(page, similarity, product_count)
        with page.expect_response("**/v1/index"):
            page.goto(f"{stocked.url}/p/odd-priced")
        expect(page.locator(".results .card").first).to_be_visible()
        assert page.get_by_text(NOTE).count() == 0


def test_a_photograph_is_given_more_room(stocked: Shop, open_page: Open, photograph: Path) -> None:
    for usual, said in ((None, 0), (1.0, 0), (1.4, 1)):
        with open_page("phone") as page:
            _usual(page, usual)
            with page.expect_response("**/v1/similar") as answered:
                page.goto(f"{stocked.url}/photo")
                page.locator('input[type="file"]').first.set_input_files(photograph)
            similarity = json.loads(answered.value.body())["products"][0]["similarity"]
            assert 0.75 < similarity < 1.4 * 0.75
            expect(page.locator(".photo-results .card").first).to_be_visible()
            assert page.get_by_text(NOTE).count() == said
            if said:
                picture(page, "nothing-like-it-photograph", full_page=True)
