"""Search as the gateway calls it: in this process or over gRPC, with a deadline, once it is ready."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from services.clients.search_calls import SearchCalls
from services.concurrency import deadline
from services.contract.errors import Forbidden, NotReady, Unauthenticated, Upstream
from services.gateway.schema.answers import Health

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")


class Backend:
    """Search, once it is ready; each call has a deadline."""

    def __init__(self, deadline_s: float) -> None:
        """Takes the maximum time of a call, in seconds."""
        self._deadline_s = deadline_s
        self._search: SearchCalls | None = None
        self._draining = False

    def ready(self, search: SearchCalls) -> None:
        """Calls `search` from now on."""
        self._search = search

    def drain(self) -> None:
        """Reports "draining" from now on; requests are still answered."""
        self._draining = True

    async def ask(self, call: Callable[[SearchCalls], Awaitable[T]]) -> T:
        """Calls search.

        Raises:
            NotReady: INDEX_NOT_READY; search is still starting.
            Upstream: SEARCH_UNAVAILABLE; search does not answer, or refuses this gateway.
            DeadlineExceeded: search has not answered in time.
        """
        if self._search is None:
            raise NotReady("The service is still starting; try again in a few seconds.", reason="INDEX_NOT_READY")
        with deadline.at_most(self._deadline_s):
            async with deadline.enforced():
                try:
                    return await call(self._search)
                except (Unauthenticated, Forbidden) as error:
                    # What search refuses is this gateway's key, not that of the caller.
                    _log.error("search refuses this gateway", reason=error.reason, why=error.message)
                    raise Upstream(
                        "The gateway is not allowed to ask search; its log says why.", reason="SEARCH_UNAVAILABLE"
                    ) from error
                except Upstream as error:
                    if error.reason != "SEARCH_UNAVAILABLE":
                        raise
                    # The error names addresses, and anybody may call this gateway.
                    _log.warning("search does not answer", why=error.message, details=error.metadata.get("details", ""))
                    raise Upstream("Search does not answer; try again a little later.", reason=error.reason) from error

    async def health(self) -> Health:
        """Tells whether requests can be answered."""
        if self._draining:
            return Health(status="draining")
        if self._search is None:
            return Health(status="starting")
        if not await self._search.serving():
            return Health(status="unavailable")
        return Health(status="ok", degraded=[] if await self._search.dislikes_known() else ["PREFERENCES_UNAVAILABLE"])
