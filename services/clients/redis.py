"""A client of Redis that answers in time, reconnects once, and fails with one error of the domain."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import ClassVar, Final, TypeVar

import redis.asyncio
import redis.exceptions
import structlog
from prometheus_client import Counter, Histogram
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.clients.watch import CallWatch
from services.concurrency import spans
from services.concurrency.breaker import Breaker, Unanswered
from services.concurrency.metrics import SECONDS
from services.contract.errors import Upstream

_SECONDS: Final = Histogram("fashion_redis_seconds", "Time of an answer of Redis, failures included.", buckets=SECONDS)
_FAILURES: Final = Counter("fashion_redis_failures", "Answers of Redis that failed or came too late.")

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)

_REFUSALS: Final = (redis.exceptions.ResponseError, redis.exceptions.AuthenticationError)


class RedisStore:
    """Base of what is stored in Redis.

    Attributes:
        unavailable_message: a sentence for callers while Redis does not answer.
        refused_message: a sentence for callers while Redis refuses commands, such as without memory or rights.
        unavailable_reason: the reason of both errors, such as "CANDIDATES_UNAVAILABLE".
        decodes: whether Redis's answers are text, not bytes.
    """

    unavailable_message: ClassVar[str]
    refused_message: ClassVar[str]
    unavailable_reason: ClassVar[str]
    decodes: ClassVar[bool] = False

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Makes a client of the Redis at `url`, which connects with the first call.

        Args:
            url: URL of the Redis.
            timeout_s: maximum time of a call, in seconds.
        """
        self._timeout_s = timeout_s
        what = self.unavailable_reason.removesuffix("_UNAVAILABLE").lower()
        # Timers may end a little early.
        self._breaker = Breaker(patience_s=0.9 * timeout_s, changed=CallWatch(f"redis {what}").breaker_changed)
        self._cause = ""
        self._client = redis.asyncio.Redis.from_url(
            url,
            decode_responses=self.decodes,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Redis closes all connections when it restarts: the first call after that needs a second attempt.
            retry=Retry(NoBackoff(), 1),
            # A Redis before 7.2 knows no CLIENT SETINFO, nor does its list of rights.
            driver_info=None,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _ask(self, operation: str, answer: Awaitable[T]) -> T:
        """Waits for an answer of Redis; while there is none, one call at a time does.

        Args:
            operation: name of the command, such as "HGETALL".
            answer: of the client.

        Raises:
            Upstream: there is none in time, or it is an error.
        """
        try:
            with self._breaker.passing() as answered:
                return await self._answer(operation, answer, answered)
        except Unanswered:
            if inspect.iscoroutine(answer):
                answer.close()
            raise Upstream(self.unavailable_message, reason=self.unavailable_reason) from None

    async def _answer(self, operation: str, answer: Awaitable[T], answered: Callable[[], None]) -> T:
        try:
            with _SECONDS.time(), self._span(operation):
                async with asyncio.timeout(self._timeout_s):
                    value = await answer
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            _FAILURES.inc()
            self._log_once(error)
            if isinstance(error, (TimeoutError, redis.exceptions.TimeoutError)):
                # Idle connections that lead nowhere would each cost another call its time.
                with suppress(redis.exceptions.RedisError, OSError, TimeoutError):
                    await self._client.connection_pool.disconnect(inuse_connections=False)
            else:
                answered()
            # Over a Unix socket a wrong password is the cause of a ConnectionError.
            if isinstance(error, _REFUSALS) or isinstance(error.__cause__, _REFUSALS):
                raise Upstream(self.refused_message, reason=self.unavailable_reason) from error
            raise Upstream(self.unavailable_message, reason=self.unavailable_reason) from error
        answered()
        self._cause = ""
        return value

    def _span(self, operation: str) -> AbstractContextManager[object]:
        tracer = spans.tracer()
        if tracer is None:
            return nullcontext()
        where = self._client.connection_pool.connection_kwargs
        return tracer.stored(operation, str(where.get("path") or where.get("host")), where.get("port"))

    def _log_once(self, error: Exception) -> None:
        """Logs why Redis fails, once until it answers again or fails otherwise."""
        cause = f"{type(error).__name__}: {error}"
        if cause != self._cause:
            self._cause = cause
            _log.error("Redis fails", reason=self.unavailable_reason, cause=cause)
