"""`fashion train`: a network of one's own from a data set in Kaggle's layout."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(help="Folder or zip in Kaggle's layout.")],
    run: Annotated[Path, typer.Option(help="Folder of checkpoints and logs.")] = Path("var/train"),
    minutes: Annotated[float | None, typer.Option(help="Length of the schedule in minutes.")] = None,
    passes: Annotated[float | None, typer.Option(help="Length of the schedule in passes.")] = None,
    extra: Annotated[list[Path] | None, typer.Option(help="A further data set, mixed in. Repeatable.")] = None,
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.1,
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
            seed=seed,
        ),
        stop=stop,
    )


if __name__ == "__main__":
    app()
