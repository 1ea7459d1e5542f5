"""Copies of a bundle that are other models: as good as before, or broken as models break in practice."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from services.bundle.reader import DESCRIPTION_FILE, ENCODER_FILE, HEADS_FILE, content_version

Tensors: TypeAlias = dict[str, NDArray[Any]]
# Changes the network's weights, the heads' weights and the description in place.
Alteration: TypeAlias = Callable[[Tensors, Tensors, dict[str, Any]], None]

_SEED: Final = 20261128
# As a multiple of the standard deviation of the weights.
_NOISE: Final = 4.0
# Of the network's 2,048 outputs, those that a truncated one still has.
_KEPT_OUTPUTS: Final = 64
# What scales and shifts the outputs of a block of the last stage.
_OUTPUTS: Final = tuple(f"_{number}_bn/{part}" for number in (0, 3) for part in ("gamma", "beta"))


def _copied(encoder: Tensors, heads: Tensors, description: dict[str, Any]) -> None:
    """Changes nothing but the name."""


def _rounded(encoder: Tensors, heads: Tensors, description: dict[str, Any]) -> None:
    """Rounds the weights of each convolution to 8 bits, scaled for each output."""
    for name, kernel in encoder.items():
        if name.endswith("/kernel"):
            steps = np.abs(kernel.astype(np.float32)).max(axis=(0, 1, 2), keepdims=True) / 127
            encoder[name] = (np.round(kernel / np.maximum(steps, 1e-12)) * steps).astype(kernel.dtype)


def _noised(encoder: Tensors, heads: Tensors, description: dict[str, Any]) -> None:
    """Adds noise to the weights of the last stage, four times as large as they are."""
    random = np.random.default_rng(_SEED)
    for name, kernel in encoder.items():
        if name.startswith("conv5") and name.endswith("/kernel"):
            noise = random.normal(0, _NOISE * kernel.astype(np.float32).std(), kernel.shape)
            encoder[name] = (kernel + noise).astype(kernel.dtype)


def _truncated(encoder: Tensors, heads: Tensors, description: dict[str, Any]) -> None:
    """Lets all but the first outputs of the network be 0."""
    for name, values in encoder.items():
        if name.startswith("conv5") and name.endswith(_OUTPUTS):
            encoder[name] = np.where(np.arange(len(values)) < _KEPT_OUTPUTS, values, 0).astype(values.dtype)


def _colours_swapped(encoder: Tensors, heads: Tensors, description: dict[str, Any]) -> None:
    """Says that the network takes blue for red."""
    description["preprocessing"]["channels"] = "BGR"


def _labels_shifted(encoder: Tensors, heads: Tensors, description: dict[str, Any]) -> None:
    """Gives each label the direction of the one before it."""
    for name, directions in heads.items():
        heads[name] = np.roll(directions, 1, axis=0)


ALTERATIONS: Final[Mapping[str, Alteration]] = MappingProxyType(
    {
        "the same weights": _copied,
        "weights rounded to 8 bits": _rounded,
        "noise in the last stage": _noised,
        "a truncated embedding": _truncated,
        "red and blue swapped": _colours_swapped,
        "labels shifted by one": _labels_shifted,
    }
)


def altered_bundle(bundle: Path, folder: Path, alteration: Alteration = _copied) -> str:
    """Writes another model beside a bundle.

    Args:
        bundle: the folder of a bundle.
        folder: does not exist yet.
        alteration: what is changed of it, beside its name.

    Returns:
        The version of the other model.
    """
    shutil.copytree(bundle, folder)
    description: dict[str, Any] = json.loads((folder / DESCRIPTION_FILE).read_text())
    tensors = {file: safetensors.numpy.load_file(folder / file) for file in (ENCODER_FILE, HEADS_FILE)}
    alteration(tensors[ENCODER_FILE], tensors[HEADS_FILE], description)
    for file, of_file in tensors.items():
        content = safetensors.numpy.save(of_file)
        (folder / file).write_bytes(content)
        description["files"][file] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    description["name"] += "-next"
    description["model_version"] = content_version(description)
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description))
    return str(description["model_version"])
