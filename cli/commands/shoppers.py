"""`fashion shoppers`: what is kept about one shopper, to hand over or to erase."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from cli.commands.users import User
from cli.connection import DEFAULT_SERVER, AsJson, Server, with_client

if TYPE_CHECKING:
    from services.clients.search import SearchClient

app = typer.Typer(
    help=(
        "Hand over or erase all that is kept about one shopper: the disliked colours. Photographs that shoppers send, "
        "their searches and the answers are never kept."
    ),
    epilog="Example: fashion shoppers export anna > anna.json",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)


@app.command(
    epilog=(
        "Example: fashion shoppers export anna > anna.json\n\n"
        'Prints {"user_id", "export_time", "disliked_colours": [{"colour", "exact"}]}; the list is empty where '
        "nothing is kept."
    )
)
def export(user: User, server: Server = DEFAULT_SERVER) -> None:
    """Print all that is kept about a shopper, as JSON."""
    from cli import output

    output.print_json(with_client(server, lambda client: _kept(client, user)))


@app.command(
    epilog=(
        "Example: fashion shoppers erase anna\n\n"
        "Nobody can bring it back. The file of Redis holds it for up to ten minutes more, and backups that were made "
        'before for good. --json prints {"user_id", "existed"}.'
    )
)
def erase(user: User, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Erase all that is kept about a shopper."""
    from cli import output

    existed = with_client(server, lambda client: client.forget_user(user)).existed
    if as_json:
        output.print_json({"user_id": user, "existed": existed})
        return
    text = f"Erased all that was kept about {user}." if existed else f"Nothing was kept about {user}."
    output.console().print(f"{text} Backups that were made before may still hold it.", markup=False)


async def _kept(client: "SearchClient", user: str) -> dict[str, Any]:
    colours = (await client.list_disliked_colours(user)).colours
    return {
        "user_id": user,
        "export_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "disliked_colours": [{"colour": each.colour, "exact": each.exact} for each in colours],
    }
