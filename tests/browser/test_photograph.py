"""Search by photograph: chosen, pasted, dropped, cropped by pointer, touch and keys, and corrected."""

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open, expect_names, names_of, picture
from tests.support.gateways import Shop

SIZES = ["desktop", "phone"]

# Hands a file to the page as the browser does when one is pasted or dropped.
_HAND_OVER = """([event, text]) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "photograph.png", { type: "image/png" }));
  const given = event === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent(event, { dataTransfer: data, bubbles: true, cancelable: true });
  document.querySelector("#content").dispatchEvent(given);
}"""


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, open_page: Open) -> Iterator[Page]:
    with open_page(request.param) as opened:
        opened.add_init_script(_OVERHEAR)
        yield opened


# Keeps the text of forms, which the browser does not tell its driver where they hold files.
_OVERHEAR = """(() => {
  const send = window.fetch;
  window.sent = [];
  window.fetch = (url, how) => {
    if (how?.body instanceof FormData) {
      const fields = [...how.body].map(([name, value]) => [name, value instanceof Blob ? String(value.size) : value]);
      window.sent.push(Object.fromEntries(fields));
    }
    return send(url, how);
  };
})()"""


def sent_after(page: Page, act: Callable[[], object]) -> dict[str, str]:
    """Runs an action, and returns the fields of the first form that it sends; another may fill the list up."""
    before = page.evaluate("window.sent.length")
    act()
    page.wait_for_function("before => window.sent.length > before", arg=before)
    page.wait_for_function("() => !document.querySelector('.results[aria-busy]')")
    fields: dict[str, str] = page.evaluate("before => window.sent[before]", before)
    return fields


def region_of(fields: dict[str, str]) -> list[float]:
    return [float(share) for share in fields["region"].split(",")]


def centre(place: Locator) -> tuple[float, float]:
    box = place.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def show(page: Page, stocked: Shop, photograph: Path) -> None:
    page.goto(f"{stocked.url}/photo")
    page.locator('input[type="file"]').first.set_input_files(photograph)
    expect(page.locator(".photo-results .card").first).to_be_visible()


def test_a_photograph_is_recognised_and_can_be_corrected(page: Page, stocked: Shop, photograph: Path) -> None:
    show(page, stocked, photograph)
    expect(page.get_by_role("radio", name="Women Handbags")).to_be_checked()
    assert all(name.startswith("women-handbags") for name in names_of(page))
    picture(page, f"photograph-{page.viewport_size['width']}", full_page=True)  # type: ignore[index]
    other = page.locator(".recognised select option").nth(1).get_attribute("value")
    assert other is not None and page.get_by_role("radio", name=other).count() == 0
    sent = sent_after(page, lambda: page.locator(".recognised select").select_option(other))
    assert (sent["scope"], sent["derived_type"]) == ("derived_types", other)
    expect(page.get_by_role("radio", name=other)).to_be_checked()
    assert all(name.startswith((other.lower().replace(" ", "-"), "odd-")) for name in names_of(page))
    second = page.locator(".choice input").nth(1)
    label = second.get_attribute("value")
    assert sent_after(page, second.check)["derived_type"] == label
    assert sent_after(page, page.get_by_label("Whole catalogue").check)["scope"] == "inventory"
    expect(page.locator(".results .card")).to_have_count(18)


def test_a_photograph_is_still_there_after_looking_at_a_product(page: Page, stocked: Shop, photograph: Path) -> None:
    show(page, stocked, photograph)
    found = names_of(page)
    page.locator(".photo-results .card-link").first.click()
    expect(page).to_have_url(re.compile(f"/p/{found[0]}$"))
    # The address changes before the page does.
    expect(page.locator(".photo-results")).to_have_count(0)
    page.go_back()
    expect(page.locator(".photo-results .card-link").first).to_be_visible()
    expect_names(page, found)
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator(".drop")).to_be_visible()


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_photograph_is_pasted_or_dropped(page: Page, stocked: Shop, photograph: Path, way: str) -> None:
    page.goto(f"{stocked.url}/photo")
    expect(page.locator(".drop")).to_be_visible()
    page.evaluate(_HAND_OVER, [way, base64.b64encode(photograph.read_bytes()).decode()])
    expect(page.locator(".photo-results .card").first).to_be_visible()


def test_a_phone_offers_its_camera(open_page: Open, stocked: Shop) -> None:
    with open_page("phone") as page:
        page.goto(f"{stocked.url}/photo")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Take one").click()
        assert chooser.value.element.get_attribute("capture") == "environment"


def test_a_file_that_is_no_picture_is_refused_in_words(page: Page, stocked: Shop, tmp_path: Path) -> None:
    odd = tmp_path / "odd.png"
    odd.write_bytes(b"no picture at all")
    page.goto(f"{stocked.url}/photo")
    page.locator('input[type="file"]').first.set_input_files(odd)
    expect(page.get_by_role("alert")).to_contain_text("cannot be read as a picture")
    expect(page.locator(".drop")).to_be_visible()


