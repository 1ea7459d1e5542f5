"""The command line against a real stack in the background: every command, as a person would type it."""

import asyncio
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import redis
from PIL import Image, ImageDraw

from cli.main import run
from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.dataset.row import COLUMNS
from services.clients.search import SearchClient
from tests.support.processes import free_port, imported

COLOURS = {
    "Blue": (30, 60, 200),
    "Navy Blue": (10, 20, 90),
    "Yellow": (240, 210, 40),
    "Red": (200, 30, 40),
    "Green": (40, 150, 60),
    "Black": (20, 20, 20),
}
TYPES = (("Men", "Topwear", "Tshirts"), ("Women", "Bags", "Handbags"), ("Men", "Shoes", "Casual Shoes"))
PER_TYPE = 18


def draw(path: Path, kind: int, colour: tuple[int, int, int], number: int) -> None:
    picture = Image.new("RGB", (90, 120), "white")
    brush = ImageDraw.Draw(picture)
    shape = (15 + number, 20, 75, 100 - number)
    if kind == 0:
        brush.rectangle(shape, fill=colour)
    elif kind == 1:
        brush.ellipse(shape, fill=colour)
    else:
        brush.polygon([(10, 100), (80, 100 - number), (60, 50 + number)], fill=colour)
    picture.save(path, "PNG")


