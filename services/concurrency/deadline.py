"""Knows how much time is left for the call that is being worked on, in whatever part of the process that happens."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from services.contract.errors import DeadlineExceeded

# A point on time.monotonic()'s scale; tasks inherit it, threads are handed it.
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def current() -> float | None:
    """Returns the deadline as a point on the scale of `time.monotonic()`, in seconds; None where there is none."""
    return _deadline.get()


def remaining_s() -> float | None:
    """Returns the seconds that are left, at most 0 where the deadline has passed; None where there is none."""
    deadline = _deadline.get()
    return None if deadline is None else deadline - time.monotonic()


def passed(deadline: float | None) -> bool:
    """Tells whether a deadline, as `current` gave it, has passed; for threads, which do not inherit the context."""
    return deadline is not None and time.monotonic() >= deadline


def exceeded() -> DeadlineExceeded:
    """Makes the error that says so."""
    return DeadlineExceeded("The deadline passed before the work was done.", reason="DEADLINE_EXCEEDED")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Brings the deadline forward to `seconds` from now; one that is nearer stays."""
    new = time.monotonic() + seconds
    known = _deadline.get()
    token = _deadline.set(new if known is None else min(known, new))
    try:
        yield
    finally:
        _deadline.reset(token)


@asynccontextmanager
async def enforced() -> AsyncIterator[None]:
    """Cancels what runs inside once the deadline has passed.

    Raises:
        DeadlineExceeded: it has passed.
    """
    left = remaining_s()
    if left is not None and left <= 0:
        raise exceeded()
    try:
        async with asyncio.timeout(left) as timer:
            yield
    except TimeoutError:
        # A TimeoutError of what runs inside is not ours to explain.
        if timer.expired():
            raise exceeded() from None
        raise
