"""A bundle of random weights: the arithmetic of runtimes is the same, whatever the weights are."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline.bundle import write_bundle
from services.bundle.reader import Bundle
from services.vision import Frame, Preprocessing

HEIGHT, WIDTH = 40, 32


def random_weights() -> dict[str, NDArray[np.float32]]:
    """Returns the initial weights of Keras, with statistics like those of a trained network."""
    import keras

    keras.utils.set_random_seed(3)
    network = keras.applications.ResNet50(include_top=False, weights=None, pooling="max")
    random = np.random.default_rng(3)
    weights = {}
    for weight in network.weights:
        value = np.asarray(weight.value)
        if weight.path.endswith(("/gamma", "/moving_variance")):
            value = random.uniform(0.8, 1.2, value.shape).astype(np.float32)
        elif value.ndim == 1:
            value = random.normal(0.0, 0.1, value.shape).astype(np.float32)
        weights[weight.path] = value
    return weights


def too_large(weights: dict[str, NDArray[np.float32]], factor: float) -> dict[str, NDArray[np.float32]]:
    """Returns weights that are finite, the last ones `factor` times as large."""
    last = "conv5_block3_3_bn/gamma"
    return {**weights, last: weights[last] * np.float32(factor)}


def random_bundle(folder: Path, weights: dict[str, NDArray[np.float32]], channels: str = "RGB") -> Bundle:
    """A bundle of these weights, for pictures of `HEIGHT` x `WIDTH`."""
    return write_bundle(
        folder,
        name="random",
        preprocessing=Preprocessing(Frame(HEIGHT, WIDTH), channels, 1 / 127.5, (-2.0, -1.9, -1.8)),
        encoder=weights,
        heads={"gender": np.random.default_rng(0).standard_normal((2048, 2)).astype(np.float32)},
        labels={"gender": ("Men", "Women")},
        logit_scale=20.0,
        metrics={},
        training={},
        split={},
    )
