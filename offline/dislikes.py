"""The colours that users dislike, in a Redis and in a backup."""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import redis

from services.contract.errors import Upstream
from services.search.preferences import disliked_colours_key
from services.stack.embedded_redis import embedded_redis, running_url

Dislikes = Mapping[str, Mapping[str, str]]
"""Each user's colours, with how they are disliked."""

_KEY_BEFORE, _KEY_AFTER = disliked_colours_key("\0").split("\0")


def to_lines(users: Dislikes) -> str:
    """Returns a line of JSON for each user."""
    lines = (json.dumps({"user": user, "colours": colours}) for user, colours in users.items())
    return "".join(f"{line}\n" for line in lines)


def of_lines(content: bytes) -> Dislikes:
    """Returns what `to_lines` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        users = {row["user"]: row["colours"] for row in map(json.loads, content.decode().splitlines())}
        texts = [*users, *(text for colours in users.values() for pair in colours.items() for text in pair)]
        # Halves of characters, which JSON can spell, are no text.
        sound = all(isinstance(text, str) and text.encode() is not None for text in texts)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not sound:
        raise ValueError("A user or a colour is no text.")
    return users


def read(folder: Path, url: str | None) -> Dislikes | None:
    """Reads the Redis at a URL; without one that of a folder, and None where there is no folder.

    Raises:
        Upstream: REDIS_UNAVAILABLE.
    """
    if url is not None:
        return read_from(url)
    if not folder.is_dir():
        return None
    if running := running_url(folder):
        return read_from(running)
    with embedded_redis(folder) as server:
        return read_from(server.url)


def read_from(url: str) -> Dislikes:
    """Reads the Redis at a URL.

    Raises:
        Upstream: REDIS_UNAVAILABLE.
    """
    try:
        with closing(redis.Redis.from_url(url, decode_responses=True, socket_timeout=30)) as client:
            # A scan may name a key twice.
            keys = sorted(set(client.scan_iter(match=f"{_KEY_BEFORE}*{_KEY_AFTER}", count=1000)))
            users = {key[len(_KEY_BEFORE) : -len(_KEY_AFTER)]: _texts(client.hgetall(key)) for key in keys}
            return {user: colours for user, colours in users.items() if colours}
    except redis.RedisError as error:
        raise Upstream(
            f"The Redis with disliked colours cannot be read: {error}.", reason="REDIS_UNAVAILABLE"
        ) from error


def _texts(fields: Any) -> dict[str, str]:
    return {str(colour): str(how) for colour, how in fields.items()}


def write(folder: Path, url: str | None, users: Dislikes) -> None:
    """Writes to the Redis at a URL; without one to that of a folder, which is made.

    Raises:
        Upstream: REDIS_UNAVAILABLE.
    """
    if url is not None:
        _write_to(url, users)
        return
    with embedded_redis(folder) as server:
        _write_to(server.url, users)


def _write_to(url: str, users: Dislikes) -> None:
    try:
        with closing(redis.Redis.from_url(url, decode_responses=True, socket_timeout=30)) as client:
            for user, colours in users.items():
                client.hset(disliked_colours_key(user), items=[part for pair in colours.items() for part in pair])
    except redis.RedisError as error:
        raise Upstream(
            f"The products are restored, but Redis did not take the disliked colours: {error}.",
            reason="REDIS_UNAVAILABLE",
        ) from error
