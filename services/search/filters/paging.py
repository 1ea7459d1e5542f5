"""Makes and reads page tokens, which are opaque to callers and valid for one filter and order."""

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
from services.search.filters.order import PARTS, Order, Place

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 500

_FORMAT: Final = 1
# Enough for the base64 of an id and of 200 characters of a name, at up to 6 bytes in JSON, and of the rest.
_MAX_TOKEN_CHARACTERS: Final = 4096


def coerced_page_size(size: int) -> int:
    """Returns how many products a page holds: the default for 0, at most 500 (AIP-158).

    Raises:
        InvalidInput: PAGE_SIZE_OUT_OF_RANGE: it is negative.
    """
    if size < 0:
        raise InvalidInput(
            f"The page_size must not be negative, but is {size}. Leave it out for the default, {DEFAULT_PAGE_SIZE}.",
            reason="PAGE_SIZE_OUT_OF_RANGE",
            metadata={"field": "page_size"},
        )
    return min(size, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def next_page_token(last: Place, filter: Filter, order: Order = Order.ID) -> str:
    """Returns the token of the page that begins after a place."""
    content = json.dumps([_FORMAT, _digest(filter, order, last), *last], ensure_ascii=False)
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def last_place(token: str, filter: Filter, order: Order = Order.ID) -> Place:
    """Returns the place after which the page of a token begins.

    Raises:
        InvalidInput: PAGE_TOKEN_INVALID: the token was not made here, or for another filter or order.
    """
    try:
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise ValueError("too long")
        padding = "=" * (-len(token) % 4)
        content = json.loads(base64.b64decode(token + padding, altchars=b"-_", validate=True))
        form, digest, *parts = content
        if form != _FORMAT or tuple(map(type, parts)) != PARTS[order] or not is_identifier(parts[-1]):
            raise ValueError("another format")
        last = tuple(parts)
        if digest != _digest(filter, order, last):
            raise ValueError("another filter")
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidInput(
            "The page_token was not returned by this service for this filter and order; begin again without one.",
            reason="PAGE_TOKEN_INVALID",
            metadata={"field": "page_token"},
        ) from error
    return last


def _digest(filter: Filter, order: Order, last: Place) -> str:
    conditions = json.dumps(_plain(filter.conditions), sort_keys=True)
    # Without a word for the order of ids, in which older tokens were made.
    place = last[0] if order is Order.ID else json.dumps([order.value, *last])
    return hashlib.sha256(f"{conditions}\n{place}".encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    """Returns a part of a filter as plain values. A part that asks for nothing leaves no trace."""
    if dataclasses.is_dataclass(part):
        values = [(each.name, getattr(part, each.name), each.default) for each in dataclasses.fields(part)]
        # A bound of 0 and a flag that is not set ask for something.
        part = {name: value for name, value, default in values if value is not default}
    if isinstance(part, Mapping):
        plain = {name: _plain(value) for name, value in part.items()}
        return {name: value for name, value in plain.items() if value not in (None, [], {})}
    if isinstance(part, tuple):
        return sorted(_plain(value) for value in part)
    return part.value if isinstance(part, Enum) else part
