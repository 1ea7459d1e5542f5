"""Weights to begin with: those of ImageNet, or of a bundle, made to fit the input that training uses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.train.layers import without_biases
from offline.train.model import OFFSET, SCALE, build_imagenet
from services.bundle.reader import load_bundle
from services.contract.errors import InvalidInput

SCRATCH: Final = "scratch"
IMAGENET: Final = "imagenet"
# keras.applications, "caffe" mode: these means are taken off pixels in the order BGR.
_IMAGENET_MEANS_BGR: Final = (103.939, 116.779, 123.68)
_KERNEL: Final = "conv1_conv/kernel"
_BIAS: Final = "conv1_conv/bias"


def initial_weights(
    initial: str, names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """What a run begins with, beyond chance.

    Args:
        initial: "scratch", "imagenet", or the path of a bundle.
        names: labels by head, as the run will have them.

    Returns:
        Weights of the backbone by Keras's names, without biases, empty for scratch; and, for each head that the bundle
        has, the directions (labels, 2048) of the run's labels, NaN where the bundle knows no such label.

    Raises:
        NotFound: there is no bundle at the path.
        InvalidInput: the bundle is broken, or expects another scaling of its input.
        NotReady: the weights of ImageNet can neither be found nor downloaded.
    """
    if initial == SCRATCH:
        return {}, {}
    if initial == IMAGENET:
        return without_biases(fit_imagenet(build_imagenet())), {}
    bundle = load_bundle(Path(initial))
    wanted = (SCALE, (OFFSET,) * 3, "RGB")
    if (bundle.preprocessing.scale, bundle.preprocessing.offset, bundle.preprocessing.channels) != wanted:
        raise InvalidInput(
            f"the bundle {bundle.name!r} scales its input in another way than training does",
            reason="BUNDLE_INVALID",
            metadata={"field": "preprocessing"},
        )
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
    """Turn the first convolution from ImageNet's input (BGR less means) to training's (scaled RGB).

    The same function of the picture, but for its border, which was padded with the mean and now is with white.

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
