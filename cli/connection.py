"""The connection of a command to the server, and the option that names the server."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:
    from services.clients.search import SearchClient

DEFAULT_SERVER = "localhost:50050"
# The server takes at most this many rows or ids per call, and lists as many products.
MAX_CALL_ROWS: Final = 500

Server = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="FASHION_SERVER",
        metavar="HOST:PORT",
        help="Address of the stack, or of the search service alone (port 50053).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.")]

Result = TypeVar("Result")


@asynccontextmanager
async def connected(server: str) -> AsyncIterator["SearchClient"]:
    """Yields a client of the search service at `server`, and closes it."""
    # The stubs and grpc take long to import, and `--help` needs neither.
    from services.clients.search import SearchClient

    async with SearchClient.connect(server) as client:
        yield client


def with_client(server: str, work: Callable[["SearchClient"], Coroutine[Any, Any, Result]]) -> Result:
    """Runs a coroutine function with a client of `server`, and returns its result.

    Raises:
        FashionError: the server refuses, or does not answer.
    """
    # `--help` does without it.
    import asyncio

    async def connect_and_work() -> Result:
        async with connected(server) as client:
            return await work(client)

    return asyncio.run(connect_and_work())
