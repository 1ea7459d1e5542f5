"""The garment heads as Keras trains them, and their losses; `services.embedder.garment_heads` is what serves."""

from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from offline.detect.examples import Example
from services.embedder.garment_heads import cell_middles

STAGES: Final = (3, 4, 5)
_HIDDEN: Final = 96
_TURN_PLACES: Final = 64
_TURN_HIDDEN: Final = 96
_DROPOUT: Final = 0.3
# Cells this near to the middle of a garment, in shares of its sides, find it.
_NEAR: Final = 0.25
_BOX_WEIGHT: Final = 2.0
_LABEL_WEIGHT: Final = 0.5
_EPSILON: Final = 1e-7
# What a cell has to learn: whether a garment is there, its box and its label, and whether that is known.
TARGETS: Final = 7


def build_cells(shapes: tuple[tuple[int, int, int], ...], labels: int, scales: tuple[float, ...]) -> keras.Model:
    """Builds the head that finds garments.

    Args:
        shapes: rows, columns and channels of the map of each stage.
        labels: number of subCategories.
        scales: factor on each map, which brings its activations to the size of 1.

    Returns:
        A model of the maps; its outputs are logits, (n, places, 5 + labels).
    """
    rows, columns = shapes[0][:2]
    maps = [keras.Input(shape) for shape in shapes]
    scaled = [keras.layers.Rescaling(scale)(each) for each, scale in zip(maps, scales, strict=True)]
    projected = []
    for stage, each in zip(STAGES, scaled, strict=True):
        y = keras.layers.Dense(_HIDDEN, name=f"stage{stage}", use_bias=stage == STAGES[0])(
            keras.layers.SpatialDropout2D(0.1)(each)
        )
        step = 2 ** (stage - STAGES[0])
        y = keras.layers.UpSampling2D(step)(y) if step > 1 else y
        projected.append(y[:, :rows, :columns])
    hidden = keras.layers.ReLU()(keras.layers.Add()(projected))
    hidden = keras.layers.Conv2D(_HIDDEN, 3, padding="same", activation="relu", name="context")(hidden)
    cells = keras.layers.Dense(5 + labels, name="cells")(hidden)
    cells = keras.layers.Reshape((rows * columns, 5 + labels), name="found")(cells)
    return keras.Model(maps, cells)


def build_turns(shape: tuple[int, int, int], scale: float) -> keras.Model:
    """Builds the head that tells how a picture is turned.

    Args:
        shape: rows, columns and channels of the map of stage 4.
        scale: factor on the map, which brings its activations to the size of 1.

    Returns:
        A model of the map; its outputs are logits of 0, 1, 2 and 3 quarter turns, (n, 4).
    """
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(scale),
            keras.layers.Dense(_TURN_PLACES, activation="relu", name="turn_places"),
            keras.layers.Flatten(),
            keras.layers.Dropout(_DROPOUT),
            keras.layers.Dense(_TURN_HIDDEN, activation="relu", name="turn_hidden"),
            keras.layers.Dropout(_DROPOUT),
            keras.layers.Dense(4, name="turn"),
        ]
    )


def targets(example: Example, rows: int, columns: int) -> NDArray[np.float32]:
    """Returns what each cell has to learn.

    Returns:
        (places, 7), float32: 1 for a garment, 0 for none; its box; its label; 1 if all that is known.
    """
    learned = np.zeros((rows * columns, TARGETS), dtype=np.float32)
    if example.boxes is None:
        return learned
    learned[:, 6] = 1.0
    middles = cell_middles(rows, columns)
    areas = np.prod(example.boxes[:, 2:] - example.boxes[:, :2], axis=1)
    # Of garments over each other, the smaller one has the cell.
    for index in np.argsort(-areas, kind="stable"):
        box = example.boxes[index]
        distances = np.abs(middles - (box[:2] + box[2:]) / 2)
        near = (distances <= _NEAR * (box[2:] - box[:2])).all(axis=1)
        near[np.argmin(distances.sum(axis=1))] = True
        learned[near, 0] = 1.0
        learned[near, 1:5] = box
        learned[near, 5] = example.labels[index]
    return learned


def cells_loss(rows: int, columns: int, learned: Any, cells: Any) -> Any:
    """The loss of garments on a map of a size: whether one is there, the overlap of its box, and its label."""
    known, there = learned[..., 6], learned[..., 0]
    count = tf.maximum(tf.reduce_sum(there * known, axis=-1), 1.0)
    rows_columns = tf.constant(cell_middles(rows, columns))
    distances = tf.sigmoid(cells[..., 1:5])
    low, high = rows_columns - distances[..., :2], rows_columns + distances[..., 2:]
    overlap, hull = _overlaps(low, high, learned[..., 1:3], learned[..., 3:5])
    box = 1.0 - overlap + hull
    # Generalised focal loss (Li et al. 2020): a cell is as confident as its box is right; right ones count little.
    import os

    right = there * tf.stop_gradient(tf.maximum(overlap, 0.0)) if os.environ.get("QFL", "1") == "1" else there
    binary = tf.nn.sigmoid_cross_entropy_with_logits(right, cells[..., 0])
    wrong = tf.abs(right - tf.sigmoid(cells[..., 0]))
    found = tf.reduce_sum(known * binary * wrong**1.5 * (0.5 + there), axis=-1)
    label = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(learned[..., 5], tf.int32), cells[..., 5:])
    per_garment = tf.reduce_sum(there * known * (_BOX_WEIGHT * box + _LABEL_WEIGHT * label), axis=-1)
    return (found * 4.0 + per_garment) / count


def _overlaps(low: Any, high: Any, true_low: Any, true_high: Any) -> tuple[Any, Any]:
    """Returns the overlap of boxes, and what their generalised overlap subtracts from it (Rezatofighi et al. 2019)."""

    def area(sides: Any) -> Any:
        return tf.reduce_prod(tf.maximum(sides, 0.0), axis=-1)

    shared = area(tf.minimum(high, true_high) - tf.maximum(low, true_low))
    union = area(high - low) + area(true_high - true_low) - shared
    hull = area(tf.maximum(high, true_high) - tf.minimum(low, true_low))
    return shared / (union + _EPSILON), (hull - union) / (hull + _EPSILON)


def exported_cells(model: keras.Model, scales: tuple[float, ...]) -> Mapping[str, NDArray[np.float32]]:
    """Returns the weights that find garments as serving names them, the factors on the maps multiplied in."""
    weights = _exported(model, "context", "cells")
    for stage, scale in zip(STAGES, scales, strict=True):
        kernel, *bias = model.get_layer(f"stage{stage}").get_weights()
        weights[f"stage{stage}"] = np.asarray(kernel) * np.float32(scale)
        if bias:
            weights["stages_bias"] = np.asarray(bias[0])
    return weights


def exported_turns(model: keras.Model, scale: float) -> Mapping[str, NDArray[np.float32]]:
    """Returns the weights that tell turns as serving names them, the factor on the map multiplied in."""
    weights = _exported(model, "turn_places", "turn_hidden", "turn")
    weights["turn_places"] = weights["turn_places"] * np.float32(scale)
    return weights


def _exported(model: keras.Model, *layers: str) -> dict[str, NDArray[np.float32]]:
    weights = {}
    for name in layers:
        weights[name], weights[f"{name}_bias"] = map(np.asarray, model.get_layer(name).get_weights())
    return weights
