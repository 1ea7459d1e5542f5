"""Browsing, one product, and what is similar to it: as shoppers do it, on a desk and on a phone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MARKUP, Open, expect_names, names_of, picture
from tests.support import small_shop
from tests.support.gateways import KEY, Shop, shop

SIZES = ["desktop", "phone"]
FIRST_PAGE = 24
BLUE = "men-tshirts-blue-0"


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, open_page: Open) -> Iterator[Page]:
    with open_page(request.param) as opened:
        yield opened


def phone(page: Page) -> bool:
    size = page.viewport_size
    assert size is not None
    return size["width"] < 500


def choose(page: Page, title: str, value: str) -> None:
    """Ticks a facet's box; on a phone in the sheet of filters."""
    if phone(page):
        page.get_by_role("button", name=re.compile("^Filters")).click()
    facet = page.locator(".facet", has=page.locator("summary", has_text=title))
    if not facet.evaluate("one => one.open"):
        facet.locator("summary").click()
    facet.get_by_role("checkbox", name=value).check()
    if phone(page):
        page.get_by_role("button", name="Show products").click()


def leave_out(page: Page, colour: str) -> None:
    """Clicks a colour in the panel, and waits until it is left out."""
    page.locator("#colours-button").click()
    toggle = page.locator(".swatch-button", has_text=re.compile(f"^{colour}$")).first
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Close", exact=True).click()


def test_facets_narrow_the_list_and_the_address_says_so(page: Page, stocked: Shop) -> None:
    page.goto(stocked.url)
    expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)
    expect(page.locator(".count")).to_have_text("43 products")
    choose(page, "Article", "Dresses")
    expect(page.locator(".count")).to_have_text("10 products")
    assert "article_type=Dresses" in page.url
    assert all(name.startswith("women-dresses") for name in names_of(page))
    choose(page, "Colour", "Navy Blue")
    expect(page.locator(".results .card")).to_have_count(2)
    picture(page, f"facets-{'phone' if phone(page) else 'desktop'}")
    page.reload()
    expect(page.locator(".results .card")).to_have_count(2)
    page.get_by_role("button", name="Remove Dresses").click()
    expect(page.locator(".count")).to_have_text("8 products")
    page.go_back()
    expect(page.locator(".count")).to_have_text("2 products")
    page.go_back()
    expect(page.locator(".count")).to_have_text("10 products")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".count")).to_have_text("43 products")


def test_a_brand_narrows_the_list_and_stands_on_the_page_of_its_product(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/?utm_source=letter")
    choose(page, "Brand", "Harbour")
    expect(page.locator(".count")).to_have_text("1 product")
    page.reload()
    expect(page.locator(".results .card")).to_have_count(1)
    page.locator('[data-product="odd-priced"] a').click()
    facts = page.locator(".facts > div")
    expect(facts.filter(has_text="Brand")).to_have_text("BrandHarbour")
    expect(facts.filter(has_text="Occasion")).to_have_text("OccasionCasual")


def test_words_are_searched_for_and_the_address_says_so(page: Page, stocked: Shop) -> None:
    page.goto(stocked.url)
    expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)
    box = page.get_by_role("searchbox", name="Search")
    box.fill("BLUE t-shirt")
    box.press("Enter")
    expect(page.locator(".count")).to_have_text("4 products")
    assert all(re.search("tshirts.*blue", name) for name in names_of(page))
    expect(page).to_have_title("BLUE t-shirt · Fashion")
    choose(page, "Colour", "Navy Blue")
    expect(page.locator(".count")).to_have_text("2 products")
    picture(page, f"words-{'phone' if phone(page) else 'desktop'}")
    page.reload()
    expect(page.locator(".count")).to_have_text("2 products")
    expect(box).to_have_value("BLUE t-shirt")
    page.get_by_role("button", name="Remove “BLUE t-shirt”").click()
    expect(box).to_have_value("")
    expect(page.locator(".count")).to_have_text("8 products")
    box.fill("nothing like it")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    page.get_by_role("link", name="Show all products").click()
    expect(page.locator(".count")).to_have_text("43 products")
    expect(box).to_have_value("")


