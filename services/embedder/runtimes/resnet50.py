"""ResNet50 of keras.applications as an OpenVINO graph: pixels in, globally max-pooled activations out, and maps."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from services.contract.errors import InvalidInput
from services.embedder.runtimes.garment_graph import garment_logits
from services.vision.preprocess import Preprocessing

Weights = Mapping[str, NDArray[np.float32]]

# The stages whose activations the garment heads read: at a stride of 8, 16 and 32 pixels.
MAPPED_STAGES: Final = (3, 4, 5)
# Blocks per stage (He et al. 2016, table 1); the first block of each stage but stage 2 halves the picture.
_BLOCKS: Final = {2: 3, 3: 4, 4: 6, 5: 3}
# Maximum of a weight in int8, stored as 0 to 255 with a scale and a zero point per output channel.
_LEVELS: Final = 255
# Of the batch normalisation in keras.applications.resnet.
_EPSILON: Final = 1.001e-5


def build_resnet50(
    weights: Weights,
    preprocessing: Preprocessing,
    *,
    few_places: int = 0,
    in_int8: bool = False,
    heads: Weights | None = None,
    maps: bool = False,
) -> ov.Model:
    """Builds the graph; batch normalisation is folded into the convolutions, in float64.

    Args:
        weights: weights of ResNet50 without its top, by Keras's names.
        preprocessing: the input that the network expects.
        few_places: stages with at most this many places per picture become matrix products over the places of all
            pictures. Convolutions, one picture after another, would leave most of the vector width unused.
        in_int8: whether the matrices of these products are stored in 8 bits.
        heads: the weights of garment heads, by the names of `GarmentHeads.weights`.
        maps: whether the activations of the stages in `MAPPED_STAGES` are returned too.

    Returns:
        A model from uint8 (n, height, width, 3), RGB, to float32 (n, 2048); then, with `heads`, to their logits (see
        `garment_logits`); then per mapped stage, with `maps`, to float32 (n, rows, columns, channels).

    Raises:
        InvalidInput: the weights are not those of a ResNet50.
    """
    layers = _Layers(weights, in_int8=in_int8)
    try:
        return _graph(layers, preprocessing, few_places, heads, maps=maps)
    except (ValueError, RuntimeError) as error:
        # OpenVINO tells of the places in its own code.
        raise _wrong("its layers do not fit together", "") from error


def _graph(
    layers: "_Layers", preprocessing: Preprocessing, few_places: int, heads: Weights | None, *, maps: bool
) -> ov.Model:
    pixels = ops.parameter([-1, preprocessing.frame.height, preprocessing.frame.width, 3], ov.Type.u8, name="pixels")
    x = ops.convert(pixels, ov.Type.f32)
    if preprocessing.channels == "BGR":
        x = ops.gather(x, _constant(np.array([2, 1, 0])), _constant(np.array(3)))
    x = ops.multiply(x, _constant(np.float32(preprocessing.scale)))
    x = ops.add(x, _constant(np.asarray(preprocessing.offset, dtype=np.float32).reshape(1, 1, 1, 3)))
    x = _channels_first(x)
    x = ops.relu(layers.convolution(x, "conv1", stride=2, pad=3))
    # As in Keras: after a ReLU, padding with zeros does not change a maximum.
    x = ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3], "floor", "explicit").output(0)
    grid = _halved(_halved((preprocessing.frame.height, preprocessing.frame.width)))
    as_rows = False
    mapped = []
    for stage, blocks in _BLOCKS.items():
        stride = 2 if stage > min(_BLOCKS) else 1
        before, grid = grid, _halved(grid) if stride > 1 else grid
        if grid[0] * grid[1] > few_places:
            x = _convolved_stage(layers, x, stage, blocks, stride)
        else:
            x = _rows(x, None if not as_rows else before, stride)
            x, as_rows = _multiplied_stage(layers, x, stage, blocks, grid), True
        if stage in MAPPED_STAGES:
            mapped.append(_channels_first(_pictures(x, grid)) if as_rows else x)
    logits = garment_logits(heads, mapped) if heads else []
    x = _pictures(x, grid) if as_rows else x
    x = ops.reduce_max(x, _constant(np.array([1, 2] if as_rows else [2, 3])), keep_dims=False)
    layers.check_all_used()
    outputs = [x, *logits, *(map(_channels_last, mapped) if maps else ())]
    return ov.Model([ops.result(each) for each in outputs], [pixels], "resnet50")


def last_places(preprocessing: Preprocessing) -> int:
    """Returns the places of the last stage: the sides are halved five times, rounded up each time."""
    return math.prod(-(-side // 32) for side in (preprocessing.frame.height, preprocessing.frame.width))


def _convolved_stage(layers: "_Layers", x: Any, stage: int, blocks: int, stride: int) -> Any:
    """Applies a stage to (n, channels, height, width); its first block takes every `stride`-th place."""
    for block in range(1, blocks + 1):
        name, step = f"conv{stage}_block{block}", stride if block == 1 else 1
        shortcut = layers.convolution(x, f"{name}_0", stride=step) if block == 1 else x
        y = ops.relu(layers.convolution(x, f"{name}_1", stride=step))
        y = ops.relu(layers.convolution(y, f"{name}_2", pad=1))
        x = ops.relu(ops.add(layers.convolution(y, f"{name}_3"), shortcut))
    return x


def _multiplied_stage(layers: "_Layers", x: Any, stage: int, blocks: int, grid: tuple[int, int]) -> Any:
    """Applies a stage to (n * places, channels), whose places are those left by its stride."""
    for block in range(1, blocks + 1):
        name = f"conv{stage}_block{block}"
        shortcut = layers.product(x, f"{name}_0") if block == 1 else x
        y = ops.relu(layers.product(x, f"{name}_1"))
        y = ops.relu(layers.product(_neighbourhoods(y, grid), f"{name}_2"))
        x = ops.relu(ops.add(layers.product(y, f"{name}_3"), shortcut))
    return x


def _rows(x: Any, grid: tuple[int, int] | None, stride: int) -> Any:
    """Takes every `stride`-th place of pictures (n, channels, height, width), or of rows of a grid, as rows."""
    x = _channels_last(x) if grid is None else _pictures(x, grid)
    if stride > 1:
        nothing, steps = np.zeros(4, dtype=np.int64), np.array([1, stride, stride, 1])
        x = ops.strided_slice(x, _constant(nothing), _constant(nothing), _constant(steps), [1] * 4, [1] * 4)
    return ops.reshape(x, _constant(np.array([-1, _width(x)])), False)


def _pictures(x: Any, grid: tuple[int, int]) -> Any:
    """Reshapes rows (n * places, channels) to pictures (n, height, width, channels)."""
    return ops.reshape(x, _constant(np.array([-1, *grid, _width(x)])), False)


def _channels_first(x: Any) -> Any:
    return ops.transpose(x, _constant(np.array([0, 3, 1, 2])))


def _channels_last(x: Any) -> Any:
    return ops.transpose(x, _constant(np.array([0, 2, 3, 1])))


def _neighbourhoods(x: Any, grid: tuple[int, int]) -> Any:
    """Gathers the 3 x 3 around each row (n * places, channels), zero-padded: (n * places, 9 * channels)."""
    height, width = grid
    outside = height * width
    at = np.full((height + 2, width + 2), outside)
    at[1:-1, 1:-1] = np.arange(outside).reshape(grid)
    around = np.stack([at[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=-1)
    channels = _width(x)
    x = ops.reshape(x, _constant(np.array([-1, outside, channels])), False)
    zero = ops.constant(0.0, ov.Type.f32)
    x = ops.pad(x, _constant(np.array([0, 0, 0])), _constant(np.array([0, 1, 0])), "constant", zero)
    x = ops.gather(x, _constant(around.ravel()), _constant(np.array(1)))
    return ops.reshape(x, _constant(np.array([-1, 9 * channels])), False)


def _halved(grid: tuple[int, int]) -> tuple[int, int]:
    return -(-grid[0] // 2), -(-grid[1] // 2)


def _width(x: Any) -> int:
    """Returns the last dimension, the channels."""
    return int(x.output(0).get_partial_shape()[-1].get_length())


class _Layers:
    """The weights, as convolutions or matrix products; tracks which are used."""

    def __init__(self, weights: Weights, *, in_int8: bool) -> None:
        self._weights = weights
        self._in_int8 = in_int8
        self._unused = set(weights)

    def convolution(self, x: Any, name: str, *, stride: int = 1, pad: int = 0) -> Any:
        """Convolves (n, channels, height, width)."""
        kernel, shift = self._folded(name)
        try:
            turned = _constant(kernel.transpose(3, 2, 0, 1))
            y = ops.convolution(x, turned, [stride, stride], [pad, pad], [pad, pad], [1, 1])
            return ops.add(y, _constant(shift.reshape(1, -1, 1, 1)))
        except (ValueError, RuntimeError) as error:
            raise _wrong(f"{name} has a wrong shape", f"{name}_conv/kernel") from error

    def product(self, x: Any, name: str) -> Any:
        """Multiplies rows (n, height * width * channels), in the order of the kernel."""
        kernel, shift = self._folded(name)
        try:
            matrix = kernel.reshape(-1, kernel.shape[-1]).T
            y = ops.matmul(x, _int8(matrix) if self._in_int8 else _constant(matrix), False, True)
            return ops.add(y, _constant(shift.reshape(1, -1)))
        except (ValueError, RuntimeError) as error:
            raise _wrong(f"{name} has a wrong shape", f"{name}_conv/kernel") from error

    def _folded(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Folds batch normalisation into a convolution: kernel (height, width, in, out) and bias (out,)."""
        kernel = self._take(f"{name}_conv/kernel", 4)
        bias, gamma, beta, mean, variance = (
            self._take(f"{name}_{of}", 1).astype(np.float64)
            for of in ("conv/bias", "bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance")
        )
        if not (variance >= 0).all():
            raise _wrong(f"{name} has a variance below 0", f"{name}_bn/moving_variance")
        factor = gamma / np.sqrt(variance + _EPSILON)
        try:
            weights = np.empty(kernel.shape, dtype=np.float32)
            # In float64 piece by piece: a copy of the whole kernel takes three times as long.
            np.multiply(kernel, factor, out=weights, dtype=np.float64, casting="same_kind")
            folded = weights, ((bias - mean) * factor + beta).astype(np.float32)
        except ValueError as error:
            raise _wrong(f"{name} has a wrong shape", f"{name}_conv/kernel") from error
        if not all(np.isfinite(part).all() for part in folded):
            raise _wrong(f"{name} is not finite", f"{name}_conv/kernel")
        return folded

    def check_all_used(self) -> None:
        if self._unused:
            first = min(self._unused)
            raise _wrong(f"{first} is unknown", first)

    def _take(self, name: str, dimensions: int) -> NDArray[np.float32]:
        value = self._weights.get(name)
        if value is None or value.ndim != dimensions:
            raise _wrong(f"{name} is missing or has a wrong shape", name)
        self._unused.discard(name)
        return value


def _int8(matrix: NDArray[np.float32]) -> Any:
    """Stores each row of a matrix (out, in) in 8 bits, over a range from its minimum to its maximum that includes 0."""
    low, high = (np.minimum(matrix.min(axis=1, keepdims=True), 0), np.maximum(matrix.max(axis=1, keepdims=True), 0))
    scale = np.maximum((high - low) / _LEVELS, np.finfo(np.float32).tiny).astype(np.float32)
    zero = np.round(-low / scale)
    levels = np.clip(np.round(matrix / scale) + zero, 0, _LEVELS)
    levels_8bit, zero_8bit = (ops.convert(_constant(part.astype(np.uint8)), ov.Type.f32) for part in (levels, zero))
    return ops.multiply(ops.subtract(levels_8bit, zero_8bit), _constant(scale))


def _constant(value: Any) -> Any:
    return ops.constant(np.ascontiguousarray(value))


def _wrong(what: str, name: str) -> InvalidInput:
    return InvalidInput(
        f"These are not the weights of ResNet50 without its top: {what}.",
        reason="WEIGHTS_INVALID",
        metadata={"weights": name},
    )
