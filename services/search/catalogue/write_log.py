"""The newest writes in the database: what a copy of the catalogue as of an earlier version has to read again."""

import json
import secrets
import sqlite3
import zlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

# Runs a query.
_Read = Callable[..., Sequence[sqlite3.Row]]

# The version that each write made, a random mark, the ids of the products that it changed as JSON, and a checksum of
# the three.
SCHEMA: Final = """
    CREATE TABLE write_log (
        index_version INTEGER PRIMARY KEY NOT NULL,
        mark TEXT NOT NULL,
        product_ids TEXT NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT
    """
# Ids in the log. Reading so many products again takes as long as reading a large catalogue.
MAX_LOGGED_IDS: Final = 250_000

_VERSION: Final = "SELECT index_version FROM state"
_NOTE: Final = "INSERT INTO write_log (index_version, mark, product_ids, checksum) VALUES (?, ?, ?, ?)"
_WRITES: Final = (
    "SELECT index_version, mark, product_ids, checksum FROM write_log WHERE index_version >= ? ORDER BY index_version"
)


def note_write(connection: sqlite3.Connection, product_ids: Collection[str]) -> None:
    """Notes the products that a write changes, within its transaction and once the catalogue has its version."""
    ((version,),) = connection.execute(_VERSION)
    mark, listed = secrets.token_hex(8), json.dumps(list(product_ids))
    # Damage alone leaves anything there.
    connection.execute("DELETE FROM write_log WHERE index_version >= ?", (version,))
    connection.execute(_NOTE, (version, mark, listed, _checksum(version, mark, listed)))


def begin_log(connection: sqlite3.Connection) -> None:
    """Gives the present version of a catalogue without a log its mark, so that a copy of it can be known again."""
    note_write(connection, ())


class WriteLog:
    """The log of a catalogue's writes. Not thread-safe.

    Each version has a random mark. By it a copy of the catalogue knows this very database at this version, and not
    another one that was restored from the same backup.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Takes the connection that writes."""
        self._connection = connection
        self._first = 0
        self._count = self._logged(0)

    @property
    def count(self) -> int:
        """Ids in the log after the version that `forget` named last; one may be there several times."""
        return self._count

    def note(self, product_ids: Collection[str] | None) -> None:
        """See `note_write`; forgets older writes that no copy needs, and those that are too many.

        Args:
            product_ids: None where any product may have changed, so that no copy of an earlier version is of use.
        """
        if product_ids is None or self._count + len(product_ids) > MAX_LOGGED_IDS:
            ((version,),) = self._connection.execute(_VERSION)
            self.forget(version)
        self._connection.execute("DELETE FROM write_log WHERE index_version < ?", (self._first,))
        note_write(self._connection, product_ids or ())
        self._count += len(product_ids or ())

    def forget(self, before: int) -> None:
        """Lets the next write remove what is older than a version: no copy needs it any more."""
        self._first = before
        self._count = self._logged(before)

    def _logged(self, version: int) -> int:
        query = "SELECT total(json_array_length(product_ids)) FROM write_log WHERE index_version > ?"
        try:
            return int(self._connection.execute(query, (version,)).fetchone()[0])
        except sqlite3.DatabaseError:
            # Damaged: the next write begins it anew.
            return MAX_LOGGED_IDS


def mark_of(read: _Read, index_version: int) -> str | None:
    """Returns the mark of a version; None where the log does not reach back to it."""
    rows = read("SELECT mark FROM write_log WHERE index_version = ?", index_version)
    return str(rows[0]["mark"]) if rows else None


def changed_since(read: _Read, index_version: int, mark: str) -> frozenset[str] | None:
    """Returns the products that were created, changed or deleted after a version.

    Args:
        read: reads one state of the catalogue.
        index_version: of a copy.
        mark: of that version, as the copy knows it.

    Returns:
        Their ids; None where the copy is of another catalogue, or the log is damaged or does not reach back.
    """
    try:
        rows = read(_WRITES, index_version)
        present = int(read(_VERSION)[0][0])
        sound = all(_checksum(*row[:3]) == row["checksum"] for row in rows)
        # Each write counts the version up by one.
        whole = [row["index_version"] for row in rows] == [*range(index_version, present + 1)]
        if not rows or not sound or not whole or rows[0]["mark"] != mark:
            return None
        return frozenset(product_id for row in rows[1:] for product_id in json.loads(row["product_ids"]))
    except (sqlite3.DatabaseError, ValueError, TypeError):
        return None


def _checksum(version: Any, mark: Any, product_ids: Any) -> int:
    return zlib.crc32(f"{version} {mark} {product_ids}".encode())
