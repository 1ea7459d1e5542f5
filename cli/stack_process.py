"""The stack as a background process: start it, find it again, end it."""

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
        pid: its process id.
        server: its address, "host:port".
        url: the URL of its storefront; None where it has none.
    """

    pid: int
    server: str
    url: str | None = None


class StackHome:
    """The data directory of a stack, with a note of the process that runs on it.

    That process holds a lock on the note. So the note of a crashed stack counts for nothing, and another process
    that got its id is never signalled.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "stack.log"
        self._note = directory / "stack.json"

    def running(self) -> BackgroundStack | None:
        """Returns the stack that runs in the background on this directory; None where there is none."""
        try:
            handle = os.open(self._note, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with open(handle, encoding="utf-8", closefd=False) as note:
                text = note.read()
            # The note is empty while another command starts a stack.
            return BackgroundStack(**json.loads(text)) if text else None
        finally:
            os.close(handle)
        return None

    def start(self, command: Sequence[str], server: str, url: str | None = None) -> BackgroundStack:
        """Starts a command in a session of its own, with its output in the log.

        Raises:
            NotReady: a stack runs, or starts, on this directory.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._note, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NotReady(
                    f"A stack runs on {self.directory} already: run `fashion stop`, or name another --data-dir.",
                    reason="STACK_RUNNING",
                ) from None
            os.truncate(handle, 0)
            with self.log.open("ab") as log:
                # The child inherits the locked handle, and so holds the lock until it ends.
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
        """Ends the stack that runs in the background, after the calls in flight.

        Returns:
            That stack; None where none was running.

        Raises:
            Upstream: the stack did not end in time.
        """
        stack = self.running()
        if stack is None:
            return None
        os.kill(stack.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while self.running() is not None:
            if time.monotonic() > deadline:
                raise Upstream(
                    f"The stack (process {stack.pid}) has not ended within {timeout_s:.0f} s; see its log {self.log}.",
                    reason="STACK_NOT_STOPPED",
                )
            time.sleep(_POLL_S)
        self._note.unlink(missing_ok=True)
        return stack

    def last_words(self) -> str:
        """Returns the last line of the log that is for people, which may say why the stack has ended."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        # Events are JSON; a process writes plain text as it ends.
        return next((line for line in reversed(lines) if line and not line.startswith("{")), "")


@contextmanager
def startup_errors() -> Iterator[None]:
    """Turns the errors of settings and of a server's start into errors of the command line."""
    from cli import output
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
        cause = error.__cause__
        hint = output.hint(cause) if isinstance(cause, FashionError) else ""
        raise FashionError(f"{error} {hint}".strip(), reason=CANNOT_SERVE) from error
