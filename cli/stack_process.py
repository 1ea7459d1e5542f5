"""The stack as a process of its own in the background: starting it, finding it again, and ending it."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.contract.errors import FashionError, InvalidInput, NotReady, Upstream

CANNOT_SERVE = "CANNOT_SERVE"
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class BackgroundStack:
    """A stack that runs in the background.

    Attributes:
        pid: its process.
        server: "host:port" that it listens on.
        url: of its gateway for a browser; None where it has none.
    """

    pid: int
    server: str
    url: str | None = None


class StackHome:
    """The directory of a stack's data, with the note of who runs on it.

    The running process holds a lock on the note. So a note that a crash left behind is never taken for a running stack,
    and a process that happens to have got its number is never signalled.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "stack.log"
        self._note = directory / "stack.json"

    def running(self) -> BackgroundStack | None:
        """The stack that runs in the background on this directory; None where there is none."""
        try:
            handle = os.open(self._note, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with open(handle, encoding="utf-8", closefd=False) as note:
                text = note.read()
            # Empty for the moment between the lock and the note: somebody is just starting one.
            return BackgroundStack(**json.loads(text)) if text else None
        finally:
            os.close(handle)
        return None

    def start(self, command: Sequence[str], server: str, url: str | None = None) -> BackgroundStack:
        """Starts a command in a session of its own, its output going to the log.

        Raises:
            NotReady: another one is being started on this directory.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._note, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NotReady(f"a stack runs on {self.directory} already", reason="STACK_RUNNING") from None
            os.truncate(handle, 0)
            with self.log.open("ab") as log:
                # The child inherits the locked handle, and with it the lock, for as long as it lives.
                process = subprocess.Popen(
                    [sys.executable, "-m", "cli", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(handle,),
                )
            os.write(handle, json.dumps({"pid": process.pid, "server": server, "url": url}).encode())
        finally:
            os.close(handle)
        return BackgroundStack(process.pid, server, url)

    def stop(self, timeout_s: float) -> BackgroundStack | None:
        """Ends the stack that runs in the background, letting it finish what it is at.

        Returns:
            The stack that was ended; None where none was running.

        Raises:
            Upstream: it did not end in time.
        """
        found = self.running()
        if found is None:
            return None
        os.kill(found.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while self.running() is not None:
            if time.monotonic() > deadline:
                raise Upstream(
                    f"the stack (process {found.pid}) has not ended within {timeout_s:.0f} s; its log: {self.log}",
                    reason="STACK_NOT_STOPPED",
                )
            time.sleep(_POLL_S)
        self._note.unlink(missing_ok=True)
        return found

    def last_words(self) -> str:
        """The last line of the log that is meant for people: why the stack has ended, where it says so."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        # Events are JSON; what a process says as it ends is plain text.
        return next((line for line in reversed(lines) if line and not line.startswith("{")), "")


@contextmanager
def startup_errors() -> Iterator[None]:
    """Turns what a server says about settings and its start into one line and an exit code."""
    from services.search.catalogue.store import CatalogueUnusable
    from services.serving.run import ServeError
    from services.serving.settings import SettingsError

    try:
        yield
    except CatalogueUnusable as error:
        raise FashionError(str(error), reason="CATALOGUE_UNUSABLE") from error
    except SettingsError as error:
        raise InvalidInput(str(error), reason="SETTINGS_INVALID") from error
    except ServeError as error:
        raise FashionError(str(error), reason=CANNOT_SERVE) from error