def write_dataset(folder: Path) -> Path:
    """Three derived types of 18 products in six colours, a broken photograph, and rows to drop."""
    (folder / "images").mkdir(parents=True)
    with (folder / "styles.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for kind, (gender, sub_category, article_type) in enumerate(TYPES):
            for number in range(PER_TYPE):
                colour = list(COLOURS)[number % len(COLOURS)]
                product_id = str(100 * (kind + 1) + number)
                name = f"{gender} {colour} {article_type} {number}"
                row = (
                    product_id,
                    gender,
                    "Apparel",
                    sub_category,
                    article_type,
                    colour,
                    "Summer",
                    2015,
                    "Casual",
                    name,
                )
                writer.writerow(row)
                draw(folder / "images" / f"{product_id}.png", kind, COLOURS[colour], number)
        writer.writerow((900, "Men", "Apparel", "Topwear", "Tshirts", "Blue", "Summer", 2015, "Casual", "broken"))
        (folder / "images" / "900.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
        writer.writerow(
            (901, "Men", "Apparel", "Topwear", "Tshirts", "Blue", "Summer", 2015, "Casual", "no photograph")
        )
        writer.writerow((902, "Men", "Apparel", "Topwear", "", "Blue", "Summer", 2015, "Casual", "unknown"))
    return folder


def environment(home: Path) -> dict[str, str]:
    """The environment of a stack with the fake runtime, without this machine's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SEARCH_", "SERVER_", "FASHION_", "GATEWAY_"))
    }
    return {
        **kept,
        "EMBEDDER_RUNTIME": "fake",
        "REDIS_URL": "",
        "COLUMNS": "100",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TMPDIR": str(home),
    }


def fashion(
    home: Path, *arguments: str, timeout_s: float = 110, encoding: str = "utf-8", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=home,
        env=environment(home) | variables,
        capture_output=True,
        encoding=encoding,
        timeout=timeout_s,
        check=False,
    )


@dataclass(frozen=True)
class Stack:
    home: Path
    server: str
    dataset: Path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # Short: a unix socket's path has to fit into 100 bytes.
    home = tmp_path_factory.mktemp("cli")
    port, http_port = free_port(), free_port()
    started = fashion(home, "serve", "--detach", SERVER_PORT=str(port), GATEWAY_PORT=str(http_port))
    try:
        assert started.returncode == 0, started.stderr
        assert f"localhost:{port}" in started.stdout
        assert f"http://localhost:{http_port}/" in started.stdout
        with urllib.request.urlopen(f"http://localhost:{http_port}/readyz", timeout=20) as ready:
            assert ready.status == 200
        found = Stack(home, f"localhost:{port}", write_dataset(home / "shop"))
        ingested = fashion(
            home, "ingest", str(found.dataset), "--server", found.server, "--report", "report.json", "--batch-rows", "7"
        )
        assert ingested.returncode == 0, ingested.stderr
        yield found
    finally:
        stopped = fashion(home, "stop")
        assert stopped.returncode == 0, stopped.stderr
    assert "Stopped the stack" in stopped.stdout
    assert processes_of(home) == []


def processes_of(home: Path) -> list[str]:
    """Returns the command lines of the processes whose working directory this is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            directory = (process / "cwd").readlink()
        except OSError:
            continue
        if str(home) in command or directory.is_relative_to(home):
            found.append(command)
    return found


@pytest.fixture(autouse=True)
def at_the_stack(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_SERVER", stack.server)
    monkeypatch.setenv("COLUMNS", "100")


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Runs a command, and returns its output: the results, or the error if it failed."""
    capsys.readouterr()
    assert run(arguments) == code, capsys.readouterr().err
    captured = capsys.readouterr()
    if code == 0:
        return captured.out
    assert len(captured.err.strip().splitlines()) == 1
    return captured.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object] | list[object] | object:
    return json.loads(call(capsys, *arguments, "--json"))


def test_the_ingest_named_all_that_was_left_out(stack: Stack) -> None:
    report = json.loads((stack.home / "report.json").read_text(encoding="utf-8"))
    assert report["created"] == len(TYPES) * PER_TYPE
    assert report["complete"] is True
    assert [(failure["id"], failure["reason"]) for failure in report["failures"]] == [("900", "IMAGE_UNREADABLE")]
    assert {finding["id"]: finding["reason"] for finding in report["dataset"]["findings"]} == {
        "901": "no photograph images/901.jpg",
        "902": "no articleType",
    }
    assert report["seconds"] > 0


def test_a_second_ingest_changes_nothing_and_shows_its_report(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    text = call(capsys, "ingest", str(stack.dataset))
    assert re.search(r"created +0\b", text) and re.search(r"unchanged +54\b", text)
    assert "902: no articleType" in text and "900: " in text and "IMAGE_UNREADABLE" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_an_ingest_keeps_what_its_table_has_no_column_for(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with grpc.insecure_channel(stack.server) as channel:
        search = search_pb2_grpc.SearchServiceStub(channel)
        (before,) = search.ListProducts(search_pb2.ListProductsRequest(page_size=1), timeout=20).products
        written = types_pb2.Product()
        written.CopyFrom(before)
        written.url, written.in_stock, written.parent_id = "https://shop.example/p", False, "P1"
        written.price.CopyFrom(types_pb2.Price(currency_code="EUR", units=19, nanos=900_000_000))
        row = search_pb2.ProductRow(product=written)
        search.UpsertProducts(search_pb2.UpsertProductsRequest(rows=[row]), timeout=20)
        try:
            assert re.search(r"unchanged +54\b", call(capsys, "ingest", str(stack.dataset)))
            request = search_pb2.GetProductRequest(product_id=written.id)
            assert search.GetProduct(request, timeout=20).product == written
        finally:
            row.product.CopyFrom(before)
            search.UpsertProducts(search_pb2.UpsertProductsRequest(rows=[row]), timeout=20)


def test_the_catalogue_tells_what_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    index = as_json(capsys, "catalogue", "stats")
    assert isinstance(index, dict)
    assert index["product_count"] == 54
    assert index["derived_types"] == [
        {"label": "Men Casual Shoes", "product_count": 18},
        {"label": "Men Tshirts", "product_count": 18},
        {"label": "Women Handbags", "product_count": 18},
    ]
    assert "Women Handbags" in call(capsys, "catalogue", "stats")
    listed = as_json(capsys, "catalogue", "list", "--colour-family", "Blue", "--gender", "women", "--limit", "4")
    assert isinstance(listed, dict)
    assert listed["total_size"] == 6
    assert [product["id"] for product in listed["products"]] == ["200", "201", "206", "207"]


def test_a_product_and_its_photograph_come_back_as_they_were_sent(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = as_json(capsys, "catalogue", "get", "102", "--photograph", str(tmp_path / "p.png"))
    assert isinstance(product, dict)
    assert (product["derived_type"], product["base_colour"], product["year"]) == ("Men Tshirts", "Yellow", 2015)
    assert (tmp_path / "p.png").read_bytes() == (stack.dataset / "images" / "102.png").read_bytes()


def test_similar_products_without_and_with_a_filter(capsys: pytest.CaptureFixture[str]) -> None:
    plain = as_json(capsys, "search", "--product-id", "102", "-k", "5")
    assert isinstance(plain, dict)
    assert len(plain["products"]) == 5
    similarities = [found["similarity"] for found in plain["products"]]
    assert similarities == sorted(similarities, reverse=True)
    assert "102" not in [found["product"]["id"] for found in plain["products"]]
    assert plain["applied"]["eligible_count"] == 53
    blue = as_json(capsys, "search", "--product-id", "102", "--colour", "Blue", "--article-type", "Tshirts", "-k", "50")
    assert isinstance(blue, dict)
    assert {found["product"]["base_colour"] for found in blue["products"]} == {"Blue"}
    assert len(blue["products"]) == blue["applied"]["eligible_count"] == 3
    text = call(capsys, "search", "--product-id", "102", "--colour", "Blue", "--article-type", "Tshirts")
    assert "3 of 3 eligible products" in text and "articleType Tshirts, baseColour Blue" in text


def test_a_photograph_is_recognised_and_drawn_onto_a_sheet(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph, sheet = stack.dataset / "images" / "200.png", tmp_path / "new" / "sheet.png"
    text = call(capsys, "search", "--image", str(photograph), "--contact-sheet", str(sheet))
    assert "Predicted: subCategory" in text
    answer = as_json(capsys, "search", "--image", str(photograph))
    assert isinstance(answer, dict)
    predicted = answer["classification"]["derived_types"][0]["label"]
    assert predicted in text and answer["applied"]["derived_types"] == [predicted]
    assert {found["product"]["derived_type"] for found in answer["products"]} == {predicted}
    with Image.open(sheet) as drawn:
        assert drawn.width > 1000
    elsewhere = as_json(capsys, "search", "--image", str(photograph), "--derived-type", "Men Tshirts")
    assert isinstance(elsewhere, dict)
    assert {found["product"]["derived_type"] for found in elsewhere["products"]} == {"Men Tshirts"}
    everywhere = as_json(capsys, "search", "--image", str(photograph), "--scope", "inventory", "-k", "100")
    assert isinstance(everywhere, dict)
    assert len(everywhere["products"]) == 54


def test_a_query_may_stand_alone_and_labels_in_any_letter_case(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--colour", "BLUE", "--article-type", "tshirts", "--derived-type", "men tshirts")
    exact = ("--colour", "Blue", "--article-type", "Tshirts", "--derived-type", "Men Tshirts")
    assert as_json(capsys, "search", "102", *options) == as_json(capsys, "search", "--product-id", "102", *exact)
    photograph = str(stack.dataset / "images" / "200.png")
    assert as_json(capsys, "search", photograph) == as_json(capsys, "search", "--image", photograph)
    listed = as_json(capsys, "catalogue", "list", "--color", "navy blue", "--limit", "2")
    assert listed == as_json(capsys, "catalogue", "list", "--colour", "Navy Blue", "--limit", "2")
    assert "dislikes Navy Blue" in call(capsys, "users", "dislike", "bob", "navy blue")
    assert "dislikes no colour" in call(capsys, "users", "undislike", "bob", "NAVY BLUE")


def test_a_pipe_of_any_encoding_gets_whole_ids_and_names(stack: Stack) -> None:
    product = types_pb2.Product(
        id="i" * 128, gender="GENDER_MEN", article_type="Kimonos", sub_category="Topwear", name="着物" + " long" * 25
    )
    image = types_pb2.Image(content=(stack.dataset / "images" / "102.png").read_bytes())
    row = search_pb2.ProductRow(product=product, image=image)

    async def put() -> None:
        async with SearchClient.connect(stack.server) as client:
            assert (await client.upsert_products([row])).results[0].status.code == 0

    asyncio.run(put())
    at = ("--server", stack.server)
    try:
        for command in (("catalogue", "list", "--limit", "100"), ("search", "102", "-k", "60")):
            for encoding in ("cp1252", "utf-8"):
                text = fashion(stack.home, *command, *at, PYTHONIOENCODING=encoding, encoding=encoding)
                assert text.returncode == 0, text.stderr
                (line,) = [line for line in text.stdout.splitlines() if product.id in line]
                assert product.name.encode(encoding, "replace").decode(encoding) in line
                document = fashion(stack.home, *command, "--json", *at, PYTHONIOENCODING=encoding)
                assert document.returncode == 0, document.stderr
                assert product.name in {
                    each.get("product", each)["name"] for each in json.loads(document.stdout)["products"]
                }
    finally:
        assert fashion(stack.home, "catalogue", "delete", product.id, *at).returncode == 0


def test_an_answered_search_has_imported_nothing_heavy(stack: Stack) -> None:
    heavy = {"numpy", "PIL", "structlog", "pandas", "tensorflow", "google.protobuf.json_format"}
    assert imported(["search", "102", "--colour", "blue", "--server", stack.server], 0) & heavy == set()


def test_a_dislike_is_kept_and_forgotten(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert "dislikes Blue (and its family)" in call(capsys, "users", "dislike", "anna", "Blue")
    assert as_json(capsys, "users", "dislike", "anna", "Yellow", "--exact") == {
        "user_id": "anna",
        "colours": [{"colour": "Blue", "exact": False}, {"colour": "Yellow", "exact": True}],
    }
    shown = as_json(capsys, "search", "--product-id", "102", "--user", "anna", "-k", "100")
    assert isinstance(shown, dict)
    assert {found["product"]["base_colour"] for found in shown["products"]} == {"Red", "Green", "Black"}
    assert "Navy Blue" in shown["applied"]["excluded_colours"]
    assert "Yellow" not in call(capsys, "users", "undislike", "anna", "Yellow")
    assert as_json(capsys, "users", "forget", "anna") == {"user_id": "anna", "existed": True}
    assert as_json(capsys, "users", "list", "anna") == {"user_id": "anna", "colours": []}
    assert as_json(capsys, "users", "forget", "anna") == {"user_id": "anna", "existed": False}


def test_all_that_is_kept_about_a_shopper_is_handed_over_and_erased(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis.from_url(f"unix://{next(stack.home.glob('**/redis.sock'))}") as kept:
        before = set(kept.scan_iter())
        call(capsys, "users", "dislike", "carla", "Blue")
        call(capsys, "users", "dislike", "carla", "Yellow", "--exact")
        call(capsys, "search", "--product-id", "102", "--user", "carla")
        (key,) = set(kept.scan_iter()) - before
        exported = json.loads(call(capsys, "shoppers", "export", "carla"))
        assert exported.keys() == {"user_id", "export_time", "disliked_colours"}
        assert exported["disliked_colours"] == [
            {"colour": "Blue", "exact": False},
            {"colour": "Yellow", "exact": True},
        ]
        # All that is stored is in it.
        assert {each["colour"].encode() for each in exported["disliked_colours"]} == set(kept.hgetall(key))
        assert "Erased all" in call(capsys, "shoppers", "erase", "carla")
        assert set(kept.scan_iter()) == before
    # Nothing else of the data directory names the shopper, but for Redis's own file until it is written anew.
    named = [each for each in stack.home.rglob("*") if each.is_file() and b"carla" in each.read_bytes()]
    assert all("appendonly" in str(each) for each in named), named
    assert "Nothing was kept" in call(capsys, "shoppers", "erase", "carla")
    assert as_json(capsys, "shoppers", "erase", "carla") == {"user_id": "carla", "existed": False}
    nothing = json.loads(call(capsys, "shoppers", "export", "carla"))
    assert nothing["disliked_colours"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (("search", "--product-id", "102", "--colour", "Bleu"), 2, ("Bleu", "Blue", "FILTER_VALUE_UNKNOWN")),
        (("search", "--product-id", "102", "--article-type", "Tshirt"), 2, ("Tshirt", "Tshirts")),
        (("search", "--product-id", "nobody"), 3, ("nobody", "PRODUCT_NOT_FOUND")),
        (("search", "--product-id", "102", "--top-k", "0"), 2, ("TOP_K_OUT_OF_RANGE",)),
        (("search", "--product-id", "102", "--top-k", "101"), 2, ("TOP_K_OUT_OF_RANGE",)),
        (("search", "--product-id", "102", "--year-from", "2016", "--year-to", "2010"), 2, ("YEAR_RANGE_INVALID",)),
        (("search", "--product-id", "102", "--derived-type", "Men Tshirt"), 2, ("Men Tshirts", "DERIVED_TYPE_UNKNOWN")),
        (("search", "--product-id", "102", "--liked", "nobody"), 3, ("nobody",)),
        (("search", "--image", __file__), 2, ("IMAGE_FORMAT_UNSUPPORTED",)),
        (("catalogue", "get", "nobody"), 3, ("nobody",)),
        (("catalogue", "delete", "nobody"), 3, ("nobody",)),
        (("users", "dislike", "anna", "Yelow"), 2, ("Yelow", "Yellow", "COLOUR_UNKNOWN")),
        (("users", "list", "a b"), 2, ("USER_ID_INVALID",)),
    ],
)
def test_bad_input_is_one_line_with_the_reason(
    arguments: tuple[str, ...], code: int, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    line = call(capsys, *arguments, code=code)
    for part in parts:
        assert part in line


def test_a_filter_that_leaves_nothing_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    text = call(capsys, "search", "--product-id", "102", "--year-from", "2020")
    assert "No product is eligible" in text and "0 of 0" in text


def test_deleting_takes_a_product_out_and_ingesting_brings_it_back(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Deleted 1 product" in call(capsys, "catalogue", "delete", "117")
    call(capsys, "catalogue", "get", "117", code=3)
    report = as_json(capsys, "ingest", str(stack.dataset))
    assert isinstance(report, dict)
    assert (report["created"], report["unchanged"]) == (1, 53)


def test_starting_it_again_finds_it_running(stack: Stack) -> None:
    again = fashion(stack.home, "serve", "--detach", "--demo-catalogue")
    assert again.returncode == 0, again.stderr
    assert stack.server in again.stdout


@pytest.mark.parametrize("taken", ["SERVER_PORT", "GATEWAY_PORT"])
def test_a_taken_port_is_told_before_anything_is_started(stack: Stack, taken: str) -> None:
    home = stack.home / taken
    home.mkdir()
    ports = {"SERVER_PORT": str(free_port()), "GATEWAY_PORT": str(free_port()), taken: stack.server.split(":")[1]}
    second = fashion(home, "serve", "--detach", **ports)
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert f"Port {ports[taken]} of 127.0.0.1 is taken" in line and taken in line
    assert list(home.iterdir()) == []


def test_a_second_stack_on_its_data_is_refused_in_one_line(stack: Stack) -> None:
    second = fashion(stack.home, "serve", "--port", "0")
    assert second.returncode == 1
    assert "in use by another server" in second.stderr.strip().splitlines()[-1]
    assert "Traceback" not in second.stderr


def test_the_demo_tells_its_story_twice_and_leaves_nothing_running(stack: Stack) -> None:
    home = stack.home / "demo"
    home.mkdir()
    first = fashion(home, "demo", "--dataset", str(stack.dataset))
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert all(len(line) <= 100 for line in first.stdout.splitlines())
    for part in ("Held out of the catalogue", "1. Similar to product", "baseColour Blue", "2. Similar to a photograph"):
        assert part in first.stdout
    assert "Predicted: subCategory" in first.stdout and "3. The same for a shopper who dislikes yellow" in first.stdout
    sheet = home / "out" / "demo" / "contact-sheet.png"
    assert str(sheet.relative_to(home)) in first.stdout
    drawn = hashlib.sha256(sheet.read_bytes()).digest()
    photographs = sorted(sheet.parent.glob("*.jpg"))
    assert photographs
    for path in photographs:
        Image.open(path).verify()
    assert any(f"search {path.relative_to(home)}" in first.stdout for path in photographs)
    assert processes_of(home) == []
    second = fashion(home, "demo", "--dataset", str(stack.dataset))
    assert second.returncode == 0, second.stderr
    assert "unchanged" in second.stdout and "created" not in second.stdout and "updated" not in second.stdout
    assert hashlib.sha256(sheet.read_bytes()).digest() == drawn
    assert processes_of(home) == []
