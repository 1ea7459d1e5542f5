"""Products as rows of the database: those of `products`, and of `further_photographs` for the products with several."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from services.search.catalogue.content import FLOAT16, ContentState, StoredEmbedding, StoredProduct
from services.search.catalogue.database import (
    CHECKED_COLUMNS,
    CONTENT_COLUMNS,
    FURTHER_COLUMNS,
    PRODUCT_COLUMNS,
    SqlValue,
    changed_checksum,
    further_checksum,
    product_of,
    product_values,
    region_of,
    row_checksum,
)
from services.search.catalogue.products import Product

# Runs a query with its parameters.
Read = Callable[..., Sequence[sqlite3.Row]]

ID_LIST: Final = "(SELECT value FROM json_each(?))"
_COLUMNS: Final = (*CHECKED_COLUMNS, "embedding", "checksum")
_STORED: Final = ", ".join(_COLUMNS)
_UPSERT: Final = (
    f"INSERT INTO products ({_STORED}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])
)
_FURTHER: Final = ", ".join((*FURTHER_COLUMNS, "embedding", "checksum"))
_INSERT_FURTHER: Final = (
    f"INSERT INTO further_photographs ({_FURTHER}) VALUES ({', '.join('?' * (len(FURTHER_COLUMNS) + 2))})"
)
_CONTENTS: Final = f"SELECT id, {', '.join(CONTENT_COLUMNS)}, length(embedding) FROM products WHERE id IN {ID_LIST}"


def read_products(
    read: Read, keys: Collection[str] | Collection[int], *, by: str = "id"
) -> dict[Any, StoredProduct | None]:
    """Returns products by id, or by number of their row; None for a damaged one.

    Args:
        read: runs a query.
        keys: ids, or numbers of rows.
        by: "id" or "rowid".

    Raises:
        sqlite3.DatabaseError: a page cannot be read.
    """
    rows = read(f"SELECT {_STORED}, rowid FROM products WHERE {by} IN {ID_LIST}", json.dumps(list(keys)))
    several = [row["id"] for row in rows if row["photograph_count"] is not None]
    further = _read_further(read, several) if several else {}
    return {row[by]: _product(row, further.get(row["id"], ())) for row in rows}


def _read_further(read: Read, product_ids: Sequence[str]) -> dict[str, list[StoredEmbedding]]:
    """Returns the sound photographs after the first, up to a damaged or missing one."""
    rows = read(
        f"SELECT {_FURTHER} FROM further_photographs WHERE product_id IN {ID_LIST} ORDER BY product_id, number",
        json.dumps(product_ids),
    )
    further: dict[str, list[StoredEmbedding]] = {}
    for row in rows:
        *values, embedding, checksum = row
        before = further.setdefault(row["product_id"], [])
        if row["number"] == len(before) + 1 and _intact(further_checksum, values, embedding, checksum):
            before.append(StoredEmbedding(np.frombuffer(embedding, dtype=FLOAT16), _origin(row)))
    return further


def _product(row: sqlite3.Row, further: Sequence[StoredEmbedding]) -> StoredProduct | None:
    """Makes a product of a row that begins with `_STORED`; None for a damaged one."""
    values, (embedding, checksum) = row[: len(CHECKED_COLUMNS)], row[len(CHECKED_COLUMNS) : len(_COLUMNS)]
    if not _intact(row_checksum, values, embedding, checksum) or len(further) + 1 != (row["photograph_count"] or 1):
        return None
    content = _origin(row)
    product = product_of(row, photograph_absent=content.photograph_sha256 is None, photograph_count=1 + len(further))
    return StoredProduct(product, np.frombuffer(embedding, dtype=FLOAT16), content, tuple(further))


def _intact(
    checksum_of: Callable[[Sequence[object], bytes], int], values: Sequence[object], embedding: bytes, checksum: object
) -> bool:
    try:
        return checksum_of(values, embedding) == checksum
    except TypeError:
        return False


def _origin(row: sqlite3.Row) -> ContentState:
    return ContentState(row["model_version"], row["photograph_sha256"], region_of(row))


def write_products(
    connection: sqlite3.Connection, rows: Iterable[StoredProduct], before: Mapping[str, StoredProduct | None]
) -> None:
    """Writes whole products.

    Args:
        connection: within a transaction.
        rows: the products.
        before: those that are there already, by id; None for a damaged one.
    """
    rows = list(rows)
    connection.executemany(_UPSERT, map(_values, rows))
    changed = [row for row in rows if not _same_further(before.get(row.product.id), row)]
    _delete_further(connection, [row.product.id for row in changed if row.product.id in before])
    connection.executemany(_INSERT_FURTHER, [values for row in changed for values in _further_values(row)])


def delete_products(
    connection: sqlite3.Connection, product_ids: Sequence[str], before: Mapping[str, StoredProduct | None]
) -> None:
    """Deletes products; see `write_products`."""
    connection.executemany("DELETE FROM products WHERE id = ?", [(product_id,) for product_id in product_ids])
    several = [each for each in product_ids if (known := before.get(each)) is None or known.further]
    _delete_further(connection, several)


def _delete_further(connection: sqlite3.Connection, product_ids: Iterable[str]) -> None:
    connection.executemany(
        "DELETE FROM further_photographs WHERE product_id = ?", [(product_id,) for product_id in product_ids]
    )


def _same_further(before: StoredProduct | None, after: StoredProduct) -> bool:
    return (
        before is not None
        and len(before.further) == len(after.further)
        and all(old.is_same(new) for old, new in zip(before.further, after.further, strict=True))
    )


def _values(row: StoredProduct) -> tuple[SqlValue, ...]:
    count = 1 + len(row.further) if row.further else None
    values = (*product_values(row.product), *_origin_values(row.content), count)
    embedding = row.embedding.tobytes()
    return (*values, embedding, row_checksum(values, embedding))


def _further_values(row: StoredProduct) -> Iterable[tuple[SqlValue, ...]]:
    for number, each in enumerate(row.further, start=1):
        values = (row.product.id, number, *_origin_values(each.content))
        embedding = each.embedding.tobytes()
        yield (*values, embedding, further_checksum(values, embedding))


def _origin_values(content: ContentState) -> tuple[SqlValue, ...]:
    region = content.region
    corners = (None,) * 4 if region is None else (region.left, region.top, region.right, region.bottom)
    return (
        content.model_version,
        content.photograph_sha256,
        *(None if corner is None else float(corner) for corner in corners),
    )


def update_attributes(connection: sqlite3.Connection, changes: Sequence[tuple[Product, Product]]) -> None:
    """Changes attributes of products, given as they are stored and as they are to be; embeddings are not even read."""
    contents = {
        row[0]: (row[1:-1], row[-1])
        for row in connection.execute(_CONTENTS, (json.dumps([after.id for _, after in changes]),))
    }
    rows: list[tuple[Sequence[SqlValue], int]] = []
    places: set[int] = set()
    for before, after in changes:
        content, embedding_bytes = contents[after.id]
        old, new = product_values(before), product_values(after)
        places.update(place for place, (was, now) in enumerate(zip(old, new, strict=True)) if was != now)
        rows.append((new, changed_checksum((*old, *content), (*new, *content), embedding_bytes)))
    # Only columns that change, since SQLite writes the index of a column that is named, changed or not.
    columns = sorted(places)
    # SQLite has no exclusive or.
    assignments = [
        *(f"{PRODUCT_COLUMNS[place]} = ?" for place in columns),
        "checksum = (checksum | ?) - (checksum & ?)",
    ]
    connection.executemany(
        f"UPDATE products SET {', '.join(assignments)} WHERE id = ?",
        [(*[new[place] for place in columns], change, change, new[0]) for new, change in rows],
    )
