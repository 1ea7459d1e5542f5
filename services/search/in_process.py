"""A client of search in the same process: the messages of the protos, and no network."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import Message

from services.clients.search_calls import Response, SearchCalls
from services.search.servicer import SearchServicer

# The methods of the servicer do not use their context.
_NO_CONTEXT: Final[Any] = None


class InProcessSearch(SearchCalls):
    """Calls the servicer directly, with the caller's deadline and request id."""

    def __init__(self, servicer: SearchServicer) -> None:
        super().__init__(servicer)
        self._servicer = servicer

    async def serving(self) -> bool:
        """Returns True: search answers as soon as it exists."""
        return True

    async def dislikes_known(self) -> bool:
        """Tells whether the disliked colours can be read now."""
        return await self._servicer.dislikes_known()

    async def _query(self, method: Callable[..., Awaitable[Response]], request: Message) -> Response:
        return await method(request, _NO_CONTEXT)
