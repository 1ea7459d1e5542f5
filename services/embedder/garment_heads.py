"""The garment heads of a bundle: which way up a photograph is, and where its garments are, from the network's maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from services.bundle.reader import GARMENT_HEADS_FILE, GARMENTS_KEY, Bundle, short
from services.contract.errors import InvalidInput
from services.contract.values import Box
from services.embedder.finite import check_finite

# Boxes of the same garment overlap by more than this share of their union, or of the smaller one: that is a part of it.
_SAME_GARMENT: Final = 0.4
_PART: Final = 0.65
MAX_GARMENTS: Final = 8
UPRIGHT: Final = 0
_TURNS: Final = 4
# Of a box.
_EDGES: Final = 4

Array = NDArray[np.float32]
# Left, top, right and bottom of a box.
Edges = Sequence[float] | Array


@dataclass(frozen=True, slots=True)
class FramedGarment:
    """A garment in a network's input.

    Attributes:
        box: in shares of the input.
        sub_category: its likeliest subCategory.
        confidence: how likely there is a garment in the box, 0..1.
    """

    box: Box
    sub_category: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What the heads see in one picture.

    Attributes:
        turns: quarter turns counter-clockwise by which the picture is turned from upright, 0..3; 0 unless the head is
            confident.
        garments: the garments, the largest first.
    """

    turns: int = UPRIGHT
    garments: tuple[FramedGarment, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HeadLogits:
    """What the heads compute for n pictures.

    Attributes:
        turns: of 0, 1, 2 and 3 quarter turns, (n, 4).
        cells: of a garment, of its four edges' distances and of its labels, for each cell of the largest map, (n, rows,
            columns, 5 + labels); None without the head that finds garments.

    Raises:
        DataLoss: WEIGHTS_INVALID; a number is not finite.
    """

    turns: Array
    cells: Array | None = None

    def __post_init__(self) -> None:
        check_finite(self.turns)
        if self.cells is not None:
            check_finite(self.cells)


@dataclass(frozen=True, slots=True, eq=False)
class GarmentHeads:
    """Light heads on the network's maps: one tells turns, the other finds garments, if there is one; thread-safe.

    Attributes:
        weights: by the names that `offline.detect.network` gives them.
        labels: the subCategories of garments.
        turn_threshold: least probability of a turn that is believed.
        garment_threshold: least confidence of a garment that is named.
    """

    weights: Mapping[str, Array]
    labels: tuple[str, ...]
    turn_threshold: float
    garment_threshold: float

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """Reads the heads of a bundle; None where it has none.

        Raises:
            InvalidInput: BUNDLE_INVALID: the heads do not fit, or the file was changed.
        """
        if not bundle.has_garment_heads:
            return None
        try:
            described = bundle.description[GARMENTS_KEY]
            heads = cls(
                bundle.garment_heads(),
                tuple(map(str, described["labels"])),
                float(described["turn_threshold"]),
                float(described["garment_threshold"]),
            )
            heads.check(bundle.frame.height, bundle.frame.width)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"The bundle's file {GARMENT_HEADS_FILE} cannot be used: its heads do not fit ({short(error)}).",
                reason="BUNDLE_INVALID",
                metadata={"file": GARMENT_HEADS_FILE},
            ) from error
        return heads

    @property
    def finds_garments(self) -> bool:
        """Whether there is a head that finds garments; without it, turns alone are told."""
        return "cells" in self.weights

    def check(self, height: int, width: int) -> None:
        """Compares the shapes of the weights.

        Raises:
            ValueError: they fit neither together nor a network's input of this size.
            KeyError: weights are missing.
        """
        if not math.isfinite(self.turn_threshold) or not math.isfinite(self.garment_threshold):
            raise ValueError("a threshold is not finite")
        places, hidden = (self._layer(name, None) for name in ("turn_places", "turn_hidden"))
        self._require("turn_places", (None, places))
        self._require("turn_hidden", (-(-height // 16) * -(-width // 16) * places, hidden))
        self._require("turn", (hidden, _TURNS))
        self._layer("turn", _TURNS)
        if not self.finds_garments:
            return
        (stages,) = self.weights["stages_bias"].shape
        for stage in (3, 4, 5):
            self._require(f"stage{stage}", (None, stages))
        context = self._layer("context", None)
        self._require("context", (3, 3, stages, context))
        self._layer("cells", _EDGES + 1 + len(self.labels))
        self._require("cells", (context, _EDGES + 1 + len(self.labels)))

    def _layer(self, name: str, outputs: int | None) -> int:
        """Returns how many outputs a layer has by its bias, where they are as many as they should be."""
        self._require(f"{name}_bias", (outputs,))
        return len(self.weights[f"{name}_bias"])

    def _require(self, name: str, shape: tuple[int | None, ...]) -> None:
        """Refuses weights of another shape; None stands for any size."""
        actual = self.weights[name].shape
        sizes = zip(actual, shape, strict=False)
        if len(actual) != len(shape) or any(wanted not in (None, size) for size, wanted in sizes):
            raise ValueError(f"{name} has the shape {actual} instead of {shape}")

    def see(self, maps: Sequence[Array]) -> list[Sight]:
        """Looks at pictures.

        Args:
            maps: of the stages 3, 4 and 5, each (n, rows, columns, channels).

        Returns:
            What each picture shows.
        """
        return self.sights(self.logits(maps))

    def sights(self, logits: HeadLogits) -> list[Sight]:
        """Returns what each picture shows."""
        turns = [self._confident_turns(each) for each in _softmax(logits.turns)]
        if logits.cells is None:
            return [Sight(turn) for turn in turns]
        return [Sight(turn, self._garments(cells)) for turn, cells in zip(turns, logits.cells, strict=True)]

    def logits(self, maps: Sequence[Array]) -> HeadLogits:
        """Computes the heads in NumPy; a runtime may do so as part of its graph."""
        return HeadLogits(self._turn_logits(maps[1]), self._cell_logits(maps) if self.finds_garments else None)

    def turn_probabilities(self, places: Array) -> Array:
        """Returns the probability of 0, 1, 2 and 3 quarter turns: (n, 4), for the map of stage 4."""
        return _softmax(self._turn_logits(places))

    def _turn_logits(self, places: Array) -> Array:
        weights = self.weights
        hidden = np.maximum(places @ weights["turn_places"] + weights["turn_places_bias"], 0)
        hidden = hidden.reshape(len(places), -1) @ weights["turn_hidden"] + weights["turn_hidden_bias"]
        logits: Array = np.maximum(hidden, 0) @ weights["turn"] + weights["turn_bias"]
        return logits

    def _cell_logits(self, maps: Sequence[Array]) -> Array:
        weights = self.weights
        rows, columns = maps[0].shape[1:3]
        hidden: Any = weights["stages_bias"]
        for stage, activations in zip((3, 4, 5), maps, strict=True):
            projected = activations @ weights[f"stage{stage}"]
            step = 2 ** (stage - 3)
            hidden = hidden + projected.repeat(step, axis=1).repeat(step, axis=2)[:, :rows, :columns]
        hidden = np.maximum(hidden, 0)
        padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0)))
        around = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        context = weights["context"]
        context = context.reshape(-1, context.shape[-1])
        hidden = np.maximum(np.concatenate(around, axis=-1) @ context + weights["context_bias"], 0)
        logits: Array = hidden @ weights["cells"] + weights["cells_bias"]
        return logits

    def _confident_turns(self, probabilities: Array) -> int:
        turns = int(probabilities.argmax())
        return turns if probabilities[turns] >= self.turn_threshold else UPRIGHT

    def _garments(self, logits: Array) -> tuple[FramedGarment, ...]:
        """The most confident boxes that are not of the same garment, the largest first."""
        rows, columns = logits.shape[:2]
        cells = logits.reshape(rows * columns, -1)
        confidences = _sigmoid(cells[:, 0])
        places = np.flatnonzero(confidences >= self.garment_threshold)
        if not len(places):
            return ()
        boxes = boxes_of(_sigmoid(cells[:, 1:5]), rows, columns).tolist()
        found: list[int] = []
        for place in places[np.argsort(-confidences[places], kind="stable")].tolist():
            if len(found) == MAX_GARMENTS:
                break
            if not any(_same_garment(boxes[place], boxes[other]) for other in found):
                found.append(place)
        found.sort(key=lambda place: -area(boxes[place]))
        return tuple(
            FramedGarment(Box(*boxes[place]), self.labels[cells[place, 5:].argmax()], float(confidences[place]))
            for place in found
        )


