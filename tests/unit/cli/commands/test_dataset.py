"""`fashion dataset`: what is printed, what is written, how it ends."""

import json
import zipfile
from pathlib import Path

import kagglehub
import pytest
import requests
from kagglehub.exceptions import CredentialError

from cli.commands import dataset as commands
from cli.main import run
from offline.dataset.rows import open_dataset
from offline.drawn import draw_catalogue


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue") / "set"
    draw_catalogue(folder, products=30)
    return folder


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1
    return text


@pytest.mark.parametrize("command", ["download", "draw", "split", "check"])
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dataset", command, "--help"]) == 0
    assert f"fashion dataset {command}" in capsys.readouterr().out


def test_draw_makes_a_data_set_and_refuses_a_full_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "drawn"
    assert run(["dataset", "draw", str(out), "--products", "4", "--seed", "5"]) == 0
    assert "4 products" in capsys.readouterr().out
    with open_dataset(out) as dataset:
        assert len(dataset.rows) == 4
    assert run(["dataset", "draw", str(out)]) == 2
    assert "not empty" in _error(capsys)


def test_check_says_how_it_read_a_table_of_a_spreadsheet(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").symlink_to(catalogue / "images")
    table = (catalogue / "styles.csv").read_text()
    (tmp_path / "styles.csv").write_text(table.replace(",", "\t"), encoding="utf-16")
    assert run(["dataset", "check", str(tmp_path), "--json", str(tmp_path / "report.json")]) == 0
    assert "read as utf-16-le; its delimiter is the tab" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["rows_kept"], report["delimiter"]) == (30, "tab")


def test_split_writes_three_data_sets_that_make_up_the_whole(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dataset", "split", str(catalogue), str(tmp_path / "parts"), "--salt", "tests"]) == 0
    assert "train.zip" in capsys.readouterr().out
    ids: list[str] = []
    for part in ("train", "validation", "test"):
        with open_dataset(tmp_path / "parts" / f"{part}.zip") as dataset:
            ids += [row.id for row in dataset.rows]
    with open_dataset(catalogue) as dataset:
        assert sorted(ids) == sorted(row.id for row in dataset.rows)


def test_split_leaves_out_a_photograph_that_cannot_be_read(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_dataset(catalogue) as dataset:
        first = dataset.rows[0].id
        names = {row.id: dataset.photograph_name(row.id) for row in dataset.rows}
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            archive.writestr("styles.csv", (catalogue / "styles.csv").read_bytes())
            for product_id, name in names.items():
                content = b"intact bytes" if product_id == first else dataset.photograph(product_id)
                archive.writestr(name, content)
    damaged = (tmp_path / "set.zip").read_bytes().replace(b"intact bytes", b"broken bytes")
    (tmp_path / "set.zip").write_bytes(damaged)
    assert run(["dataset", "split", str(tmp_path / "set.zip"), str(tmp_path / "parts")]) == 0
    assert f"Product {first} is left out" in capsys.readouterr().err
    ids: list[str] = []
    for part in ("train", "validation", "test"):
        with open_dataset(tmp_path / "parts" / f"{part}.zip") as dataset:
            ids += [row.id for row in dataset.rows]
    assert sorted(ids) == sorted(names.keys() - {first})


def test_split_into_a_file_is_refused(catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert run(["dataset", "split", str(catalogue), str(tmp_path / "file")]) == 2
    assert "not a folder" in _error(capsys)
    assert (tmp_path / "file").read_text() == "mine"


def test_check_names_what_is_wrong_and_writes_the_report(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_dataset(catalogue) as dataset:
        lost = dataset.rows[3].id
    copy = tmp_path / "set"
    (copy / "images").mkdir(parents=True)
    (copy / "styles.csv").write_bytes((catalogue / "styles.csv").read_bytes())
    for photograph in (catalogue / "images").iterdir():
        if photograph.stem != lost:
            (copy / "images" / photograph.name).write_bytes(b"jpeg")
    report = tmp_path / "report.json"
    assert run(["dataset", "check", str(copy), "--json", str(report)]) == 0
    shown = capsys.readouterr().out
    assert lost in shown
    assert "no photograph" in shown
    document = json.loads(report.read_text())
    assert (document["rows_read"], document["rows_kept"], document["rows_dropped"]) == (30, 29, 1)
    assert document["findings"][0]["id"] == lost


def test_check_of_no_data_set_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dataset", "check", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in _error(capsys)


def test_check_that_cannot_write_its_report_says_so(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["dataset", "check", str(catalogue), "--json", str(tmp_path / "file" / "report.json")]) == 2
    assert "Cannot write" in _error(capsys)


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (requests.ConnectionError("name resolution"), "fashion dataset draw"),
        (CredentialError("none"), "KAGGLE_KEY"),
        (OSError("disk\nfull"), "disk full"),
    ],
)
def test_a_download_that_fails_says_what_to_do(
    failure: Exception, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Kaggle itself is the one part that cannot be run here.
    def fail(handle: str) -> str:
        raise failure

    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    assert run(["dataset", "download"]) == 4
    assert advice in _error(capsys)


def test_download_prints_where_the_data_set_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    handles: list[str] = []

    def answer(handle: str) -> str:
        handles.append(handle)
        return str(tmp_path)

    monkeypatch.setattr(kagglehub, "dataset_download", answer)
    assert run(["dataset", "download"]) == 0
    assert run(["dataset", "download", "--full"]) == 0
    assert handles == [commands.SMALL, commands.LARGE]
    assert capsys.readouterr().out.split() == [str(tmp_path)] * 2
