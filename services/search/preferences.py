"""Remembers which colours each user dislikes: in Redis, which keeps what it acknowledged, or in memory for tests."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import structlog

from services.clients.redis import RedisStore
from services.contract.errors import InvalidInput, Upstream
from services.search.append_only_file import AppendOnlyFile
from services.search.catalogue.products import MAX_IDENTIFIER_CHARACTERS, is_identifier
from services.search.filters.colours import DislikedColour

_log = structlog.stdlib.get_logger(__name__)

UNAVAILABLE_REASON: Final = "PREFERENCES_UNAVAILABLE"

# Users whose dislikes are remembered for when Redis is silent; a few hundred bytes each.
MAX_REMEMBERED_USERS: Final = 10_000
# Another process may have erased a user since.
MAX_REMEMBERED_S: Final = 3600.0

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

    def last_known(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns what the user was last known to dislike, for when the store does not answer; () if nothing is."""
        ...

    async def available(self) -> bool:
        """Tells whether the store answers; never raises."""
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

    async def drop_erased(self) -> None:
        """Drops what the disk still holds of erased users, where it is time to; never raises."""
        ...


class MemoryPreferences:
    """A `PreferenceStore` in memory, for tests."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, bool]] = {}

    async def disliked_colours(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns the colours that a user dislikes, in alphabetical order."""
        return self.last_known(user_id)

    def last_known(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns the colours that a user dislikes."""
        return tuple(DislikedColour(colour, exact) for colour, exact in sorted(self._exact.get(user_id, {}).items()))

    async def available(self) -> bool:
        """Returns True."""
        return True

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

    async def drop_erased(self) -> None:
        """Does nothing: nothing is on a disk."""


class RedisPreferences(RedisStore):
    """A `PreferenceStore` in Redis: one hash per user, colour -> "family" or "exact".

    Redis removes a hash together with its last field, so a user without dislikes leaves no trace. The newest answers
    are remembered for an hour, so that a colour known to be disliked is not shown while Redis is silent.
    """

    unavailable_message = "The store of disliked colours (Redis) does not answer; try again later."
    refused_message = "The store of disliked colours (Redis) refuses commands; the server's log says why."
    unavailable_reason = UNAVAILABLE_REASON
    decodes = True

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        max_remembered: int = MAX_REMEMBERED_USERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes a client of the Redis at `url`, which connects with the first call.

        Args:
            url: URL of the Redis.
            timeout_s: maximum time of a call, in seconds.
            max_remembered: maximum users whose dislikes are remembered, those asked for last.
            clock: returns a time that never goes back, in seconds.
        """
        super().__init__(url, timeout_s=timeout_s)
        self._max_remembered = max_remembered
        self._clock = clock
        # With the time of the answer, the oldest first.
        self._remembered: OrderedDict[str, tuple[tuple[DislikedColour, ...], float]] = OrderedDict()
        # How often an erasure has begun or ended; and how often any change has, an erasure included.
        self._erasures = 0
        self._changes = 0
        self._file = AppendOnlyFile(self._client, clock)

    def last_known(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns what Redis answered about a user within the last hour; () if that is not known any more."""
        oldest = self._clock() - MAX_REMEMBERED_S
        while self._remembered and next(iter(self._remembered.values()))[1] < oldest:
            self._remembered.popitem(last=False)
        return self._remembered.get(user_id, ((), 0.0))[0]

    async def available(self) -> bool:
        """Tells whether Redis answers; never raises."""
        try:
            # Not held up by those that wait already, as it is what tells that Redis is back.
            return bool(await self._answer("PING", self._client.ping(), self._breaker.answered))
        except Upstream:
            return False

    async def disliked_colours(self, user_id: str) -> tuple[DislikedColour, ...]:
        """Returns the colours that a user dislikes, in alphabetical order; none for an unknown user.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        changes = self._changes
        fields = await self._ask("HGETALL", self._client.hgetall(disliked_colours_key(user_id)))
        # A change beside it may be newer than this answer, and remembers its own.
        return self._remember(user_id, fields, current=changes == self._changes)

    async def add(self, user_id: str, colours: Sequence[DislikedColour]) -> tuple[DislikedColour, ...]:
        """Adds colours, at least one, and returns all that the user dislikes now.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        key, erasures = disliked_colours_key(user_id), self._erasures
        with self._changing():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hset(key, mapping={each.colour: _EXACT if each.exact else _FAMILY for each in colours})
                pipeline.hgetall(key)
                fields = (await self._execute(pipeline))[-1]
            return self._remember(user_id, fields, current=erasures == self._erasures)

    async def remove(self, user_id: str, colours: Sequence[str]) -> tuple[DislikedColour, ...]:
        """Removes colours, at least one, and returns all that the user dislikes now.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        key, erasures = disliked_colours_key(user_id), self._erasures
        with self._changing():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hdel(key, *colours)
                pipeline.hgetall(key)
                fields = (await self._execute(pipeline))[-1]
            return self._remember(user_id, fields, current=erasures == self._erasures)

    async def forget(self, user_id: str) -> bool:
        """Erases all data about a user; returns whether there was any.

        Raises:
            Upstream: PREFERENCES_UNAVAILABLE.
        """
        # Forgotten here in any case: Redis may have done it and not answered.
        self._remembered.pop(user_id, None)
        self._erasures += 1
        try:
            with self._changing():
                return await self._ask("DEL", self._client.delete(disliked_colours_key(user_id))) > 0
        finally:
            self._remembered.pop(user_id, None)
            self._erasures += 1
            self._file.erased()

    async def drop_erased(self) -> None:
        """Drops erased users from the file of Redis, after a while; see `AppendOnlyFile.rewrite`."""
        await self._file.rewrite()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._changes += 1
        try:
            yield
        finally:
            self._changes += 1

    def _remember(self, user_id: str, fields: Mapping[Any, Any], *, current: bool) -> tuple[DislikedColour, ...]:
        """Returns what Redis has answered, and remembers it where nothing newer can be known."""
        colours = _colours(fields)
        if not current:
            return colours
        self._remembered.pop(user_id, None)
        if colours:
            self._remembered[user_id] = colours, self._clock()
            if len(self._remembered) > self._max_remembered:
                self._remembered.popitem(last=False)
        return colours

    async def _execute(self, pipeline: Any) -> list[Any]:
        answer: Awaitable[list[Any]] = pipeline.execute()
        return await self._ask("MULTI", answer)


def _colours(fields: Mapping[Any, Any]) -> tuple[DislikedColour, ...]:
    # An unknown value counts as the family: better leave out too much than show a disliked colour.
    return tuple(DislikedColour(colour, extent == _EXACT) for colour, extent in sorted(fields.items()))


async def watch_preferences(store: PreferenceStore, period_s: float, report: Callable[[bool], Awaitable[None]]) -> None:
    """Reports whether the store answers, at once and whenever that changes, and drops erased users; never returns.

    Args:
        store: of the dislikes.
        period_s: time between two checks, in seconds.
        report: takes whether it answers.
    """
    known: bool | None = None
    while True:
        if (available := await store.available()) != known:
            if not available:
                _log.warning("disliked colours cannot be read; the last known ones are applied")
            elif known is not None:
                _log.info("disliked colours can be read again")
            await report(available)
            known = available
        if available:
            await store.drop_erased()
        await asyncio.sleep(period_s)
