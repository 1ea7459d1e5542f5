"""How many things are put into one message."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_messages(items: Iterable[T], size: Callable[[T], int], *, max_count: int, max_bytes: int) -> Iterator[list[T]]:
    """Yields things in parts that a message can take, in their order.

    Args:
        items: these; one that is larger than a message comes alone.
        size: returns how many bytes one takes.
        max_count: of one message.
        max_bytes: of one message.
    """
    message: list[T] = []
    message_bytes = 0
    for item in items:
        item_bytes = size(item)
        if message and (len(message) == max_count or message_bytes + item_bytes > max_bytes):
            yield message
            message, message_bytes = [], 0
        message.append(item)
        message_bytes += item_bytes
    if message:
        yield message
