"""What the commands of `fashion bench` have in common."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from offline.benchmark.machine import Machine

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


def write_figures(file: Path, machine: "Machine", figures: Mapping[str, Any]) -> None:
    """Writes figures as JSON, after the machine as it was when they were begun."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": asdict(machine), **figures}, indent=1) + "\n")


def without_proxies() -> None:
    """Forgets proxies: whatever is measured runs on this machine."""
    for proxy in ("grpc_proxy", "https_proxy", "http_proxy"):
        os.environ.pop(proxy, None)
