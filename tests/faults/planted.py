"""Victims with a planted fault, which the harness must find: `python -m tests.faults.planted FAULT`."""

import sqlite3
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from offline.benchmark.crashes import victim
from services.bundle import block_file, durable
from services.search.catalogue import database, photographs, store, write_log
from services.search.catalogue.store import Catalogue
from services.search.preferences import RedisPreferences
from services.search.writes.snapshots import Restored, SnapshotKeeper
from services.search.writes.writer import CatalogueWriter


def no_commit() -> None:
    """A transaction stays open until twenty writes are in it."""
    writes = [0]

    def in_transaction(connection: sqlite3.Connection, work: Callable[[], Any]) -> Any:
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        result = work()
        writes[0] += 1
        if writes[0] % 20 == 0:
            connection.execute("COMMIT")
        return result

    store.in_transaction = in_transaction


def acknowledged_before_commit() -> None:
    """A delete is answered at once, and committed a moment later."""
    original = CatalogueWriter._delete

    def delete(self: CatalogueWriter, product_ids: Sequence[str]) -> Any:
        report = original(self, ())
        threading.Timer(0.2, lambda: self._lane._executor.submit(original, self, product_ids)).start()
        return type(report)((None,) * len(product_ids), report.index_version)

    CatalogueWriter._delete = delete  # type: ignore[method-assign]


def _without_fsync(of_folders: bool) -> None:
    original = durable.synchronise

    def synchronise(path: Path) -> None:
        if path.is_dir() != of_folders:
            original(path)

    durable.synchronise = photographs.synchronise = synchronise


def no_fsync_of_the_folder() -> None:
    """A photograph's content is synchronised, its name is not."""
    _without_fsync(True)


def no_fsync_of_the_file() -> None:
    """A photograph's name is synchronised, its content is not."""
    _without_fsync(False)


def no_fsync_of_the_log() -> None:
    """SQLite does not synchronise its log with each commit."""
    original = database.connect

    def connect(path: Path) -> sqlite3.Connection:
        connection = original(path)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    store.connect = connect


def deleted_comes_back() -> None:
    """A delete reaches the index alone."""
    original = Catalogue._commit

    def commit(self: Catalogue, rows: Any, deleted: Any, *others: Any) -> Any:
        return original(self, rows, (), *others)

    Catalogue._commit = commit  # type: ignore[method-assign]


def half_a_batch() -> None:
    """The rows of a batch are committed one by one."""
    original = Catalogue._commit

    def commit(self: Catalogue, rows: Any, deleted: Any, *others: Any) -> Any:
        for row in rows:
            original(self, [row], (), *others)
        return original(self, [], deleted, *others)

    Catalogue._commit = commit  # type: ignore[method-assign]


def nothing_swept() -> None:
    """Photographs of writes that were not committed stay."""
    photographs.PhotographStore.sweep = lambda *_: photographs.Swept(0, 0)  # type: ignore[method-assign]


def dislikes_not_written() -> None:
    """Dislikes are answered, and never written."""

    async def add(self: RedisPreferences, user_id: str, colours: Any) -> Any:
        return await self.disliked_colours(user_id)

    RedisPreferences.add = add  # type: ignore[method-assign]


def truncated_snapshot_accepted() -> None:
    """A snapshot that ends too early counts as whole."""
    original = block_file._read

    def read(*arguments: Any) -> tuple[bytes, bytes]:
        try:
            return original(*arguments)
        except ValueError as error:
            if "it ends" in str(error) and arguments[1]:
                return b"ENDS", b""
            raise

    block_file._read = read  # type: ignore[assignment]
    SnapshotKeeper._check_count = lambda _: None  # type: ignore[method-assign]


def checksum_of_a_snapshot_not_checked() -> None:
    """Whatever a snapshot holds counts as sound."""
    block_file._checksum = lambda *_: 0  # type: ignore[assignment]


def _snapshot_without_fsync(of_folders: bool) -> None:
    original = block_file.synchronise

    def synchronise(path: Path) -> None:
        if path.is_dir() != of_folders:
            original(path)

    block_file.synchronise = synchronise


def snapshot_without_fsync_of_the_folder() -> None:
    """A snapshot's content is synchronised, its name is not."""
    _snapshot_without_fsync(True)


def snapshot_without_fsync_of_the_file() -> None:
    """A snapshot's name is synchronised, its content is not."""
    _snapshot_without_fsync(False)


def replay_skipped() -> None:
    """What has changed since the snapshot is not read again."""
    SnapshotKeeper._read_again = lambda *_: Restored(0, (), frozenset())  # type: ignore[method-assign]
    SnapshotKeeper._check_count = lambda _: None  # type: ignore[method-assign]


def writes_not_logged() -> None:
    """The log has each write, but not the products that it changed."""
    original = write_log.note_write

    def note_write(connection: sqlite3.Connection, product_ids: Collection[str]) -> None:
        original(connection, ())

    write_log.note_write = note_write
    SnapshotKeeper._check_count = lambda _: None  # type: ignore[method-assign]


# The fault, and the moment at which a kill shows it.
FAULTS = {
    "no commit": (no_commit, "at random"),
    "acknowledged before commit": (acknowledged_before_commit, "at random"),
    "no fsync of the folder": (no_fsync_of_the_folder, "at random"),
    "no fsync of the file": (no_fsync_of_the_file, "at random"),
    "no fsync of the log": (no_fsync_of_the_log, "at random"),
    "deleted comes back": (deleted_comes_back, "at random"),
    "half a batch": (half_a_batch, "after commit"),
    "nothing swept": (nothing_swept, "before commit"),
    "dislikes not written": (dislikes_not_written, "at random"),
    "truncated snapshot accepted": (truncated_snapshot_accepted, "snapshot cut"),
    "checksum of a snapshot not checked": (checksum_of_a_snapshot_not_checked, "snapshot flipped"),
    "no fsync of a snapshot's folder": (snapshot_without_fsync_of_the_folder, "at random"),
    "no fsync of a snapshot": (snapshot_without_fsync_of_the_file, "at random"),
    "replay skipped": (replay_skipped, "at random"),
    "writes not logged": (writes_not_logged, "at random"),
}


if __name__ == "__main__":
    FAULTS[sys.argv[1]][0]()
    victim.main()
