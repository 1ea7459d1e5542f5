"""Networks of keras.applications beside the model: where weights cannot be had the row says so, and has no result."""

import json
from pathlib import Path

import pytest

from cli.main import run
from tests.unit.cli.commands.test_evaluate import write_shop


def test_a_network_without_weights_is_named_and_never_given_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    def nowhere(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    network = keras.applications.ResNet50
    monkeypatch.setattr(
        keras.applications,
        "ResNet50",
        lambda **options: network(**options) if options["weights"] is None else nowhere(),
    )
    monkeypatch.setenv("EMBEDDER_RUNTIME", "fake")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_shop(tmp_path / "catalogue", first=0, count=36)
    write_shop(tmp_path / "queries", first=100, count=9)
    arguments = ["evaluate", "backbones", "--catalogue", "catalogue", "--queries", "queries", "--network", "ResNet50"]
    assert run([*arguments, "--json", "rows.json"]) == 0
    ours, theirs = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert 0.0 <= ours["all_right"] <= 1.0
    assert (theirs["name"], theirs["parameters"], theirs["dimension"]) == ("ResNet50", 23_587_712, 2048)
    assert theirs["all_right"] is None
    assert "no route to host" in theirs["unavailable"]
    assert theirs["milliseconds"] > 0
    assert "no route to host" in capsys.readouterr().out.replace("\n", " ")


def test_a_network_that_is_unknown_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBEDDER_RUNTIME", "fake")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    catalogue = str(write_shop(tmp_path / "catalogue", first=0, count=36))
    queries = str(write_shop(tmp_path / "queries", first=100, count=9))
    arguments = ["evaluate", "backbones", "--catalogue", catalogue, "--queries", queries, "--network", "ResNet5"]
    assert run(arguments) == 2
    assert "ResNet5" in capsys.readouterr().err