def test_the_box_is_dragged_by_a_pointer(open_page: Open, stocked: Shop, photograph: Path) -> None:
    with open_page() as page:
        page.add_init_script(_OVERHEAR)
        show(page, stocked, photograph)
        frame = page.locator(".crop canvas").bounding_box()
        assert frame is not None
        page.mouse.move(*centre(page.get_by_role("button", name="Top left corner")))
        page.mouse.down()
        page.mouse.move(frame["x"] + frame["width"] * 0.25, frame["y"] + frame["height"] * 0.5, steps=4)
        fields = sent_after(page, page.mouse.up)
        assert region_of(fields) == pytest.approx([0.25, 0.5, 1, 1], abs=0.02)
        # Dragged by its middle, it stops at the edge of the photograph.
        page.mouse.move(frame["x"] + frame["width"] * 0.6, frame["y"] + frame["height"] * 0.7)
        page.mouse.down()
        page.mouse.move(frame["x"], frame["y"] + frame["height"] * 0.6, steps=4)
        fields = sent_after(page, page.mouse.up)
        assert region_of(fields) == pytest.approx([0, 0.4, 0.75, 0.9], abs=0.02)
        expect(page.locator(".results .card").first).to_be_visible()
        picture(page, "crop-desktop")
        assert "region" not in sent_after(page, page.get_by_role("button", name="Whole photograph").click)


def test_the_box_is_dragged_by_a_finger(open_page: Open, stocked: Shop, photograph: Path) -> None:
    with open_page("phone") as page:
        page.add_init_script(_OVERHEAR)
        show(page, stocked, photograph)
        page.get_by_role("button", name="Adjust").click()
        corner = page.get_by_role("button", name="Bottom right corner")
        corner.scroll_into_view_if_needed()
        frame = page.locator(".crop canvas").bounding_box()
        assert frame is not None
        x, y = centre(corner)
        finger = page.context.new_cdp_session(page)
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        to = {"x": frame["x"] + frame["width"] * 0.7, "y": frame["y"] + frame["height"] * 0.6}
        for share in (0.5, 1.0):
            point = {"x": x + (to["x"] - x) * share, "y": y + (to["y"] - y) * share}
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        lift = {"type": "touchEnd", "touchPoints": []}
        fields = sent_after(page, lambda: finger.send("Input.dispatchTouchEvent", lift))
        assert region_of(fields) == pytest.approx([0, 0, 0.7, 0.6], abs=0.03)
        picture(page, "crop-phone")


def test_the_box_is_moved_by_keys(open_page: Open, stocked: Shop, photograph: Path) -> None:
    with open_page() as page:
        page.add_init_script(_OVERHEAR)
        show(page, stocked, photograph)
        page.get_by_role("button", name="Top left corner").focus()

        def press() -> None:
            for key in ["Shift+ArrowRight", "Shift+ArrowRight", "ArrowRight", "Shift+ArrowDown", "ArrowLeft"]:
                page.keyboard.press(key)

        fields = sent_after(page, press)
        assert region_of(fields) == pytest.approx([0.1, 0.05, 1, 1], abs=0.001)
        page.locator(".crop-box").focus()
        fields = sent_after(page, lambda: page.keyboard.press("Shift+ArrowLeft"))
        assert region_of(fields) == pytest.approx([0.05, 0.05, 0.95, 1], abs=0.001)


def test_a_thumbnail_is_shown_large_enough_for_its_box_and_sent_as_it_is(
    open_page: Open, stocked: Shop, tmp_path: Path
) -> None:
    thumbnail = tmp_path / "thumbnail.png"
    Image.new("RGB", (60, 80), (200, 30, 40)).save(thumbnail)
    with open_page("phone") as page:
        page.add_init_script(_OVERHEAR)
        page.goto(f"{stocked.url}/photo")
        fields = sent_after(page, lambda: page.locator("input[type=file]").first.set_input_files(thumbnail))
        assert fields["image"] == str(thumbnail.stat().st_size)
        page.get_by_role("button", name="Adjust").click()
        frame = page.locator(".crop canvas").bounding_box()
        assert frame is not None and frame["height"] >= 300
        assert frame["width"] / frame["height"] == pytest.approx(0.75, abs=0.01)


