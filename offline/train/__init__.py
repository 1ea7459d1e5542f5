"""Training a bundle's network on a data set in Kaggle's layout."""

import threading

from rich.console import Console

from offline.train.checkpoint import Position
from offline.train.config import HEADS, Stage, TrainConfig

__all__ = ["HEADS", "Position", "Stage", "TrainConfig", "train"]


def train(config: TrainConfig, *, stop: threading.Event | None = None, console: Console | None = None) -> Position:
    """Train until the schedule is over, patience is at its end or `stop` is set; resume where there is a checkpoint.

    Args:
        config: what to do.
        stop: set it from another thread or a signal to have the run write a checkpoint and return.
        console: where to tell about it; standard output where not given.

    Returns:
        Where the run stands.

    Raises:
        InvalidInput: the data set or the checkpoint cannot be used.
        ArithmeticError: the loss is no longer a number.
    """
    # TensorFlow costs seconds to import, and most that read a configuration never train.
    from offline.train.loop import run_training

    return run_training(config, stop or threading.Event(), console or Console())
