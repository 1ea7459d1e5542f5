"""The page of a report: a photograph that cannot be shown costs its picture alone."""

import warnings

import pytest
from PIL import Image

from offline.dataset.report import DatasetReport
from offline.feeds.page import report_page
from offline.ingest import Failure, IngestReport
from tests.support import small_shop


def test_a_photograph_of_very_many_pixels_has_no_picture_and_warns_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    read = DatasetReport("feed.csv", "utf-8", "comma", 1, 1, 0, 0, 0, 0, {}, {}, ())
    failures = (Failure("1", "IMAGE_TOO_MANY_PIXELS", "The image has 108,000,000 pixels.", 2),)
    report = IngestReport(read, 1, 0, 0, 0, failures, 1.0, 1, True)
    content = small_shop.photograph("Women Dresses", "Red", 3, size=40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        page = "".join(report_page(report, lambda _: content))
    assert not told
    assert "<img" not in page and "IMAGE_TOO_MANY_PIXELS" in page
