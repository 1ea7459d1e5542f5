"""A sheet of white paper that takes smooth outlines, cloth, soft shading and a shadow."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from offline.drawn.palette import Colour, darker, ink

WIDTH, HEIGHT = 360, 480
# Drawn this many times larger and reduced, which smooths the edges.
OVERSAMPLING = 3
# Soft light needs no detail: it is computed this many times smaller.
_SOFT = 6

Point = tuple[float, float]
# A third coordinate, whatever its value, makes a knot a corner.
Knot = tuple[float, float] | tuple[float, float, int]


@dataclass(frozen=True, slots=True)
class Cloth:
    """What a shape is filled with: a colour, or a pattern whose leading colour it is."""

    colour: Colour
    texture: Image.Image | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """Where drawing coordinates lie on the sheet: scaled, moved so that `origin` is its centre, then turned.

    Attributes:
        scale: sheet units for a drawing unit.
        origin: the point of the drawing that lies in the middle of the sheet.
        angle: degrees, clockwise.
        flip: mirrored left to right.
    """

    scale: float = 1.0
    origin: Point = (0.0, 0.0)
    angle: float = 0.0
    flip: bool = False


def smooth(knots: Sequence[Knot], *, closed: bool = True, steps: int = 8) -> list[Point]:
    """A curve through all knots (cubic Hermite, Catmull-Rom directions, tangents as long as their chord)."""
    count = len(knots)
    points: list[Point] = []
    for at in range(count if closed else count - 1):
        one, two = knots[at], knots[(at + 1) % count]
        before = knots[at - 1] if closed or at > 0 else one
        after = knots[(at + 2) % count] if closed or at + 2 < count else two
        chord = math.hypot(two[0] - one[0], two[1] - one[1])
        if len(one) == 3 and len(two) == 3:
            points.append((one[0], one[1]))
            continue
        start = _direction(one if len(one) == 3 else before, two, chord)
        end = _direction(one, two if len(two) == 3 else after, chord)
        for step in range(steps):
            t = step / steps
            a, b, c, d = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, 3 * t**2 - 2 * t**3, t**3 - t**2
            points.append(
                (
                    a * one[0] + b * start[0] + c * two[0] + d * end[0],
                    a * one[1] + b * start[1] + c * two[1] + d * end[1],
                )
            )
    if not closed:
        points.append((knots[-1][0], knots[-1][1]))
    return points


def _direction(start: Knot, end: Knot, length: float) -> Point:
    dx, dy = end[0] - start[0], end[1] - start[1]
    norm = math.hypot(dx, dy) or 1.0
    return dx / norm * length, dy / norm * length


def mirrored(half: Sequence[Knot]) -> list[Knot]:
    """The whole outline of a symmetric shape from its right half, top to bottom, around x = 0."""
    left: list[Knot] = []
    for knot in reversed(half):
        if knot[0] != 0:
            left.append((-knot[0], knot[1]) if len(knot) == 2 else (-knot[0], knot[1], 1))
    return [*half, *left]


def limb(
    spine: Sequence[Knot],
    widths: Sequence[float],
    upto: float = 1.0,
    start: float = 0.0,
    *,
    round_start: bool = False,
) -> list[Point]:
    """The outline of an arm, a leg or a strap along a spine; half-widths are spread evenly over its length."""
    line = smooth(spine, closed=False, steps=12)
    first, last = round(start * (len(line) - 1)), round(upto * (len(line) - 1))
    left: list[Point] = []
    right: list[Point] = []
    for at in range(first, last + 1):
        x, y = line[at]
        dx, dy = _direction(line[max(0, at - 1)], line[min(len(line) - 1, at + 1)], 1.0)
        place = at / (len(line) - 1) * (len(widths) - 1)
        low = min(int(place), len(widths) - 2) if len(widths) > 1 else 0
        width = widths[0] if len(widths) == 1 else widths[low] + (widths[low + 1] - widths[low]) * (place - low)
        left.append((x - dy * width, y + dx * width))
        right.append((x + dy * width, y - dx * width))
    if round_start:
        x, y = line[first]
        begin = math.atan2(right[0][1] - y, right[0][0] - x)
        cap = [begin - step * math.pi / 10 for step in range(1, 10)]
        radius = math.hypot(right[0][0] - x, right[0][1] - y)
        return left + right[::-1] + [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in cap]
    return left + right[::-1]


def ellipse(x: float, y: float, across: float, down: float, turn: float = 0.0) -> list[Point]:
    """An ellipse by its half axes, turned by degrees."""
    sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    points = []
    for step in range(48):
        angle = step / 48 * math.tau
        dx, dy = across * math.cos(angle), down * math.sin(angle)
        points.append((x + dx * cosine - dy * sine, y + dx * sine + dy * cosine))
    return points


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> list[Point]:
    """A rectangle with round corners."""
    points: list[Point] = []
    corners = (
        (right - radius, top + radius, -90),
        (right - radius, bottom - radius, 0),
        (left + radius, bottom - radius, 90),
        (left + radius, top + radius, 180),
    )
    for x, y, begin in corners:
        for step in range(7):
            angle = math.radians(begin + step * 15)
            points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return points


class Canvas:
    """One photograph in the making."""

    def __init__(self, frame: Frame) -> None:
        size = (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
        self.frame = frame
        self._image = Image.new("RGB", size, (255, 255, 255))
        self._cover = Image.new("L", size, 0)
        self._draw = ImageDraw.Draw(self._image)
        self._draw_cover = ImageDraw.Draw(self._cover)
        self._floor: Image.Image | None = None
        # The last filled shape, to which folds and glosses are confined.
        self._box = (0, 0, 1, 1)
        self._mask = Image.new("L", (1, 1), 0)

    def fill(self, outline: Sequence[Point], cloth: Cloth | Colour, *, depth: float = 0.3, edge: float = 1.0) -> None:
        """Fill a shape, darker towards its edges.

        Args:
            outline: a closed polygon in drawing units.
            cloth: what to fill it with.
            depth: how much darker the edges are, in [0, 1]; 0 is flat.
            edge: width of the line around it in sheet units; 0 draws none.
        """
        if not isinstance(cloth, Cloth):
            cloth = Cloth(cloth)
        points = self._place(outline)
        left = max(0, math.floor(min(x for x, _ in points)) - 1)
        top = max(0, math.floor(min(y for _, y in points)) - 1)
        right = min(self._image.width, math.ceil(max(x for x, _ in points)) + 2)
        bottom = min(self._image.height, math.ceil(max(y for _, y in points)) + 2)
        if right <= left or bottom <= top:
            return
        self._box = (left, top, right, bottom)
        self._mask = Image.new("L", (right - left, bottom - top), 0)
        ImageDraw.Draw(self._mask).polygon([(x - left, y - top) for x, y in points], fill=255)
        if cloth.texture is None:
            paint = Image.new("RGB", self._mask.size, cloth.colour)
        else:
            paint = cloth.texture.crop(self._box)
        if depth > 0:
            paint = ImageChops.multiply(paint, self._light(depth))
        self._image.paste(paint, self._box, self._mask)
        self._draw_cover.polygon(points, fill=255)
        if edge > 0:
            self._line([*points, points[0]], ink(cloth.colour), edge)

    def _light(self, depth: float) -> Image.Image:
        """Light from the upper left on the last shape: white inside, darker towards the edges. RGB, its size."""
        small = self._mask.reduce(_SOFT)
        radius = max(2.0, min(10.0, min(small.size) * 0.22))
        margin = int(radius * 2)
        wide = ImageOps.expand(small, margin, 0).filter(ImageFilter.GaussianBlur(radius))
        shift = max(1, round(radius * 0.35))
        box = (margin + shift, margin + shift, margin + shift + small.width, margin + shift + small.height)
        light = wide.crop(box).point([round(255 - depth * (255 - min(255, v * 1.25))) for v in range(256)])
        light = light.resize(self._mask.size, Image.Resampling.BILINEAR)
        return Image.merge("RGB", (light, light, light))

    def folds(
        self, lines: Iterable[Sequence[Knot]], width: float, strength: float, colour: Colour | None = None
    ) -> None:
        """Soft lines within the last shape: folds, or gloss where the colour is light.

        Args:
            lines: open curves through knots, in drawing units.
            width: in drawing units.
            strength: opacity in [0, 1].
            colour: near black if not given.
        """
        left, top, right, bottom = self._box
        small = Image.new("L", ((right - left) // _SOFT + 1, (bottom - top) // _SOFT + 1), 0)
        draw = ImageDraw.Draw(small)
        thick = max(1, round(width * self.frame.scale * OVERSAMPLING / _SOFT))
        for line in lines:
            points = [((x - left) / _SOFT, (y - top) / _SOFT) for x, y in self._place(smooth(line, closed=False))]
            draw.line(points, fill=round(255 * strength), width=thick, joint="curve")
        soft = small.filter(ImageFilter.GaussianBlur(max(0.8, thick * 0.6)))
        soft = soft.resize(self._mask.size, Image.Resampling.BILINEAR)
        self._image.paste(colour or (20, 18, 30), self._box, ImageChops.multiply(soft, self._mask))

    def clipped(self, outline: Sequence[Point], colour: Colour) -> None:
        """Fill a flat shape where it lies on the last filled one."""
        points = self._place(outline)
        left, top, _, _ = self._box
        mask = Image.new("L", self._mask.size, 0)
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in points], fill=255)
        self._image.paste(colour, self._box, ImageChops.multiply(mask, self._mask))

    def stroke(
        self, line: Sequence[Knot], colour: Colour, width: float, *, dash: float = 0.0, closed: bool = False
    ) -> None:
        """Draw a line through knots.

        Args:
            line: knots in drawing units.
            colour: of the line.
            width: in sheet units.
            dash: length of stitches in drawing units; 0 draws a whole line.
            closed: joins the last knot to the first.
        """
        points = smooth(line, closed=closed)
        if closed:
            points.append(points[0])
        if dash == 0:
            self._line(self._place(points), colour, width)
            return
        travelled = 0.0
        for one, two in pairwise(points):
            length = math.hypot(two[0] - one[0], two[1] - one[1])
            pieces = max(1, math.ceil(length / (dash / 2)))
            for piece in range(pieces):
                if int(travelled / dash) % 2 == 0:
                    ends = [piece / pieces, (piece + 1) / pieces]
                    bit = [(one[0] + (two[0] - one[0]) * e, one[1] + (two[1] - one[1]) * e) for e in ends]
                    self._line(self._place(bit), colour, width)
                travelled += length / pieces

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A small flat disc, such as a button; radius in drawing units."""
        ((px, py),) = self._place([(x, y)])
        reach = radius * self.frame.scale * OVERSAMPLING
        box = (px - reach, py - reach, px + reach, py + reach)
        self._draw.ellipse(box, fill=colour)
        self._draw_cover.ellipse(box, fill=255)

    def floor(self, x: float, y: float, across: float, down: float, strength: float = 0.3) -> None:
        """The shadow of something that stands: a soft ellipse."""
        size = (self._image.width // _SOFT, self._image.height // _SOFT)
        if self._floor is None:
            self._floor = Image.new("L", size, 0)
        points = [(px / _SOFT, py / _SOFT) for px, py in self._place(ellipse(x, y, across, down))]
        ImageDraw.Draw(self._floor).polygon(points, fill=round(255 * strength))

    def finish(self, *, shadow: float = 0.22) -> Image.Image:
        """The picture: RGB, 360 x 480, the drawing on white above its own soft shadow of this strength."""
        small = self._cover.reduce(_SOFT)
        cast = Image.new("L", small.size, 0)
        cast.paste(small.point([round(v * shadow) for v in range(256)]), (1, 2))
        if self._floor is not None:
            cast = ImageChops.lighter(cast, self._floor)
        cast = cast.filter(ImageFilter.GaussianBlur(3.2)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        # The drawing's edges are mixed with white already: where paper shows, only the shadow is to be taken away.
        bare = ImageChops.multiply(cast, ImageChops.invert(self._cover.reduce(OVERSAMPLING)))
        darkening = [bare.point([round(v * (255 - tone) / 255) for v in range(256)]) for tone in (70, 70, 84)]
        return ImageChops.subtract(self._image.reduce(OVERSAMPLING), Image.merge("RGB", darkening))

    def _line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        thick = max(1, round(width * OVERSAMPLING))
        self._draw.line(points, fill=colour, width=thick, joint="curve")
        self._draw_cover.line(points, fill=255, width=thick, joint="curve")

    def _place(self, points: Iterable[Point]) -> list[Point]:
        frame = self.frame
        sine, cosine = math.sin(math.radians(frame.angle)), math.cos(math.radians(frame.angle))
        sign = -1.0 if frame.flip else 1.0
        unit = frame.scale * OVERSAMPLING
        middle_x, middle_y = WIDTH * OVERSAMPLING / 2, HEIGHT * OVERSAMPLING / 2
        placed = []
        for x, y in points:
            dx, dy = (x - frame.origin[0]) * unit * sign, (y - frame.origin[1]) * unit
            placed.append((middle_x + dx * cosine - dy * sine, middle_y + dx * sine + dy * cosine))
        return placed


def shadowed(cloth: Cloth | Colour, share: float = 0.35) -> Colour:
    """The plain colour of a cloth's inner or far side."""
    return darker(cloth.colour if isinstance(cloth, Cloth) else cloth, share)
