"""From a run's checkpoint to a bundle: averaged weights, blended with the initial ones, batch statistics afresh."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from offline.bundle import describe, write_bundle
from offline.train import checkpoint
from offline.train.checkpoint import Position
from offline.train.config import HEADS, TrainConfig
from offline.train.data import UNKNOWN, Pictures, encode_labels
from offline.train.initial import IMAGENET, SCRATCH, initial_weights
from offline.train.model import OFFSET, SCALE, build_backbone, preprocessing
from offline.train.validation import Embed, embed_all
from services.bundle.reader import Bundle, load_bundle
from services.contract.errors import NotFound
from services.embedder.encoder import normalise

_AVERAGE: Final = "average/"
_HEADS: Final = "heads/"
_BATCH: Final = 128
_COMPARED: Final = 256
_MEAN: Final = "/moving_mean"
_VARIANCE: Final = "/moving_variance"


def export(
    run: Path,
    folder: Path,
    *,
    name: str,
    statistics_from: Pictures,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
) -> Bundle:
    """Write the bundle of a run's last checkpoint.

    Its input has the size that the run has come to: a network that has only seen small pictures is of no use on
    large ones.

    Args:
        run: the run's folder.
        folder: the bundle's folder.
        name: the bundle's name.
        statistics_from: unaltered training pictures.
        metrics: figures to keep in the bundle; what its half precision changes is added.
        training: data and licence; the run's settings are added.

    Raises:
        NotFound: the run has no checkpoint.
    """
    config = TrainConfig.of_run(run)
    position, weights = averaged(run)
    if config.blend < 1.0:
        weights = blended(weights, *initial_weights(config.initial, position.labels), share=config.blend)
    stage = config.stage(position.progress)
    encoder = {key: value for key, value in weights.items() if not key.startswith(_HEADS)}
    pixels = statistics_from.resized(stage.height, stage.width)
    if not config.frozen_layers:
        encoder = with_fresh_statistics(encoder, pixels)
    heads = {head: weights[_HEADS + head] for head in HEADS}
    untrained = [head for head in HEADS if not config.head_weights[head]]
    if untrained:
        embeddings = embed_all(_embed_with(encoder), pixels)
        labels = encode_labels(statistics_from.rows, position.labels)
        for head in untrained:
            heads[head] = _with_centroids(heads[head], embeddings, labels[:, HEADS.index(head)])
    bundle = write_bundle(
        folder,
        name=name,
        preprocessing=preprocessing(stage.height, stage.width),
        encoder=encoder,
        heads=heads,
        labels=position.labels,
        logit_scale=config.logit_scale,
        metrics=metrics,
        training={**training, **_recipe(config, position)},
        split={"rule": "twin groups by hash", "salt": config.salt, "fractions": dict(config.fractions)},
    )
    compared = pixels[:_COMPARED]
    # In float32, whatever training computed in: what is asked is what the weights' rounding does.
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})
    full, half = (embed_all(_embed_with(weights), compared) for weights in (encoder, bundle.encoder_weights()))
    cosines = (full * half).sum(axis=1)
    half_precision = {"pictures": len(compared), "least_cosine": round(float(cosines.min()), 7)}
    return describe(folder, metrics={**metrics, "half_precision": half_precision})


def averaged(run: Path) -> tuple[Position, dict[str, NDArray[np.float32]]]:
    """The averaged weights of a run's last checkpoint, the heads' under "heads/".

    Raises:
        NotFound: the run has no checkpoint.
    """
    loaded = checkpoint.load(run)
    if loaded is None:
        raise NotFound(f"{run}: no checkpoint here", reason="CHECKPOINT_NOT_FOUND")
    position, state = loaded
    return position, {key.removeprefix(_AVERAGE): value for key, value in state.items() if key.startswith(_AVERAGE)}


def blended(
    weights: Mapping[str, NDArray[np.float32]],
    initial: Mapping[str, NDArray[np.float32]],
    initial_heads: Mapping[str, NDArray[np.float32]],
    *,
    share: float,
) -> dict[str, NDArray[np.float32]]:
    """Mix a run's weights with those that it began with (Wortsman et al. 2022, robust fine-tuning).

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
    """Replace the moving statistics of batch normalisation by those of given pictures under given weights.

    Averaged weights never ran in training, so the averages of the statistics are not quite theirs
    (Izmailov et al. 2018, stochastic weight averaging).

    Args:
        weights: of the backbone, by Keras's names.
        pixels: (n, height, width, 3), uint8; at least one batch of them.

    Returns:
        All weights, the statistics replaced.
    """
    # Momentum 0: after each batch the moving statistics are that batch's.
    backbone = build_backbone(bn_momentum=0.0)
    for weight in backbone.weights:
        weight.assign(weights[weight.path])
    statistics = {w.path: w for w in backbone.weights if w.path.endswith((_MEAN, _VARIANCE))}
    run = tf.function(lambda x: backbone(tf.cast(x, tf.float32) * SCALE + OFFSET, training=True))
    sums = {path: np.zeros(weight.shape, dtype=np.float64) for path, weight in statistics.items()}
    squares = {path: np.zeros(w.shape, dtype=np.float64) for path, w in statistics.items() if path.endswith(_MEAN)}
    size = min(_BATCH, len(pixels))
    batches = len(pixels) // size
    for start in range(0, batches * size, size):
        run(tf.constant(pixels[start : start + size]))
        for path, weight in statistics.items():
            value = np.asarray(weight.value, dtype=np.float64)
            sums[path] += value
            if path in squares:
                squares[path] += value**2
    fresh = {path: total / batches for path, total in sums.items()}
    for path, square in squares.items():
        # The variance over all is the mean within batches and that of the batches' means.
        between = np.maximum(square / batches - fresh[path] ** 2, 0.0)
        fresh[path.removesuffix(_MEAN) + _VARIANCE] += between
    return {**weights, **{path: value.astype(np.float32) for path, value in fresh.items()}}


def _embed_with(weights: Mapping[str, NDArray[np.float32]]) -> Embed:
    backbone = build_backbone()
    for weight in backbone.weights:
        weight.assign(weights[weight.path])
    run = tf.function(lambda x: backbone(tf.cast(x, tf.float32) * SCALE + OFFSET, training=False))
    return lambda pixels: normalise(run(tf.constant(pixels)).numpy())


def _with_centroids(
    directions: NDArray[np.float32], embeddings: NDArray[np.float32], labels: NDArray[np.int32]
) -> NDArray[np.float32]:
    """A head whose loss had no weight points to the mean embedding of each label, where there is one."""
    pointed = directions.copy()
    for label in np.unique(labels[labels != UNKNOWN]):
        pointed[:, label] = embeddings[labels == label].mean(axis=0)
    return pointed


def _recipe(config: TrainConfig, position: Position) -> dict[str, Any]:
    settings = config.to_json()
    for private in ("dataset", "run", "extra", "threads"):
        # Where files lay on one machine is of no use to another.
        settings.pop(private)
    if config.initial not in (SCRATCH, IMAGENET):
        initial = load_bundle(Path(config.initial))
        settings["initial"] = f"{initial.name} {initial.model_version}"
    return {
        "settings": settings,
        "steps": position.step,
        "pictures_seen": position.seen,
        "minutes": round(position.spent_s / 60, 1),
    }
