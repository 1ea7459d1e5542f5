"""Products as rows of Milvus: one for each embedding, all with the attributes that are filtered by."""

import base64
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

import numpy as np

from services.contract.attributes import LABELLED
from services.contract.values import Gender
from services.search.catalogue.packed import pack_products, unpack_products
from services.search.catalogue.products import Product
from services.search.filters.filter import NO_YEAR
from services.search.indexes.base import IndexedProduct

# What stands for an attribute that a product lacks. Milvus 2.3 has no nulls, and what later ones and Milvus Lite do
# with them differs. No label is empty.
MISSING: Final = ""
# Labels and ids are stored in ASCII, since servers count bytes, and quote expressions each in their own way.
MAX_TEXT_BYTES: Final = 2048
# Of a VARCHAR; a longer document is continued in further rows.
MAX_DOCUMENT_BYTES: Final = 65_000
LABELS: Final = tuple(attribute.name for attribute in LABELLED)
# The numbers of rows that are no photograph.
CONTINUED, DELETED, META = -1, -2, -3
# Of so many writes it is known which products they have deleted.
KEPT_WRITES: Final = 1000
# Written by turns, so that one is always there.
META_KEYS: Final = ("meta", "meta/2")
# What the key begins with of the row that says whose the collection is.
CATALOGUE_PREFIX: Final = "catalogue/"

Row = dict[str, Any]


def text(label: str) -> str:
    """Returns a label or an id as Milvus stores it: ASCII without quotes, backslashes and spaces."""
    return quote(label, safe="")


def key_of(product_id: str, version: int, photograph: int = 0) -> str:
    """Returns the primary key of the row of a photograph of a product.

    Args:
        product_id: of the product.
        version: the sequence of the write; 0 for a row from before keys had versions.
        photograph: its number.
    """
    return _key(str(photograph), product_id, version)


def deletion_key(product_id: str, version: int) -> str:
    """Returns the primary key of the row that says that a product is deleted."""
    return _key("x", product_id, version)


def _key(kind: str, product_id: str, version: int) -> str:
    # An id is stored without "@".
    return f"{kind}/{text(product_id)}@{version}" if version else f"{kind}/{text(product_id)}"


def parts_of(key: str) -> tuple[str, str, int]:
    """Returns what a primary key begins with, such as "0" for a first photograph, the product's id, and the version."""
    kind, _, rest = key.partition("/")
    stored, _, version = rest.partition("@")
    return kind, unquote(stored), int(version or 0)


def keys_of(product_id: str, version: int, photographs: Iterable[int], parts: int = 0) -> list[str]:
    """Returns the primary keys of the rows of photographs of a product, and of a document's parts after the first."""
    keys = [key_of(product_id, version, number) for number in photographs]
    return keys + [_key(f"d{part}", product_id, version) for part in range(1, parts)]


def digest_of(indexed: IndexedProduct) -> int:
    """Returns a number of 63 bits that tells contents apart."""
    content = hashlib.blake2b(pack_products([indexed.product]), digest_size=8)
    for embedding in (indexed.embedding, *indexed.further):
        content.update(b"-" if embedding is None else embedding.tobytes())
    return int.from_bytes(content.digest()) >> 1


def document_of(product: Product) -> list[str]:
    """Returns a product as text, in parts."""
    content = base64.b64encode(zlib.compress(pack_products([product]), 1)).decode()
    return [content[start : start + MAX_DOCUMENT_BYTES] for start in range(0, len(content), MAX_DOCUMENT_BYTES)]


def product_of(parts: Iterable[str]) -> Product:
    """Returns the product that `document_of` wrote."""
    return unpack_products(zlib.decompress(base64.b64decode("".join(parts))))[0]


def rows_of(indexed: IndexedProduct, sequence: int, dimension: int) -> Iterator[Row]:
    """Yields the rows of a product.

    Args:
        indexed: the product.
        sequence: of the write, which is the version in their keys.
        dimension: floats in an embedding.
    """
    product = indexed.product
    attributes = _attributes(product) | {"sequence": sequence, "further": len(indexed.further), "digest": 0}
    nothing = np.zeros(dimension, dtype=np.float32)
    documents = document_of(product)
    for number, embedding in enumerate((indexed.embedding, *indexed.further)):
        if number and embedding is None:
            continue
        yield attributes | {
            "key": key_of(product.id, sequence, number),
            "photograph": number,
            "searchable": embedding is not None,
            "vector": nothing if embedding is None else embedding.astype(np.float32),
            "digest": 0 if number else digest_of(indexed),
            "document": "" if number else documents[0],
            "parts": 0 if number else len(documents),
        }
    for key, document in zip(keys_of(product.id, sequence, (), len(documents)), documents[1:], strict=True):
        yield empty_row(dimension, sequence) | {"key": key, "photograph": CONTINUED, "document": document}


def empty_row(dimension: int, sequence: int) -> Row:
    """Returns a row without product, which no search returns; its key is to be set."""
    return {
        **dict.fromkeys((*LABELS, "currency", "document"), MISSING),
        **dict.fromkeys(("price_units", "price_nanos", "digest", "further", "parts"), 0),
        "year": NO_YEAR,
        "available": False,
        "searchable": False,
        "sequence": sequence,
        "vector": np.zeros(dimension, dtype=np.float32),
    }


def _attributes(product: Product) -> Row:
    values = {name: getattr(product, name) for name in LABELS}
    price = product.price
    return {
        **{name: MISSING if value is None else _stored(value) for name, value in values.items()},
        "year": NO_YEAR if product.year is None else product.year,
        "available": product.available,
        "currency": MISSING if price is None else price.currency_code,
        "price_units": 0 if price is None else price.units,
        "price_nanos": 0 if price is None else price.nanos,
    }


def _stored(value: str | Gender) -> str:
    return text(value.value if isinstance(value, Gender) else value)


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yields a sequence in parts."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
