"""The element on a checkout page of another origin, under a strict policy, with gateways that work and that fail."""

import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.checkout import BROKEN, CARDS, ELEMENT, checkout, pays
from tests.browser.conftest import MARKUP, Open, picture, serving
from tests.support import small_shop
from tests.support.gateways import KEY, Shop, bearer, shop
from tests.support.processes import free_port

MOST_BYTES = 15_000


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory, foreign_port: int) -> Iterator[Shop]:
    """A shop whose backend signs the tokens of its users."""
    data_dir = tmp_path_factory.mktemp("signing")
    with shop(data_dir, token_key=KEY, allowed_origins=f"http://127.0.0.1:{foreign_port}") as running:
        running.grpc.upsert(small_shop.rows())
        yield running


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


def test_a_token_leaves_the_shoppers_colours_out(open_page: Open, signing: Shop, foreign_port: int) -> None:
    signing.grpc.dislike("ada", "Blue")
    token = bearer("ada")["Authorization"].removeprefix("Bearer ")
    assert KEY not in token

    def signed(page: str) -> str:
        return page.replace("<similar-items ", f'<similar-items user-token="{token}" ')

    with checkout(signing.url, foreign_port, signed) as url, open_page() as page:
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


ALL_ATTRIBUTES = {
    "exclude": "men-tshirts-red-0, men-tshirts-red-25,,",
    "filter": "gender=Men&base_colour=Red&base_colour=Blue&price=..50",
    "min-similarity": "0.25",
    "currency": "eur",
}


