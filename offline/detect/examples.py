"""Pictures with known boxes and turns: studio shots, people's photographs, and garments pasted before backgrounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from services.vision.preprocess import Frame, fit

Random = np.random.Generator

# Shares of pasted garments and of photographs among pictures with boxes; the rest is studio shots.
_PASTED: Final = 0.5
_PHOTOGRAPHED: Final = 0.35
# Share of studio shots among pictures with a known turn; the rest is people's photographs.
_STUDIO: Final = 0.72
# Shares of 1, 2 and 3 garments in a pasted picture.
_GARMENT_COUNTS: Final = (0.5, 0.3, 0.2)
# Share of studio shots and photographs that stay upright; the others are turned by a quarter, a half or three quarters.
_UPRIGHT: Final = 0.4
# Canvases are this much larger than the frame, so that pasted garments are reduced as those of photographs are.
_CANVAS_SCALE: Final = 1.5
# Shapes (height / width) that phones give.
_SHAPES: Final = (4 / 3, 4 / 3, 16 / 9, 1.0, 3 / 4, 3 / 4, 9 / 16)
_NEARLY_WHITE: Final = 240
# A cut-out that is less or more of its studio shot than this went wrong.
_MIN_INK, _MAX_INK = 0.05, 0.95
# How much of a garment others may cover.
_MAX_COVERED: Final = 0.35
# A photograph's corners of this share of its shorter side seldom show its garment.
_CORNER: Final = 0.3
UNKNOWN: Final = -1
# Where a photograph's garment is guessed: the side of the picture, the width of its rim, and the distance in standard
# deviations from which a pixel is not of the ground.
_GUESSED: Final = 48
_RIM: Final = 3
_OTHER: Final = 2.6


@dataclass(frozen=True, slots=True, eq=False)
class Garment:
    """A garment cut out of a studio shot.

    Attributes:
        picture: mode "RGBA", cropped to what is not background.
        label: index of its subCategory.
    """

    picture: Image.Image
    label: int


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture to learn from.

    Attributes:
        pixels: (height, width, 3), uint8, RGB, as the network sees it.
        turns: quarter turns counter-clockwise from upright, 0..3; `UNKNOWN` if it has no upright position.
        boxes: (garments, 4), float32, left, top, right, bottom in shares of the network's input; None where nobody
            knows them.
        labels: (garments,), int32, indices of subCategories.
    """

    pixels: NDArray[np.uint8]
    turns: int
    boxes: NDArray[np.float32] | None
    labels: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What examples are made of.

    Attributes:
        frame: the network's input.
        studio: studio shots, mode "RGB".
        labels: the subCategory of each, as an index.
        photographs: people's photographs, mode "RGB".
        photograph_labels: the subCategory of each, as an index.
    """

    frame: Frame
    studio: Sequence[Image.Image]
    labels: Sequence[int]
    photographs: Sequence[Image.Image]
    photograph_labels: Sequence[int]

    def with_boxes(self, random: Random) -> Example:
        """Makes an example of where garments are."""
        kind = random.random()
        if kind < _PASTED:
            return self.pasted(random)
        if kind < _PASTED + _PHOTOGRAPHED:
            return self.photograph(int(random.integers(len(self.photographs))), _turns(random), random)
        return self.studio_shot(int(random.integers(len(self.studio))), _turns(random))

    def with_turn(self, random: Random) -> Example:
        """Makes an example of which way up a photograph is."""
        if random.random() < _STUDIO:
            return self.studio_shot(int(random.integers(len(self.studio))), _turns(random))
        return self.photograph(int(random.integers(len(self.photographs))), _turns(random), random)

    def studio_shot(self, index: int, turns: int) -> Example:
        """Returns a whole studio shot, turned; its box is what is not background."""
        picture = self.studio[index]
        box = ink_box(picture)
        return self._framed(_turned(picture, turns), [_turned_box(box, turns)], [self.labels[index]], turns)

    def photograph(self, index: int, turns: int, random: Random) -> Example:
        """Returns a person's photograph, turned, half of them mirrored; its box is guessed, where that is possible."""
        picture = self.photographs[index]
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        box = standing_out(picture)
        if box is None:
            pixels = fit(_turned(picture, turns), self.frame)
            return Example(pixels, turns, None, np.zeros(0, dtype=np.int32))
        return self._framed(_turned(picture, turns), [_turned_box(box, turns)], [self.photograph_labels[index]], turns)

    def pasted(self, random: Random) -> Example:
        """Pastes one to three garments before a background; one is upright but for 25 degrees, then turned with it."""
        shape = _SHAPES[int(random.integers(len(_SHAPES)))]
        long_side = _CANVAS_SCALE * max(self.frame.height, self.frame.width)
        width, height = (round(side) for side in (long_side / max(shape, 1), long_side * min(shape, 1)))
        canvas = self._background(width, height, random)
        count = 1 + int(random.choice(len(_GARMENT_COUNTS), p=_GARMENT_COUNTS))
        boxes: list[tuple[float, float, float, float]] = []
        labels: list[int] = []
        for _ in range(count):
            garment = self._cut_out(random)
            angle = float(np.clip(random.normal(0, 10), -25, 25)) + (90 * int(random.integers(4)) if count > 1 else 0)
            place = _paste(canvas, garment.picture, angle, count, boxes, random)
            if place is not None:
                boxes.append(place)
                labels.append(garment.label)
        turns = UNKNOWN if count > 1 else _turns(random)
        canvas = _lit(canvas, random)
        if turns > 0:
            canvas, boxes = _turned(canvas, turns), [_turned_box(box, turns) for box in boxes]
        return self._framed(canvas, boxes, labels, turns)

    def _framed(
        self,
        picture: Image.Image,
        boxes: Sequence[tuple[float, float, float, float]],
        labels: Sequence[int],
        turns: int,
    ) -> Example:
        left, top, width, height = self.frame.place(picture.width, picture.height)
        size = np.array([self.frame.width, self.frame.height] * 2, dtype=np.float32)
        placed = np.asarray(boxes, dtype=np.float32).reshape(-1, 4) * np.array([width, height] * 2, dtype=np.float32)
        placed = (placed + np.array([left, top] * 2, dtype=np.float32)) / size
        return Example(fit(picture, self.frame), turns, placed, np.asarray(labels, dtype=np.int32))

    def _cut_out(self, random: Random) -> Garment:
        while True:
            index = int(random.integers(len(self.studio)))
            picture = self.studio[index]
            ink = ~_behind(np.asarray(picture))
            if not _MIN_INK < ink.mean() < _MAX_INK:
                continue
            alpha = Image.fromarray((ink * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.5))
            cut = picture.convert("RGBA")
            cut.putalpha(alpha)
            left, top, right, bottom = ink_box(picture)
            edges = (left * cut.width, top * cut.height, right * cut.width, bottom * cut.height)
            cut = cut.crop(tuple(round(edge) for edge in edges))  # type: ignore[arg-type]
            if random.random() < 0.5:
                cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            return Garment(cut, self.labels[index])

    def _background(self, width: int, height: int, random: Random) -> Image.Image:
        """A corner of a photograph, continued by mirroring; or a plain colour."""
        if random.random() < 0.15:
            colour = random.uniform(40, 250, 3)
            noise = random.normal(0, random.uniform(0, 8), (height, width, 1))
            return Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8))
        picture = self.photographs[int(random.integers(len(self.photographs)))]
        side = round(_CORNER * min(picture.size))
        left = 0 if random.random() < 0.5 else picture.width - side
        top = 0 if random.random() < 0.5 else picture.height - side
        corner = picture.crop((left, top, left + side, top + side))
        side = round(max(width, height) * random.uniform(0.35, 1.1))
        corner = corner.resize((side, side), Image.Resampling.BICUBIC)
        tile = np.asarray(corner.rotate(90 * int(random.integers(4))))
        tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
        tile = np.concatenate([tile, tile[::-1]], axis=0)
        across, down = -(-width // tile.shape[1]), -(-height // tile.shape[0])
        return Image.fromarray(np.tile(tile, (down, across, 1))[:height, :width])


def _turns(random: Random) -> int:
    return 0 if random.random() < _UPRIGHT else int(random.integers(1, 4))


def ink_box(picture: Image.Image) -> tuple[float, float, float, float]:
    """Returns what of a studio shot is not background, in shares; all of it where everything is."""
    ink = ~_behind(np.asarray(picture))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 1.0, 1.0
    height, width = ink.shape
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


def standing_out(picture: Image.Image) -> tuple[float, float, float, float] | None:
    """Guesses the box of what differs from a photograph's rim, in shares; None where that is no plausible garment."""
    small = np.asarray(picture.resize((_GUESSED, _GUESSED), Image.Resampling.BOX), dtype=np.float64)
    rim = np.ones((_GUESSED, _GUESSED), dtype=np.bool_)
    rim[_RIM:-_RIM, _RIM:-_RIM] = False
    ground = small[rim]
    # The middle half of the rim by brightness: a sleeve that reaches the edge is no ground.
    brightness = ground.sum(axis=1)
    low, high = np.quantile(brightness, (0.15, 0.85))
    ground = ground[(brightness >= low) & (brightness <= high)]
    spread = np.linalg.inv(np.cov(ground.T) + 60.0 * np.eye(3))
    away = small - ground.mean(axis=0)
    distance = np.sqrt(np.einsum("hwi,ij,hwj->hw", away, spread, away))
    differs = distance > _OTHER
    if not 0.12 < differs.mean() < 0.8 or differs[rim].mean() > 0.45 * differs.mean() + 0.1:
        return None
    across, down = (np.cumsum(differs.sum(axis=axis)) / differs.sum() for axis in (0, 1))
    left, right = np.searchsorted(across, 0.02), np.searchsorted(across, 0.98) + 1
    top, bottom = np.searchsorted(down, 0.02), np.searchsorted(down, 0.98) + 1
    return left / _GUESSED, top / _GUESSED, right / _GUESSED, bottom / _GUESSED


def _behind(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The background: nearly white pixels that are connected to an edge in a straight line."""
    white = pixels.min(axis=2) >= _NEARLY_WHITE
    reached = np.logical_and.accumulate
    behind: NDArray[np.bool_] = (
        reached(white, axis=0)
        | reached(white, axis=1)
        | reached(white[::-1], axis=0)[::-1]
        | reached(white[:, ::-1], axis=1)[:, ::-1]
    )
    return behind


def _paste(
    canvas: Image.Image,
    garment: Image.Image,
    angle: float,
    count: int,
    others: Sequence[tuple[float, float, float, float]],
    random: Random,
) -> tuple[float, float, float, float] | None:
    """Pastes a garment where it covers little of the others; returns its box in shares, None if there is no room."""
    for _ in range(8):
        share = random.uniform(0.4, 1.0) if count == 1 else random.uniform(0.28, 0.65)
        turned = garment.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        factor = share * min(canvas.width / turned.width, canvas.height / turned.height)
        size = (max(4, round(turned.width * factor)), max(4, round(turned.height * factor)))
        turned = turned.resize(size, Image.Resampling.BICUBIC)
        inner = turned.getchannel("A").point(lambda alpha: 255 * (alpha > 96)).getbbox()
        if inner is None:
            return None
        left = int(random.integers(0, canvas.width - size[0] + 1))
        top = int(random.integers(0, canvas.height - size[1] + 1))
        box = (
            (left + inner[0]) / canvas.width,
            (top + inner[1]) / canvas.height,
            (left + inner[2]) / canvas.width,
            (top + inner[3]) / canvas.height,
        )
        if any(_covered(other, box) > _MAX_COVERED or _covered(box, other) > _MAX_COVERED for other in others):
            continue
        if random.random() < 0.6:
            offset = (left + int(random.integers(-3, 4)), top + int(random.integers(-3, 4)))
            alpha = turned.getchannel("A").filter(ImageFilter.GaussianBlur(float(random.uniform(1, 3))))
            strength = random.uniform(0.15, 0.5)
            shadow = alpha.point(lambda value, by=strength: value * by)
            canvas.paste((0, 0, 0), offset, shadow)
        canvas.paste(turned, (left, top), turned)
        return box
    return None


def _covered(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """The share of a box that another one covers."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down) / ((one[2] - one[0]) * (one[3] - one[1]))


def _lit(picture: Image.Image, random: Random) -> Image.Image:
    if random.random() < 0.5:
        return picture
    light = random.uniform(0.7, 1.15) * random.uniform(0.94, 1.06, 3)
    return Image.fromarray(np.clip(np.asarray(picture) * light + random.uniform(-12, 12), 0, 255).astype(np.uint8))


def _turned(picture: Image.Image, turns: int) -> Image.Image:
    return picture.rotate(90 * turns, expand=True)


def _turned_box(box: tuple[float, float, float, float], turns: int) -> tuple[float, float, float, float]:
    for _ in range(turns):
        left, top, right, bottom = box
        box = (top, 1 - right, bottom, 1 - left)
    return box
