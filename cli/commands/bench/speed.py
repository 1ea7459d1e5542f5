"""Benchmarks of speed and memory on a data set, and the page that compares them with the targets."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.commands.bench.options import FIGURES, WORK, Output, say, without_proxies
from offline.benchmark.parts import APART, PARTS

_NOTES: Final = "performance-notes.md"

_DataSet = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder or zip in Kaggle's layout.")]
_Work = Annotated[Path, typer.Option("--work", metavar="DIR", help="Folder that keeps the catalogue between runs.")]
_Products = Annotated[int | None, typer.Option(metavar="N", min=32, help="Take only the first N products.")]
_Rounds = Annotated[int, typer.Option(metavar="N", min=1, help="Number of rounds.")]
_Calls = Annotated[int, typer.Option(metavar="N", min=1, help="Calls of each workload per round.")]
_LoadSeconds = Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds at each offered rate.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    everything = [part for part in PARTS if part not in APART]
    app.command("all", help=f"All of {', '.join(everything)}.")(_command(everything))
    app.command("report", help="Write the page and its plots again from the figures.")(report)
    for part, help_text in PARTS.items():
        app.command(part, help=help_text)(_command([part]))


def _command(parts: Sequence[str]) -> Callable[..., None]:
    def measure(
        dataset: _DataSet,
        output: Output = FIGURES,
        work: _Work = WORK,
        products: _Products = None,
        rounds: _Rounds = 7,
        calls: _Calls = 25,
        load_s: _LoadSeconds = 8.0,
    ) -> None:
        from offline.benchmark.run import Benchmarks, BenchOptions

        without_proxies()
        benchmarks = Benchmarks(BenchOptions(dataset, output, work, products, rounds, calls, load_s), say())
        for part in parts:
            benchmarks.run(part)
        write_page(output, f"fashion bench all DATASET{f' --products {products}' if products else ''}")

    return measure


def report(output: Output = FIGURES) -> None:
    """Write the page and its plots again from the figures."""
    write_page(output, "fashion bench all DATASET")


def write_page(output: Path, command: str) -> None:
    """Writes the page from the figures in a folder; the command writes it again."""
    from offline.benchmark.page import page, target_rows
    from offline.benchmark.plots import draw_plots

    show = say()
    parts = [*PARTS, "scale", "milvus", "milvus-indexes", "day", "reindex"]
    figures = {part: json.loads(file.read_text()) for part in parts if (file := output / f"{part}.json").is_file()}
    if not figures:
        raise typer.BadParameter(f"{output} holds no figures: run a benchmark first.", param_hint="--output")
    notes = f"{output.name}/{_NOTES}" if (output / _NOTES).is_file() else ""
    try:
        drawn = draw_plots(figures, output)
    except ImportError as error:
        drawn = {}
        show(f"Without plots ({error}): run pip install 'fashion-recommender[train]'.")
    pictures = {name: f"{output.name}/{file.name}" for name, file in drawn.items()}
    output.with_suffix(".md").write_text(page(figures, command, notes, pictures))
    for row in target_rows(figures):
        show(f"{row[0]}: {row[2]} ({row[1]}) {row[4]}")
    show(f"{output.with_suffix('.md')}")