def test_a_list_is_sorted_over_its_pages(page: Page, stocked: Shop) -> None:
    page.goto(stocked.url)
    order = page.get_by_role("combobox", name="Sort by")
    order.select_option("Name")
    expect(page).to_have_url(re.compile("order=name"))
    expect(page.locator(".results .card").first).to_have_attribute("data-product", "odd-markup")
    expect(page.locator(".results .card").nth(1)).to_have_attribute("data-product", "odd-priced")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".results .card")).to_have_count(43 - FIRST_PAGE)
    assert "order=name" in page.url
    choose(page, "Brand", "Harbour")
    expect(page.locator(".count")).to_have_text("1 product")
    assert "order=name" in page.url
    expect(order).to_have_value("name")


def test_pages_go_forth_and_back(page: Page, stocked: Shop) -> None:
    page.goto(stocked.url)
    expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)
    first = names_of(page)
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".results .card")).to_have_count(43 - FIRST_PAGE)
    second = names_of(page)
    assert not set(first) & set(second)
    page.reload()
    expect(page.locator(".results .card")).to_have_count(43 - FIRST_PAGE)
    expect_names(page, second)
    page.get_by_role("link", name="Previous").click()
    expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)
    expect_names(page, first)


def test_nothing_found_is_said_and_leads_on(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/?gender=Men&article_type=Dresses")
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    page.get_by_role("link", name="Show all products").click()
    expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)


def test_a_product_leads_to_similar_ones_and_back(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/?article_type=Tshirts")
    page.locator(f'[data-product="{BLUE}"] a').click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Men T-shirts")
    expect(page.locator(".similar .card")).to_have_count(18)
    assert BLUE not in names_of(page, ".similar")
    assert "odd-unlinked" not in names_of(page, ".similar"), "it is out of stock"
    page.get_by_label("Same type").check()
    expect(page).to_have_url(re.compile("scope=predicted_type"))
    expect(page.locator(".similar .card")).to_have_count(11)
    assert all("tshirts" in name or name.startswith("odd") for name in names_of(page, ".similar"))
    page.go_back()
    expect(page.locator(".count")).to_have_text("13 products")


def test_going_back_leads_to_where_one_was(page: Page, stocked: Shop) -> None:
    page.goto(stocked.url)
    expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)
    last = page.locator(".results .card-link").last
    last.scroll_into_view_if_needed()
    page.wait_for_function("scrollY > 500")
    place = page.evaluate("scrollY")
    last.click()
    expect(page.locator(".similar .card")).to_have_count(18)
    assert page.evaluate("scrollY") == 0
    page.go_back()
    page.wait_for_function("place => Math.abs(scrollY - place) < 300", arg=place)


def test_liked_and_disliked_products_steer_the_list(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/p/{BLUE}")
    expect(page.locator(".similar .card")).to_have_count(18)
    before = names_of(page, ".similar")
    liked, disliked = before[5], before[0]
    card = page.locator(f'.similar [data-product="{liked}"]')
    card.hover()
    card.get_by_role("button", name=re.compile("^More like")).click()
    expect(page).to_have_url(re.compile(f"liked={liked}"))
    expect(page.locator(f'.similar [data-product="{liked}"]')).to_have_count(0)
    card = page.locator(f'.similar [data-product="{disliked}"]')
    card.hover()
    card.get_by_role("button", name=re.compile("^Less like")).click()
    expect(page.locator(".steer")).to_have_count(2)
    expect(page.locator(f'.similar [data-product="{disliked}"]')).to_have_count(0)
    picture(page, f"steered-{'phone' if phone(page) else 'desktop'}")
    page.reload()
    expect(page.locator(".steer")).to_have_count(2)
    page.get_by_role("button", name=re.compile("^Less like .*remove$")).click()
    expect(page.locator(f'.similar [data-product="{disliked}"]')).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f'.similar [data-product="{disliked}"]')).to_have_count(0)
    page.get_by_role("button", name="Start over").click()
    expect(page.locator(f'.similar [data-product="{liked}"]')).to_have_count(1)
    expect_names(page, before, within=".similar")
    assert "liked" not in page.url


