"""What the element shows: pictures and stand-ins, the room that it takes, focus, and odd browsers and pages."""

import json
import random
import threading
import time

import pytest
from playwright.sync_api import expect

from tests.browser.checkout import BROKEN, CARDS, ELEMENT, checkout, pays
from tests.browser.conftest import Answer, Open, picture, serving
from tests.support.gateways import Shop
from tests.support.processes import free_port

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

    arrival = random.Random(0)

    def gateway(path: str) -> Answer | None:
        if path.endswith("similar-items.js"):
            time.sleep(1.5 if how == "serves it late" else 0)
            return Answer(element, "text/javascript")
        if path.endswith("/image"):
            return Answer(b"", "image/jpeg", 404)
        if how == "answers few":
            return Answer(few, "application/json")
        # Of five requests that take so long, some arrive in time, and others do not.
        time.sleep({"is slow": 1.5, "takes too long": arrival.uniform(3.7, 4.3)}.get(how, 0))
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


@pytest.mark.parametrize(("limit", "scrolls"), [(1, False), (4, False), (18, True)])
@pytest.mark.parametrize(("device", "scheme"), [("desktop", "light"), ("desktop", "dark"), ("phone", "light")])
def test_the_cards_stand_below_the_heading(
    open_page: Open, stocked: Shop, foreign_port: int, limit: int, scrolls: bool, device: str, scheme: str
) -> None:
    def few(page: str) -> str:
        return page.replace('limit="8"', f'limit="{limit}"')

    with checkout(stocked.url, foreign_port, few) as url, open_page(device, scheme=scheme) as page:
        page.goto(url)
        expect(page.locator(CARDS)).to_have_count(limit)
        heading = page.locator("similar-items [part=heading]").bounding_box()
        card = page.locator(CARDS).first.bounding_box()
        assert heading is not None and card is not None
        assert card["x"] == heading["x"]
        listed = page.locator("similar-items [part=list]")
        assert listed.evaluate("one => one.scrollWidth > one.clientWidth") == (
            scrolls or (device, limit) == ("phone", 4)
        )
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # The list cuts off what stands out of it, also the ring of the focus.
        page.locator(CARDS).first.focus()
        room = listed.evaluate(
            """list => {
              const [outer, inner] = [list, list.querySelector(".card")].map((one) => one.getBoundingClientRect());
              const top = inner.top - outer.top;
              return Math.min(inner.left - outer.left, top, outer.bottom - inner.bottom);
            }"""
        )
        assert room >= 4
        picture(page, f"element-aligned-{limit}-{device}-{scheme}")
