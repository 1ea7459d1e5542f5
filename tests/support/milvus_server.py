"""A real Milvus server for tests, in a network of its own, since it listens on every interface.

The package `milvus` is the server's binary. It needs old packages, so that it gets a virtual environment of its own,
beside the one of the tests. This file is also the script that runs inside of the new network.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PINNED = "milvus==2.3.5 --hash=sha256:69515a0630ce29fd10e101fa442afea8ca1387b93a456cd9bd41fdf3deb93d04\n"
_ENVIRONMENT = Path(sys.prefix) / "milvus-2.3.5"
_END_TIMEOUT_S = 60
_GRACE_S = 10
_PORT = 19530
# A search that waits for all writes waits until the server tells the time again. With its 200 ms, tests take minutes.
_TIME_TICK_MS = 20


class NoMilvusServer(Exception):
    """The server cannot run here; the text says why."""


def _python() -> Path:
    """Returns the Python of an environment that has the server; makes it the first time."""
    python = _ENVIRONMENT / "bin" / "python"
    done = _ENVIRONMENT / "installed"
    if done.exists():
        return python
    requirements = _ENVIRONMENT.with_suffix(".txt")
    requirements.write_text(PINNED)
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(requirements)]
    for command in ([sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)], install):
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if outcome.returncode:
            raise NoMilvusServer(f"the package milvus 2.3.5 cannot be installed: {outcome.stderr.strip()[-200:]}")
    done.touch()
    return python


@contextmanager
def milvus_server(folder: Path, time_tick_ms: int = _TIME_TICK_MS) -> Iterator[Path]:
    """Runs a server with its data in a folder.

    Args:
        folder: for its data.
        time_tick_ms: how often it tells what time it is, in milliseconds; servers do every 200 ms by default.

    Yields:
        A socket that leads to it, see `reachable`.

    Raises:
        NoMilvusServer: it cannot run here.
    """
    inside = folder / "milvus.sock"
    alone = ["unshare", "--map-root-user", "--net", "--mount", "--"]
    try:
        probe = subprocess.run([*alone, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NoMilvusServer("there is no unshare") from error
    if probe.returncode:
        raise NoMilvusServer(f"a network of its own is not allowed: {probe.stderr.strip()[-200:]}")
    command = [*alone, str(_python()), __file__, str(folder), str(time_tick_ms)]
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, env={"PATH": os.environ["PATH"]}
        )
        assert server.stdin is not None and server.stdout is not None
        try:
            if server.stdout.readline() != b"ready\n":
                raise NoMilvusServer(f"it does not start: {log.read_text()[-300:]}")
            yield inside
        finally:
            # The script ends the server, and waits for it, once it reads the end.
            server.stdin.close()
            server.wait(timeout=_END_TIMEOUT_S)


@contextmanager
def reachable(server: Path | str, port: int = 0) -> Iterator[str]:
    """Has a server answer on loopback for as long as the context lasts; then it is gone, with all its connections.

    Args:
        server: what `milvus_server` gives, or "host:port".
        port: where; 0 for a free one.

    Yields:
        Its URI.
    """
    with _relay(socket.create_server(("127.0.0.1", port)), lambda: _connected(server)) as port:
        yield f"http://127.0.0.1:{port}"


def _connected(server: Path | str) -> socket.socket:
    if isinstance(server, str):
        host, _, port = server.rpartition(":")
        return socket.create_connection((host, int(port)))
    other = socket.socket(socket.AF_UNIX)
    other.connect(str(server))
    return other


@contextmanager
def _relay(listener: socket.socket, connect: Callable[[], socket.socket]) -> Iterator[int]:
    """Passes connections on to another socket, for as long as the context lasts."""
    both: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = connect()
            except OSError:
                near.close()
                continue
            both.extend((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        name = listener.getsockname()
        yield name[1] if isinstance(name, tuple) else 0
    finally:
        # Closing alone would leave the thread waiting, and the port taken.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in both:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(1 << 16):
            sink.sendall(content)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _run(folder: Path, time_tick_ms: int) -> None:
    """Runs inside of the new network and the new mounts, until its input ends."""
    from milvus import MilvusServer  # type: ignore[import-not-found]

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for place in ("/run", "/tmp/milvus"):
        own = folder / place.strip("/").replace("/", "-")
        own.mkdir(exist_ok=True)
        Path(place).mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", str(own), place], check=True)
    server = MilvusServer(data_dir=str(folder / "data"), proxy_port=_PORT)
    server.config.set("proxy_port", _PORT)
    server.config.set("proxy.timeTickInterval", time_tick_ms)
    try:
        server.start()
        outer = socket.socket(socket.AF_UNIX)
        outer.bind(str(folder / "milvus.sock"))
        outer.listen()
        with _relay(outer, lambda: socket.create_connection(("127.0.0.1", server.config.get("proxy_port")))):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            sys.stdin.read()
    finally:
        if server.server_proc is not None:
            # Its own `stop` kills it after a second, before it has written everything.
            server.server_proc.terminate()
            try:
                server.server_proc.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                # Where its clients were cut off, some of its parts may wait for others that have ended.
                server.server_proc.kill()
                server.server_proc.wait()
            server.server_proc = None


if __name__ == "__main__":
    _run(Path(sys.argv[1]), int(sys.argv[2]))
