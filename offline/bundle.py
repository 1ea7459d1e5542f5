"""A model's bundle as a writer sees it: weights in half precision, hashes of all files, a description."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from services.bundle.reader import (
    DESCRIPTION_FILE,
    ENCODER_FILE,
    FORMAT_VERSION,
    GARMENT_HEADS_FILE,
    GARMENTS_KEY,
    HEADS_FILE,
    Bundle,
    content_version,
    garments_version,
    load_bundle,
)
from services.contract.errors import InvalidInput
from services.vision.preprocess import Preprocessing


def write_bundle(
    folder: Path,
    *,
    name: str,
    preprocessing: Preprocessing,
    encoder: Mapping[str, NDArray[np.float32]],
    heads: Mapping[str, NDArray[np.float32]],
    labels: Mapping[str, Sequence[str]],
    logit_scale: float,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    split: Mapping[str, Any],
) -> Bundle:
    """Writes the bundle of a ResNet50 with max pooling; other files in the folder, such as a model card, stay.

    Args:
        folder: the bundle's folder; `bundle.json` is replaced last, so that a reader never trusts half a bundle.
        name: the bundle's name.
        preprocessing: the input that the network expects.
        encoder: weights of the network, by Keras's names.
        heads: weights (dimension, labels) of each head.
        labels: labels of each head.
        logit_scale: factor on the cosines before the softmax.
        metrics: figures, by part of the data.
        training: data, licence and recipe.
        split: the rule by which the data were divided.

    Returns:
        The bundle, read back from the folder.

    Raises:
        InvalidInput: a weight is not finite, or too large for half precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dimension = next(iter(heads.values())).shape[0]
    directions = {head: (weights / np.linalg.norm(weights, axis=0, keepdims=True)).T for head, weights in heads.items()}
    contents = {
        ENCODER_FILE: safetensors.numpy.save({key: _stored(key, value) for key, value in encoder.items()}),
        HEADS_FILE: safetensors.numpy.save({key: _stored(key, value) for key, value in directions.items()}),
    }
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "architecture": "resnet50",
        "input": {"height": preprocessing.frame.height, "width": preprocessing.frame.width},
        "preprocessing": preprocessing.to_json(),
        "pooling": "max",
        "normalisation": "L2",
        "dimension": dimension,
        "reference_precision": "float32",
        "parameters": int(sum(value.size for value in encoder.values())),
        "labels": {head: list(names) for head, names in labels.items()},
        "heads": {head: {"scale": logit_scale, "softmax": "cosine"} for head in labels},
        "metrics": metrics,
        "training": training,
        "split": split,
        "files": {
            file: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for file, content in contents.items()
        },
    }
    # The hash is of what a reader gets back from JSON, which changes some numbers.
    description = json.loads(json.dumps(description))
    description["model_version"] = content_version(description)
    for file, content in contents.items():
        _replace(folder / file, content)
    _replace(folder / DESCRIPTION_FILE, _text(description))
    return load_bundle(folder)


@contextmanager
def whole_bundle(folder: Path) -> Iterator[Path]:
    """Yields a folder for a bundle that is written in several steps; its files move to `folder` at the end.

    What is interrupted leaves the bundle that was there, and never one whose figures or settings are missing.

    Args:
        folder: the bundle's folder; other files in it stay.
    """
    # Within it, and so on the same disk.
    unfinished = folder / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        # The description last: until then its hashes do not fit, and a reader refuses the bundle.
        for file in sorted(unfinished.iterdir(), key=lambda each: each.name == DESCRIPTION_FILE):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def describe(
    folder: Path, *, metrics: Mapping[str, Any] | None = None, heads: Mapping[str, Mapping[str, Any]] | None = None
) -> Bundle:
    """Changes what a bundle says of itself, and so its model version; its weights stay.

    Args:
        folder: the bundle.
        metrics: figures by part of the data, which replace the old ones; None to keep those.
        heads: settings of heads to change, by name (`services.bundle.reader.HeadSettings`).

    Returns:
        The bundle, read back from the folder.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: the bundle is broken.
    """
    before = load_bundle(folder).description
    changed = {
        **before,
        "metrics": before["metrics"] if metrics is None else metrics,
        "heads": {head: {**settings, **(heads or {}).get(head, {})} for head, settings in before["heads"].items()},
    }
    description = json.loads(json.dumps(changed))
    description["model_version"] = content_version(description)
    _replace(folder / DESCRIPTION_FILE, _text(description))
    return load_bundle(folder)


def write_garment_heads(
    folder: Path,
    weights: Mapping[str, NDArray[np.float32]],
    *,
    labels: Sequence[str],
    garment_threshold: float,
    turn_threshold: float,
    figures: Mapping[str, Any],
) -> Bundle:
    """Writes garment heads into a bundle; everything else stays, its model version too.

    Args:
        folder: the bundle.
        weights: by the names that `services.embedder.garment_heads` reads.
        labels: the subCategories of garments.
        garment_threshold: least confidence of a garment that is named.
        turn_threshold: least probability of a turn that is believed.
        figures: how good the heads are.

    Returns:
        The bundle, read back from the folder.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: the bundle is broken, or a weight is not finite.
    """
    before = load_bundle(folder).description
    content = safetensors.numpy.save({name: _stored(name, value) for name, value in weights.items()})
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    changed = {
        **before,
        GARMENTS_KEY: {
            "labels": list(labels),
            "garment_threshold": garment_threshold,
            "turn_threshold": turn_threshold,
            "figures": dict(figures),
        },
        "files": {**before["files"], GARMENT_HEADS_FILE: facts},
    }
    description = json.loads(json.dumps(changed))
    description[GARMENTS_KEY]["version"] = garments_version(description)
    _replace(folder / GARMENT_HEADS_FILE, content)
    _replace(folder / DESCRIPTION_FILE, _text(description))
    return load_bundle(folder)


def _text(description: Mapping[str, Any]) -> bytes:
    return (json.dumps(description, indent=1, ensure_ascii=False) + "\n").encode()


def _stored(name: str, value: NDArray[np.float32]) -> NDArray[Any]:
    """Rounds matrices to half precision; keeps vectors, a hundredth of all, as small variances would become 0."""
    if not np.isfinite(value).all():
        raise InvalidInput(f"The weight {name} is not finite.", reason="WEIGHTS_INVALID", metadata={"weight": name})
    if value.ndim < 2:
        return np.ascontiguousarray(value, dtype=np.float32)
    if np.abs(value).max(initial=0.0) > np.finfo(np.float16).max:
        raise InvalidInput(
            f"The weight {name} is too large for half precision.", reason="WEIGHTS_INVALID", metadata={"weight": name}
        )
    return np.ascontiguousarray(value, dtype=np.float16)


def _replace(file: Path, content: bytes) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_bytes(content)
    fresh.replace(file)
