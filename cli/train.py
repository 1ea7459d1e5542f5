"""`fashion train`: a network of one's own from a data set in Kaggle's layout."""

import os
import re
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from offline.train import Stage

app = typer.Typer(add_completion=False)


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(help="Folder or zip in Kaggle's layout.")],
    run: Annotated[Path, typer.Option(help="Folder of checkpoints and logs.")] = Path("var/train"),
    minutes: Annotated[float | None, typer.Option(help="Length of the schedule in minutes.")] = None,
    passes: Annotated[float | None, typer.Option(help="Length of the schedule in passes.")] = None,
    extra: Annotated[list[Path] | None, typer.Option(help="A further data set, mixed in. Repeatable.")] = None,
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.1,
    sizes: Annotated[
        str, typer.Option(help="Picture sizes (height x width), each from which share of the schedule on.")
    ] = "0:48x36,0.25:64x48,0.5:80x60",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
) -> None:
    """Train, or go on where RUN was stopped.

    Example: fashion train fashion-product-images-small.zip --minutes 90 --run var/train
    """
    # Threads that spin while they wait starve whatever else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from offline.train import TrainConfig
    from offline.train import train as run_training

    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    if minutes is None and passes is None:
        passes = 12.0
    run_training(
        TrainConfig(
            dataset=dataset,
            run=run,
            extra=tuple(extra or ()),
            minutes=minutes,
            passes=passes,
            peak=peak,
            stages=_stages(sizes),
            seed=seed,
        ),
        stop=stop,
    )


def _stages(text: str) -> "tuple[Stage, ...]":
    from offline.train import Stage

    stages = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9.]+):([0-9]+)x([0-9]+)\s*", part)
        if found is None:
            raise typer.BadParameter(f"{part!r} is not like 0.5:80x60", param_hint="--sizes")
        stages.append(Stage(float(found[1]), int(found[2]), int(found[3])))
    return tuple(stages)


if __name__ == "__main__":
    app()
