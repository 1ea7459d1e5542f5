"""Weights to begin with: those of ImageNet, or of a bundle, made to fit the input that training uses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.train.config import IMAGENET, SCRATCH
from offline.train.model import OFFSET, SCALE, imagenet_weights
from services.bundle.reader import Bundle, load_bundle
from services.contract.errors import InvalidInput

# keras.applications, "caffe" mode: these means are taken off pixels in the order BGR.
_IMAGENET_MEANS_BGR: Final = (103.939, 116.779, 123.68)
_KERNEL: Final = "conv1_conv/kernel"
_BIAS: Final = "conv1_conv/bias"


def initial_bundle(initial: str) -> Bundle | None:
    """Returns the bundle that a run begins with; None for scratch and ImageNet.

    Raises:
        NotFound: there is no bundle at the path.
        InvalidInput: the bundle is broken, or expects another scaling of its input.
    """
    if initial in (SCRATCH, IMAGENET):
        return None
    bundle = load_bundle(Path(initial))
    expected = (SCALE, (OFFSET,) * 3, "RGB")
    if (bundle.preprocessing.scale, bundle.preprocessing.offset, bundle.preprocessing.channels) != expected:
        raise InvalidInput(
            f"The bundle {bundle.name!r} scales its input in another way than training does.",
            reason="BUNDLE_INVALID",
            metadata={"field": "preprocessing"},
        )
    return bundle


def initial_weights(
    initial: str, names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Returns what a run begins with instead of random weights.

    Args:
        initial: "scratch", "imagenet", or the path of a bundle.
        names: labels by head, as the run will have them.

    Returns:
        Weights of the backbone by Keras's names, without biases, empty for scratch. For each head that the bundle has,
        the directions (labels, 2048) of the run's labels, NaN where the bundle knows no such label.

    Raises:
        NotFound: there is no bundle at the path.
        InvalidInput: the bundle is broken, or expects another scaling of its input.
        NotReady: the weights of ImageNet can neither be found nor downloaded.
    """
    if initial == IMAGENET:
        return without_biases(fit_imagenet(imagenet_weights())), {}
    bundle = initial_bundle(initial)
    if bundle is None:
        return {}, {}
    heads = {}
    for head, labels in names.items():
        if head not in bundle.labels:
            continue
        known = bundle.head(head)
        place = {label: index for index, label in enumerate(known.labels)}
        rows = np.full((len(labels), bundle.dimension), np.nan, dtype=np.float32)
        for index, label in enumerate(labels):
            if label in place:
                rows[index] = known.weights[place[label]]
        heads[head] = rows
    return without_biases(bundle.encoder_weights()), heads


def fit_imagenet(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Turns the first convolution from ImageNet's input (BGR less means) to training's (scaled RGB).

    The network stays the same function of the picture but for its border, padded with white instead of the mean.

    Args:
        weights: of the backbone, by Keras's names.
    """
    kernel = weights[_KERNEL].astype(np.float64)
    # A pixel is (input - OFFSET) / SCALE.
    constant = -OFFSET / SCALE - np.asarray(_IMAGENET_MEANS_BGR)
    bias = weights[_BIAS] + np.einsum("hwio,i->o", kernel, constant)
    return {
        **weights,
        _KERNEL: (kernel[:, :, ::-1] / SCALE).astype(np.float32),
        _BIAS: bias.astype(np.float32),
    }


def without_biases(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Returns the same network with biases of 0: each is taken off the mean that batch normalisation takes off next.

    Args:
        weights: of ResNet50, by Keras's names.
    """
    moved = dict(weights)
    for name, bias in weights.items():
        if name.endswith("_conv/bias"):
            mean = name.removesuffix("_conv/bias") + "_bn/moving_mean"
            moved[mean] = weights[mean] - bias
            moved[name] = np.zeros_like(bias)
    return moved
