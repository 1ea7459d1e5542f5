"""`fashion train` before and after the training itself: signals, sizes, and what it says of wrong options."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import main, output
from cli.commands.train import _stages, _stopped_by_signals
from offline.train.checkpoint import Position
from services.contract.errors import FashionError, NotFound
from tests.support.training_data import draw_few_types


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals raise `KeyboardInterrupt`, whatever the test is run by."""
    former = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_one_ends(number: signal.Signals) -> None:
    with _stopped_by_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_a_signal_after_training_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def finish(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")

    trained = Position(1, 1, 1.0, 1.0, None, 0, {}, ())
    monkeypatch.setattr("offline.train.train", lambda *_, **__: trained)
    monkeypatch.setattr("offline.train.finish.finish", finish)
    assert main.run(["train", str(tmp_path), "--run", str(tmp_path / "run")]) == output.EXIT_INTERRUPTED


@pytest.mark.parametrize("sizes", ["1.2.3:80x60", ".:80x60", "0:80", "0:80x60,", "0:" + "9" * 5000 + "x60", "-1:8x6"])
def test_sizes_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], sizes: str) -> None:
    assert main.run(["train", str(tmp_path), "--sizes", sizes]) == output.EXIT_BAD_INPUT
    said = " ".join(capsys.readouterr().err.split())
    assert "START:HEIGHTxWIDTH" in said and "Unexpected" not in said


def test_sizes_are_read() -> None:
    stages = _stages("0:48x36, .25:64x48,0.5:80x60")
    assert [(each.start, each.height, each.width) for each in stages] == [(0, 48, 36), (0.25, 64, 48), (0.5, 80, 60)]


def test_a_bundle_that_is_missing_is_told_with_its_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_few_types(tmp_path / "drawn")
    missing, data, run = str(tmp_path / "nope"), str(tmp_path / "drawn"), ["--run", str(tmp_path / "run")]
    commands = {
        "--initial": ["train", data, *run, "--initial", missing],
        "--bundle.": ["garments", data, *run, "--photographs", data, "--bundle", missing],
        "--bundle or EMBEDDER_BUNDLE": ["evaluate", "retrieval", "--catalogue", data, "--bundle", missing],
        "the argument BUNDLE": ["evaluate", "new-types", missing, "--catalogue", data, "--queries", data],
    }
    for option, command in commands.items():
        assert main.run(command) == output.EXIT_NOT_FOUND
        said = " ".join(capsys.readouterr().err.split())
        assert f"{missing}: bundle.json is missing. Name the folder of a bundle with {option}" in said


def test_only_what_is_missing_gets_a_hint() -> None:
    with pytest.raises(NotFound) as caught, output.bundle_named_by("--bundle"):
        raise NotFound("There is no such head.", reason="HEAD_NOT_FOUND")
    assert output.hint(caught.value) == ""
    assert "EMBEDDER_BUNDLE" in output.hint(FashionError("There is none.", reason="BUNDLE_NOT_FOUND"))
