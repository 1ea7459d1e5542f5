"""Forks stacks that are to be killed: `python -m offline.benchmark.crashes.victim`, one order a line.

Importing takes longer than starting, so that it is done once. A stack kills itself at the point that its order names,
and notes what it has on disk, for power cuts.
"""

import itertools
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from offline.benchmark.crashes.writer import write_until_lost
from services.bundle import block_file
from services.search.catalogue import photographs, store
from services.search.catalogue.generations import Generations
from services.search.preferences import RedisPreferences
from services.search.writes.writer import CatalogueWriter
from services.serving.run import run_process
from services.stack.__main__ import main as stack

POINTS: Final = (
    "photograph written",
    "photograph named",
    "photographs on disk",
    "before commit",
    "after commit",
    "before acknowledgement",
    "dislike written",
    "snapshot in part",
    "snapshot before fsync",
    "snapshot before its name",
    "snapshot named",
)
# What a reindex writes; each is a point before its commit and one after it.
OPERATIONS: Final = ("begin", "add", "judge", "switch", "drop_other", "tidy")
REINDEX_POINTS: Final = tuple(f"{when} commit of {name}" for name in OPERATIONS for when in ("before", "after"))
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Order:
    """What to fork.

    Attributes:
        log: the file for its output.
        environment: the settings of a stack; none for a writer.
        armed: a file that says where the stack kills itself, as `arm` writes it; it may be missing.
        journal: the file for what the stack does to files.
        writer: the arguments of `write_until_lost`; none for a stack.
    """

    log: str
    environment: dict[str, str] = field(default_factory=dict)
    armed: str = ""
    journal: str = ""
    writer: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Returns it as a line of JSON."""
        return json.dumps(asdict(self)) + "\n"


def main() -> None:
    """Takes orders until the end of the input, and answers each with a process id."""
    # Nobody waits for those that are killed.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = Order(**json.loads(line))
        if (pid := os.fork()) == 0:
            try:
                _run(order)
            finally:
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _run(order: Order) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with Path(order.log).open("ab") as log, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if order.writer:
        write_until_lost(**order.writer)
        os._exit(0)
    os.environ.update(order.environment)
    _note_files(Path(order.environment["SEARCH_DATA_DIR"]), Path(order.journal))
    _place_points(Path(order.armed))
    run_process("stack", stack)


def arm(file: Path, point: str, passage: int) -> None:
    """Lets a stack kill itself at a point, at one of its next passages, from 1; "" for nowhere.

    Args:
        file: that the stack looks into.
        point: of `POINTS` or `REINDEX_POINTS`.
        passage: which of the next ones.
    """
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{passage} {point}")
    fresh.replace(file)


def _place_points(armed: Path) -> None:
    """Lets this process kill itself at a point."""
    passages: Counter[str] = Counter()
    # What of a reindex this thread writes.
    writing = threading.local()

    def pass_by(point: str) -> None:
        order = armed.read_text() if armed.exists() else ""
        passages[order] += 1 if order.endswith(f" {point}") else 0
        if passages[order] and passages[order] == int(order.partition(" ")[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    def with_points(in_transaction: Any, connection: Any, work: Callable[[], Any]) -> Any:
        def worked() -> Any:
            result = work()
            pass_by("before commit")
            pass_by(f"before commit of {getattr(writing, 'operation', '')}")
            return result

        result = in_transaction(connection, worked)
        pass_by("after commit")
        pass_by(f"after commit of {getattr(writing, 'operation', '')}")
        return result

    def of_operation(name: str) -> Callable[..., Any]:
        def operated(operate: Any, *arguments: Any) -> Any:
            writing.operation = name
            try:
                return operate(*arguments)
            finally:
                writing.operation = ""

        return operated

    def synchronised(synchronise: Any, path: Path) -> None:
        if path.is_dir():
            pass_by("photograph named")
        synchronise(path)

    def block_written(write: Any, file: Any, kind: bytes, *others: Any) -> None:
        write(file, kind, *others)
        if kind == b"DATA":
            pass_by("snapshot in part")

    def snapshot_synchronised(synchronise: Any, path: Path) -> None:
        pass_by("snapshot named" if path.is_dir() else "snapshot before fsync")
        synchronise(path)
        if not path.is_dir():
            pass_by("snapshot before its name")

    async def executed(execute: Any, self: RedisPreferences, pipeline: Any) -> Any:
        answer = await execute(self, pipeline)
        pass_by("dislike written")
        return answer

    for name in OPERATIONS:
        _replace(Generations, name, of_operation(name))
    _replace(store, "in_transaction", with_points)
    _replace(photographs, "synchronise", synchronised)
    _replace(RedisPreferences, "_execute", executed)
    _replace(block_file, "_write", block_written)
    _replace(block_file, "synchronise", snapshot_synchronised)
    _after(photographs.PhotographStore, "_write_incoming", lambda: pass_by("photograph written"))
    _after(photographs.PhotographStore, "put", lambda: pass_by("photographs on disk"))
    _after(CatalogueWriter, "_take_over", lambda: pass_by("before acknowledgement"))


def _replace(owner: Any, name: str, replacement: Callable[..., Any]) -> None:
    """Replaces a function or a method by one that is given the original first."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *arguments: replacement(original, *arguments))


def _after(owner: Any, name: str, then: Callable[[], None]) -> None:
    """Does something after each call of a method."""

    def called(original: Any, *arguments: Any) -> Any:
        result = original(*arguments)
        then()
        return result

    _replace(owner, name, called)


def _note_files(directory: Path, journal: Path) -> None:
    """Notes in a journal what Python does to files of a directory; SQLite and Redis see to their own."""
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    within = f"{directory.resolve()}{os.sep}"
    numbers = itertools.count()

    def note(*event: object) -> None:
        os.write(descriptor, (json.dumps([os.fspath(each) for each in event]) + "\n").encode())  # type: ignore[call-overload]

    def ours(path: object) -> bool:
        text = f"{path}{os.sep}"
        return text.startswith(within) and "/redis/" not in text and "catalogue." not in text

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING and ours(arguments[0]):
            note("written" if Path(arguments[0]).exists() else "created", arguments[0])
        elif event == "os.rename" and ours(arguments[1]):
            former = []
            if Path(arguments[1]).exists():
                former = [journal.with_name(f"former-{next(numbers)}-{os.getpid()}")]
                os.link(arguments[1], former[0])
            note("renamed", arguments[0], arguments[1], *former)
        elif event == "os.mkdir" and ours(arguments[0]) and not Path(arguments[0]).exists():
            note("made", arguments[0])
        elif event == "os.remove" and ours(arguments[0]):
            note("removed", arguments[0])

    def synchronised(fsync: Any, file: Any) -> None:
        fsync(file)
        number = file if isinstance(file, int) else file.fileno()
        path = Path(f"/proc/self/fd/{number}").readlink()
        # The folder above has the name of the directory itself.
        if path == directory.resolve().parent or f"{path}{os.sep}".startswith(within):
            note("synchronised", path)

    def connected(connect: Any, path: Path) -> Any:
        connection = connect(path)
        note("sqlite", str(connection.execute("PRAGMA synchronous").fetchone()[0]))
        return connection

    _replace(os, "fsync", synchronised)
    _replace(store, "connect", connected)
    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
