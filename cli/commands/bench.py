"""`fashion bench`: measures the product, its floor, and other ways to the same results."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

_NOTES = "performance-notes.md"
# What is right or wrong rather than fast or slow.
_CHECKS = ("correctness", "kills", "soak", "restart")
# So few, because each answer is compared with all of them.
_CHECKED_PRODUCTS = 1500


@app.command(
    epilog=(
        "Examples:\n\nfashion bench all fashion-product-images-small.zip\n\n"
        "fashion bench latency fashion-product-images-small.zip --rounds 9\n\n"
        "fashion bench correctness --queries 100000\n\nfashion bench kills --kills 1000\n\n"
        "fashion bench soak --minutes 60\n\nfashion bench restart --rounds 3\n\n"
        "ingest makes the catalogue in --work that all parts but floor need. "
        "report writes the page and its plots again from the figures; plots need the extra `train`. Nothing else "
        "should run on the machine: SIGSTOP pauses a training run, and SIGCONT resumes it.\n\n"
        "subject measures what finding the garment costs, inventory what searching all products costs: name people's "
        "photographs as DATASET.\n\n"
        "correctness needs no DATASET: it asks a stack of its own random queries beside random writes, and holds every "
        "answer to a comparison with all products. Nor does kills: it kills a stack of its own beside writes, cuts its "
        "power, and compares all that it has with what it acknowledged.\n\n"
        "soak runs all services under mixed load: nothing that they hold may grow after the first minutes. restart "
        "stops and starts each of them under 50 queries a second: none may fail. Both need no DATASET.\n\n"
        "Exit codes: 0 done, also with a missed target · 1 something was wrong or lost · 2 bad input"
    )
)
def bench(
    part: Annotated[
        str,
        typer.Argument(
            metavar="PART",
            help=(
                "One of floor, ingest, start, latency, load, updates, precision, export, peers, subject, inventory; "
                "all (but subject and inventory), or report; or correctness, kills, soak or restart."
            ),
        ),
    ],
    dataset: Annotated[
        Path | None, typer.Argument(metavar="[DATASET]", help="Folder or zip in Kaggle's layout.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for the figures; the page goes beside it.")
    ] = Path("docs/performance"),
    work: Annotated[
        Path, typer.Option("--work", metavar="DIR", help="Folder that keeps the catalogue between runs.")
    ] = Path("var/bench"),
    products: Annotated[int | None, typer.Option(metavar="N", min=32, help="Take only the first N products.")] = None,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of rounds; restart: how often each service is restarted.")
    ] = 7,
    calls: Annotated[int, typer.Option(metavar="N", min=1, help="Calls of each workload per round.")] = 25,
    load_s: Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds at each offered rate.")] = 8.0,
    queries: Annotated[int, typer.Option(metavar="N", min=1, help="correctness: number of queries.")] = 100_000,
    kills: Annotated[int, typer.Option(metavar="N", min=1, help="kills: how often.")] = 1000,
    minutes: Annotated[float, typer.Option(metavar="N", min=0.05, help="soak: how long.")] = 60.0,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Checks: seed of all that is random.")] = 0,
) -> None:
    """Measure speed and memory, and write the figures and a page that compares them with the targets."""
    from cli.output import console
    from offline.benchmark.page import page, target_rows
    from offline.benchmark.plots import draw_plots
    from offline.benchmark.run import APART, PARTS, Benchmarks, BenchOptions

    for proxy in ("grpc_proxy", "https_proxy", "http_proxy"):
        # Whatever it measures runs on this machine.
        os.environ.pop(proxy, None)
    if part in _CHECKS:
        checks = {
            "correctness": lambda say: _correctness(queries, products or _CHECKED_PRODUCTS, seed, say),
            "kills": lambda say: _kills(kills, seed, say),
            "soak": lambda say: _soak(minutes, seed, output, say),
            "restart": lambda say: _restart(rounds, seed, say),
        }
        _check(part, checks[part], output)
        return
    if dataset is None:
        raise typer.BadParameter("This part measures on a data set: name one.", param_hint="DATASET")
    chosen = {"all": [each for each in PARTS if each not in APART], "report": ()}.get(part, (part,))
    if not set(chosen) <= set(PARTS):
        raise typer.BadParameter(
            f"{part!r} is not a part: name all, report or one of {', '.join((*PARTS, *_CHECKS))}.", param_hint="PART"
        )
    to = console()
    if chosen:
        options = BenchOptions(dataset, output, work, products, rounds, calls, load_s)
        benchmarks = Benchmarks(options, lambda text: to.print(text, highlight=False, markup=False))
        for name in chosen:
            benchmarks.run(name)
    figures = {name: json.loads(file.read_text()) for name in PARTS if (file := output / f"{name}.json").is_file()}
    if not figures:
        raise typer.BadParameter(f"{output} holds no figures: run a part first.", param_hint="--output")
    notes = f"{output.name}/{_NOTES}" if (output / _NOTES).is_file() else ""
    limits = f" --products {products}" if products else ""
    command = f"fashion bench all DATASET{limits}"
    try:
        drawn = draw_plots(figures, output)
    except ImportError as error:
        drawn = {}
        to.print(
            f"Without plots ({error}): run pip install 'fashion-recommender[train]'.", highlight=False, markup=False
        )
    pictures = {name: f"{output.name}/{file.name}" for name, file in drawn.items()}
    output.with_suffix(".md").write_text(page(figures, command, notes, pictures))
    for row in target_rows(figures):
        to.print(f"{row[0]}: {row[2]} ({row[1]}) {row[4]}", highlight=False, soft_wrap=True)
    to.print(f"{output.with_suffix('.md')}", highlight=False)


_Say = Callable[[str], None]
# The figures, what is wrong, and a summary.
_Checked = tuple[dict[str, Any], Sequence[str], str]


def _check(part: str, check: Callable[[_Say], _Checked], output: Path) -> None:
    """Runs a check, writes its figures, and ends with 1 where something was wrong."""
    from cli import output as shown

    to = shown.console()

    def say(text: str) -> None:
        to.print(text, highlight=False, markup=False, soft_wrap=True)

    output.mkdir(parents=True, exist_ok=True)
    figures, problems, summary = check(say)
    (output / f"{part}.json").write_text(json.dumps(figures, indent=1) + "\n")
    for problem in problems:
        say(problem)
    say(f"{summary} in {figures['seconds']:,} s: {output / f'{part}.json'}")
    if problems:
        raise typer.Exit(shown.EXIT_ERROR)


def _correctness(queries: int, products: int, seed: int, say: _Say) -> _Checked:
    from offline.benchmark.correctness.run import correctness

    figures = dict(correctness(queries, products, seed, say))
    return figures, figures["examples"], f"{figures['answers']:,} answers, {sum(figures['wrong'].values()):,} wrong"


def _kills(kills: int, seed: int, say: _Say) -> _Checked:
    from offline.benchmark.crashes.run import kill_repeatedly

    figures = dict(kill_repeatedly(kills, seed, say))
    return figures, figures["lost"], f"{figures['kills']:,} kills, {figures['compared']:,} products compared"


def _soak(minutes: float, seed: int, output: Path, say: _Say) -> _Checked:
    from offline.benchmark.soak import draw_soak, soak

    figures = soak(minutes, seed, say)
    with suppress(ImportError):
        draw_soak(figures, output / "soak.png")
    done, failed = sum(figures["operations"].values()), sum(figures["failed"].values())
    return figures, figures["problems"], f"{done:,} operations, {failed:,} failed"


def _restart(rounds: int, seed: int, say: _Say) -> _Checked:
    from offline.benchmark.restart import restart

    figures = restart(rounds, seed, say)
    return figures, figures["problems"], f"{figures['queries']:,} queries, {figures['failed']:,} failed"