def test_a_disliked_colour_goes_at_once_and_stays_away(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/p/men-tshirts-red-0")
    expect(page.locator(".similar .card")).to_have_count(18)
    assert any("blue" in name for name in names_of(page, ".similar"))
    leave_out(page, "Blue")
    expect(page.locator('.similar [data-product*="blue"]')).to_have_count(0)
    expect(page.locator("#colours-label")).to_have_text("Hiding 1")
    page.reload()
    expect(page.locator(".similar .card").first).to_be_visible()
    expect(page.locator('.similar [data-product*="blue"]')).to_have_count(0)
    page.locator(".wordmark").click()
    expect(page.locator(".count")).to_have_text("27 products")
    expect(page.locator('.results [data-product*="blue"]')).to_have_count(0)
    page.locator("#colours-button").click()
    picture(page, f"colours-{'phone' if phone(page) else 'desktop'}")
    page.get_by_role("button", name="Forget all my colours").click()
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator(".count")).to_have_text("43 products")


@pytest.mark.parametrize("device", SIZES)
def test_a_gateway_that_signs_no_demo_tokens_is_browsed_without_colours(
    open_page: Open, tmp_path: Path, device: str
) -> None:
    with shop(tmp_path, host="0.0.0.0", token_key=KEY) as running:
        running.grpc.upsert(small_shop.rows())
        # The browser itself logs the 403 to the console.
        with open_page(device, quiet=False) as page:
            page.goto(f"{running.url}/p/{BLUE}")
            expect(page.locator(".similar .card")).to_have_count(18)
            expect(page.get_by_role("button", name="Leave out this colour")).to_be_hidden()
            expect(page.locator("#colours-button")).to_be_hidden()
            page.locator(".wordmark").click()
            expect(page.locator(".count")).to_have_text("40 products")
            picture(page, f"without-sessions-{device}")


