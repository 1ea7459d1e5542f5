"""`fashion demo`: search from end to end, on a drawn catalogue or on your own data set."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.contract.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cli.demo.material import Material
    from offline.dataset.row import Row
    from offline.dataset.rows import Dataset

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

_STOREFRONT = "http://localhost:8080/"


@app.command(
    epilog=(
        "Examples:\n\nfashion demo\n\nfashion demo --dataset fashion-product-images-small.zip --limit 2000\n\n"
        "It runs a stack of its own on a free port, with its data in var/demo, and leaves nothing running. Repeat it "
        "at any time: it embeds only new products."
    )
)
def demo(
    dataset: Annotated[
        Path | None,
        typer.Option(
            "--dataset",
            metavar="PATH",
            help="Use this data set, a folder or zip in Kaggle's layout, instead of drawn products.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for the contact sheet and the photographs."),
    ] = Path("out/demo"),
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Take only the first N products.")
    ] = None,
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Keep the stack running until Ctrl-C.")] = False,
) -> None:
    """Show what it does: find similar products for a product, for a photograph, for a shopper who dislikes yellow."""
    from cli import output
    from cli.demo.material import DEMO_HOME, demo_dataset_name, drawn_catalogue, leave_photographs
    from cli.stack_process import startup_errors
    from offline.dataset.rows import open_dataset

    to = output.console()
    if dataset is None:
        path, home = drawn_catalogue(DEMO_HOME, to), DEMO_HOME / "drawn"
    else:
        path, home = dataset, DEMO_HOME / demo_dataset_name(dataset)
    with startup_errors(), open_dataset(path) as opened:
        rows = opened.rows if limit is None else opened.rows[:limit]
        if not rows:
            raise InvalidInput(f"No row of {path} can become a product.", reason="DATASET_EMPTY")
        material = _material(opened, rows, drawn=dataset is None, to=to)
        leave_photographs(material.photographs, out)
        with _logging_to(home / "stack.log"):
            asyncio.run(_run(opened, material, home, out / "contact-sheet.png", keep_running=keep_running, to=to))
        if not keep_running:
            example = out / material.photographs[0].file_name if material.photographs else None
            _what_next(to, None if dataset is None else home / "data", example)


def _material(dataset: "Dataset", rows: "Sequence[Row]", *, drawn: bool, to: "Console") -> "Material":
    """Returns the rows of the catalogue, and photographs that are not in it."""
    from cli import output
    from cli.demo.material import Material, drawn_photographs, held_out_material

    if drawn:
        return Material(rows, (), drawn_photographs())
    with output.status(to, "Choosing photographs to hold out …"):
        material = held_out_material(dataset, rows)
    if material.held_out:
        to.print(f"Held out of the catalogue, as photographs to search with: {len(material.held_out)} products.")
    return material


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Sends the log of the stack and its libraries to a file, as the terminal belongs to the demo."""
    from services.serving.telemetry import configure_logging

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        configure_logging("info", "json", stream=log)
        # Libraries in C++ write to the file descriptor.
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


async def _run(
    dataset: "Dataset", material: "Material", home: Path, sheet: Path, *, keep_running: bool, to: "Console"
) -> None:
    from cli import ingestion, output
    from cli.connection import connected
    from cli.demo.story import Story
    from cli.output import command_name
    from services.stack.settings import StackSettings
    from services.stack.startup import running_stack

    settings = StackSettings.load(data_dir=home / "data", host="127.0.0.1", port=0)
    started = time.monotonic()
    with ExitStack() as starting:
        starting.enter_context(output.status(to, "Starting the stack: embedder, classifier, search and Redis …"))
        async with running_stack(settings) as stack, connected(stack.target) as client:
            starting.close()
            to.print(f"The stack is up after {time.monotonic() - started:.0f} s: all services on {stack.target}.")
            report = await ingestion.run(client, dataset, rows=material.rows, to=to)
            to.print(ingestion.summary(report), markup=False)
            if report.dataset.findings:
                to.print(ingestion.findings_summary(report), markup=False)
            # An earlier demo with other rows may have ingested them.
            if material.held_out:
                await client.delete_products(material.held_out)
            await Story(client, to).tell(material.photographs, sheet)
            to.print(f"\nContact sheet: [bold]{sheet}[/bold], and the photographs beside it", soft_wrap=True)
            if keep_running:
                to.print(f"The stack answers at {stack.target} until you press Ctrl-C. Try:")
                if stack.storefront_url is not None:
                    to.print(f"  {stack.storefront_url} in a browser: the storefront", soft_wrap=True)
                to.print(f"  {command_name()} catalogue stats --server {stack.target}", soft_wrap=True)
                await _until_interrupted()


async def _until_interrupted() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        # Ctrl-C ends this wait; the stack drains now.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


def _what_next(to: "Console", data_dir: Path | None, photograph: Path | None) -> None:
    """Suggests how to go on.

    Args:
        to: the terminal.
        data_dir: the data directory of the catalogue; None for the drawn one.
        photograph: one that the catalogue does not hold; None where there is none.
    """
    from cli.output import command_name

    fashion = command_name()
    if data_dir is None:
        stay = ("make up", f"run it in the background, with the storefront at {_STOREFRONT}; make down stops it")
    else:
        stay = (
            f"{fashion} serve --data-dir {data_dir}",
            f"run a stack on this catalogue, with the storefront at {_STOREFRONT}",
        )
    to.print("\nNothing is left running. Go on with:", style="bold")
    for command, meaning in (
        stay,
        *([(f"{fashion} search {photograph}", "search with this photograph, or with your own")] if photograph else []),
        (f"{fashion} ingest PATH", "put your own products into it"),
        (f"{fashion} COMMAND --help", "explain a command, with examples"),
    ):
        to.print(f"  {command}\n      {meaning}", markup=False, soft_wrap=True)
