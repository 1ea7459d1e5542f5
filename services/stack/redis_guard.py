"""Keeps a redis-server no longer than the process that asked for it: run as a script, with the standard library alone.

The guard is the parent of the server and reads a pipe that only the owner holds open for writing. However the owner
dies, SIGKILL included, the pipe ends and the guard ends the server. This works alike on Linux and macOS, which have no
common way to tie a child's life to its parent's.

    python redis_guard.py OWNER_PID GRACE_S LOCK_FD SOCKET SCRATCH COMMAND...

SCRATCH is a directory of the socket's own, removed at the end, or "" where the socket is elsewhere.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_POLL_S = 0.25


def _owner_is_gone(owner: int) -> bool:
    """Waits a moment on the pipe; tells whether the owner closed it or died.

    The pipe alone does not tell where the owner forked without exec: such a child keeps the writing end open. The
    parent's id changes as soon as the owner is dead, whoever else holds the pipe.
    """
    ready, _, _ = select.select([0], [], [], _POLL_S)
    return bool(ready and not os.read(0, 1)) or os.getppid() != owner


def main(arguments: list[str]) -> int:
    """Runs the server until it ends by itself, the owner is gone or SIGTERM comes; returns its exit status."""
    owner, grace_s, lock = int(arguments[0]), float(arguments[1]), int(arguments[2])
    socket, scratch, command = Path(arguments[3]), arguments[4], arguments[5:]
    told_to_stop = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal told_to_stop
        told_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The server inherits the lock, so that the directory stays taken while any of the two still lives.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(lock,))
    while server.poll() is None and not told_to_stop:
        if _owner_is_gone(owner):
            break
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(grace_s)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    with contextlib.suppress(OSError):
        socket.unlink(missing_ok=True)
        if scratch:
            Path(scratch).rmdir()
    return server.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
