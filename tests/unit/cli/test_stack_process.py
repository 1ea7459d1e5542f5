"""The note of a stack in the background: who runs, who does not, and whom a stop may end."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from cli.commands.serve import example_id, how_to_reach
from cli.stack_process import StackHome, startup_errors
from fashion.v1 import search_pb2, types_pb2
from services.clients.search import SearchClient
from services.contract.errors import FashionError, NotFound, NotReady
from services.serving.run import ServeError


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    home = StackHome(tmp_path / "not-there")
    assert home.running() is None
    assert home.stop(1.0) is None
    assert home.last_words() == ""


def test_a_note_left_by_a_crash_stops_nobody(tmp_path: Path) -> None:
    # This very process has the number on the note; a stop that believed it would end the tests.
    (tmp_path / "stack.json").write_text(json.dumps({"pid": os.getpid(), "server": "localhost:1"}))
    home = StackHome(tmp_path)
    assert home.running() is None
    assert home.stop(1.0) is None


def test_a_command_that_ends_is_not_running_and_its_output_is_in_the_log(tmp_path: Path) -> None:
    home = StackHome(tmp_path)
    started = home.start(["nonsense"], "localhost:1")
    os.waitpid(started.pid, 0)
    assert home.running() is None
    assert "No such command" in home.log.read_text()


def test_what_people_should_read_of_a_log_is_found_among_the_events(tmp_path: Path) -> None:
    home = StackHome(tmp_path)
    home.log.write_text('{"event": "listening"}\nerror: no bundle here (CANNOT_SERVE)\n{"event": "stopped"}\n')
    assert home.last_words() == "error: no bundle here (CANNOT_SERVE)"
    home.log.write_text('{"event": "listening"}\n')
    assert home.last_words() == ""


def test_a_second_start_on_the_directory_is_refused_and_stop_ends_the_first(tmp_path: Path) -> None:
    home = StackHome(tmp_path)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, json, os, sys, time\n"
            f"note = open({str(tmp_path / 'stack.json')!r}, 'a+')\n"
            "fcntl.flock(note, fcntl.LOCK_EX)\n"
            "note.write(json.dumps({'pid': os.getpid(), 'server': 'localhost:50050'})); note.flush()\n"
            "print('held', flush=True)\n"
            "time.sleep(60)\n",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        running = home.running()
        assert running is not None and (running.pid, running.server) == (holder.pid, "localhost:50050")
        with pytest.raises(NotReady):
            home.start(["serve"], "localhost:50050")
        assert home.stop(30.0) == running
        assert holder.wait(30) != 0
        assert home.running() is None
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()


def test_a_start_without_a_model_says_what_to_do() -> None:
    missing = NotFound("There is no bundle here.", reason="BUNDLE_NOT_FOUND")
    with pytest.raises(FashionError) as failed, startup_errors():
        raise ServeError(f"cannot start: {missing.message}") from missing
    assert failed.value.message.startswith("cannot start: There is no bundle here. Name the folder")
    assert "EMBEDDER_BUNDLE" in failed.value.message


def test_the_lines_to_try_can_be_pasted_into_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how_to_reach("localhost:50050", None, tmp_path / "my data", "00042 'red", foreground=False)
    lines = capsys.readouterr().out.splitlines()
    (search,) = (shlex.split(line) for line in lines if "--product-id" in line)
    assert search[search.index("--product-id") + 1] == "00042 'red"
    (stop,) = (shlex.split(line) for line in lines if "End it with" in line)
    assert stop[-1] == str(tmp_path / "my data")


class _Search:
    """Counts what it is asked, in place of a client."""

    asked = 0

    async def list_products(self, page_size: int) -> search_pb2.ListProductsResponse:
        self.asked += 1
        return search_pb2.ListProductsResponse(products=[types_pb2.Product(id="1001")])


@pytest.mark.parametrize(("server_keys", "own_key", "asked"), [(False, False, 1), (True, True, 1), (True, False, 0)])
async def test_no_product_is_asked_for_without_the_key_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server_keys: bool, own_key: bool, asked: int
) -> None:
    if server_keys:
        monkeypatch.setenv("SERVER_KEYS_FILE", str(tmp_path / "keys.json"))
    if own_key:
        monkeypatch.setenv("CLIENT_API_KEY", "a-key")
    search = _Search()
    found = await example_id(cast("SearchClient", search))
    assert (found, search.asked) == ("1001" if asked else None, asked)
