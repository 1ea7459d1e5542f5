"""Shops' feeds over the command line into a real stack, with photographs from a server that fails now and then."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from fashion.v1 import search_pb2
from services.clients.search import SearchClient
from services.contract.errors import Unavailable
from tests.support.photograph_server import PhotographServer, photograph_server
from tests.support.running import stack_in_thread, stack_settings
from tests.support.small_shop import photograph

NAMES = ("plain0", "flaky", "busy", "missing", "page", "broken", *(f"plain{number}" for number in range(1, 7)))
Ingest = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def server() -> Iterator[PhotographServer]:
    with photograph_server() as running:
        yield running


@pytest.fixture
def ingest(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ingest]:
    """Runs `fashion ingest` against a stack of its own; returns the exit code and the JSON that it prints."""
    with stack_in_thread(stack_settings(tmp_path / "data")) as stack:
        monkeypatch.setenv("FASHION_SERVER", stack.target)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

        def once(source: Path, *options: str) -> tuple[int, dict[str, Any]]:
            capsys.readouterr()
            code = run(["ingest", str(source), "--allow-private-addresses", "--json", *options])
            out = capsys.readouterr().out
            return code, json.loads(out) if out else {}

        yield once


def feed(path: Path, server: PhotographServer, names: tuple[str, ...] = NAMES, price: str = "19,99 EUR") -> Path:
    items = "".join(
        f"<item><g:id>{NAMES.index(name):03d}</g:id><title>Women's Tee {name}</title><g:price>{price}</g:price>"
        f"<g:image_link>{server.url}/{name}.png</g:image_link><g:product_type>T-Shirts</g:product_type>"
        f"<g:color>navy</g:color><g:item_group_id>G</g:item_group_id></item>"
        for name in names
    )
    path.write_text(f'<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>{items}</channel></rss>')
    return path


def counts(done: dict[str, Any]) -> tuple[int, int, int, int, int]:
    found = (done["created"], done["updated"], done["unchanged"], len(done["failures"]), len(done["deleted"]))
    assert sum(found[:4]) == done["rows_chosen"] == done["dataset"]["rows_kept"]
    return found


def test_a_feed_comes_in_and_is_kept_right(server: PhotographServer, ingest: Ingest, tmp_path: Path) -> None:
    path = feed(tmp_path / "feed.xml", server)
    reports = tmp_path / "report.json", tmp_path / "report.html"
    code, first = ingest(path, "--report", str(reports[0]), "--report", str(reports[1]))
    assert code == 0 and counts(first) == (9, 0, 0, 3, 0)
    failed = {each["id"]: (each["reason"], each["line"]) for each in first["failures"]}
    assert failed == {
        "003": ("PHOTOGRAPH_NOT_DOWNLOADED", 4),
        "004": ("PHOTOGRAPH_NOT_DOWNLOADED", 5),
        "005": ("IMAGE_UNREADABLE", 6),
    }
    assert json.loads(reports[0].read_text()) == first
    page = reports[1].read_text()
    assert "item 4" in page and "is an HTML page" in page and "<script" not in page

    # The next night: other prices, two products gone.
    server.requests.clear()
    names = tuple(name for name in NAMES if name not in ("plain5", "plain6"))
    feed(path, server, names, price="17,99 EUR")
    _, dry = ingest(path, "--sync", "--dry-run")
    assert (len(dry["created"]), len(dry["changed"]), dry["deleted"]) == (3, 7, ["010", "011"])
    assert not server.requests
    code, refused = ingest(path, "--sync", "--max-deleted", "0.1")
    assert code == 2 and not refused and not server.requests
    code, second = ingest(path, "--sync", "--max-deleted", "0.25")
    assert code == 0 and counts(second) == (0, 7, 0, 3, 2)
    assert second["photographs"] == {"downloaded": 0, "unchanged": 8, "failed": 2}
    assert second["deleted"] == ["010", "011"]
    code, third = ingest(path, "--sync")
    assert code == 0 and counts(third) == (0, 0, 7, 3, 0)


def test_a_feed_that_is_cut_off_deletes_nothing(server: PhotographServer, ingest: Ingest, tmp_path: Path) -> None:
    path = feed(tmp_path / "feed.xml", server, NAMES[6:])
    assert ingest(path)[0] == 0
    path.write_text(path.read_text()[:-200])
    code, _ = ingest(path, "--sync", "--max-deleted", "1")
    assert code == 2
    code, done = ingest(path)
    assert code == 0 and not done["deleted"] and not done["dataset"]["complete"]


def test_deletions_are_reported_where_a_later_one_fails(
    server: PhotographServer, ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = feed(tmp_path / "feed.xml", server, NAMES[6:])
    assert ingest(path)[0] == 0
    feed(path, server, NAMES[6:8])
    delete, asked = SearchClient.delete_products, list[str]()

    async def failing(client: SearchClient, product_ids: Sequence[str]) -> search_pb2.DeleteProductsResponse:
        asked.extend(product_ids)
        if len(asked) == 2:
            # Another caller was faster.
            await delete(client, product_ids)
        if len(asked) == 4:
            raise Unavailable("The server is gone.", reason="SEARCH_UNAVAILABLE")
        return await delete(client, product_ids)

    monkeypatch.setattr(SearchClient, "delete_products", failing)
    monkeypatch.setattr("cli.deletions.MAX_CALL_ROWS", 1)
    page = tmp_path / "report.html"
    code, done = ingest(path, "--sync", "--yes", "--report", str(page))
    assert code == 4 and asked == ["008", "009", "010", "011"]
    assert done["deleted"] == ["008", "010"]
    assert [(each["id"], each["reason"]) for each in done["not_deleted"]] == [("009", "PRODUCT_NOT_FOUND")]
    assert "Not deleted (1)" in page.read_text()


def test_the_draft_of_a_mapping_is_written_and_runs(
    server: PhotographServer, ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "Handle,Title,Vendor,Type,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src,Status\n"
    rows = (
        f"tee,Men's Tee,Acme,T-Shirts,Color,Red,01,19.99,{server.url}/plain1.png,active\n"
        f"tee,,,,,Blue,02,18.99,{server.url}/plain2.png,\n"
    )
    path, mapping = tmp_path / "products_export.csv", tmp_path / "shop.toml"
    path.write_text(header + rows)
    assert run(["ingest", str(path), "--suggest-mapping", str(mapping), "--currency", "EUR"]) == 0
    assert re.search(r'"T-Shirts" = \["Apparel", "Topwear", "Tshirts"\]', mapping.read_text())
    code, done = ingest(path, "--mapping", str(mapping), "--currency", "EUR")
    assert code == 0 and counts(done) == (2, 0, 0, 0, 0)
    assert done["dataset"]["layout"] == "Shopify" and done["dataset"]["products"] == 1
    run(["catalogue", "get", "01", "--json"])
    product = json.loads(capsys.readouterr().out)
    assert (product["parent_id"], product["base_colour"], product["brand"]) == ("tee", "Red", "Acme")
    assert product["price"] == {"currency_code": "EUR", "units": 19, "nanos": 990_000_000}


def test_further_photographs_are_downloaded_and_keep_no_product_out(
    server: PhotographServer, ingest: Ingest, tmp_path: Path
) -> None:
    path = feed(tmp_path / "feed.xml", server, ("plain0", "plain1"))
    names = ("plain2", "missing", "flaky", "broken", "page", "plain3")
    for shade, name in enumerate(("plain0", *names)):
        server.pictures[f"/{name}.png"] = photograph("Men Tshirts", "Red", shade)
    further = "".join(f"<g:additional_image_link>{server.url}/{each}.png</g:additional_image_link>" for each in names)
    path.write_text(path.read_text().replace("<g:color>", f"{further}<g:color>", 1))
    code, first = ingest(path)
    assert code == 0 and counts(first) == (2, 0, 0, 0, 0)
    assert first["further_photographs"] == 3
    left_out = {each["name"].rpartition("/")[2]: (each["id"], each["reason"]) for each in first["photographs_left_out"]}
    assert left_out == {
        "missing.png": ("000", "PHOTOGRAPH_NOT_DOWNLOADED"),
        "page.png": ("000", "PHOTOGRAPH_NOT_DOWNLOADED"),
        "broken.png": ("000", "IMAGE_UNREADABLE"),
    }
    # The next night nothing changed: nothing is downloaded again, and nothing is written.
    code, second = ingest(path, "--sync")
    assert code == 0 and counts(second) == (0, 0, 2, 0, 0)
    assert second["photographs"]["downloaded"] == 0
