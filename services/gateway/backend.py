"""Search as the gateway sees it: beside it in the process or behind gRPC, within a deadline, or not there yet."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.clients.search_calls import SearchCalls
from services.concurrency import deadline
from services.contract.errors import NotReady
from services.gateway.schema.answers import Health

T = TypeVar("T")


class Backend:
    """Search, once it is there, each question bounded in time."""

    def __init__(self, deadline_s: float) -> None:
        """Takes how long a question may take, in seconds."""
        self._deadline_s = deadline_s
        self._search: SearchCalls | None = None
        self._draining = False

    def ready(self, search: SearchCalls) -> None:
        """Asks this from now on."""
        self._search = search

    def drain(self) -> None:
        """Says from now on that no more requests should come; those that do are answered."""
        self._draining = True

    async def ask(self, question: Callable[[SearchCalls], Awaitable[T]]) -> T:
        """Asks search.

        Raises:
            NotReady: INDEX_NOT_READY: it is still being started.
            DeadlineExceeded: it has not answered in time.
        """
        if self._search is None:
            raise NotReady("The service is still starting; try again in a few seconds.", reason="INDEX_NOT_READY")
        with deadline.at_most(self._deadline_s):
            async with deadline.enforced():
                return await question(self._search)

    async def health(self) -> Health:
        """Tells whether requests can be answered."""
        if self._draining:
            return Health(status="draining")
        if self._search is None:
            return Health(status="starting")
        return Health(status="ok" if await self._search.serving() else "unavailable")