def test_the_curious_see_what_was_left_out_and_how_long_it_took(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/p/{BLUE}")
    expect(page.locator(".similar .card")).to_have_count(18)
    leave_out(page, "Red")
    page.get_by_text("How this list came about").click()
    explanation = page.locator(".explanation")
    expect(explanation.locator(".colour-list")).to_contain_text("Red")
    expect(explanation.locator(".timings tbody tr").first).to_contain_text("ms")
    expect(explanation.locator(".gone li").first).to_be_visible()
    expect(page.locator(".similar .similarity-number").first).to_have_text(re.compile(r"^-?\d\.\d\d$"))
    picture(page, f"curious-{'phone' if phone(page) else 'desktop'}", full_page=True)


def test_markup_in_a_name_is_text(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/p/odd-markup")
    expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
    page.goto(f"{stocked.url}/?article_type=Tshirts&base_colour=Red")
    expect(page.locator('[data-product="odd-markup"] .card-name')).to_have_text(MARKUP)
    assert page.locator(".card-name b, .card-name img").count() == 0


def test_price_shop_and_stock_are_shown(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/p/odd-priced")
    expect(page.locator(".price")).to_have_text("€19.99")
    expect(page.get_by_role("link", name="To the shop")).to_have_attribute("href", "https://shop.example/p/1")
    page.goto(f"{stocked.url}/p/odd-unlinked")
    expect(page.locator(".product .badge")).to_have_text("Out of stock")


@pytest.mark.parametrize("device", SIZES)
def test_a_product_that_is_gone_is_said_to_be(open_page: Open, stocked: Shop, device: str) -> None:
    # The browser itself logs the 404 to the console.
    with open_page(device, quiet=False) as page:
        page.goto(f"{stocked.url}/p/never-was")
        expect(page.get_by_role("heading", name="This product is gone")).to_be_visible()


@pytest.mark.parametrize("device", SIZES)
def test_a_shop_that_cannot_be_reached_can_be_tried_again(open_page: Open, stocked: Shop, device: str) -> None:
    with open_page(device, quiet=False) as page:
        page.route("**/v1/products?**", lambda route: route.abort())
        page.goto(stocked.url)
        expect(page.get_by_role("alert")).to_contain_text("No connection to the shop")
        page.unroute("**/v1/products?**")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)


@pytest.mark.parametrize("body", ["<html>oops</html>", '{"detail": "too much at once", "status": 503}'])
def test_a_broken_answer_is_an_error_that_can_be_read(open_page: Open, stocked: Shop, body: str) -> None:
    with open_page(quiet=False) as page:
        page.route("**/similar?**", lambda route: route.fulfill(status=503, body=body))
        page.goto(f"{stocked.url}/p/{BLUE}")
        expect(page.get_by_role("alert")).to_contain_text("That did not work")
        expect(page.get_by_role("heading", level=1)).to_have_text("Men T-shirts")


def test_keys_alone_are_enough(open_page: Open, stocked: Shop) -> None:
    with open_page() as page:
        page.goto(stocked.url)
        expect(page.locator(".results .card")).to_have_count(FIRST_PAGE)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        tab_to(page, 'input[data-key="article_type-Dresses"]')
        page.keyboard.press("Space")
        expect(page.locator(".count")).to_have_text("10 products")
        expect(page.locator('input[data-key="article_type-Dresses"]')).to_be_focused()
        tab_to(page, ".results .card-link")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        expect(page.locator(".similar .card")).to_have_count(18)
        tab_to(page, '.card-actions button[title^="More like"]')
        page.keyboard.press("Enter")
        expect(page.locator(".steer")).to_have_count(1)
        expect(page.locator(".steering button").first).to_be_focused()
        page.locator("body").focus()
        tab_to(page, "#colours-button", backwards=True)
        page.keyboard.press("Enter")
        tab_to(page, '[data-key="false-Red"]')
        page.keyboard.press("Space")
        expect(page.locator('[data-key="false-Red"]')).to_have_attribute("aria-pressed", "true")
        expect(page.locator('[data-key="false-Red"]')).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#colours-panel")).to_have_count(0)
        expect(page.locator('.similar [data-product*="red"]')).to_have_count(0)


def tab_to(page: Page, selector: str, *, backwards: bool = False) -> None:
    """Presses Tab until something has the focus."""
    for _ in range(120):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
    raise AssertionError(f"{selector} cannot be reached by Tab")


def test_twins_do_not_stand_side_by_side(page: Page, stocked: Shop) -> None:
    # Two products of the shop have the very photograph of this one's neighbour in the list.
    page.goto(f"{stocked.url}/p/men-tshirts-red-25?scope=predicted_type")
    expect(page.locator(".similar .card")).to_have_count(11)
    names = names_of(page, ".similar")
    twins = [names.index("odd-markup"), names.index("odd-priced")]
    assert abs(twins[0] - twins[1]) > 1, names
    assert len(set(names)) == 11


def test_few_of_the_same_type_are_filled_up_under_a_heading(page: Page, stocked: Shop) -> None:
    page.goto(f"{stocked.url}/p/{BLUE}?scope=predicted_type")
    wider = page.get_by_role("region", name="Of other types")
    expect(wider).to_contain_text("There are only 11 products of Men T-shirts.")
    expect(wider.locator(".card")).to_have_count(7)
    page.get_by_label("Whole catalogue").check()
    expect(wider).to_be_hidden()


def test_labels_are_written_as_people_do(page: Page, stocked: Shop) -> None:
    page.goto(stocked.url)
    choose(page, "Article", "T-shirts")
    assert "article_type=Tshirts" in page.url
    expect(page.get_by_role("button", name="Remove T-shirts")).to_be_visible()
    expect(page).to_have_title("T-shirts · Fashion")
    assert "Tshirt" not in page.locator(".chips").inner_text()


def test_the_staffs_tools_are_apart_from_the_shoppers(page: Page, stocked: Shop) -> None:
    page.goto(stocked.url)
    shopper = page.get_by_role("navigation", name="Main")
    assert shopper.get_by_role("link").all_inner_texts() == ["Browse", "Photograph"]
    staff = page.get_by_role("navigation", name="For the shop's staff")
    assert [each.strip() for each in staff.get_by_role("link").all_inner_texts()] == ["Inspect", "Map", "HTTP API"]


def test_variants_stand_apart_on_a_page_of_the_list(open_page: Open, stocked: Shop) -> None:
    with open_page() as page:
        page.goto(stocked.url)
        orders = page.evaluate(
            """async () => {
              const { apart } = await import("/assets/parts.js");
              const product = (id, more = {}) => ({ id, derived_type: "Men Tshirts", base_colour: "Red", ...more });
              const sizes = [1, 2, 3].map((size) => product(`tee-${size}`, { parent_id: "tee", name: `Tee ${size}` }));
              const twins = [1, 2].map((number) => product(`twin-${number}`, { name: "Plain" }));
              const others = ["a", "b", "c"].map((id) => product(id));
              const ids = (products) => apart(products).map(({ id }) => id).join(" ");
              return [ids([...sizes, ...twins, ...others]), ids(others), ids(sizes), ids([])];
            }"""
        )
        assert orders == ["tee-1 twin-1 tee-2 twin-2 tee-3 a b c", "a b c", "tee-1 tee-2 tee-3", ""]
