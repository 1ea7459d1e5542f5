"""The embedded Redis when its owner, its guard or Redis itself is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from services.stack.embedded_redis import RedisStartError, embedded_redis
from tests.support.waiting import eventually

# Saves a dislike, says which processes there are, and lives until it is killed. The second form forks first: the child
# keeps the pipe to the guard open after its parent's death.
_OWNER = """
import os, sys, time
from pathlib import Path
import redis
from services.stack.embedded_redis import embedded_redis
with embedded_redis(Path(sys.argv[1])) as server:
    with redis.Redis.from_url(server.url) as client:
        client.hset("fashion:user:u:disliked_colours", "Yellow", "family")
    if "fork" in sys.argv:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    print(server.guard_pid, server.server_pid, flush=True)
    time.sleep(60)
"""


# The file of a new directory that grows with each write.
WRITTEN = Path("appendonlydir/appendonly.aof.1.incr.aof")


@contextmanager
def _owner(directory: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", int, int]]:
    """Starts an owner; yields it with the ids of its guard and its server."""
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(directory), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    children: list[psutil.Process] = []
    try:
        assert owner.stdout is not None
        guard, server = (int(word) for word in owner.stdout.readline().split())
        children = psutil.Process(owner.pid).children(recursive=True)
        yield owner, guard, server
    finally:
        owner.kill()
        owner.wait()
        for child in children:
            if child.is_running():
                child.kill()
        if owner.stdout is not None:
            owner.stdout.close()


def _wait_until_gone(*pids: int) -> None:
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=20)
    # A zombie counts as dead.
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize("options", [(), ("fork",)], ids=["alone", "with a forked child"])
def test_a_killed_owner_takes_redis_along_and_what_was_saved_is_there(tmp_path: Path, options: tuple[str, ...]) -> None:
    with _owner(tmp_path, *options) as (owner, guard, server):
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        # At once: the previous server is still ending.
        with embedded_redis(tmp_path) as again, redis.Redis.from_url(again.url, decode_responses=True) as client:
            assert client.hgetall("fashion:user:u:disliked_colours") == {"Yellow": "family"}
        _wait_until_gone(guard, server)


def test_interrupting_the_terminal_leaves_redis_to_its_owner(tmp_path: Path) -> None:
    with _owner(tmp_path) as (owner, guard, _server):
        assert os.getpgid(guard) != os.getpgid(owner.pid)


def test_a_living_owner_of_another_process_is_named(tmp_path: Path) -> None:
    with (
        _owner(tmp_path) as (owner, _guard, _server),
        pytest.raises(RedisStartError, match=f"in use by process {owner.pid}"),
        embedded_redis(tmp_path),
    ):
        pass


@pytest.mark.parametrize("long_path", [False, True], ids=["socket beside the data", "socket elsewhere"])
@pytest.mark.parametrize("victims", [("server",), ("guard",), ("server", "guard")], ids="+".join)
def test_a_killed_redis_is_back_within_seconds_with_what_was_saved(
    tmp_path: Path, victims: tuple[str, ...], long_path: bool
) -> None:
    directory = tmp_path / ("d" * 100 if long_path else "d")
    with embedded_redis(directory) as server, redis.Redis.from_url(server.url, retry=None) as client:
        client.set("saved", "1")
        # More than once: it must not only be a second chance.
        for _ in range(3):
            pids = server.guard_pid, server.server_pid
            for victim in victims:
                psutil.Process(pids[victim == "server"]).kill()
            eventually(lambda: server.guard_pid not in pids and _value(client) == b"1", timeout_s=10)  # noqa: B023
            _wait_until_gone(*pids)
    _wait_until_gone(server.guard_pid, server.server_pid)
    with embedded_redis(directory) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("saved") == b"1"


def test_a_redis_that_cannot_start_again_is_tried_until_it_can(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as server, redis.Redis.from_url(server.url, retry=None) as client:
        client.set("saved", "1")
        file = tmp_path / WRITTEN
        sound = file.read_bytes()
        file.write_bytes(b"no such file\n" * 3)
        pids = server.guard_pid, server.server_pid
        psutil.Process(server.server_pid).kill()
        _wait_until_gone(*pids)
        time.sleep(1.5)
        assert _value(client) is None
        file.write_bytes(sound)
        eventually(lambda: _value(client) == b"1", timeout_s=10)


def test_a_redis_that_waits_for_its_next_start_can_be_stopped(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as server:
        (tmp_path / WRITTEN).write_bytes(b"no such file\n" * 3)
        psutil.Process(server.server_pid).kill()
        time.sleep(1.0)
    _wait_until_gone(server.guard_pid, server.server_pid)


def _value(client: redis.Redis) -> object:
    try:
        return client.get("saved")
    except redis.RedisError:
        return None


@pytest.mark.parametrize("whole_group", [False, True], ids=["guard", "guard and server"])
def test_what_hangs_is_killed_in_the_end(tmp_path: Path, whole_group: bool) -> None:
    with embedded_redis(tmp_path, stop_timeout_s=0.1) as server:
        psutil.Process(server.guard_pid).suspend()
        if whole_group:
            psutil.Process(server.server_pid).suspend()
    _wait_until_gone(server.guard_pid, server.server_pid)
