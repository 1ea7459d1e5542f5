"""The element on a checkout page of another origin, under a strict policy, with gateways that work and that fail."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MARKUP, Answer, Open, picture, serving
from tests.support import small_shop
from tests.support.gateways import KEY, Shop, bearer, shop
from tests.support.processes import ROOT, free_port

DOCS = ROOT / "docs"
MOST_BYTES = 15_000
ELEMENT = "similar-items"
CARDS = "similar-items [part=card]"


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory, foreign_port: int) -> Iterator[Shop]:
    """A shop whose backend signs the tokens of its users."""
    data_dir = tmp_path_factory.mktemp("signing")
    with shop(data_dir, token_key=KEY, allowed_origins=f"http://127.0.0.1:{foreign_port}") as running:
        running.grpc.upsert(small_shop.rows())
        yield running


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


MEASURE_SHIFT = """window.shift = 0;
window.moves = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) {
    if (each.hadRecentInput) continue;
    window.shift += each.value;
    window.moves.push([each.value, each.sources.map(({ previousRect: from, currentRect: to }) => [from.y, to.y])]);
  }
}).observe({ type: "layout-shift", buffered: true });"""
MAX_SHIFT = 0.02
FIVE_TAGS = 5
PICTURES: dict[str, Answer | None] = {
    "missing": Answer(b"", "application/problem+json", 404),
    "unavailable": Answer(b"busy", "application/problem+json", 503),
    "hanging": None,
    "garbage": Answer(b"no picture at all", "image/webp"),
    "empty": Answer(b"", "image/jpeg"),
}


def five(page: str) -> str:
    """Puts five elements on the page, each with text below it."""
    if "<similar-items " not in page:
        return page
    # Each asks for another product: a browser sends equal requests one after the other.
    start, end = page.index("<similar-items "), page.index("</similar-items>") + len("</similar-items>")
    tag = page[start:end]
    more = "".join(f"{tag.replace('blue-0', f'blue-{number}')}<p>Text {number}.</p>" for number in range(1, FIVE_TAGS))
    return f"{page[:start]}{more}{page[start:]}"


def answer_with_pictures(products: int, image_url: str | None = None) -> Answer:
    rows = [
        {
            "id": f"p{number}",
            "name": f"Product {number}",
            "image": f"/v1/products/p{number}/image",
            "image_url": image_url,
        }
        for number in range(products)
    ]
    return Answer(json.dumps({"products": [{"product": row} for row in rows]}).encode(), "application/json")


@pytest.mark.parametrize("how", PICTURES)
def test_a_picture_is_asked_for_once(open_page: Open, stocked: Shop, foreign_port: int, how: str) -> None:
    asked: list[str] = []

    def gateway(path: str) -> Answer | None:
        asked.append(path)
        if path.endswith("/similar"):
            return answer_with_pictures(3)
        return PICTURES[how]

    with serving(gateway) as broken:

        def elsewhere(page: str) -> str:
            return page.replace("<similar-items ", f'<similar-items gateway="{broken}" ')

        with checkout(stocked.url, foreign_port, elsewhere, images=broken) as url, open_page(quiet=False) as page:
            page.goto(url)
            expect(page.locator(CARDS)).to_have_count(3)
            if how != "hanging":
                expect(page.locator("similar-items [part=placeholder]")).to_have_count(3)
            page.locator(ELEMENT).evaluate("one => one.reload()")
            page.wait_for_timeout(1500)
            pictures = [path for path in asked if path.endswith("/image")]
            assert len(pictures) <= (6 if how == "hanging" else 3), len(pictures)
            assert {f"/v1/products/p{number}/image" for number in range(3)} == set(pictures)
            pays(page)
            picture(page, f"checkout-pictures-{how}")


def test_a_product_without_a_photograph_is_a_placeholder(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    asked: list[str] = []

    def gateway(path: str) -> Answer:
        asked.append(path)
        rows = [{"product": {"id": "a", "image": None}}, {"product": {"id": "b"}}, {"product": {"id": "c", "image": 7}}]
        return Answer(json.dumps({"products": rows}).encode(), "application/json")

    with serving(gateway) as plain:

        def elsewhere(page: str) -> str:
            return page.replace("<similar-items ", f'<similar-items gateway="{plain}" ')

        with checkout(stocked.url, foreign_port, elsewhere) as url, open_page() as page:
            page.goto(url)
            expect(page.locator("similar-items [part=placeholder]")).to_have_count(3)
            assert [path for path in asked if "/similar" not in path] == []


def test_the_shops_own_picture_stands_in_for_a_missing_one(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    asked: list[str] = []

    def gateway(path: str) -> Answer:
        asked.append(path)
        if path.endswith("/similar"):
            return answer_with_pictures(2, image_url="/checkout-picture.png")
        return Answer(b"", "application/problem+json", 404)

    with serving(gateway) as plain:

        def elsewhere(page: str) -> str:
            return page.replace("<similar-items ", f'<similar-items gateway="{plain}" ')

        with checkout(stocked.url, foreign_port, elsewhere, images=plain) as url, open_page(quiet=False) as page:
            own: list[str] = []
            page.on("request", lambda request: own.append(request.url) if "checkout-picture" in request.url else None)
            page.goto(url)
            page.wait_for_function(
                """() => {
                    const images = [...document.querySelector("similar-items").shadowRoot.querySelectorAll("img")];
                    return images.length === 2 && images.every((image) => image.naturalWidth > 0);
                }"""
            )
            assert len([path for path in asked if path.endswith("/image")]) == 2
            assert set(own) == {f"{url}/checkout-picture.png"}


def test_equal_elements_share_a_request_and_twins_come_last(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    asked: list[str] = []
    late = threading.Event()

    def gateway(path: str) -> Answer:
        asked.append(path)
        late.wait(2)
        types = {"p1": "Men Shirts"}
        likeness = {"p0": 0.9, "p1": 0.9, "p2": 0.9, "p3": 0.8, "p4": 0.8}
        rows = [
            {"product": {"id": each, "name": each, "derived_type": types.get(each, "Men Tshirts")}, "similarity": value}
            for each, value in likeness.items()
        ]
        return Answer(json.dumps({"products": rows}).encode(), "application/json")

    with serving(gateway) as counting:

        def four(page: str) -> str:
            if "<similar-items " not in page:
                return page
            start, end = page.index("<similar-items "), page.index("</similar-items>") + len("</similar-items>")
            tag = page[start:end].replace("<similar-items ", f'<similar-items gateway="{counting}" ')
            return f"{page[:start]}{tag * 3}{tag.replace('blue-0', 'blue-1')}{page[end:]}"

        with checkout(stocked.url, foreign_port, four) as url, open_page() as page:
            page.goto(url)
            page.wait_for_function("document.querySelectorAll('similar-items').length === 4")
            page.wait_for_timeout(500)
            # One that leaves does not end the request of the others.
            page.locator(ELEMENT).first.evaluate("one => one.remove()")
            late.set()
            expect(page.locator(CARDS)).to_have_count(15)
            assert len(asked) == 2, asked
            names = page.locator("similar-items").first.locator("[part=name]").all_text_contents()
            assert names == ["p0", "p1", "p3", "p2", "p4"]
            page.locator(ELEMENT).first.evaluate("one => one.reload()")
            page.wait_for_timeout(500)
            assert len(asked) == 3, "a reload asks anew"
            page.locator(ELEMENT).last.evaluate("one => one.setAttribute('product-id', 'men-tshirts-blue-0')")
            page.wait_for_timeout(500)
            assert len(asked) == 3, "it joins the answer that is there"
            expect(page.locator(CARDS)).to_have_count(15)


SHIFTS = [
    "works",
    "answers few",
    "is slow",
    "takes too long",
    "hangs",
    "is down",
    "says 500",
    "answers garbage",
    "serves no element",
    "serves it late",
]


@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("how", SHIFTS)
def test_the_page_does_not_move_where_the_gateway(
    open_page: Open, stocked: Shop, foreign_port: int, how: str, device: str
) -> None:
    element = stocked.http.get("/elements/similar-items.js").content
    similar = stocked.http.get("/v1/products/men-tshirts-blue-0/similar?limit=8").content
    few = stocked.http.get("/v1/products/men-tshirts-blue-0/similar?limit=2").content

    def gateway(path: str) -> Answer | None:
        if path.endswith("similar-items.js"):
            time.sleep(1.5 if how == "serves it late" else 0)
            return Answer(element, "text/javascript")
        if path.endswith("/image"):
            return Answer(b"", "image/jpeg", 404)
        if how == "answers few":
            return Answer(few, "application/json")
        # Of five requests that take so long, some arrive in time, and others do not.
        time.sleep({"is slow": 1.5, "takes too long": random.uniform(3.7, 4.3)}.get(how, 0))
        return BROKEN.get(how, Answer(similar, "application/json"))

    with serving(gateway) as served:
        origin = f"http://127.0.0.1:{free_port()}" if how == "serves no element" else served

        def changed(page: str) -> str:
            if how == "is down":
                page = page.replace("<similar-items ", f'<similar-items gateway="http://127.0.0.1:{free_port()}" ')
            return five(page)

        with checkout(origin, foreign_port, changed) as url, open_page(device, quiet=False) as page:
            page.add_init_script(MEASURE_SHIFT)
            page.goto(url)
            shown = {"works": 8, "answers few": 2, "is slow": 8, "serves it late": 8}
            if how in shown:
                expect(page.locator(ELEMENT).first.locator("[part=card]")).to_have_count(shown[how])
            elif how == "takes too long":
                page.wait_for_timeout(4500)
            elif how != "serves no element":
                expect(page.locator(ELEMENT).first).to_be_hidden()
                assert page.locator(ELEMENT).first.evaluate("one => one.getBoundingClientRect().height") == 0
            page.wait_for_timeout(1000)
            for _ in range(4):
                page.mouse.wheel(0, 500)
                page.wait_for_timeout(300)
            assert page.evaluate("window.shift") < MAX_SHIFT, page.evaluate("window.moves")
            picture(page, f"checkout-five-{how.replace(' ', '-')}-{device}", full_page=True)


def test_the_room_before_the_script_is_the_room_of_the_element(
    open_page: Open, stocked: Shop, foreign_port: int
) -> None:
    height = "() => document.querySelector('similar-items').getBoundingClientRect().height"
    for device in ("desktop", "tablet", "phone"):
        with checkout(stocked.url, foreign_port) as url, open_page(device) as page:
            page.route("**/similar-items.js", lambda route: None)
            page.goto(url, wait_until="commit")
            page.locator(ELEMENT).wait_for(state="attached")
            page.wait_for_function(
                "() => getComputedStyle(document.querySelector('similar-items')).display === 'block'"
            )
            before = page.evaluate(height)
            page.unroute_all()
            page.goto(url)
            expect(page.locator(CARDS)).to_have_count(8)
            assert page.evaluate(height) == pytest.approx(before, abs=1)


def test_the_focus_stays_where_the_product_changes(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    focused = "() => document.querySelector('similar-items').shadowRoot.activeElement"
    position = f"() => [...({focused})().closest('ul').children].indexOf(({focused})().parentNode)"
    with checkout(stocked.url, foreign_port) as url, open_page() as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        page.locator(CARDS).nth(3).focus()
        for change in ("'product-id', 'men-tshirts-red-0'", "'limit', '5'", "'heading', 'Others'"):
            with page.expect_response("**/similar?**"):
                page.locator(ELEMENT).evaluate(f"one => one.setAttribute({change})")
            page.wait_for_function(
                "() => document.querySelector('similar-items').shadowRoot.querySelector('[aria-busy=false]')"
            )
            assert page.evaluate(position) == 3
        page.locator(CARDS).nth(4).focus()
        page.locator(ELEMENT).evaluate("one => one.setAttribute('limit', '2')")
        expect(page.locator(CARDS)).to_have_count(2)
        assert page.evaluate(position) == 1


def test_a_timeout_is_named(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    with serving(lambda _path: None) as silent:

        def elsewhere(page: str) -> str:
            return page.replace("<similar-items ", f'<similar-items gateway="{silent}" ')

        with checkout(stocked.url, foreign_port, elsewhere) as url, open_page() as page:
            page.add_init_script(
                "addEventListener('similar-items:error', (event) => { window.why = event.detail.why; })"
            )
            page.goto(url)
            expect(page.locator(ELEMENT)).to_be_hidden()
            assert "timed out after 4 s" in page.evaluate("window.why")


SCROLLED = """one => new Promise(done => {
  let last = -1;
  const look = () => one.scrollLeft === last ? done() : (last = one.scrollLeft, setTimeout(look, 150));
  look();
})"""


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_it_is_seen_that_more_cards_follow(open_page: Open, stocked: Shop, foreign_port: int, device: str) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page(device) as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        on, back = page.locator("similar-items .arrow.on"), page.locator("similar-items .arrow.back")
        expect(on).to_be_visible()
        expect(back).to_be_hidden()
        while on.is_visible():
            before = page.locator("similar-items ul").evaluate("one => one.scrollLeft")
            on.click()
            page.wait_for_function(
                "before => document.querySelector('similar-items').shadowRoot.querySelector('ul').scrollLeft > before",
                arg=before,
            )
            # An arrow that is about to leave, because the last cards come into view, cannot be clicked.
            page.locator("similar-items ul").evaluate(SCROLLED)
        expect(back).to_be_visible()
        expect(page.locator(CARDS).last).to_be_in_viewport(ratio=0.95)


LACKING = {
    "constructed sheets": "delete window.CSSStyleSheet;",
    "replaceSync": "delete CSSStyleSheet.prototype.replaceSync;",
    "IntersectionObserver": "delete window.IntersectionObserver;",
    "an IntersectionObserver that works": "window.IntersectionObserver = function () { throw new Error('broken'); };",
    "ResizeObserver": "delete window.ResizeObserver;",
    "AbortController": "delete window.AbortController;",
    "replaceChildren": "delete Element.prototype.replaceChildren;",
    "queueMicrotask": "delete window.queueMicrotask;",
    "Intl": "delete window.Intl;",
    "TextDecoder": "delete window.TextDecoder;",
    "shadow roots": "delete Element.prototype.attachShadow;",
    "fetch": "delete window.fetch;",
    "a fetch that answers": "window.fetch = () => new Promise(() => {});",
    "a fetch that is sound": "window.fetch = () => ({ ok: true });",
    "createElement": """window.fetch = () => {
        document.createElement = () => null;
        return Promise.reject(new Error('no'));
    };""",
    "custom elements": "delete window.customElements;",
    "frozen prototypes": "for (const one of [Element, HTMLElement, Node, Event]) Object.freeze(one.prototype);",
}


@pytest.mark.parametrize("what", LACKING)
def test_it_shows_or_hides_itself_without(open_page: Open, stocked: Shop, foreign_port: int, what: str) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page(quiet=False) as page:
        page.add_init_script(
            f"addEventListener('similar-items:error', (event) => {{ window.why = event.detail.why; }});{LACKING[what]}"
        )
        page.goto(url)
        if what == "custom elements":
            page.wait_for_load_state("networkidle")
        else:
            page.wait_for_function(
                """() => {
                    const one = document.querySelector("similar-items");
                    const shown = one.shadowRoot && one.shadowRoot.querySelectorAll("[part=card]").length === 8;
                    return shown || (one.hidden && window.why);
                }"""
            )
        # What is thrown into the page is an error of `open_page`.
        pays(page)


ODD_PAGES = {
    "moves it": "box => box.prepend(box.querySelector('similar-items'))",
    "removes it and puts it back": """box => {
        const one = box.querySelector('similar-items');
        one.remove();
        setTimeout(() => box.append(one), 300);
    }""",
    "copies it": "box => box.append(box.querySelector('similar-items').cloneNode(true))",
    "has a root of its own in it": """box => {
        const other = document.createElement('div');
        box.querySelector('similar-items').replaceWith(other);
        const root = '<template shadowrootmode="closed">own</template>';
        other.setHTMLUnsafe(`<similar-items product-id="x">${root}</similar-items>`);
    }""",
    "speaks an unknown language": "box => { document.documentElement.lang = 'en_US@x'; }",
    "fills it": "box => { box.querySelector('similar-items').innerHTML = '<b>own</b>'; }",
    "changes it often": """box => {
        const one = box.querySelector('similar-items');
        for (let round = 0; round < 50; round += 1) one.setAttribute('limit', String(3 + (round % 5)));
    }""",
    "names an odd gateway": "box => box.querySelector('similar-items').setAttribute('gateway', 'http://')",
    "throws on its events": """box => {
        const bad = document.createElement('similar-items');
        box.append(bad);
    }""",
}


@pytest.mark.parametrize("what", ODD_PAGES)
def test_nothing_is_thrown_where_the_page(open_page: Open, stocked: Shop, foreign_port: int, what: str) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page(quiet=False) as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        page.evaluate(f"({ODD_PAGES[what]})(document.querySelector('main'))")
        page.wait_for_timeout(600)
        page.wait_for_function(
            """() => [...document.querySelectorAll("similar-items")].every((one) =>
                one.hidden || (one.shadowRoot && one.shadowRoot.querySelector("[part=card]")))"""
        )
        pays(page)


def test_what_the_page_hides_stays_hidden(open_page: Open, stocked: Shop, foreign_port: int) -> None:
    with checkout(stocked.url, foreign_port) as url, open_page() as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(8)
        page.locator(ELEMENT).evaluate("one => { one.hidden = true; one.reload(); }")
        page.wait_for_timeout(500)
        expect(page.locator(ELEMENT)).to_be_hidden()
