"""Search as the gateway sees it: beside it in the process or behind gRPC, within a deadline, or not there yet."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from fashion.v1 import search_pb2
from services.gateway.schemas import Health
from services.serving import deadline
from services.serving.errors import NotReady

T = TypeVar("T")


class Search(Protocol):
    """What the gateway asks of search; every method raises what the RPC of its name documents, as categories."""

    async def serving(self) -> bool:
        """Tells whether it answers now."""
        ...

    async def find_similar(self, request: search_pb2.FindSimilarRequest) -> search_pb2.FindSimilarResponse:
        """Finds the most similar products."""
        ...

    async def get_product(self, product_id: str) -> search_pb2.GetProductResponse:
        """Returns one product."""
        ...

    async def photograph(self, product_id: str) -> search_pb2.GetPhotographResponse:
        """Returns the photograph of a product."""
        ...

    async def list_products(
        self, only: search_pb2.Filter | None = None, *, page_size: int = 50, page_token: str = ""
    ) -> search_pb2.ListProductsResponse:
        """Returns a page of products."""
        ...

    async def list_facets(self, only: search_pb2.Filter | None = None) -> search_pb2.ListFacetsResponse:
        """Counts products by the values of their attributes."""
        ...

    async def add_disliked_colours(
        self, user_id: str, colours: Sequence[str], *, exact: bool = False
    ) -> search_pb2.AddDislikedColoursResponse:
        """Remembers colours that a user dislikes."""
        ...

    async def remove_disliked_colours(
        self, user_id: str, colours: Sequence[str]
    ) -> search_pb2.RemoveDislikedColoursResponse:
        """Forgets that a user dislikes some colours."""
        ...

    async def list_disliked_colours(self, user_id: str) -> search_pb2.ListDislikedColoursResponse:
        """Lists the colours that a user dislikes."""
        ...

    async def forget_user(self, user_id: str) -> search_pb2.ForgetUserResponse:
        """Erases all that is kept about a user."""
        ...


class Backend:
    """Search, once it is there, each question bounded in time."""

    def __init__(self, deadline_s: float) -> None:
        """Takes how long a question may take, in seconds."""
        self._deadline_s = deadline_s
        self._search: Search | None = None
        self._draining = False

    def ready(self, search: Search) -> None:
        """Asks this from now on."""
        self._search = search

    def drain(self) -> None:
        """Says from now on that no more requests should come; those that do are answered."""
        self._draining = True

    async def ask(self, question: Callable[[Search], Awaitable[T]]) -> T:
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
