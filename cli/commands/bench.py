"""`fashion bench`: measures the product beside its floor, and beside what people would use instead."""

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

_NOTES = "performance-notes.md"


@app.command(
    epilog=(
        "Examples:\n\nfashion bench all fashion-product-images-small.zip\n\n"
        "fashion bench latency fashion-product-images-small.zip --rounds 9\n\n"
        "ingest makes the catalogue that the others ask, in --work; start, latency, load, precision and peers can be "
        "run by themselves afterwards, floor without any. report draws the page and its plots again from the figures "
        "(plots need the extra `train`). Nothing else should run on the machine: a training run can be stopped with "
        "SIGSTOP and go on with SIGCONT.\n\n"
        "Exit codes: 0 done, also where a target was missed · 2 bad input"
    )
)
def bench(
    part: Annotated[str, typer.Argument(metavar="all|floor|ingest|start|latency|load|precision|peers|report")],
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder or zip in Kaggle's layout.")],
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Figures as JSON; the page is written beside.")
    ] = Path("docs/performance"),
    work: Annotated[
        Path, typer.Option("--work", metavar="DIR", help="Where the catalogue is kept between runs.")
    ] = Path("var/bench"),
    products: Annotated[int | None, typer.Option(metavar="N", min=32, help="The first N products only.")] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds of every interleaving.")] = 7,
    calls: Annotated[int, typer.Option(metavar="N", min=1, help="Calls of each workload in a round.")] = 25,
    load_s: Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds at each offered rate.")] = 8.0,
) -> None:
    """Measure floor, latency, load, ingest, start, precision and peers; write figures, and a page with every target."""
    # Threads that spin while they wait starve whatever else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from cli.output import console
    from offline.benchmark.page import page, target_rows
    from offline.benchmark.plots import draw_plots
    from offline.benchmark.run import PARTS, Benchmarks, BenchOptions

    chosen = {"all": PARTS, "report": ()}.get(part, (part,))
    if not set(chosen) <= set(PARTS):
        raise typer.BadParameter(f"{part!r} is none of all, report, {', '.join(PARTS)}", param_hint="PART")
    to = console()
    if chosen:
        options = BenchOptions(dataset, output, work, products, rounds, calls, load_s)
        benchmarks = Benchmarks(options, lambda text: to.print(text, highlight=False, markup=False))
        for name in chosen:
            benchmarks.run(name)
    figures = {name: json.loads(file.read_text()) for name in PARTS if (file := output / f"{name}.json").is_file()}
    if not figures:
        raise typer.BadParameter(f"{output} holds no figures yet", param_hint="--output")
    notes = f"{output.name}/{_NOTES}" if (output / _NOTES).is_file() else ""
    limits = f" --products {products}" if products else ""
    command = f"fashion bench all {shlex.quote(dataset.name)}{limits}"
    try:
        drawn = draw_plots(figures, output)
    except ImportError as error:
        drawn = {}
        to.print(f"without plots: {error}; pip install 'fashion-recommender[train]'", highlight=False, markup=False)
    pictures = {name: f"{output.name}/{file.name}" for name, file in drawn.items()}
    output.with_suffix(".md").write_text(page(figures, command, notes, pictures))
    for row in target_rows(figures):
        to.print(f"{row[0]}: {row[2]} ({row[1]}) {row[4]}", highlight=False, soft_wrap=True)
    to.print(f"{output.with_suffix('.md')}", highlight=False)
