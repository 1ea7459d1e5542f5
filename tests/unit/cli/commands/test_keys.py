"""`fashion keys`: what is printed is in the file, whoever else changes it meanwhile."""

import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.commands import keys as commands
from cli.main import run
from services.serving.keys import Keys, hash_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "keys.json"


def begun(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "cli", "keys", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_key_is_made_listed_and_revoked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "feed", "--scope", "write", "--file", str(file)]) == 0
    secret = capsys.readouterr().out.strip()
    (key,) = Keys.read(file).keys
    assert (key.name, key.scope, key.sha256) == ("feed", "write", hash_of(secret))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run(["keys", "revoke", key.id, "--file", str(file)]) == 0
    assert Keys.read(file).keys[0].revoked is not None
    assert run(["keys", "revoke", "nobody", "--file", str(file)]) == 3
    assert run(["keys", "revoke", key.id, "--file", str(file.with_name("other") / "keys.json")]) == 2
    assert not file.with_name("other").exists()


def test_a_change_waits_for_another_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["keys", "create", "old", "--file", str(file)]) == 0
    (old,) = Keys.read(file).keys
    reads, goes_on, write = threading.Event(), threading.Event(), commands._write

    def slow(path: Path, keys: Keys) -> None:
        reads.set()
        assert goes_on.wait(60)
        write(path, keys)

    monkeypatch.setattr(commands, "_write", slow)
    first = threading.Thread(target=run, args=(["keys", "create", "first", "--file", str(file)],))
    first.start()
    assert reads.wait(60)
    # The first one has read the file, and has not written it.
    others = [begun("create", "second", "--file", str(file)), begun("revoke", old.id, "--file", str(file))]
    with pytest.raises(subprocess.TimeoutExpired):
        others[0].wait(5)
    goes_on.set()
    first.join(60)
    for other in others:
        _, said = other.communicate(timeout=60)
        assert other.returncode == 0, said
        assert re.search("Made|Revoked", said)
    keys = Keys.read(file).keys
    assert {key.name for key in keys} == {"old", "first", "second"}
    assert {key.name for key in keys if key.revoked} == {"old"}
