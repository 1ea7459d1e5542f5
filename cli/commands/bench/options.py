"""What the commands of `fashion bench` have in common."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

# Where a command writes its figures, for the page of performance.
FIGURES = Path("docs/performance")

Output = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Folder for the figures; the page goes beside it.")
]

# Takes the catalogue that `fashion bench ingest` made.
CatalogueWork = Annotated[Path, typer.Option("--work", metavar="DIR", help="Folder with the catalogue of `ingest`.")]
WORK = Path("var/bench")


def say() -> Callable[[str], None]:
    """Returns what shows a line."""
    from cli.output import console

    to = console()
    return lambda text: to.print(text, highlight=False, markup=False, soft_wrap=True)


def without_proxies() -> None:
    """Forgets proxies: whatever is measured runs on this machine."""
    for proxy in ("grpc_proxy", "https_proxy", "http_proxy"):
        os.environ.pop(proxy, None)
