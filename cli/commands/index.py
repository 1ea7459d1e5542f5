"""`fashion index`: checks a place for the index before it is used."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import AsJson
from services.contract.errors import InvalidInput

app = typer.Typer(
    help="Check a Milvus before search uses it.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    # Typer makes a group of one command only where there is a callback.
    pass


@app.command(
    epilog=(
        "Examples:\n\nfashion index check --target http://milvus:19530\n\n"
        "fashion index check --target https://milvus.example --json\n\n"
        "It makes empty collections whose names begin with check_, and deletes them. Each case holds answers to a "
        'comparison with every product. --json prints a list of {"name", "difference", "took_s"}.\n\n'
        "Exit codes: 0 nothing differs · 1 something does · 4 Milvus cannot be used there"
    )
)
def check(
    target: Annotated[
        str, typer.Option("--target", metavar="URL", help="Address of Milvus, or a file of Milvus Lite (*.db).")
    ],
    token: Annotated[
        str,
        typer.Option("--token", envvar="SEARCH_MILVUS_TOKEN", metavar="TOKEN", help='"user:password", or a key.'),
    ] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            envvar="SEARCH_MILVUS_CA_FILE",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Certificates of the authority that signed Milvus's own. [default: those that the system trusts]",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the quick part of the suite of indexes on a Milvus, and tell what differs."""
    try:
        import pymilvus  # noqa: F401
    except ImportError:
        raise InvalidInput(
            "Milvus needs pymilvus. Install it with `pip install fashion-recommender[milvus]`.", reason="EXTRA_MISSING"
        ) from None
    from cli import output
    from offline.benchmark.milvus_check import Check
    from services.search.indexes.milvus.settings import MilvusSettings

    outcomes = []
    for each in Check(MilvusSettings(target, token, ca_file=ca_file)).run():
        outcomes.append(each)
        if not as_json:
            output.console().print("[red]differs[/]" if each.difference else "[green]holds  [/]", end="  ")
            output.console().print(f"{each.name} ({each.took_s:.1f} s)", markup=False, soft_wrap=True)
            if each.difference:
                output.console().print(f"         {each.difference}", markup=False, soft_wrap=True, style="dim")
    if as_json:
        output.print_json([asdict(each) for each in outcomes])
    if any(each.difference for each in outcomes):
        raise typer.Exit(1)
