"""Which photographs products refer to, and which none does any more."""

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Final

from services.search.catalogue.rows import ID_LIST, Read

_TABLES: Final = ("products", "further_photographs")
_REFERENCED: Final = tuple(
    f"SELECT photograph_sha256 FROM {table} WHERE photograph_sha256 IS NOT NULL" for table in _TABLES
)
_UNREFERENCED: Final = "SELECT value FROM json_each(?) WHERE " + " AND ".join(
    f"value NOT IN (SELECT photograph_sha256 FROM {table} WHERE photograph_sha256 IN {ID_LIST})" for table in _TABLES
)
_PHOTOGRAPH: Final = (
    "SELECT photograph_sha256 FROM products WHERE id = ?",
    "SELECT photograph_sha256 FROM further_photographs WHERE product_id = ? AND number = {}",
)


def referenced_photographs(connection: sqlite3.Connection) -> frozenset[str]:
    """Returns the photographs that any product refers to, and those that one referred to not long ago."""
    # Put together here: a UNION of a large catalogue takes a temporary file, for which a container has no room.
    referenced = {row[0] for query in _REFERENCED for row in connection.execute(query)}
    return removed_photographs(connection).union(referenced)


def removed_photographs(connection: sqlite3.Connection, until: str = "9999") -> frozenset[str]:
    """Returns the photographs that no product refers to any more, and did not before a time in ISO 8601 either."""
    query = "SELECT sha256 FROM removed_photographs WHERE removed_time <= ?"
    return frozenset(row[0] for row in connection.execute(query, (until,)))


def unreferenced(connection: sqlite3.Connection, sha256s: Collection[str]) -> set[str]:
    """Returns those of some photographs that no product refers to."""
    listed = json.dumps(list(sha256s))
    return {row[0] for row in connection.execute(_UNREFERENCED, (listed,) * (1 + len(_TABLES)))}


def note_removed(connection: sqlite3.Connection, sha256s: Iterable[str], time: str) -> None:
    """Notes that no product refers to some photographs any more, since a time in ISO 8601."""
    connection.executemany(
        "INSERT OR REPLACE INTO removed_photographs (sha256, removed_time) VALUES (?, ?)",
        [(sha256, time) for sha256 in sha256s],
    )


def forget_removed(connection: sqlite3.Connection, sha256s: Collection[str]) -> None:
    """Forgets that photographs were removed: they are referred to again, or gone."""
    connection.execute(f"DELETE FROM removed_photographs WHERE sha256 IN {ID_LIST}", (json.dumps(list(sha256s)),))


def photograph_of(read: Read, product_id: str, index: int) -> str | None:
    """Returns a photograph of a product, counted from 0; None if there is none, or it came as an embedding."""
    first, further = _PHOTOGRAPH
    rows = read(first if index == 0 else further.format(int(index)), product_id)
    return rows[0][0] if rows else None
