"""`fashion ingest`: puts the products of a data set into the catalogue, with a progress bar and a report."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import DEFAULT_SERVER, AsJson, Server, connected
from cli.files import write_file
from offline.dataset.rows import COLUMNS, OPTIONAL_COLUMNS
from services.contract.errors import FashionError, InvalidInput

if TYPE_CHECKING:
    from offline.ingest import IngestReport

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog=(
        "Examples:\n\nfashion ingest fashion-product-images-small.zip\n\n"
        "fashion ingest my-shop/ --report report.json\n\n"
        f"PATH is a folder or a zip with styles.csv ({', '.join(COLUMNS)}; optionally {', '.join(OPTIONAL_COLUMNS)}) "
        "and images/ID.jpg. Commas, semicolons, tabs or vertical bars may separate its cells, in UTF-8, UTF-16 or "
        "Windows-1252. You can repeat it at any time: it sends all rows, but embeds only new or changed "
        "photographs. It never deletes products, and keeps what the table has no column for, such as prices.\n\n"
        "Exit codes: 0 done; the report names each row that was dropped or refused · 1 no row became a product · 2 bad "
        "input · 4 the server stayed unavailable: repeat the command to go on · 130 interrupted: repeat it too"
    )
)
def ingest(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The data set: a folder or a zip in Kaggle's layout.")],
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", dir_okay=False, help="Write the whole report as JSON to this file."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Take only the first N products.")
    ] = None,
    batch_rows: Annotated[
        int, typer.Option("--batch-rows", metavar="N", min=1, max=500, help="Rows per call at most.")
    ] = 64,
    in_flight: Annotated[int, typer.Option("--in-flight", metavar="N", min=1, max=16, help="Calls at once.")] = 3,
    show: Annotated[
        int, typer.Option("--show", metavar="N", min=0, help="Number of dropped and refused rows to print.")
    ] = 10,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Put the products of a data set into the catalogue, and name every row that is left out."""
    from cli import ingestion, output
    from offline.dataset.rows import open_dataset
    from offline.ingest import IngestLimits

    limits = IngestLimits(batch_rows=batch_rows, in_flight=in_flight)
    with open_dataset(path) as dataset:
        rows = dataset.rows if limit is None else dataset.rows[:limit]
        if not rows:
            raise InvalidInput(f"No row of {path} can become a product.", reason="DATASET_EMPTY")

        done: list[IngestReport] = []

        async def work() -> None:
            async with connected(server) as client:
                # Fails at once where no server is there, rather than after all retries.
                await client.get_index()
                await ingestion.run(client, dataset, rows=rows, limits=limits, to=output.errors(), keep=done.append)

        try:
            asyncio.run(work())
        except (FashionError, KeyboardInterrupt):
            if done:
                _finish(done[-1], report, as_json, show)
                output.errors().print("Not finished. Repeat the command to go on.", style="yellow")
            raise
        _finish(done[-1], report, as_json, show)
        if done[-1].rows_done == len(done[-1].failures):
            raise typer.Exit(output.EXIT_ERROR)


def _finish(done: "IngestReport", report: Path | None, as_json: bool, show: int) -> None:
    from cli import ingestion, output

    if report is not None:
        write_file(report, done.to_json() + "\n")
    if as_json:
        output.print_json(ingestion.report_document(done))
    else:
        ingestion.print_report(output.console(), done, show=show)
    if report is not None:
        output.errors().print(f"Report: {report}", markup=False, soft_wrap=True)
