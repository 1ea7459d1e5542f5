"""`fashion users`: remembers, lists and forgets the colours that a user dislikes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from cli.connection import DEFAULT_SERVER, AsJson, Server, with_client
from cli.labels import in_any_case

if TYPE_CHECKING:
    from fashion.v1 import search_pb2
    from services.clients.search import SearchClient

app = typer.Typer(
    help="Change and show the colours that a user dislikes. Searches for that user leave them out.",
    epilog="Example: fashion users dislike anna Yellow",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)

User = Annotated[str, typer.Argument(metavar="USER", help="The user: 1 to 128 printable characters, no spaces.")]
ColourNames = Annotated[list[str], typer.Argument(metavar="COLOUR...", help='Such as Yellow or "Navy Blue".')]


class _WithColours(Protocol):
    @property
    def colours(self) -> "Sequence[search_pb2.DislikedColour]": ...


@app.command(
    epilog=(
        "Examples:\n\nfashion users dislike anna Yellow\n\n"
        'fashion users dislike anna "Navy Blue" --exact\n\n'
        '--json prints {"user_id", "colours": [{"colour", "exact"}]}.'
    )
)
def dislike(
    user: User,
    colours: ColourNames,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Only this colour, not its family (without --exact, Blue includes Navy Blue)."),
    ] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Remember that a user dislikes some colours, each with its family."""
    changed = with_client(
        server,
        lambda client: in_any_case(lambda: client.add_disliked_colours(user, colours, exact=exact), [colours]),
    )
    _show(user, changed, as_json)


@app.command(
    epilog=(
        'Example: fashion users undislike anna Yellow\n\n--json prints {"user_id", "colours": [{"colour", "exact"}]}.'
    )
)
def undislike(user: User, colours: ColourNames, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Forget that a user dislikes some colours; name them as they were added."""

    async def work(client: "SearchClient") -> "search_pb2.RemoveDislikedColoursResponse":
        disliked = [each.colour for each in (await client.list_disliked_colours(user)).colours]
        named = {colour.casefold() for colour in colours}
        stored = [colour for colour in disliked if colour.casefold() in named]
        return await client.remove_disliked_colours(user, stored or colours)

    _show(user, with_client(server, work), as_json)


@app.command(
    "list", epilog='Example: fashion users list anna\n\n--json prints {"user_id", "colours": [{"colour", "exact"}]}.'
)
def list_colours(user: User, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """List the colours that a user dislikes."""
    _show(user, with_client(server, lambda client: client.list_disliked_colours(user)), as_json)


@app.command(epilog='Example: fashion users forget anna\n\n--json prints {"user_id", "existed"}.')
def forget(user: User, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Erase everything that is stored about a user."""
    from cli import output

    existed = with_client(server, lambda client: client.forget_user(user)).existed
    if as_json:
        output.print_json({"user_id": user, "existed": existed})
    else:
        text = f"Forgot everything about {user}." if existed else f"Nothing was stored about {user}."
        output.console().print(text, markup=False)


def _show(user: str, response: _WithColours, as_json: bool) -> None:
    from cli import output

    if as_json:
        colours = [{"colour": disliked.colour, "exact": disliked.exact} for disliked in response.colours]
        output.print_json({"user_id": user, "colours": colours})
        return
    if not response.colours:
        output.console().print(f"{user} dislikes no colour.", markup=False)
        return
    names = [
        f"{disliked.colour} ({'exactly' if disliked.exact else 'and its family'})" for disliked in response.colours
    ]
    output.console().print(f"{user} dislikes {', '.join(names)}.", markup=False)
