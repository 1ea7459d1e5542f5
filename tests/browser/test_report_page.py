"""The report on an ingest as a page: it fits a desk and a phone, in the light and in the dark."""

from pathlib import Path

import pytest

from offline.dataset.rows import Dataset
from offline.feeds.mapping import FeedMapping
from offline.feeds.page import report_page
from offline.feeds.products import open_source
from offline.ingest import Failure, IngestReport
from tests.browser.conftest import DEVICES, Open, picture
from tests.support import small_shop

LONG = "https://shop.example/" + "a-very-long-address-without-any-break-" * 6

ROWS = [
    ("id", "title", "category", "image", "price", "availability", "link"),
    ("0012", "Men's linen shirt", "Men > Shirts", "https://s/1.jpg", "19,99", "in stock", "https://s/1"),
    ("0012", "Men's linen shirt", "Men > Shirts", "https://s/1.jpg", "19,99", "in stock", "https://s/1"),
    ("", "Men's tee", "Men > T-Shirts", "https://s/2.jpg", "9,99", "in stock", "https://s/2"),
    ("a b", "Women's <b>dress</b>", "Women > Dresses", "https://s/3.jpg", "much", "perhaps", "javascript:alert(1)"),
    ("broken-picture", "Women's top", "Women > Tops", "https://s/4.jpg", "9,99", "in stock", LONG),
    (f"id-{'x' * 100}", "Women's top", "Women > Tops", "", "9,99", "in stock", ""),
    ("too", "many", "cells", "in", "this", "row", "for", "us"),
]


def _dataset(folder: Path) -> Dataset:
    path = folder / "feed-of-the-night.csv"
    path.write_text("\n".join(";".join(row) for row in ROWS))
    return open_source(path, mapping=FeedMapping(constants={"currency": "EUR"}))


@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits(open_page: Open, tmp_path: Path, device: str, scheme: str) -> None:
    with _dataset(tmp_path) as dataset:
        failures = (
            Failure("0012", "PHOTOGRAPH_NOT_DOWNLOADED", f"The photograph {LONG} is an HTML page.", 2),
            Failure("broken-picture", "IMAGE_TOO_SMALL", "The image has 8 x 8 pixels; send at least 16 x 16.", 6),
        )
        report = IngestReport(dataset.report, 3, 1, 0, 0, failures, 12.3, 7, True, deleted=("007", "008"))
        page_path = tmp_path / "report.html"
        pictures = {"broken-picture": small_shop.photograph("Women Dresses", "Red", 3, size=400)}
        page_path.write_text("".join(report_page(report, pictures.__getitem__)))
    with open_page(device, scheme=scheme) as page:
        page.goto(page_path.as_uri())
        width = DEVICES[device]["viewport"]["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
        assert page.locator("h2").all_text_contents() == [
            "Failed (2)",
            "Dropped (4)",
            "Repaired (1)",
            "Notes (1)",
            "Deleted: no longer in the feed (2)",
        ]
        assert page.locator("img").evaluate("one => one.naturalWidth") > 0
        assert page.locator("td.reason", has_text="duplicate id 0012").count() == 1
        # Whoever reads a table sees what happened without a sideways scroll.
        for table in page.locator(".rows").all():
            assert table.evaluate("one => one.scrollWidth <= one.clientWidth + 1"), table.inner_text()
        # A word of a heading stays whole.
        for heading in page.locator("th:visible").all():
            lines = heading.evaluate(
                "one => { const text = document.createRange(); text.selectNodeContents(one); "
                "return text.getClientRects().length }"
            )
            assert lines <= len(heading.inner_text().split()), heading.inner_text()
        picture(page, f"report-{device}-{scheme}", full_page=True)
