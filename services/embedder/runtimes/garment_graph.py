"""The garment heads as part of an OpenVINO graph, so that no map leaves it; `GarmentHeads` is the same in NumPy."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as ops

Weights = Mapping[str, NDArray[np.float32]]

_STAGES: Final = (3, 4, 5)


def garment_logits(weights: Weights, maps: Sequence[Any]) -> list[Any]:
    """Adds the heads to a graph.

    Args:
        weights: of the heads, by the names of `GarmentHeads.weights`.
        maps: nodes of the stages 3, 4 and 5, each (n, channels, rows, columns).

    Returns:
        Nodes of what `HeadLogits` holds: of turns; then, where the weights have the head of garments, of cells.
    """
    # Convolutions read a map as it lies in memory; matrix products would have it copied first.
    logits = [_turn_logits(weights, maps[1])]
    return [*logits, _cell_logits(weights, maps)] if "cells" in weights else logits


def _turn_logits(weights: Weights, places: Any) -> Any:
    _, rows, columns = _sizes(places)
    x = ops.relu(_convolved(places, weights, "turn_places"))
    hidden = weights["turn_hidden"].reshape(rows, columns, -1, weights["turn_hidden"].shape[1])
    x = ops.relu(_with_bias(_convolution(x, hidden), weights, "turn_hidden"))
    x = _convolved(x, weights, "turn")
    return ops.reshape(x, _constant([-1, weights["turn"].shape[1]]), False)


def _cell_logits(weights: Weights, maps: Sequence[Any]) -> Any:
    _, rows, columns = _sizes(maps[0])
    x = None
    for stage, places in zip(_STAGES, maps, strict=True):
        part = _by_place(_convolution(places, weights[f"stage{stage}"]))
        if x is None:
            x = part
        else:
            covering = _covering((rows, columns), _sizes(places)[2], 2 ** (stage - _STAGES[0]))
            x = ops.add(x, ops.gather(part, _constant(covering), _constant(1)))
    x = ops.relu(ops.add(x, _constant(weights["stages_bias"])))
    x = ops.reshape(x, _constant([-1, rows, columns, len(weights["stages_bias"])]), False)
    x = ops.transpose(x, _constant([0, 3, 1, 2]))
    x = ops.relu(_with_bias(_convolution(x, weights["context"], pad=1), weights, "context"))
    return ops.transpose(_convolved(x, weights, "cells"), _constant([0, 2, 3, 1]))


def _covering(grid: tuple[int, int], coarse_columns: int, step: int) -> NDArray[np.int64]:
    """Returns for each place of a grid the place of a coarser one that covers it."""
    down, across = np.arange(grid[0]) // step, np.arange(grid[1]) // step
    covering: NDArray[np.int64] = (down[:, None] * coarse_columns + across).ravel()
    return covering


def _by_place(x: Any) -> Any:
    """Reshapes pictures (n, channels, rows, columns) to (n, places, channels)."""
    channels, rows, columns = _sizes(x)
    x = ops.transpose(x, _constant([0, 2, 3, 1]))
    return ops.reshape(x, _constant([-1, rows * columns, channels]), False)


def _convolved(x: Any, weights: Weights, name: str) -> Any:
    return _with_bias(_convolution(x, weights[name]), weights, name)


def _convolution(x: Any, kernel: NDArray[np.float32], pad: int = 0) -> Any:
    """Convolves with a kernel (channels, out) or (height, width, channels, out)."""
    kernel = kernel if kernel.ndim == 4 else kernel[None, None]
    return ops.convolution(x, _constant(kernel.transpose(3, 2, 0, 1)), [1, 1], [pad, pad], [pad, pad], [1, 1])


def _with_bias(x: Any, weights: Weights, name: str) -> Any:
    return ops.add(x, _constant(weights[f"{name}_bias"].reshape(1, -1, 1, 1)))


def _sizes(x: Any) -> list[int]:
    """Returns channels, rows and columns of pictures."""
    return [size.get_length() for size in list(x.output(0).get_partial_shape())[1:]]


def _constant(value: Any) -> Any:
    return ops.constant(np.ascontiguousarray(value))
