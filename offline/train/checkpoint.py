"""Checkpoints of a run: written whole or not at all, without pickle, enough to go on along the same schedule."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from services.contract.errors import InvalidInput, NotFound

_FILE = "checkpoint.safetensors"
# Where the loop before this one kept its checkpoints.
_FORMER_FOLDER = "checkpoint"


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a run.

    Attributes:
        step: number of steps done.
        seen: number of pictures of the training part shown.
        progress: share of the schedule done.
        spent_s: seconds of training done.
        best: best validation figure so far; None before the first.
        validations_since_best: for stopping early.
        labels: the heads' labels, fixed when the run began.
        words: the vocabulary of products' names, fixed likewise.
    """

    step: int
    seen: int
    progress: float
    spent_s: float
    best: float | None
    validations_since_best: int
    labels: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...]


def save(run: Path, position: Position, state: Mapping[str, NDArray[Any]]) -> None:
    """Writes a checkpoint beside the old one, then puts it in its place."""
    fresh = run / f"{_FILE}.new"
    arrays = {name: np.array(value, order="C") for name, value in state.items()}
    save_file(arrays, fresh, metadata={"position": json.dumps(asdict(position))})
    fresh.replace(run / _FILE)


def load(run: Path) -> tuple[Position, dict[str, NDArray[Any]]] | None:
    """Returns the last checkpoint of a run, or None if it has none yet.

    Raises:
        InvalidInput: the checkpoint cannot be read, or an earlier version wrote it.
    """
    file = run / _FILE
    if not file.exists():
        if (run / _FORMER_FOLDER).is_dir():
            raise InvalidInput(
                f"An earlier version began the run in {run}, and it cannot go on; name another folder.",
                reason="CHECKPOINT_BROKEN",
            )
        return None
    try:
        with safe_open(file, "numpy") as stored:
            described = json.loads(stored.metadata()["position"])
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118, it is no mapping
        described["labels"] = {head: tuple(names) for head, names in described["labels"].items()}
        described["words"] = tuple(described["words"])
        return Position(**described), state
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        raise InvalidInput(f"The checkpoint {file} is broken; begin a new run.", reason="CHECKPOINT_BROKEN") from error


def last(run: Path) -> tuple[Position, dict[str, NDArray[Any]]]:
    """Returns the last checkpoint of a run.

    Raises:
        NotFound: the run has none.
        InvalidInput: it cannot be read.
    """
    checkpoint = load(run)
    if checkpoint is None:
        raise NotFound(f"The run in {run} has no checkpoint.", reason="CHECKPOINT_NOT_FOUND")
    return checkpoint
