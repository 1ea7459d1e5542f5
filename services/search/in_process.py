"""Search as a caller in the same process sees it: the messages of the protos, and no network."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import Message

from services.clients.search_calls import Response, SearchCalls
from services.search.servicer import SearchServicer

# None of the methods that are called asks who calls.
_NO_CONTEXT: Final[Any] = None


class InProcessSearch(SearchCalls):
    """Calls what unpacks, calls and packs over gRPC too; deadline and request id are the caller's."""

    def __init__(self, servicer: SearchServicer) -> None:
        super().__init__(servicer)

    async def serving(self) -> bool:
        """Tells whether it answers now: always, once it is there."""
        return True

    async def _query(self, method: Callable[..., Awaitable[Response]], request: Message) -> Response:
        return await method(request, _NO_CONTEXT)
