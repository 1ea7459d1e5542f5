"""Options that commands share: where they stand, what they give a command, and that they can be required."""

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from cli.commands import export
from cli.commands import search as search_command
from cli.options import shared_options


@dataclass(frozen=True, kw_only=True)
class Place:
    city: Annotated[str, typer.Option("--city")]
    floor: Annotated[int, typer.Option("--floor", min=0)] = 0


QUERY = {"QUERY", "--product-id", "--image", "--region", "--subject", "--contact-sheet"}


def _names(app: typer.Typer, command: str | None = None) -> set[str]:
    found = typer.main.get_command(app)
    if command is not None:
        found = found.commands[command]  # type: ignore[attr-defined]
    return {
        name
        for each in found.params
        for name in (each.opts if each.param_type_name == "option" else [str(each.metavar)])
    }


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()

    @app.command()
    @shared_options("place", Place)
    def visit(
        guest: Annotated[str, typer.Argument()], *, place: Place, quietly: Annotated[bool, typer.Option()] = False
    ) -> None:
        """Visit a place."""
        typer.echo(f"{guest} {place} {quietly}")

    outcome = CliRunner().invoke(app, arguments)
    return outcome.exit_code, outcome.output


def test_a_command_gets_its_own_options_and_the_value_made_of_the_shared_ones() -> None:
    assert run("anna", "--city", "Graz", "--floor", "2", "--quietly") == (
        0,
        "anna Place(city='Graz', floor=2) True\n",
    )
    assert run("anna", "--city", "Graz") == (0, "anna Place(city='Graz', floor=0) False\n")


def test_what_a_shared_option_requires_is_required_and_checked() -> None:
    assert run("anna")[0] == 2
    assert run("anna", "--city", "Graz", "--floor", "-1")[0] == 2


def test_help_shows_the_shared_options_and_not_the_parameter() -> None:
    code, text = run("--help")
    assert code == 0
    assert "--city" in text and "--floor" in text and "Visit a place" in text
    assert "--place" not in text


def test_an_export_of_similar_products_takes_what_a_search_takes() -> None:
    of_search, of_export = _names(search_command.app), _names(export.app, "similar")
    assert of_search - of_export == QUERY
    assert of_export - of_search == {"FILE", "--format", "--in-flight"}
