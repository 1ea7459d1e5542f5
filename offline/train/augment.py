"""Alters training pictures the way shoppers' photographs differ from studio shots, on the device that trains.

Colours keep their hue. All is `keras.ops` on whole batches, so that it runs wherever the network does.
"""

from typing import Any, Final

import keras
import numpy as np
from keras import ops

from offline.train.losses import Tensor

# Share of pictures that are flipped, shifted or put on their side, and no more: studio shots are to be known best.
CALM: Final = 0.4
# Shares of the calm and of the other pictures that are turned by 90, 180 or 270 degrees.
CALM_QUARTERS: Final = 0.25
QUARTERS: Final = 0.17
# Chances of the others, per picture.
TURN: Final = 0.6
FAR: Final = 0.3
LIGHT: Final = 0.45
COARSEN: Final = 0.12
COVER: Final = 0.08
# Chance of another background behind a studio shot, and share of those that are a corner of a photograph.
BACKGROUND: Final = 0.7
PHOTOGRAPHED: Final = 0.78
# Without photographs to learn from, what they call for is rarer and weaker by this, and no picture lies on its side.
MILD: Final = 0.4
# Of pictures that leave room: the rim's median colour instead of white.
RIM: Final = 0.5
_MAX_TILT_DEGREES: Final = 25.0
_NEARLY_WHITE: Final = 240.0
# A garment that covers a share outside of these cannot be told from its background.
_MIN_GARMENT: Final = 0.03
_MAX_GARMENT: Final = 0.92
_COARSE: Final = 0.6