def test_attributes_narrow_the_answer_down(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    def narrowed(page: str) -> str:
        more = " ".join(f'{name}="{value.replace("&", "&amp;")}"' for name, value in ALL_ATTRIBUTES.items())
        return page.replace("<similar-items ", f"<similar-items {more} ")

    with checkout(stocked.url, foreign_port, narrowed) as url, open_page() as page:
        with page.expect_response(lambda answer: "/similar?" in answer.url) as answered:
            page.goto(url)
        asked = httpx.QueryParams(urlsplit(answered.value.url).query).multi_items()
        assert asked == [
            ("gender", "Men"),
            ("base_colour", "Red"),
            ("base_colour", "Blue"),
            ("price", "..50 EUR"),
            ("excluded", "men-tshirts-red-0"),
            ("excluded", "men-tshirts-red-25"),
            ("limit", "8"),
            ("min_similarity", "0.25"),
        ]
        assert [each["product"]["id"] for each in answered.value.json()["products"]] == ["odd-priced"]
        expect(page.locator(CARDS)).to_have_count(1)
        expect(page.locator("similar-items [part=price]")).to_have_text("€19.99")
        # A price in another currency is not shown; the product is.
        page.locator(ELEMENT).evaluate("one => { one.filter = 'base_colour=Red'; one.currency = 'USD'; }")
        priced = page.locator(CARDS).filter(has_text="Priced Tshirt")
        expect(priced).to_have_count(1)
        expect(priced.locator("[part=price]")).to_have_text("")
        # So many are still one request.
        page.locator(ELEMENT).evaluate(
            "one => { one.exclude = [...Array(600)].map((_, number) => `a-product-with-a-long-id-${number}`); }"
        )
        with page.expect_response(lambda answer: "/similar?" in answer.url) as answered:
            page.locator(ELEMENT).evaluate("one => one.reload()")
        assert answered.value.status == 200
        assert len(httpx.QueryParams(urlsplit(answered.value.url).query).get_list("excluded")) == 500


def test_a_similarity_that_nothing_reaches_hides_it(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page() as page:
        page.add_init_script("addEventListener('similar-items:error', (event) => { window.why = event.detail.why; })")
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        page.locator(ELEMENT).evaluate("one => { one.minSimilarity = 1; }")
        expect(page.locator(ELEMENT)).to_be_hidden()
        assert page.evaluate("window.why") == "There are no similar products."
        # What is no number is none.
        page.locator(ELEMENT).evaluate("one => { one.setAttribute('min-similarity', 'much'); }")
        expect(page.locator(CARDS)).to_have_count(8)


def test_each_attribute_is_a_property(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    manifest = stocked.http.get("/elements/custom-elements.json").json()
    (declaration,) = manifest["modules"][0]["declarations"]
    fields = {each["name"]: each for each in declaration["members"] if each["kind"] == "field"}
    values = {name: "0.5" if "number" in each["type"]["text"] else "some" for name, each in fields.items()}
    values["limit"] = "3"
    with checkout(stocked.url, foreign_port) as url, open_page() as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        assert page.evaluate("customElements.get('similar-items').observedAttributes") == [
            each["name"] for each in declaration["attributes"]
        ]
        assert set(
            page.evaluate(
                "Object.keys(Object.getOwnPropertyDescriptors(customElements.get('similar-items').prototype))"
            )
        ) >= {*fields, "reload"}
        for name, field in fields.items():
            told = page.evaluate(
                """([name, attribute, value]) => {
                    const one = document.createElement("similar-items");
                    const before = one[name];
                    one[name] = value;
                    const set = [one.getAttribute(attribute), one[name], typeof one[name]];
                    one[name] = null;
                    const gone = one.hasAttribute(attribute);
                    one.setAttribute(attribute, value);
                    return [before, ...set, gone, String(one[name]) === value];
                }""",
                [name, field["attribute"], values[name]],
            )
            number = "number" in field["type"]["text"]
            expected = float(values[name]) if number else values[name]
            default = json.loads(field["default"]) if name != "heading" else ""
            assert told == [default, values[name], expected, "number" if number else "string", False, True], name
        parts = page.evaluate(
            """() => [...document.querySelector("similar-items").shadowRoot.querySelectorAll("[part]")]
                .map((each) => each.getAttribute("part"))"""
        )
        assert set(parts) <= {each["name"] for each in declaration["cssParts"]}
        assert {each["name"] for each in declaration["cssParts"]} - set(parts) <= {"placeholder", "skeleton"}


def test_properties_that_are_set_before_it_is_known_count(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    def early(page: str) -> str:
        return page.replace(' limit="8"', "")

    with checkout(stocked.url, foreign_port, early) as url, open_page(quiet=False) as page:
        page.add_init_script(
            """addEventListener("DOMContentLoaded", () => {
                const early = document.createElement("similar-items");
                if ("minSimilarity" in early) throw new Error("The element is known too early for this test.");
                const one = document.querySelector("similar-items");
                Object.assign(one, { limit: 3, exclude: ["men-tshirts-red-0"], minSimilarity: 0.1 });
            })"""
        )
        late = threading.Event()
        page.route("**/similar-items.js", lambda route: route.continue_() if late.is_set() else route.abort())
        page.goto(url)
        late.set()
        page.evaluate("src => import(src)", f"{stocked.url}/elements/similar-items.js?late")
        expect(page.locator(CARDS)).to_have_count(3)
        assert page.locator(ELEMENT).get_attribute("exclude") == "men-tshirts-red-0"
        assert page.locator(ELEMENT).get_attribute("min-similarity") == "0.1"


def test_a_page_may_hold_it_to_its_hash(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    element = stocked.http.get("/elements/manifest.json").json()["similar-items"]
    for integrity, shown in ((element["integrity"], True), ("sha384-" + "A" * 64, False)):

        def pinned(page: str, integrity: str = integrity) -> str:
            return page.replace(
                f'src="{stocked.url}/elements/similar-items.js"',
                f'crossorigin src="{stocked.url}{element["path"]}" integrity="{integrity}"',
            )

        with checkout(stocked.url, foreign_port, pinned) as url, open_page(quiet=False) as page:
            page.goto(url)
            if shown:
                expect(page.locator(CARDS)).to_have_count(8)
            else:
                page.wait_for_load_state("networkidle")
                assert page.evaluate("customElements.get('similar-items')") is None
            pays(page)


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


def test_a_token_that_has_run_out_shows_nothing_and_says_why(open_page: Open, signing: Shop, foreign_port: int) -> None:
    token = bearer("ada", lifetime_s=-time.time())["Authorization"].removeprefix("Bearer ")
    # The page's own script adds the listener before the element loads.
    with checkout(signing.url, foreign_port) as url, open_page(quiet=False) as page:
        page.add_init_script("addEventListener('similar-items:error', (event) => { window.why = event.detail.why; })")
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        page.locator(ELEMENT).evaluate("(one, token) => one.setAttribute('user-token', token)", token)
        expect(page.locator(ELEMENT)).to_be_hidden()
        assert page.evaluate("window.why") == "The gateway answered 401."
