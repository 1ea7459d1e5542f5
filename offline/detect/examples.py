"""Pictures with known boxes and turns: studio shots, people's photographs, and garments pasted before backgrounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from offline.detect.outlines import box_of
from services.vision.preprocess import Frame, fit

Random = np.random.Generator

# Shares of pasted garments and of photographs among pictures with boxes; the rest is studio shots.
_PASTED: Final = 0.5
_PHOTOGRAPHED: Final = 0.35
# Share of people's garments among those that are pasted; the rest is cut out of studio shots.
_PEOPLES: Final = 0.6
_CUT_OUT_SIDE: Final = 160
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
# A corner with more of its photograph's garment is passed over, nearly always.
_MAX_GARMENT_IN_CORNER, _PASSED_OVER = 0.05, 0.95
UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Garment:
    """A garment cut out of a studio shot or of a person's photograph.

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
        outlines: where each one's garment is, as `offline.detect.outlines` tells; None where that is unknown.
    """

    frame: Frame
    studio: Sequence[Image.Image]
    labels: Sequence[int]
    photographs: Sequence[Image.Image]
    photograph_labels: Sequence[int]
    outlines: Sequence[NDArray[np.bool_] | None]

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
        """Returns a person's photograph, turned, half of them mirrored; its box is that of its outline."""
        picture, shape = self.photographs[index], self.outlines[index]
        mirrored = random.random() < 0.5
        if mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if shape is None:
            pixels = fit(_turned(picture, turns), self.frame)
            return Example(pixels, turns, None, np.zeros(0, dtype=np.int32))
        box = _turned_box(box_of(shape[:, ::-1] if mirrored else shape), turns)
        return self._framed(_turned(picture, turns), [box], [self.photograph_labels[index]], turns)

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
            angle = float(np.clip(random.normal(0, 10), -25, 25)) + (90 * _turns(random) if count > 1 else 0)
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
        """Cuts a garment out of a studio shot or a photograph, half of them mirrored."""
        while True:
            if random.random() < _PEOPLES:
                index = int(random.integers(len(self.photographs)))
                picture, label = self.photographs[index], self.photograph_labels[index]
                shape = self.outlines[index]
                if shape is None:
                    continue
                picture = picture.resize(_at_most(picture.size, _CUT_OUT_SIDE), Image.Resampling.BICUBIC)
                alpha = Image.fromarray((shape * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.BICUBIC)
            else:
                index = int(random.integers(len(self.studio)))
                picture, label = self.studio[index], self.labels[index]
                shape = ~_behind(np.asarray(picture))
                if not _MIN_INK < shape.mean() < _MAX_INK:
                    continue
                alpha = Image.fromarray((shape * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.5))
            cut = picture.convert("RGBA")
            cut.putalpha(alpha)
            left, top, right, bottom = box_of(shape)
            edges = (left * cut.width, top * cut.height, right * cut.width, bottom * cut.height)
            cut = cut.crop(tuple(round(edge) for edge in edges))  # type: ignore[arg-type]
            if random.random() < 0.5:
                cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            return Garment(cut, label)

    def _background(self, width: int, height: int, random: Random) -> Image.Image:
        """A corner of a photograph, continued by mirroring; or a plain colour."""
        if random.random() < 0.15:
            colour = random.uniform(40, 250, 3)
            noise = random.normal(0, random.uniform(0, 8), (height, width, 1))
            return Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8))
        corner = self._corner(random)
        side = round(max(width, height) * random.uniform(0.35, 1.1))
        corner = corner.resize((side, side), Image.Resampling.BICUBIC)
        tile = np.asarray(corner.rotate(90 * int(random.integers(4))))
        tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
        tile = np.concatenate([tile, tile[::-1]], axis=0)
        across, down = -(-width // tile.shape[1]), -(-height // tile.shape[0])
        return Image.fromarray(np.tile(tile, (down, across, 1))[:height, :width])

    def _corner(self, random: Random) -> Image.Image:
        """A corner of a photograph, without its garment where that is known."""
        while True:
            index = int(random.integers(len(self.photographs)))
            picture, shape = self.photographs[index], self.outlines[index]
            right, low = (bool(each) for each in random.integers(2, size=2))
            if shape is not None:
                reach = round(_CORNER * len(shape))
                rows = slice(-reach, None) if low else slice(reach)
                columns = slice(-reach, None) if right else slice(reach)
                if shape[rows, columns].mean() > _MAX_GARMENT_IN_CORNER and random.random() < _PASSED_OVER:
                    continue
            side = round(_CORNER * min(picture.size))
            left, top = right * (picture.width - side), low * (picture.height - side)
            return picture.crop((left, top, left + side, top + side))


def _at_most(size: tuple[int, int], side: int) -> tuple[int, int]:
    factor = min(1.0, side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _turns(random: Random) -> int:
    return 0 if random.random() < _UPRIGHT else int(random.integers(1, 4))


def ink_box(picture: Image.Image) -> tuple[float, float, float, float]:
    """Returns what of a studio shot is not background, in shares; all of it where everything is."""
    ink = ~_behind(np.asarray(picture))
    return box_of(ink) if ink.any() else (0.0, 0.0, 1.0, 1.0)


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
        share = random.uniform(0.3, 1.0) if count == 1 else random.uniform(0.35, 0.75)
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
