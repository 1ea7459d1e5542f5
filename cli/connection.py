"""How commands reach the server: the option that names it, and a connection for the length of a command."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from services.clients.search import SearchClient

DEFAULT_SERVER = "localhost:50050"

Server = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="FASHION_SERVER",
        metavar="HOST:PORT",
        help="The stack, or the search service alone (port 50053).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]

Result = TypeVar("Result")


@asynccontextmanager
async def connected(server: str) -> AsyncIterator["SearchClient"]:
    """A client of the search service at `server`, closed at the end."""
    # The stubs and grpc take a while to import: `--help` does without them.
    from services.clients.search import SearchClient

    async with SearchClient.connect(server) as client:
        yield client


def with_client(server: str, work: Callable[["SearchClient"], Coroutine[Any, Any, Result]]) -> Result:
    """Runs some work with a client of `server` to its end.

    Raises:
        FashionError: the server refused, or does not answer.
    """

    async def connect_and_work() -> Result:
        async with connected(server) as client:
            return await work(client)

    return asyncio.run(connect_and_work())
