"""Checkpoints of a run: whole or not there, without pickle, enough to go on to the same schedule."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from services.contract.errors import InvalidInput

_FOLDER = "checkpoint"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stood.

    Attributes:
        step: steps behind.
        seen: pictures of the training part behind.
        progress: share of the schedule behind.
        spent_s: seconds of training behind.
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


def save(run: Path, position: Position, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Write a checkpoint beside the old one, then take its place."""
    fresh, old, place = run / f"{_FOLDER}.new", run / f"{_FOLDER}.old", run / _FOLDER
    for stale in (fresh, old):
        if stale.exists():
            shutil.rmtree(stale)
    fresh.mkdir(parents=True)
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, fresh / "state.safetensors")
    (fresh / "position.json").write_text(json.dumps(asdict(position), indent=1))
    if place.exists():
        place.replace(old)
    fresh.replace(place)
    if old.exists():
        shutil.rmtree(old)


def load(run: Path) -> tuple[Position, dict[str, NDArray[np.float32]]] | None:
    """The last checkpoint of a run, or None where it has none yet.

    Raises:
        InvalidInput: the checkpoint cannot be read.
    """
    for name in (_FOLDER, f"{_FOLDER}.old", f"{_FOLDER}.new"):
        # A kill between the two renames leaves the newest under another name.
        folder = run / name
        if (folder / "position.json").exists() and (folder / "state.safetensors").exists():
            break
    else:
        return None
    try:
        described = json.loads((folder / "position.json").read_text())
        described["labels"] = {head: tuple(names) for head, names in described["labels"].items()}
        described["words"] = tuple(described["words"])
        return Position(**described), load_file(folder / "state.safetensors")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InvalidInput(f"{folder}: the checkpoint is broken: {error}", reason="CHECKPOINT_BROKEN") from error
