"""`fashion evaluate` from the command line to its files, on a small shop, with embeddings of no meaning."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from cli.main import run
from offline.dataset.row import COLUMNS

KINDS = (("Men", "Shirts", "Topwear"), ("Women", "Shirts", "Topwear"), ("Women", "Heels", "Shoes"))


def write_shop(folder: Path, first: int, count: int) -> Path:
    (folder / "images").mkdir(parents=True)
    lines = [",".join(COLUMNS)]
    for at in range(first, first + count):
        gender, article_type, sub_category = KINDS[at % 3]
        lines.append(f"{at},{gender},Apparel,{sub_category},{article_type},Blue,Summer,2012,Casual,No. {at}")
        content = io.BytesIO()
        Image.new("RGB", (30, 40), ((at * 7) % 256, 120 * (at % 3), 90)).save(content, "JPEG")
        (folder / "images" / f"{at}.jpg").write_bytes(content.getvalue())
    (folder / "styles.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBEDDER_RUNTIME", "fake")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_shop(tmp_path / "catalogue", first=0, count=36)
    write_shop(tmp_path / "queries", first=100, count=9)
    return tmp_path


def test_retrieval_writes_its_figures_and_plots(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "retrieval", "--catalogue", "catalogue", "--queries", "queries", "--json", "to/found.json"]

    assert run(arguments) == 0

    found = json.loads((shop / "to/found.json").read_text())
    assert (found["queries"], found["catalogue"], found["leave_one_out"]) == (9, 36, False)
    assert len(found["rows"]) == 18
    assert {path.name for path in (shop / "to").glob("*.png")} == {
        "performance-articleType.png",
        "performance-gender.png",
        "performance-both.png",
    }
    shown = capsys.readouterr().out
    assert "photograph" in shown
    assert "precision@10" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert any((shop / "cache").rglob("*.sqlite"))


def test_without_queries_each_product_is_asked_for(shop: Path) -> None:
    assert run(["evaluate", "retrieval", "--catalogue", "catalogue", "--limit", "12", "--json", "found.json"]) == 0

    found = json.loads((shop / "found.json").read_text())
    assert (found["queries"], found["catalogue"], found["queries_in_catalogue"]) == (12, 36, 12)
    assert found["leave_one_out"]


def test_the_same_seed_gives_the_same_figures(shop: Path) -> None:
    arguments = ["evaluate", "retrieval", "--catalogue", "catalogue", "--limit", "9", "--seed", "5", "--json"]

    assert run([*arguments, "a.json"]) == run([*arguments, "b.json"]) == 0

    assert (shop / "a.json").read_text() == (shop / "b.json").read_text()


def test_classification_writes_its_figures_and_confusion_matrices(shop: Path) -> None:
    arguments = ["evaluate", "classification", "--catalogue", "catalogue", "--queries", "queries"]

    assert run([*arguments, "--json", "classes.json", "--plots", "plots"]) == 0

    found = json.loads((shop / "classes.json").read_text())
    assert found["queries"] == 9
    assert found["derivedType"]["method"] == "service"
    with Image.open(shop / "plots/confusion-subCategory.png") as picture:
        assert min(picture.size) >= 400


def test_the_page_holds_tables_and_the_command_that_gives_it_again(shop: Path) -> None:
    arguments = ["evaluate", "report", "--catalogue", "catalogue", "--queries", "queries"]

    assert run([*arguments, "--output", "docs/figures.md", "--source", "Drawn at random."]) == 0

    page = (shop / "docs/figures.md").read_text()
    assert "fashion evaluate report --catalogue catalogue --queries queries" in page
    assert "Drawn at random." in page
    assert "| inventory | all | both | 9 |" in page
    for name in ("retrieval.json", "classification.json"):
        assert (shop / "docs/figures" / name).is_file()
    for line in page.splitlines():
        if line.startswith("!["):
            assert (shop / "docs" / line.partition("(")[2].rstrip(")")).is_file()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["retrieval", "--catalogue", "nowhere"], 2, "no file or folder nowhere"),
        (["retrieval", "--catalogue", "catalogue", "--queries", "nowhere"], 2, "no file or folder nowhere"),
        (["retrieval", "--catalogue", "catalogue", "--json", "catalogue/styles.csv/x.json"], 2, "styles.csv"),
        (["classification", "--catalogue", "catalogue"], 2, "--queries"),
        (["photographs", "--catalogue", "catalogue"], 2, "--queries"),
        (
            ["photographs", "--catalogue", "catalogue", "--queries", "queries", "--studio", "nowhere"],
            2,
            "no file or folder nowhere",
        ),
        (["retrieval", "--catalogue", "catalogue", "--limit", "0"], 2, "--limit"),
    ],
)
def test_bad_input_is_told_in_one_line(
    shop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], exit_code: int, text: str
) -> None:
    assert run(["evaluate", *arguments]) == exit_code

    said = capsys.readouterr().err
    assert text in said
    assert "Traceback" not in said


def test_no_bundle_is_told(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EMBEDDER_RUNTIME", "tensorflow")

    assert run(["evaluate", "retrieval", "--catalogue", "catalogue", "--bundle", "nowhere"]) == 3

    assert "There is no bundle in" in capsys.readouterr().err
