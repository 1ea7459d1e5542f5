"""The file to which Redis appends what it is told: an erased user is in it until it is written anew."""

import asyncio
from collections.abc import Callable
from typing import Final

import redis.asyncio
import redis.exceptions
import structlog

_log = structlog.stdlib.get_logger(__name__)

# Each rewriting reads all users.
REWRITE_PERIOD_S: Final = 600.0
# A fork of a large Redis takes a while.
_TIMEOUT_S: Final = 10.0
_UNDER_WAY: Final = "in progress"


class AppendOnlyFile:
    """Has Redis write its append-only file anew once somebody was erased."""

    def __init__(self, client: redis.asyncio.Redis, clock: Callable[[], float]) -> None:
        """Takes the ways to Redis and to the time.

        Args:
            client: of Redis; its owner closes it.
            clock: returns a time that never goes back, in seconds.
        """
        self._client = client
        self._clock = clock
        # Erasures so far. A process before this one may have erased somebody, and ended.
        self._erased = 1
        # How many of them the file is known to hold no more; and the rewriting that was asked for, with its number.
        self._rewritten = 0
        self._asked: int | None = None
        self._looked_at = clock()

    def erased(self) -> None:
        """Takes note that somebody was erased."""
        self._erased += 1

    async def rewrite(self) -> None:
        """Asks for a new file where it may hold erased users, at most every ten minutes; never raises.

        Redis does not tell that a rewriting has failed, such as on a full disk: it counts once that is seen to be done.
        """
        if self._rewritten == self._erased or self._clock() < self._looked_at + REWRITE_PERIOD_S:
            return
        self._looked_at = self._clock()
        # Before the call: who is erased meanwhile may be in the new file.
        erased = self._erased
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                state = await self._client.info("persistence")
                if not state["aof_enabled"]:
                    # There is no such file, and Redis would write one.
                    self._rewritten = erased
                elif not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                    if self._asked is not None and state["aof_last_bgrewrite_status"] == "ok":
                        self._rewritten = self._asked
                    self._asked = None
                    if self._rewritten != erased:
                        await self._client.bgrewriteaof()
                        self._asked = erased
        except redis.exceptions.ResponseError as error:
            # One that has just begun may hold who was erased after its beginning.
            if _UNDER_WAY not in str(error):
                _log.warning(
                    "Redis does not let its append-only file be rewritten, which may hold erased users",
                    cause=str(error),
                )
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            _log.warning("Redis was not asked to rewrite its append-only file; trying again later", cause=repr(error))
