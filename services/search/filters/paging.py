"""Makes and reads page tokens, which are opaque to callers and valid for one filter."""

import base64
import binascii
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from services.contract.errors import InvalidInput
from services.search.catalogue.products import is_identifier
from services.search.filters.filter import Filter

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 500

_FORMAT: Final = 1
# Enough for the base64 of a product's id (128 characters of up to 12 bytes in JSON), the digest and the brackets.
_MAX_TOKEN_CHARACTERS: Final = 4096


def check_page_size(size: int) -> None:
    """Refuses a page size out of range.

    Raises:
        InvalidInput: PAGE_SIZE_OUT_OF_RANGE.
    """
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise InvalidInput(
            f"The page_size must be 1 to {MAX_PAGE_SIZE}, not {size}.",
            reason="PAGE_SIZE_OUT_OF_RANGE",
            metadata={"field": "page_size"},
        )


def next_page_token(last_id: str, filter: Filter) -> str:
    """Returns the token of the page that begins after a product."""
    content = json.dumps([_FORMAT, _digest(filter, last_id), last_id])
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def last_id(token: str, filter: Filter) -> str:
    """Returns the product after which the page of a token begins.

    Raises:
        InvalidInput: PAGE_TOKEN_INVALID: the token was not made here, or for another filter.
    """
    try:
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise ValueError("too long")
        padding = "=" * (-len(token) % 4)
        content = json.loads(base64.b64decode(token + padding, altchars=b"-_", validate=True))
        form, digest, product_id = content
        if form != _FORMAT or not isinstance(product_id, str) or not is_identifier(product_id):
            raise ValueError("another format")
        if digest != _digest(filter, product_id):
            raise ValueError("another filter")
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidInput(
            "The page_token was not returned by this service for this filter; begin again without one.",
            reason="PAGE_TOKEN_INVALID",
            metadata={"field": "page_token"},
        ) from error
    return product_id


def _digest(filter: Filter, product_id: str) -> str:
    conditions = json.dumps(_plain(filter.conditions), sort_keys=True)
    return hashlib.sha256(f"{conditions}\n{product_id}".encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    """Returns a part of a filter as plain values. A part that asks for nothing leaves no trace."""
    if dataclasses.is_dataclass(part):
        part = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
    if isinstance(part, Mapping):
        plain = {name: _plain(value) for name, value in part.items()}
        return {name: value for name, value in plain.items() if value not in (None, [], {}, False)}
    if isinstance(part, tuple):
        return sorted(_plain(value) for value in part)
    return part.value if isinstance(part, Enum) else part
