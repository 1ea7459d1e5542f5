"""ResNet50 as keras.applications defines it, as an OpenVINO graph: pixels in, the largest activations out."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from services.serving.errors import InvalidInput
from services.vision.preprocess import Preprocessing

Weights = Mapping[str, NDArray[np.float32]]

# He et al. 2016, table 1: blocks a stage; the first of each but stage 2 halves the picture.
_BLOCKS: Final = {2: 3, 3: 4, 4: 6, 5: 3}
# keras.applications.resnet.
_EPSILON: Final = 1.001e-5


def build_resnet50(weights: Weights, preprocessing: Preprocessing) -> ov.Model:
    """Build the graph; batch normalisation is folded into the convolutions, in float64.

    Args:
        weights: by the names that Keras gives them; exactly those of ResNet50 without its top.
        preprocessing: what the network expects.

    Returns:
        A model from uint8 (n, height, width, 3), RGB, to float32 (n, 2048).

    Raises:
        InvalidInput: the weights are not those of a ResNet50.
    """
    layers = _Layers(weights)
    pixels = ops.parameter([-1, preprocessing.height, preprocessing.width, 3], ov.Type.u8, name="pixels")
    x = ops.convert(pixels, ov.Type.f32)
    if preprocessing.channels == "BGR":
        x = ops.gather(x, _constant(np.array([2, 1, 0])), _constant(np.array(3)))
    x = ops.multiply(x, _constant(np.float32(preprocessing.scale)))
    x = ops.add(x, _constant(np.asarray(preprocessing.offset, dtype=np.float32).reshape(1, 1, 1, 3)))
    x = ops.transpose(x, _constant(np.array([0, 3, 1, 2])))
    x = ops.relu(layers.convolution(x, "conv1", stride=2, pad=3))
    # After a ReLU, zeros around the picture never are the largest: padding with them is Keras's.
    x = ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3], "floor", "explicit").output(0)
    for stage, blocks in _BLOCKS.items():
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            stride = 2 if block == 1 and stage > min(_BLOCKS) else 1
            shortcut = layers.convolution(x, f"{name}_0", stride=stride) if block == 1 else x
            y = ops.relu(layers.convolution(x, f"{name}_1", stride=stride))
            y = ops.relu(layers.convolution(y, f"{name}_2", pad=1))
            x = ops.relu(ops.add(layers.convolution(y, f"{name}_3"), shortcut))
    x = ops.reduce_max(x, _constant(np.array([2, 3])), keep_dims=False)
    layers.check_all_used()
    return ov.Model([ops.result(x)], [pixels], "resnet50")


class _Layers:
    """The weights, handed out as convolutions, each name once."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._unused = set(weights)

    def convolution(self, x: Any, name: str, *, stride: int = 1, pad: int = 0) -> Any:
        kernel, bias = self._take(f"{name}_conv/kernel", 4), self._take(f"{name}_conv/bias", 1)
        gamma, beta = self._take(f"{name}_bn/gamma", 1), self._take(f"{name}_bn/beta", 1)
        mean, variance = self._take(f"{name}_bn/moving_mean", 1), self._take(f"{name}_bn/moving_variance", 1)
        factor = gamma / np.sqrt(variance + _EPSILON)
        try:
            folded = (kernel * factor).transpose(3, 2, 0, 1).astype(np.float32)
            shift = ((bias - mean) * factor + beta).astype(np.float32).reshape(1, -1, 1, 1)
            y = ops.convolution(x, _constant(folded), [stride, stride], [pad, pad], [pad, pad], [1, 1])
            return ops.add(y, _constant(shift))
        except (ValueError, RuntimeError) as error:
            raise _wrong(f"{name} misshaped", f"{name}_conv/kernel") from error

    def check_all_used(self) -> None:
        if self._unused:
            first = min(self._unused)
            raise _wrong(f"{first} unknown", first)

    def _take(self, name: str, dimensions: int) -> NDArray[np.float64]:
        value = self._weights.get(name)
        if value is None or value.ndim != dimensions:
            raise _wrong(f"{name} missing or misshaped", name)
        self._unused.discard(name)
        return value.astype(np.float64)


def _constant(value: Any) -> Any:
    return ops.constant(np.ascontiguousarray(value))


def _wrong(what: str, name: str) -> InvalidInput:
    return InvalidInput(
        f"these are no weights of ResNet50 without its top: {what}",
        reason="WEIGHTS_INVALID",
        metadata={"weights": name},
    )
