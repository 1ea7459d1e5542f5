"""From a run's checkpoint to a bundle: averaged weights, blended with the initial ones, batch statistics afresh."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.bundle import describe, write_bundle
from offline.train.checkpoint import Position
from offline.train.config import HEADS, TrainConfig
from offline.train.data import Pictures, right_labels
from offline.train.initial import initial_bundle, initial_weights
from offline.train.loop import averaged_weights
from offline.train.model import (
    OFFSET,
    SCALE,
    build_backbone,
    embed,
    fuse_bfloat16,
    preprocessing,
    put_weights,
    values_of,
)
from services.bundle.reader import Bundle
from services.embedder.encoder import normalise

_HEADS: Final = "heads/"
_BATCH: Final = 128
_COMPARED: Final = 256
_MEAN: Final = "/moving_mean"
_VARIANCE: Final = "/moving_variance"
# What lay where on one machine is of no use to another.
_PRIVATE: Final = {"dataset", "run", "extra", "larger", "photographs", "teacher"}


def export(
    run: Path,
    folder: Path,
    *,
    name: str,
    statistics_from: Pictures,
    training: Mapping[str, Any],
    photographs: Pictures | None = None,
) -> Bundle:
    """Writes the bundle of a run's last checkpoint.

    Its input has the size that the run has come to: a network that has only seen small pictures is of no use on
    large ones.

    Args:
        run: the run's folder.
        folder: the bundle's folder.
        name: the bundle's name.
        statistics_from: unaltered training pictures.
        training: data and licence; the run's settings are added.
        photographs: training photographs, whose statistics count, too.

    Raises:
        NotFound: the run has no checkpoint.
    """
    config = TrainConfig.of_run(run)
    position, weights = averaged_weights(run)
    if config.blend < 1.0:
        weights = blended(weights, *initial_weights(config.initial, position.labels), share=config.blend)
    stage = config.stage(position.progress)
    encoder = {key: value for key, value in weights.items() if not key.startswith(_HEADS)}
    pixels = statistics_from.resized(stage.height, stage.width)
    if not config.frozen_layers:
        shown = photographs.resized(stage.height, stage.width) if photographs is not None else pixels[:0]
        mixed = np.concatenate([pixels, shown])
        encoder = with_fresh_statistics(encoder, np.random.default_rng((config.seed, 6)).permutation(mixed))
    # What is compared below is the rounding of the weights, so nothing else may round.
    fuse_bfloat16(False)
    network = build_backbone(encoder)
    # Other directions serve training alone.
    heads = {head: weights[_HEADS + head] for head in HEADS}
    untrained = [head for head in HEADS if not config.head_weights[head]]
    if untrained:
        embeddings = embed(network, pixels)
        labels = right_labels(statistics_from.rows, position.labels)
        for head in untrained:
            heads[head] = _with_centroids(heads[head], embeddings, labels[head])
    bundle = write_bundle(
        folder,
        name=name,
        preprocessing=preprocessing(stage.height, stage.width),
        encoder=encoder,
        heads=heads,
        labels=position.labels,
        logit_scale=config.logit_scale,
        metrics={},
        training={**training, **_recipe(config, position)},
        split={"rule": "twin groups by hash", "salt": config.salt, "fractions": dict(config.fractions)},
    )
    compared = pixels[:_COMPARED]
    full = embed(network, compared)
    put_weights(network, bundle.encoder_weights())
    cosines = (full * embed(network, compared)).sum(axis=1)
    half_precision = {"pictures": len(compared), "least_cosine": round(float(cosines.min()), 7)}
    return describe(folder, metrics={"half_precision": half_precision})


def blended(
    weights: Mapping[str, NDArray[np.float32]],
    initial: Mapping[str, NDArray[np.float32]],
    initial_heads: Mapping[str, NDArray[np.float32]],
    *,
    share: float,
) -> dict[str, NDArray[np.float32]]:
    """Mixes a run's weights with those that it began with (Wortsman et al. 2022, robust fine-tuning).

    Args:
        weights: of the backbone by Keras's names, and of heads under "heads/", shape (2048, labels).
        initial: of the backbone.
        initial_heads: shape (labels, 2048); NaN for labels that were not known, which keep the run's.
        share: of the run's weights, in [0, 1].

    Returns:
        All weights; directions of heads with norm 1.
    """
    mixed = {}
    for name, value in weights.items():
        if not name.startswith(_HEADS):
            mixed[name] = share * value + (1.0 - share) * initial[name]
            continue
        directions = normalise(np.ascontiguousarray(value.T))
        before = initial_heads.get(name.removeprefix(_HEADS))
        if before is not None:
            known = np.isfinite(before).all(axis=1)
            directions[known] = share * directions[known] + (1.0 - share) * normalise(before[known])
        mixed[name] = np.ascontiguousarray(normalise(directions).T)
    return {name: value.astype(np.float32) for name, value in mixed.items()}


def with_fresh_statistics(
    weights: Mapping[str, NDArray[np.float32]], pixels: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Replaces the moving statistics of batch normalisation by those of given pictures under given weights.

    Averaged weights never ran in training, so the averages of the statistics are not quite theirs (Izmailov et al.
    2018, stochastic weight averaging).

    Args:
        weights: of the backbone, by Keras's names.
        pixels: (n, height, width, 3), uint8; at least one batch of them.

    Returns:
        All weights, the statistics replaced.
    """
    # With momentum 0 the moving statistics are those of the last batch.
    backbone = build_backbone(weights, bn_momentum=0.0)
    statistics = {w.path: w for w in backbone.weights if w.path.endswith((_MEAN, _VARIANCE))}
    sums = {path: np.zeros(weight.shape, dtype=np.float64) for path, weight in statistics.items()}
    squares = {path: np.zeros(w.shape, dtype=np.float64) for path, w in statistics.items() if path.endswith(_MEAN)}
    size = min(_BATCH, len(pixels))
    batches = len(pixels) // size
    for start in range(0, batches * size, size):
        backbone(pixels[start : start + size].astype(np.float32) * SCALE + OFFSET, training=True)
        for path, value in values_of(statistics).items():
            sums[path] += value
            if path in squares:
                squares[path] += value.astype(np.float64) ** 2
    fresh = {path: total / batches for path, total in sums.items()}
    for path, square in squares.items():
        # The variance over all is the mean within batches plus that of the batches' means.
        between = np.maximum(square / batches - fresh[path] ** 2, 0.0)
        fresh[path.removesuffix(_MEAN) + _VARIANCE] += between
    return {**weights, **{path: value.astype(np.float32) for path, value in fresh.items()}}


def _with_centroids(
    directions: NDArray[np.float32], embeddings: NDArray[np.float32], labels: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Points a head whose loss had no weight to the mean embedding of each label, where there is one."""
    centroids = embeddings.T @ labels / np.maximum(labels.sum(axis=0), 1)
    return np.where(labels.any(axis=0), centroids, directions).astype(np.float32)


def _recipe(config: TrainConfig, position: Position) -> dict[str, Any]:
    settings = config.model_dump(mode="json", exclude=_PRIVATE)
    # Whether it learned from them is told; the names of the files are not.
    settings |= {name: getattr(config, name) is not None for name in ("larger", "photographs", "teacher")}
    if (initial := initial_bundle(config.initial)) is not None:
        settings["initial"] = f"{initial.name} {initial.model_version}"
    return {
        "settings": settings,
        "steps": position.step,
        "pictures_seen": position.seen,
        "minutes": round(position.spent_s / 60, 1),
    }
