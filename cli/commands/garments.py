"""`fashion garments`: trains the heads that find garments and turn photographs upright, for a bundle."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog=(
        "Examples:\n\nfashion garments fashion-product-images-small.zip --photographs photos.zip\n\n"
        "fashion garments my-shop/ --photographs photos/ --bundle models/my-shop\n\n"
        "It takes about 10 minutes and 9 GB of memory on two busy processors. The network and the model version stay "
        "as they are: no catalogue is embedded again. Ctrl-C loses at most one part: the same command goes on from "
        "there, and the same data give the same heads.\n\n"
        "Exit codes: 0 done · 2 bad input · 3 no bundle there"
    )
)
def garments(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Studio shots: the folder or zip that the bundle learned from.")
    ],
    photographs: Annotated[
        Path, typer.Option(metavar="PATH", help="People's photographs: a folder or zip with labels.csv.")
    ],
    bundle: Annotated[Path, typer.Option(metavar="DIR", help="The bundle that gets the heads.")] = Path(
        "models/fashion-resnet50"
    ),
    run: Annotated[Path, typer.Option(metavar="DIR", help="Folder for what a later call goes on from.")] = Path(
        "var/garments"
    ),
    garment_pictures: Annotated[
        int, typer.Option(min=0, help="Pictures with boxes to learn from. 0 trains the head of turns alone.")
    ] = 7040,
    turn_pictures: Annotated[int, typer.Option(min=640, help="Pictures with a known turn to learn from.")] = 9600,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
) -> None:
    """Train the heads that find garments and turn photographs upright, and write them into a bundle."""
    from rich.console import Console

    from cli.output import bundle_named_by
    from offline.detect.training import Recipe, train_garment_heads

    console = Console()
    with bundle_named_by("--bundle"):
        written = train_garment_heads(
            bundle,
            dataset,
            photographs,
            run,
            recipe=Recipe(garment_examples=garment_pictures, turn_examples=turn_pictures, seed=seed),
            say=lambda text: console.print(text, highlight=False),
        )
    console.print(f"{bundle}: the heads are in; model version {written.model_version} stays", highlight=False)


if __name__ == "__main__":
    app()
