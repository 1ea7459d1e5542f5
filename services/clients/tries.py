"""Makes calls again where that may help: the one layer that does, within a budget."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import grpc

from services.concurrency.breaker import Breaker
from services.contract.errors import DeadlineExceeded

if TYPE_CHECKING:
    from services.clients.watch import CallWatch

T = TypeVar("T")
Tasks: TypeAlias = set[asyncio.Task[T]]


MAX_BUDGET: Final = 20
# Tries of one call that fail, and all of its tries: a channel may choose the same slow replica several times.
MAX_FAILURES: Final = 3
MAX_TRIES: Final = 6
# After the first and the second failure.
_PAUSES_S: Final = (0.05, 0.1)

_CODES = grpc.StatusCode
# A server that stops answers CANCELLED to calls that it has not begun.
_REPEATABLE: Final = (_CODES.UNAVAILABLE, _CODES.CANCELLED)
# What one replica answers, and another one may not.
_UNDECIDED: Final = (*_REPEATABLE, _CODES.RESOURCE_EXHAUSTED, _CODES.DEADLINE_EXCEEDED, _CODES.INTERNAL, _CODES.UNKNOWN)
# gRPC's own name: a server that does not want the call again answers a negative number.
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"


class Tries:
    """The calls of one service.

    This layer alone makes a call again: gRPC's own retries are off. It does where a replica is gone or stops, up to
    three failures, and where a replica has not answered after a while. Each answer to a first try in time allows one
    more try, and a few are saved up. So one hung replica of two costs no answer, while a service that fails or is slow
    as a whole gets each call once. While it does not answer at all, a breaker lets one call at a time wait.
    """

    def __init__(
        self,
        *,
        patience_s: float,
        watch: "CallWatch | None" = None,
        renew: Callable[[], None] | None = None,
    ) -> None:
        """Begins with a full budget.

        Args:
            patience_s: wait after which a call counts as unanswered, in seconds.
            watch: told what happens; None for nobody.
            renew: replaces the connections, once nothing has been answered for a while; None for nothing.
        """
        self._watch, self._renew = watch, renew
        self._breaker = Breaker(patience_s=patience_s, changed=self._changed)
        self._budget = MAX_BUDGET

    def _changed(self, is_open: bool) -> None:
        if self._watch is not None:
            self._watch.breaker_changed(is_open)
        if is_open and self._renew is not None:
            # The service may be well, and only the connections to it dead without a sign.
            self._renew()

    async def make(
        self,
        call: Callable[[float], Coroutine[Any, Any, T]],
        *,
        timeout_s: float,
        slow_s: float | None = None,
        repeatable: bool = True,
    ) -> T:
        """Makes a call.

        Args:
            call: makes it once, within a number of seconds.
            timeout_s: maximum wait for all tries together, in seconds.
            slow_s: time after which another replica is asked too, in seconds; None to ask none.
            repeatable: whether the call does no harm where one before it was made without an answer.

        Raises:
            Unanswered: the service does not answer, and another call waits for it already.
            DeadlineExceeded: the caller's deadline passed.
            grpc.aio.AioRpcError: the last try failed.
        """
        ends = time.monotonic() + timeout_s
        with self._breaker.passing() as answered:
            pending = {asyncio.create_task(call(timeout_s))}
            made, failures, wait_s, in_time = 1, 0, slow_s, True
            failed: BaseException | None = None
            try:
                while True:
                    done, pending = await _any_of(pending, wait_s)
                    if decided := [task for task in done if not _undecided(task.exception())]:
                        if not isinstance(decided[0].exception(), DeadlineExceeded):
                            answered()
                            self._budget = min(MAX_BUDGET, self._budget + in_time)
                        return decided[0].result()
                    for task in done:
                        failed = task.exception()
                    in_time, failures = False, failures + len(done)
                    may_try = repeatable and made < MAX_TRIES and failures < MAX_FAILURES and self._budget > 0
                    if done:
                        wait_s = slow_s
                        if may_try and _repeatable(failed):
                            wait_s = _PAUSES_S[failures - 1]
                        elif not pending and failed is not None:
                            if not _too_late(failed):
                                answered()
                            raise failed
                    elif may_try:
                        made, wait_s = made + 1, slow_s
                        self._budget -= 1
                        if self._watch is not None:
                            self._watch.made_again()
                        pending.add(asyncio.create_task(call(ends - time.monotonic())))
                    elif not pending and failed is not None:
                        # Others have used up the budget meanwhile.
                        raise failed
            finally:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)


async def _any_of(
    tasks: set[asyncio.Task[T]], wait_s: float | None
) -> tuple[set[asyncio.Task[T]], set[asyncio.Task[T]]]:
    if tasks:
        return await asyncio.wait(tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(wait_s or 0.0)
    return set(), set()


def _undecided(error: BaseException | None) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() in _UNDECIDED


def _too_late(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is _CODES.DEADLINE_EXCEEDED


def _repeatable(error: BaseException | None) -> bool:
    if not isinstance(error, grpc.aio.AioRpcError) or error.code() not in _REPEATABLE:
        return False
    return all(key != PUSHBACK_KEY or not str(value).startswith("-") for key, value in error.trailing_metadata() or ())
