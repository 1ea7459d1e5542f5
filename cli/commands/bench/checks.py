"""Checks of what must never go wrong: each needs no data set, and ends with 1 where something was wrong."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands.bench.options import FIGURES, Output, say, without_proxies

_Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of all that is random.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for check in (correctness, kills, soak, day, restart, messages, files, tables, faults, reindex, gate):
        app.command()(check)


def correctness(
    queries: Annotated[int, typer.Option(metavar="N", min=1, help="Number of queries.")] = 100_000,
    # So few, because each answer is compared with all of them.
    products: Annotated[int, typer.Option(metavar="N", min=32, help="Number of products.")] = 1500,
    large: Annotated[bool, typer.Option("--large", help="Have the index work as with very many products.")] = False,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Ask random queries beside random writes, and hold every answer to a comparison with all products."""
    from offline.benchmark.correctness.run import correctness as ask

    without_proxies()
    figures = ask(queries, products, seed, say(), large)
    wrong = sum(figures["wrong"].values())
    summary = f"{figures['queries']:,} queries, {figures['answers']:,} answers, {wrong:,} wrong"
    _conclude("correctness", figures, figures["examples"], summary, output)


def kills(
    number: Annotated[int, typer.Option("--kills", metavar="N", min=1, help="How often.")] = 1000,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Kill a stack beside writes, cut its power, and compare all that it has with what it acknowledged."""
    from offline.benchmark.crashes.run import kill_repeatedly

    without_proxies()
    figures = kill_repeatedly(number, seed, say())
    summary = f"{figures['kills']:,} kills, {figures['compared']:,} products compared"
    _conclude("kills", figures, figures["lost"], summary, output)


def soak(
    minutes: Annotated[float, typer.Option(metavar="N", min=0.05, help="How long.")] = 60.0,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Run all services under mixed load: nothing that they hold may grow after the first minutes."""
    from offline.benchmark.growth import draw_memory
    from offline.benchmark.soak import soak as load

    without_proxies()
    figures = load(minutes, seed, say())
    done, failed = sum(figures["operations"].values()), sum(figures["failed"].values())
    _conclude("soak", figures, figures["problems"], f"{done:,} operations, {failed:,} failed", output, draw_memory)


def day(
    minutes: Annotated[float, typer.Option(metavar="N", min=0.2, help="How long the day takes.")] = 60.0,
    products: Annotated[int, typer.Option(metavar="N", min=100, max=5000, help="Number of products.")] = 1200,
    rate: Annotated[float, typer.Option(metavar="Q", min=0.5, help="Queries a second, in the mean.")] = 8.0,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Live through a shop's day: queries never wait for writes, see whole batches, and nothing that is deleted."""
    from offline.benchmark.day import day as live
    from offline.benchmark.day import draw_day

    without_proxies()
    figures = live(minutes, products, rate, seed, say())
    wrong, slowdown = sum(figures["wrong"].values()), figures["slowdowns"]["the whole day"]["slowdown"]
    summary = f"{figures['queries']:,} queries, {wrong:,} wrong, {slowdown:.2f} times the p99 beside writes"
    _conclude("day", figures, figures["problems"], summary, output, draw_day)


def restart(
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="How often each service is restarted.")] = 3,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Stop and start each service under 50 queries a second: no query may fail."""
    from offline.benchmark.restart import restart as roll

    without_proxies()
    figures = roll(rounds, seed, say())
    summary = f"{figures['queries']:,} queries, {figures['failed']:,} failed"
    _conclude("restart", figures, figures["problems"], summary, output)


def messages(
    number: Annotated[int, typer.Option("--messages", metavar="N", min=100, help="How many.")] = 100_000,
    attack_s: Annotated[float, typer.Option(metavar="S", min=0, help="Seconds of each attack and pause.")] = 6.0,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Send mutated messages, then attack a stack while somebody asks it: exact answers, and nobody else notices."""
    from offline.benchmark.messages import messages as send

    without_proxies()
    figures = send(number, seed, say(), attack_s=attack_s)
    summary = f"{figures['messages']:,} messages, {figures['wrong']:,} wrong"
    _conclude("messages", figures, figures["problems"], summary, output)


def files(
    number: Annotated[int, typer.Option("--files", metavar="N", min=10, help="How many.")] = 20_000,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Hand over mutated feeds, bundles and backups: each is read or refused with a sentence, none is executed."""
    from offline.benchmark.hostile_files.run import files as hand_over

    figures = hand_over(number, seed, say())
    summary = f"{figures['files']:,} files, {figures['wrong']:,} wrong"
    _conclude("files", figures, figures["problems"], summary, output)


def reindex(
    products: Annotated[int, typer.Option(metavar="N", min=100, max=5000, help="Number of products.")] = 3000,
    rate: Annotated[float, typer.Option(metavar="Q", min=0.5, help="Queries a second.")] = 8.0,
    rest_s: Annotated[
        float, typer.Option(metavar="S", min=5, help="Seconds of queries alone, before and after.")
    ] = 60.0,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Change the model under load: no query may fail, and the 99th percentile stay within 1.5 times."""
    from offline.benchmark.reindex import draw_reindex
    from offline.benchmark.reindex import reindex as change

    without_proxies()
    figures = change(products, rate, rest_s, seed, say())
    summary = f"{figures['queries']:,} queries, {figures['failed']:,} failed, {figures['slowdown']:.2f} times the p99"
    _conclude("reindex", figures, figures["problems"], summary, output, draw_reindex)


def gate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder or zip in Kaggle's layout.")],
    products: Annotated[int, typer.Option(metavar="N", min=100, help="Take only the first N products.")] = 2000,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--bundle",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="A further bundle to compare; may be repeated.",
        ),
    ] = None,
    output: Output = FIGURES,
) -> None:
    """Compare broken and sound copies of the model by the gate of a reindex: it must tell them apart."""
    from offline.benchmark.gate import gate as judge

    without_proxies()
    figures = judge(dataset, products, others or (), say())
    summary = f"{len(figures['models'])} models, {sum(each['passed'] for each in figures['models'].values())} passed"
    _conclude("gate", figures, figures["problems"], summary, output)