def test_a_large_photograph_is_made_smaller_before_it_is_sent(open_page: Open, stocked: Shop, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    # Turned by its EXIF orientation: the box has to mean what the shopper sees.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4000, 3000), (200, 30, 40)).save(path, exif=exif)
    with open_page("phone") as page:
        page.add_init_script(_OVERHEAR)
        page.goto(f"{stocked.url}/photo")
        sent = sent_after(page, lambda: page.locator('input[type="file"]').first.set_input_files(path))
        expect(page.locator(".photo-results .card").first).to_be_visible()
        assert page.locator(".crop canvas").evaluate("one => [one.width, one.height]") == [1200, 1600]
        assert 0 < int(sent["image"]) < path.stat().st_size


def test_on_a_phone_the_results_come_first(open_page: Open, stocked: Shop, photograph: Path) -> None:
    with open_page("phone") as page:
        show(page, stocked, photograph)
        page.evaluate("scrollTo(0, 0)")
        box = page.locator(".photo-results .card").first.bounding_box()
        assert box is not None and box["y"] + box["height"] / 2 < 844 - 64, box
        expect(page.locator(".crop-stage")).to_be_hidden()
        copy = page.locator(".photo-copy").bounding_box()
        assert copy is not None and copy["height"] < 100
        picture(page, "photograph-strip")
        adjust = page.get_by_role("button", name="Adjust")
        adjust.click()
        expect(adjust).to_have_attribute("aria-expanded", "true")
        expect(page.locator(".crop-stage")).to_be_visible()
        adjust.click()
        expect(page.locator(".crop-stage")).to_be_hidden()


@pytest.mark.parametrize("device", SIZES)
def test_only_a_mouse_is_told_to_point_and_to_drop(open_page: Open, stocked: Shop, device: str) -> None:
    with open_page(device) as page:
        for path, text in (("/photo", "or drop one here"), ("/p/men-tshirts-blue-0", "Point at one")):
            page.goto(f"{stocked.url}{path}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.get_by_text(text)).to_have_count(0 if device == "phone" else 1)
            assert device != "phone" or "drop" not in page.locator("body").inner_text().lower()


def test_few_of_a_type_are_filled_up_under_a_heading(page: Page, stocked: Shop, photograph: Path) -> None:
    show(page, stocked, photograph)
    wider = page.get_by_role("region", name="Of other types")
    expect(wider.get_by_text("There are only 10 products of Women Handbags.")).to_be_visible()
    expect(wider.locator(".card")).to_have_count(8)
    assert not any(name.startswith("women-handbags") for name in names_of(page, ".wider"))
    page.get_by_label("Whole catalogue").check()
    expect(page.locator(".results .card")).to_have_count(18)
    expect(wider).to_be_hidden()


# Answers as if the recognition had been doubtful, since a shop as small as this one has no threshold.
_DOUBT = """(() => {
  const send = window.fetch;
  window.fetch = async (url, how) => {
    const answer = await send(url, how);
    if (!(how?.body instanceof FormData) || how.body.has("derived_type") || !answer.ok) return answer;
    const body = await answer.json();
    body.applied.degraded = ["UNSURE"];
    body.applied.derived_types = body.classification.derived_types.slice(0, 2).map(({ label }) => label).sort();
    return new Response(JSON.stringify(body), { headers: answer.headers });
  };
})()"""


def test_an_unsure_photograph_offers_the_likeliest_types(page: Page, stocked: Shop, photograph: Path) -> None:
    page.add_init_script(_DOUBT)
    show(page, stocked, photograph)
    expect(page.get_by_text("Not sure what this is.")).to_be_visible()
    both = page.locator(".choice input").first
    expect(both).to_be_checked()
    expect(page.locator(".choice label").first).to_contain_text(" or ")
    # It is said once, where types are offered.
    expect(page.locator(".notice:visible")).to_have_count(0)
    picture(page, f"unsure-{page.viewport_size['width']}", full_page=True)  # type: ignore[index]
    choice = page.locator(".choice input").nth(1)
    label = choice.get_attribute("value")
    sent = sent_after(page, choice.check)
    assert (sent["scope"], sent["derived_type"]) == ("derived_types", label)
    expect(page.get_by_text("Not sure what this is.")).to_have_count(0)
    expect(page.get_by_role("radio", name=label or "", exact=True)).to_be_checked()


# Answers as a shop does where some products have no gender: the type without one is searched too.
_WITHOUT_GENDER = """(() => {
  const send = window.fetch;
  window.fetch = async (url, how) => {
    const answer = await send(url, how);
    if (!(how?.body instanceof FormData) || how.body.has("derived_type") || !answer.ok) return answer;
    const body = await answer.json();
    body.applied.derived_types = ["Handbags", ...body.applied.derived_types];
    return new Response(JSON.stringify(body), { headers: answer.headers });
  };
})()"""


def test_the_recognised_type_is_marked_also_where_another_is_searched_too(
    page: Page, stocked: Shop, photograph: Path
) -> None:
    page.add_init_script(_WITHOUT_GENDER)
    show(page, stocked, photograph)
    expect(page.get_by_role("radio", name="Women Handbags")).to_be_checked()
    picture(page, f"recognised-{page.viewport_size['width']}")  # type: ignore[index]


def test_the_chosen_type_is_in_sight(page: Page, stocked: Shop, photograph: Path) -> None:
    show(page, stocked, photograph)
    page.get_by_label("Whole catalogue").check()
    expect(page.locator(".results .card")).to_have_count(18)
    # The new list starts at its beginning, as after coming back to the page.
    page.get_by_role("link", name="Browse").click()
    expect(page.locator(".count")).to_be_visible()
    page.go_back()
    chosen = page.get_by_role("radio", name="Whole catalogue")
    expect(chosen).to_be_checked()
    box = chosen.bounding_box()
    assert box is not None and page.viewport_size is not None
    assert box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"], box
    picture(page, f"chosen-type-{page.viewport_size['width']}")