class Alteration(keras.layers.Layer):  # type: ignore[misc]
    """Turns, scales, shifts and lights pictures, and lays other backgrounds behind garments."""

    def __init__(self, seed: int, *, photographed: bool, **settings: Any) -> None:
        """Keeps the source of chance.

        Args:
            seed: of everything random.
            photographed: whether photographs are learned from, too, so that backdrops are pieces of them.
            settings: of the layer.
        """
        super().__init__(trainable=False, **settings)
        self.chance = keras.random.SeedGenerator(seed)
        self._force = 1.0 if photographed else MILD
        self._photographed = PHOTOGRAPHED if photographed else 0.0
        self._quarters = float(photographed)

    def call(self, pixels: Tensor, studio: Tensor, backdrops: Tensor) -> Tensor:
        """Alters a batch.

        Args:
            pixels: float32 (n, height, width, 3), RGB in [0, 255].
            studio: float32 (n,), 1 for a garment on white, 0 for a photograph, which keeps its background.
            backdrops: float32 (n, height, width, 3), laid behind garments.

        Returns:
            float32, (n, height, width, 3), in [0, 255].
        """
        count, height, width, _ = pixels.shape
        calm = self._happens(count, CALM)
        room = _choose(_spread(self._happens(count, RIM)), _spread(_rim(pixels)), 255.0)
        # A picture, its area, and the area of its garment move together.
        garment = 1.0 - _behind(pixels)
        share = ops.mean(garment, axis=(1, 2, 3))
        layers = ops.concatenate([pixels, ops.ones_like(garment), garment], axis=-1)
        moved = ops.image.affine_transform(layers, self._moves(count, height, width, calm), data_format="channels_last")
        inside, garment = moved[..., 3:4], moved[..., 4:5]
        altered = moved[..., :3] + (1.0 - inside) * room
        behind = _choose(
            _spread(self._happens(count, self._photographed)), self._move_backdrops(backdrops), self._planes(pixels)
        )
        cut_out = garment * (moved[..., :3] + (1.0 - inside) * 255.0) + (1.0 - garment) * behind
        fits = ops.cast(ops.logical_and(share > _MIN_GARMENT, share < _MAX_GARMENT), "float32")
        replaced = studio * (1.0 - calm) * fits * self._happens(count, self._force * BACKGROUND)
        altered = _choose(_spread(replaced), cut_out, altered)
        finished = self._cover(self._light(self._coarsen(altered)))
        return ops.clip(_choose(_spread(calm), altered, finished), 0.0, 255.0)

    def _uniform(self, count: int, low: float, high: float, *shape: int) -> Tensor:
        return keras.random.uniform((count, *shape), low, high, seed=self.chance)

    def _happens(self, count: int, chance: float) -> Tensor:
        return ops.cast(self._uniform(count, 0.0, 1.0) < chance, "float32")

    def _moves(self, count: int, height: int, width: int, calm: Tensor) -> Tensor:
        """Returns maps from places in the result to places in the picture: (n, 8), as `affine_transform` takes them."""
        wild = 1.0 - calm
        force = self._force
        lies = _choose(calm, self._happens(count, CALM_QUARTERS), self._happens(count, QUARTERS)) * self._quarters
        quarters = lies * ops.floor(self._uniform(count, 1.0, 3.9999))
        tilt = keras.random.normal((count,), 0.0, 11.0, seed=self.chance)
        tilt = ops.clip(tilt, -_MAX_TILT_DEGREES, _MAX_TILT_DEGREES)
        tilt = wild * self._happens(count, force * TURN) * force * tilt
        angle = (quarters * 90.0 + tilt) * (np.pi / 180.0)
        scaled = wild * self._happens(count, force)
        near, far = ops.exp(scaled * self._uniform(count, -0.15, 0.25)), self._uniform(count, 0.5, 0.95)
        zoom = _choose(wild, _choose(self._happens(count, force * FAR), far, near), 1.0)
        # On its side a picture fits whole only if it is made smaller.
        odd = ops.cast(ops.abs(quarters - 2.0) == 1.0, "float32")
        zoom = zoom * _choose(odd, min(height / width, width / height), 1.0)
        stretch = ops.exp(scaled * self._uniform(count, -0.07, 0.07))
        reach = ops.maximum(1.0 - zoom, 0.0) / 2.0 * wild + 1 / 15
        # By whole pixels, so that calm pictures stay as sharp as those that are served.
        right, down = (
            ops.round(reach * self._uniform(count, -1.0, 1.0) * side) * (1.0 - odd * calm) for side in (width, height)
        )
        flip = 1.0 - 2.0 * self._happens(count, 0.5)
        cos, sin = ops.cos(angle) / zoom, ops.sin(angle) / zoom
        a, b, d, e = flip * cos / stretch, flip * sin / stretch, -sin * stretch, cos * stretch
        x, y = (width - 1) / 2.0, (height - 1) / 2.0
        return _maps(a, b, x - a * (x + right) - b * (y + down), d, e, y - d * (x + right) - e * (y + down))

    def _move_backdrops(self, backdrops: Tensor) -> Tensor:
        """Returns corners of photographs at any turn and scale, mirrored where they end."""
        count, height, width, _ = backdrops.shape
        angle, zoom = self._uniform(count, 0.0, 2 * np.pi), ops.exp(self._uniform(count, 0.0, 1.2))
        cos, sin = ops.cos(angle) / zoom, ops.sin(angle) / zoom
        x, y = (width - 1) / 2.0, (height - 1) / 2.0
        maps = _maps(cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
        return ops.image.affine_transform(backdrops, maps, fill_mode="reflect", data_format="channels_last")

    def _planes(self, pixels: Tensor) -> Tensor:
        """Returns colours that grow darker or lighter to one side."""
        count, height, width, _ = pixels.shape
        middle = self._uniform(count, 50.0, 256.0, 1, 1, 3)
        change = self._uniform(count, -80.0, 80.0, 1, 1, 1) + self._uniform(count, -30.0, 30.0, 1, 1, 3)
        return ops.clip(middle + change * self._ramp(count, height, width), 0.0, 255.0)

    def _ramp(self, count: int, height: int, width: int) -> Tensor:
        """Returns slopes from about -0.7 to 0.7 in any direction: (n, height, width, 1)."""
        angle = self._uniform(count, 0.0, 2 * np.pi, 1, 1, 1)
        down, right = _places(height, width)
        return ops.sin(angle) * (down - 0.5) + ops.cos(angle) * (right - 0.5)

    def _light(self, pixels: Tensor) -> Tensor:
        """Changes the light of some pictures, stronger to one side."""
        count, height, width, _ = pixels.shape
        gain = self._uniform(count, -0.25, 0.15, 1, 1, 1) + self._uniform(count, -0.04, 0.04, 1, 1, 3)
        uneven = self._uniform(count, 0.0, 0.4, 1, 1, 1) * self._ramp(count, height, width)
        lift = self._uniform(count, -12.0, 12.0, 1, 1, 1)
        lit = pixels * (1.0 + self._force * gain) * (1.0 + self._force * uneven) + self._force * lift
        return _choose(_spread(self._happens(count, LIGHT)), lit, pixels)

    def _coarsen(self, pixels: Tensor) -> Tensor:
        """Takes pixels from some pictures, as if they were out of focus."""
        count, height, width, _ = pixels.shape
        small = (int(height * _COARSE), int(width * _COARSE))
        coarse = ops.image.resize(pixels, small, antialias=True, data_format="channels_last")
        coarse = ops.image.resize(coarse, (height, width), data_format="channels_last")
        return _choose(_spread(self._happens(count, COARSEN)), coarse, pixels)

    def _cover(self, pixels: Tensor) -> Tensor:
        """Lays a plain rectangle over some pictures, from the border inwards."""
        count, height, width, _ = pixels.shape
        left, top = (self._uniform(count, -0.3, 1.0, 1, 1, 1) for _ in range(2))
        central = ops.logical_and(ops.abs(left - 0.35) < 0.25, ops.abs(top - 0.35) < 0.25)
        left = ops.where(central, -0.1, left)
        across, down = (self._uniform(count, 0.1, 0.3, 1, 1, 1) for _ in range(2))
        y, x = _places(height, width)
        inside = [ops.abs(at - start - size / 2) < size / 2 for at, start, size in ((x, left, across), (y, top, down))]
        covered = ops.cast(ops.logical_and(*inside), "float32") * _spread(self._happens(count, COVER))
        return _choose(covered, self._uniform(count, 0.0, 255.0, 1, 1, 3), pixels)


def _behind(pixels: Tensor) -> Tensor:
    """Returns 1 where white reaches the border in a straight line, 0 elsewhere: (n, height, width, 1)."""
    white = ops.cast(ops.min(pixels, axis=-1, keepdims=True) >= _NEARLY_WHITE, "float32")
    reached = [ops.cumprod(white, axis=axis) for axis in (1, 2)]
    reached += [ops.flip(ops.cumprod(ops.flip(white, axis=axis), axis=axis), axis=axis) for axis in (1, 2)]
    return ops.max(ops.stack(reached), axis=0)


def _rim(pixels: Tensor) -> Tensor:
    """Returns the median colour of the border: (n, 3)."""
    edges = [pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]]
    return ops.median(ops.concatenate(edges, axis=1), axis=1)


def _maps(*terms: Tensor) -> Tensor:
    """Returns the six terms of affine maps, each (n,), as `affine_transform` takes them: (n, 8)."""
    zero = ops.zeros_like(terms[0])
    return ops.stack([*terms, zero, zero], axis=1)


def _places(height: int, width: int) -> tuple[Any, Any]:
    """Returns the place of each row and column, in [0, 1], as float32 that multiplies pictures."""
    down, right = (np.linspace(0.0, 1.0, side, dtype=np.float32) for side in (height, width))
    return down[None, :, None, None], right[None, None, :, None]


def _spread(values: Tensor) -> Tensor:
    """Reshapes (n,) or (n, 3) to what multiplies pictures."""
    return ops.reshape(values, (values.shape[0], 1, 1, -1))


def _choose(where: Tensor, one: Tensor | float, other: Tensor | float) -> Tensor:
    """Returns `one` where `where` is 1, `other` where it is 0."""
    return where * one + (1.0 - where) * other