def tables(
    rows: Annotated[
        list[int] | None, typer.Option("--rows", metavar="N", min=1, help="Rows of a table; may be repeated.")
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="csv, jsonl or xml; may be repeated.")
    ] = None,
    output: Output = FIGURES,
) -> None:
    """Ingest tables of growing size: the memory of the command must not grow, and each dropped row is named."""
    from offline.benchmark.tables import KINDS, measure_tables

    without_proxies()
    if unknown := set(kinds or ()) - set(KINDS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is none of {', '.join(KINDS)}.", param_hint="--kind")
    began = time.monotonic()
    figures = measure_tables(sorted(rows or (40_000, 200_000, 1_000_000)), kinds or ["csv"], say())
    figures["seconds"] = round(time.monotonic() - began)
    summary = f"{len(figures['tables'])} tables, {len(figures['problems'])} problems"
    _conclude("tables", figures, figures["problems"], summary, output)


def faults(
    fault_s: Annotated[float, typer.Option(metavar="S", min=1, help="Seconds of each fault.")] = 4.0,
    seed: _Seed = 0,
    output: Output = FIGURES,
) -> None:
    """Kill, hang, slow and part each service and Redis under load: all has to be well again within ten seconds."""
    from offline.benchmark.faults import run_faults

    without_proxies()
    figures = run_faults(fault_s, seed, say())
    summary = f"{len(figures['faults'])} faults, {len(figures['problems'])} problems"
    _conclude("faults", figures, figures["problems"], summary, output)


def _conclude(
    name: str,
    figures: Mapping[str, Any],
    problems: Sequence[str],
    summary: str,
    output: Path,
    draw: Callable[[Mapping[str, Any], Path], object] | None = None,
) -> None:
    """Writes the figures, with a picture where there is one, tells what was wrong, and ends with 1 if anything was."""
    from cli.output import EXIT_ERROR

    show, file = say(), output / f"{name}.json"
    output.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=1) + "\n")
    if draw is not None:
        with suppress(ImportError):
            draw(figures, output / f"{name}.png")
    for problem in problems:
        show(problem)
    show(f"{summary} in {figures['seconds']:,} s: {file}")
    if problems:
        raise typer.Exit(EXIT_ERROR)
