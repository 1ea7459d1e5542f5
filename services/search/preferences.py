"""Remembers which colours each user dislikes: in Redis, which keeps what it acknowledged, or in memory for tests."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Protocol

from services.clients.redis import RedisStore
from services.contract.errors import InvalidInput
from services.search.catalogue.products import MAX_IDENTIFIER_CHARACTERS, is_identifier
from services.search.filters.colours import DislikedColour

UNAVAILABLE_REASON: Final = "PREFERENCES_UNAVAILABLE"

_EXACT: Final = "exact"
_FAMILY: Final = "family"


def validate_user_id(user_id: str) -> str:
    """Returns a user's id as it came.

    Raises:
        InvalidInput: USER_ID_INVALID.
    """
    if not is_identifier(user_id):
        raise InvalidInput(
            f"The user_id must be 1 to {MAX_IDENTIFIER_CHARACTERS} printable characters without white space.",
            reason="USER_ID_INVALID",
            metadata={"field": "user_id"},
        )
    return user_id


def disliked_colours_key(user_id: str) -> str:
    """Names the Redis key of a user's disliked colours."""
    return f"fashion:user:{user_id}:disliked_colours"


class PreferenceStore(Protocol):
    """Stores the disliked colours of users. User ids and colours have been checked."""

    async def disliked_colours(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns the colours that a user dislikes, in alphabetical order; none for an unknown user.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE: the store does not answer. All methods raise this.
        """
        ...

    async def add(self, user_id: str, colours: Sequence[DislikedColour]) -> tuple[DislikedColour, ...]:
        """Adds colours, at least one, and returns all that the user dislikes now; the last of equal names counts."""
        ...

    async def remove(self, user_id: str, colours: Sequence[str]) -> tuple[DislikedColour, ...]:
        """Removes colours, at least one, and returns all that the user dislikes now."""
        ...

    async def forget(self, user_id: str) -> bool:
        """Erases all data about a user; returns whether there was any."""
        ...


class MemoryPreferences:
    """A `PreferenceStore` in memory, for tests."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, bool]] = {}

    async def disliked_colours(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns the colours that a user dislikes, in alphabetical order."""
        return tuple(DislikedColour(colour, exact) for colour, exact in sorted(self._exact.get(user_id, {}).items()))

    async def add(self, user_id: str, colours: Sequence[DislikedColour]) -> tuple[DislikedColour, ...]:
        """Adds colours and returns all that the user dislikes now."""
        self._exact.setdefault(user_id, {}).update((each.colour, each.exact) for each in colours)
        return await self.disliked_colours(user_id)

    async def remove(self, user_id: str, colours: Sequence[str]) -> tuple[DislikedColour, ...]:
        """Removes colours and returns all that the user dislikes now."""
        known = self._exact.get(user_id, {})
        for colour in colours:
            known.pop(colour, None)
        if not known:
            self._exact.pop(user_id, None)
        return await self.disliked_colours(user_id)

    async def forget(self, user_id: str) -> bool:
        """Erases all data about a user; returns whether there was any."""
        return self._exact.pop(user_id, None) is not None


class RedisPreferences(RedisStore):
    """A `PreferenceStore` in Redis: one hash per user, colour -> "family" or "exact".

    Redis removes a hash together with its last field, so a user without dislikes leaves no trace.
    """

    unavailable_message = "The store of disliked colours (Redis) does not answer; try again later."
    unavailable_reason = UNAVAILABLE_REASON
    decodes = True

    async def disliked_colours(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns the colours that a user dislikes, in alphabetical order; none for an unknown user.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        return _colours(await self._ask(self._client.hgetall(disliked_colours_key(user_id))))

    async def add(self, user_id: str, colours: Sequence[DislikedColour]) -> tuple[DislikedColour, ...]:
        """Adds colours, at least one, and returns all that the user dislikes now.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        key = disliked_colours_key(user_id)
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping={each.colour: _EXACT if each.exact else _FAMILY for each in colours})
            pipeline.hgetall(key)
            return _colours((await self._execute(pipeline))[-1])

    async def remove(self, user_id: str, colours: Sequence[str]) -> tuple[DislikedColour, ...]:
        """Removes colours, at least one, and returns all that the user dislikes now.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        key = disliked_colours_key(user_id)
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hdel(key, *colours)
            pipeline.hgetall(key)
            return _colours((await self._execute(pipeline))[-1])

    async def forget(self, user_id: str) -> bool:
        """Erases all data about a user; returns whether there was any.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        return await self._ask(self._client.delete(disliked_colours_key(user_id))) > 0

    async def _execute(self, pipeline: Any) -> list[Any]:
        answer: Awaitable[list[Any]] = pipeline.execute()
        return await self._ask(answer)


def _colours(fields: Mapping[Any, Any]) -> tuple[DislikedColour, ...]:
    # An unknown value counts as the family: better leave out too much than show a disliked colour.
    return tuple(DislikedColour(colour, extent == _EXACT) for colour, extent in sorted(fields.items()))
