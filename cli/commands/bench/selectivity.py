"""`fashion bench selectivity`: filters that let through from one product in ten thousand to all of them."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from cli.commands.bench.options import FIGURES, WORK, CatalogueWork, Output, say, without_proxies, write_figures


def selectivity(
    work: CatalogueWork = WORK,
    products: Annotated[
        int | None, typer.Option(metavar="N", min=1000, help="Number of products; above those there are, their like.")
    ] = None,
    queries: Annotated[int, typer.Option(metavar="N", min=20, help="Number of queries at most.")] = 200,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Number of rounds.")] = 5,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=1, help="Time for a filter in an index, after which it asks no more.")
    ] = 30.0,
    memory_gib: Annotated[float, typer.Option(metavar="G", help="An index that needs more is left out.")] = 9.0,
    ours_alone: Annotated[bool, typer.Option("--ours-alone", help="Leave other indexes out.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of all that is random.")] = 0,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of `bench scale`, whose products and snapshot are used; else its own."
        ),
    ] = None,
    output: Output = FIGURES,
) -> None:
    """Compare the plan of a search with its two ways and other indexes, by what filters let through."""
    from offline.benchmark.machine import Machine
    from offline.benchmark.selectivity import Inventory, selectivity_figures, selectivity_page, stored_types

    without_proxies()
    show, machine = say(), Machine.this()
    types = stored_types(work / "data")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) if scratch is None or products is None else scratch / str(products)
        folder.mkdir(parents=True, exist_ok=True)
        inventory = Inventory.of(types, products, seed, folder)
        figures = selectivity_figures(
            inventory,
            folder,
            queries=queries,
            rounds=rounds,
            seconds=seconds,
            memory_gib=memory_gib,
            ours_alone=ours_alone,
            say=show,
        )
    write_figures(output / f"selectivity-{inventory.count}.json", machine, figures)
    page = output.parent / "selectivity.md"
    page.write_text(selectivity_page(output, f"fashion bench selectivity --products {inventory.count}"))
    show(f"{page}")
