"""`fashion bench scale`: how the index behaves from 40 thousand products to a million."""

import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.bench.options import FIGURES, WORK, CatalogueWork, Output, say, without_proxies


def scale(
    work: CatalogueWork = WORK,
    sizes: Annotated[
        list[int] | None,
        typer.Option("--products", metavar="N", min=1000, help="Number of products; by default four, up to a million."),
    ] = None,
    scratch: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for embeddings and snapshots, 10 GiB for a million products.")
    ] = Path("var/scale"),
    queries: Annotated[int, typer.Option(metavar="N", min=20, help="Number of queries of each kind at most.")] = 100,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="How often each query is asked.")] = 3,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=1, help="Time for a kind of query, after which no more are asked.")
    ] = 30.0,
    memory_gib: Annotated[float, typer.Option(metavar="G", help="An index that needs more is left out.")] = 7.5,
    build_minutes: Annotated[
        float, typer.Option(metavar="M", help="An index that is expected to take longer to build is left out.")
    ] = 20.0,
    again: Annotated[
        bool, typer.Option("--again", help="Measure ours anew; else a run goes on where the last one ended.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of all that is random.")] = 0,
    output: Output = FIGURES,
) -> None:
    """Build, start, search and update the index at four sizes, beside other indexes. Repeat it to go on."""
    from cli.commands.bench.speed import write_page
    from offline.benchmark.machine import Machine
    from offline.benchmark.scale import BUILT, SIZES, ScaleOptions, measure_size
    from offline.benchmark.selectivity import OURS, Inventory, stored_types

    without_proxies()
    show, file = say(), output / "scale.json"
    output.mkdir(parents=True, exist_ok=True)
    options = ScaleOptions(queries, rounds, seconds, memory_gib, build_minutes, seed)
    figures = json.loads(file.read_text()) if file.is_file() else {"sizes": {}}

    def keep() -> None:
        figures["sizes"] = dict(sorted(figures["sizes"].items(), key=lambda size: int(size[0])))
        figures["products"] = max(map(int, figures["sizes"]))
        figures["machine"] = asdict(Machine.this())
        file.write_text(json.dumps(figures, indent=1) + "\n")

    types = stored_types(work / "data")
    # What another run has left is of use only where it has drawn the same products.
    drawn = f"{zlib.crc32(repr([(kind.derived_type, len(rows)) for kind, rows in types]).encode()):08x}-{seed}"
    for size in sorted(sizes or SIZES):
        known = figures["sizes"].setdefault(str(size), {"products": size, "indexes": {}, "missing": {}})
        known["load"] = Machine.this().load
        if again:
            known["indexes"].pop(OURS, None)
        smaller = [each for each in figures["sizes"].values() if each["products"] < size]
        folder = scratch / str(size)
        folder.mkdir(parents=True, exist_ok=True)
        if (left := folder / "drawn").is_file() and left.read_text() != drawn:
            raise typer.BadParameter(f"{folder} holds products of another catalogue or seed.", param_hint="--scratch")
        left.write_text(drawn)
        if again:
            (folder / BUILT).unlink(missing_ok=True)
        measure_size(Inventory.of(types, size, seed, folder), folder, options, known, smaller, keep, show)
    write_page(output, "fashion bench all DATASET")
