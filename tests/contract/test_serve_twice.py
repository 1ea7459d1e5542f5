"""`fashion serve --detach` where a stack runs already: it says so, and never pretends to have started one."""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import run
from tests.support.running import stack_in_thread, stack_settings


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Yields a data directory whose note names a running stack, and the address of that stack."""
    home = tmp_path_factory.mktemp("home")
    with (
        stack_in_thread(stack_settings(tmp_path_factory.mktemp("data"))) as stack,
        (home / "stack.json").open("w") as note,
    ):
        fcntl.flock(note, fcntl.LOCK_EX)
        json.dump({"pid": os.getpid(), "server": stack.target, "url": "http://localhost:8099/"}, note)
        note.flush()
        yield home, stack.target


@pytest.mark.parametrize("named", [[], ["--port"], ["--http-port", "8099"]], ids=["no port", "port", "HTTP port"])
def test_it_says_that_a_stack_runs(
    running: tuple[Path, str], capsys: pytest.CaptureFixture[str], named: list[str]
) -> None:
    home, target = running
    ports = [*named, target.rpartition(":")[2]] if named == ["--port"] else named
    assert run(["serve", "--detach", "--data-dir", str(home), *ports]) == 0
    said = capsys.readouterr()
    assert f"A stack runs on {home} already, at {target}." in said.out
    assert "Starting" not in said.out + said.err


@pytest.mark.parametrize("option", ["--port", "--http-port"])
def test_other_ports_are_refused(running: tuple[Path, str], capsys: pytest.CaptureFixture[str], option: str) -> None:
    home, target = running
    assert run(["serve", "--detach", "--data-dir", str(home), option, "50199"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"already, at {target} and http://localhost:8099/" in said.err and "fashion stop" in said.err


def test_a_port_of_the_environment_counts_too(
    running: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "50198")
    assert run(["serve", "--detach", "--data-dir", str(running[0])]) == 2
    assert "another --data-dir" in capsys.readouterr().err
