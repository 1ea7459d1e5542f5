"""Products with several photographs through feeds, exports and backups, over a running stack."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import run
from fashion.v1 import search_pb2
from offline.backup import back_up, restore, verify
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import photograph

IDS = ("tee", "dress")
LOOKS = {
    "tee": [photograph("Men Tshirts", colour, 5) for colour in ("Blue", "Red", "Yellow")],
    "dress": [photograph("Women Dresses", "Black", 5)],
}


def feed(folder: Path, looks: dict[str, list[bytes]]) -> Path:
    """Writes a feed with its photographs beside it."""
    rows = []
    for product_id, contents in looks.items():
        names = [f"{product_id}-{number}.png" for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            (folder / name).write_bytes(content)
        row = {"sku": product_id, "title": f"Women's {product_id}", "category": "Apparel > Dresses", "image": names[0]}
        rows.append({**row, "additional_images": names[1:]})
    path = folder / "feed.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def looks(caller: Caller) -> dict[str, list[bytes]]:
    """Returns the photographs of all products."""
    page = caller.search.ListProducts(search_pb2.ListProductsRequest(), timeout=20)
    request = search_pb2.GetPhotographRequest
    return {
        product.id: [
            caller.search.GetPhotograph(request(product_id=product.id, index=index), timeout=20).content
            for index in range(product.photograph_count)
        ]
        for product in page.products
    }


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Caller, str, Path]]:
    data_dir = tmp_path / "data"
    with stack_in_thread(stack_settings(data_dir)) as stack, calling(stack.target) as caller:
        (tmp_path / "feed").mkdir()
        yield caller, stack.target, data_dir


def test_a_feed_is_brought_in_and_kept_up(
    shop: tuple[Caller, str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caller, server, _ = shop
    folder = tmp_path / "feed"

    def ingest(wanted: dict[str, list[bytes]], *options: str) -> dict[str, object]:
        source = feed(folder, wanted)
        assert run(["ingest", str(source), "--server", server, "--json", *options]) == 0
        report: dict[str, object] = json.loads(capsys.readouterr().out)
        return report

    report = ingest(LOOKS)
    assert (report["created"], report["further_photographs"]) == (2, 2)
    assert looks(caller) == LOOKS
    assert ingest(LOOKS, "--sync")["unchanged"] == 2
    # The next night one photograph is gone, one is new, and one is no picture.
    changed = {
        "tee": [LOOKS["tee"][0], LOOKS["tee"][2], b"no picture"],
        "dress": [*LOOKS["dress"], photograph("Women Dresses", "Red", 5)],
    }
    page = tmp_path / "report.html"
    report = ingest(changed, "--sync", "--report", str(page))
    assert (report["updated"], report["failures"]) == (2, [])
    assert [(each["id"], each["name"]) for each in report["photographs_left_out"]] == [("tee", "tee-2.png")]  # type: ignore[attr-defined]
    assert "Further photographs left out (1)" in page.read_text(encoding="utf-8")
    assert looks(caller) == {"tee": changed["tee"][:2], "dress": changed["dress"]}
    # A source that knows only first photographs keeps the others.
    table = "sku,title,category,image\n" + "".join(f"{each},Women's {each},Dresses,{each}-0.png\n" for each in IDS)
    (folder / "feed.csv").write_text(table, encoding="utf-8")
    assert run(["ingest", str(folder / "feed.csv"), "--server", server]) == 0
    assert looks(caller) == {"tee": changed["tee"][:2], "dress": changed["dress"]}


def test_what_goes_out_comes_in_again(shop: tuple[Caller, str, Path], tmp_path: Path) -> None:
    _, server, data_dir = shop
    assert run(["ingest", str(feed(tmp_path / "feed", LOOKS)), "--server", server]) == 0
    for _ in range(2):
        assert run(["export", "catalogue", str(tmp_path / "export"), "--server", server]) == 0
    backup = tmp_path / "backup.zip"
    contents = back_up(data_dir, backup)
    assert (contents.products, contents.photographs, contents.damage) == (2, 4, ())
    assert verify(backup).damage == verify(data_dir).damage == ()
    restore(backup, tmp_path / "restored")
    for folder, source in (("new", str(tmp_path / "export")), ("restored", None)):
        with stack_in_thread(stack_settings(tmp_path / folder)) as stack, calling(stack.target) as other:
            if source is not None:
                assert run(["ingest", source, "--server", stack.target]) == 0
            assert looks(other) == LOOKS
            found = other.search.FindSimilar(
                search_pb2.FindSimilarRequest(product_id="dress", top_k=1), timeout=20
            ).products
            assert [each.product.id for each in found] == ["tee"]
    # A further photograph that is gone, and a row of one, are named.
    database = sqlite3.connect(tmp_path / "restored" / "catalogue.sqlite3")
    (sha256,) = database.execute("SELECT photograph_sha256 FROM further_photographs WHERE number = 2").fetchone()
    database.execute("UPDATE further_photographs SET embedding = zeroblob(length(embedding)) WHERE number = 1")
    database.commit()
    database.close()
    (tmp_path / "restored" / "photographs" / sha256[:2] / sha256[2:]).unlink()
    assert verify(tmp_path / "restored").damage == (
        'The product "tee" is damaged.',
        f"The photograph {sha256} is gone or cannot be read.",
    )


def test_a_photograph_is_added_and_removed_by_command(
    shop: tuple[Caller, str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caller, server, _ = shop
    assert run(["ingest", str(feed(tmp_path / "feed", LOOKS)), "--server", server]) == 0
    capsys.readouterr()
    file = tmp_path / "back.png"
    file.write_bytes(photograph("Women Dresses", "Red", 8))
    add = ["catalogue", "add-photograph", "dress", str(file), "--server", server]
    assert run([*add, "--index", "0"]) == 0
    assert "Photograph 0 of dress; it has 2." in capsys.readouterr().out
    assert run(add) == 0
    assert "was there already" in capsys.readouterr().out
    kept = tmp_path / "kept.png"
    get = ["catalogue", "get", "dress", "--photograph", str(kept), "--index", "1", "--server", server]
    assert run(get) == 0
    assert kept.read_bytes() == LOOKS["dress"][0]
    assert run(["catalogue", "remove-photograph", "dress", "0", "--server", server]) == 0
    assert looks(caller)["dress"] == LOOKS["dress"]
    assert run(["catalogue", "remove-photograph", "dress", "0", "--server", server]) == 2
    assert run(["catalogue", "remove-photograph", "nobody", "0", "--server", server]) == 3