def boxes_of(distances: Array, rows: int, columns: int) -> Array:
    """Returns boxes within the input.

    Args:
        distances: (..., rows * columns, 4), of the left, top, right and bottom edge from a cell's middle, in shares.
        rows: of cells.
        columns: of cells.

    Returns:
        Left, top, right and bottom in shares of the input, same shape.
    """
    middles = cell_middles(rows, columns)
    edges = np.concatenate([middles - distances[..., :2], middles + distances[..., 2:]], axis=-1)
    clipped: Array = np.clip(edges, 0.0, 1.0)
    return clipped


@lru_cache(maxsize=8)
def cell_middles(rows: int, columns: int) -> Array:
    """Returns the middle of each cell, across and down, in shares: (rows * columns, 2)."""
    down, across = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    middles = np.stack([across.ravel(), down.ravel()], axis=1).astype(np.float32)
    middles.flags.writeable = False
    return middles


def area(box: Edges) -> float:
    """Returns the area of a box."""
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def overlap(one: Edges, other: Edges) -> float:
    """Returns the intersection of two boxes as a share of their union."""
    shared = _shared(one, other)
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def _same_garment(one: Edges, other: Edges) -> bool:
    part = _shared(one, other) > _PART * min(area(one), area(other))
    return part or overlap(one, other) > _SAME_GARMENT


def _shared(one: Edges, other: Edges) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return float(max(0.0, across) * max(0.0, down))


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _sigmoid(values: Array) -> Array:
    result: Array = (1.0 / (1.0 + np.exp(-np.clip(values, -60, 60)))).astype(np.float32)
    return result
