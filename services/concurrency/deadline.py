"""The deadline of the current call, known in every part of the process that works on it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from services.contract.errors import DeadlineExceeded

# A time of time.monotonic(). Tasks inherit it; threads are given it.
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def current() -> float | None:
    """Returns the deadline as a time of `time.monotonic()`, in seconds; None where there is none."""
    return _deadline.get()


def remaining_s() -> float | None:
    """Returns the seconds until the deadline, at most 0 once it has passed; None where there is none."""
    deadline = _deadline.get()
    return None if deadline is None else deadline - time.monotonic()


def passed(deadline: float | None) -> bool:
    """Tells whether a deadline of `current` has passed; for threads, which do not inherit it."""
    return deadline is not None and time.monotonic() >= deadline


def exceeded() -> DeadlineExceeded:
    """Makes the error for a deadline that has passed."""
    return DeadlineExceeded("The deadline passed before the work was done.", reason="DEADLINE_EXCEEDED")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Sets the deadline to `seconds` from now, unless it is nearer already."""
    new = time.monotonic() + seconds
    known = _deadline.get()
    token = _deadline.set(new if known is None else min(known, new))
    try:
        yield
    finally:
        _deadline.reset(token)


@asynccontextmanager
async def enforced() -> AsyncIterator[None]:
    """Cancels the code inside when the deadline passes.

    Raises:
        DeadlineExceeded: the deadline has passed.
    """
    left = remaining_s()
    if left is not None and left <= 0:
        raise exceeded()
    try:
        async with asyncio.timeout(left) as timer:
            yield
    except TimeoutError:
        # The code inside may raise a TimeoutError of its own.
        if timer.expired():
            raise exceeded() from None
        raise
