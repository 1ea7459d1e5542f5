"""Training a bundle's network on a data set in Kaggle's layout."""

import threading

from rich.console import Console

from offline.train.checkpoint import Position
from offline.train.config import HEADS, Stage, TrainConfig

__all__ = ["HEADS", "Position", "Stage", "TrainConfig", "train"]


def train(config: TrainConfig, *, stop: threading.Event | None = None, console: Console | None = None) -> Position:
    """Trains until the schedule is over, patience is at its end or `stop` is set; resumes from a checkpoint.

    Args:
        config: the settings.
        stop: if another thread or a signal sets it, the run writes a checkpoint and returns.
        console: where progress is printed; standard output if not given.

    Returns:
        The position of the run.

    Raises:
        InvalidInput: the data set or the checkpoint cannot be used.
        ArithmeticError: the loss is no longer a number.
    """
    # Keras costs seconds to import, and most that read a configuration never train.
    from offline.train.loop import run_training

    return run_training(config, stop or threading.Event(), console or Console())
