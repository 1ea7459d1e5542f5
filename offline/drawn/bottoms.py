"""Lower garments: jeans, trousers, track pants, shorts and skirts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from offline.drawn.canvas import Canvas, Cloth, Knot, Point, mirrored, rounded, smooth
from offline.drawn.figure import Body
from offline.drawn.palette import LEATHER, STEEL, WHITE, Colour, contrast, darker, ink, lighter, luminance


@dataclass(frozen=True, slots=True)
class Legs:
    """How trousers are cut.

    Attributes:
        kind: "jeans", "trousers", "track", "shorts", "sport shorts", "cargo shorts".
        length: height at which the legs end.
        ease: half-width added to the leg at the thigh, the knee and the ankle.
        belt: worn with a belt.
    """

    kind: str
    length: float = 448.0
    ease: tuple[float, float, float] = (2.0, 2.0, 3.0)
    belt: bool = False


def draw_legs(canvas: Canvas, body: Body, cut: Legs, cloth: Cloth, draw: random.Random) -> None:
    """Draw trousers or shorts."""
    high = body.waist_y + (6 if body.worn else 0)
    canvas.fill(_trousers(body, cut, high), cloth, depth=0.36)
    _leg_folds(canvas, body, cut, draw)
    line = ink(cloth.colour)
    canvas.stroke([(0, high + 12, 1), (0, body.crotch_y, 1)], line, 1.0)
    if cut.kind == "jeans":
        _fade(canvas, body, cloth)
        thread = (214, 160, 92) if luminance(cloth.colour) < 150 else darker(cloth.colour, 0.4)
        _jeans_seams(canvas, body, cut, thread, line, high)
    elif cut.kind == "trousers":
        for side in (1, -1):
            x = side * body.stance
            canvas.stroke([(x, high + 30), (x + side, 340), (x, cut.length - 4)], line, 0.7)
            canvas.stroke([(side * (body.waist - 8), high + 13, 1), (side * (body.hip - 2), high + 42, 1)], line, 0.9)
    else:
        _side_stripes(canvas, body, cut, cloth, high)
    _waistband(canvas, body, cut, cloth, high)
    for side in (1, -1):
        wide = _width_at_end(body, cut)
        x = side * _stance_at(body, cut.length)
        canvas.stroke([(x - wide, cut.length - 5), (x, cut.length - 3), (x + wide, cut.length - 5)], line, 0.8)


def _stance_at(body: Body, y: float) -> float:
    return body.stance + (1.5 if y > 300 else 2.5) + (0.0 if body.worn else (y - body.crotch_y) * 0.05)


def _width_at_end(body: Body, cut: Legs) -> float:
    share = (cut.length - body.crotch_y) / (448 - body.crotch_y)
    if share > 0.5:
        return body.knee + cut.ease[1] + (body.ankle + cut.ease[2] - body.knee - cut.ease[1]) * (share - 0.5) * 2
    return body.thigh + cut.ease[0] + (body.knee + cut.ease[1] - body.thigh - cut.ease[0]) * share * 2


def _trousers(body: Body, cut: Legs, high: float) -> list[Point]:
    hip = body.hip + cut.ease[0] * 0.5
    half: list[Knot] = [(0, high + 2, 1), (body.waist, high, 1), (hip, body.hip_y)]
    middle = body.crotch_y + (448 - body.crotch_y) * 0.5
    knee = body.knee + cut.ease[1]
    end, x = _width_at_end(body, cut), _stance_at(body, cut.length)
    if cut.length > middle + 30:
        half.append((_stance_at(body, middle) + knee, middle))
    half += [(x + end, cut.length, 1), (x, cut.length + 2), (max(1.5, x - end), cut.length, 1)]
    if cut.length > middle + 30:
        half.append((max(1.5, _stance_at(body, middle) - knee), middle))
    half += [(1.2, body.crotch_y + 12), (0, body.crotch_y, 1)]
    return smooth(mirrored(half))


def _leg_folds(canvas: Canvas, body: Body, cut: Legs, draw: random.Random) -> None:
    lines: list[Sequence[Knot]] = []
    for side in (1, -1):
        x = side * body.stance
        lines.append([(side * 3, body.crotch_y + 2), (side * (body.stance + 6), body.crotch_y - 8)])
        lines.append([(side * 3, body.crotch_y + 12), (side * (body.stance + 2), body.crotch_y + 16)])
        if cut.length > 400:
            lean = draw.uniform(-3, 3)
            lines += [[(x - 8, 338 + lean), (x + 8, 343)], [(x - 9, 350), (x + 6, 356 + lean)]]
            lines += [
                [(x - 8, cut.length - 22), (x + 7, cut.length - 16)],
                [(x - 7, cut.length - 11), (x + 8, cut.length - 8)],
            ]
    canvas.folds(lines, 3, 0.3)


def _fade(canvas: Canvas, body: Body, cloth: Cloth) -> None:
    if luminance(cloth.colour) < 50:
        return
    for side in (1, -1):
        x = side * (body.stance + 1)
        canvas.folds([[(x, body.hip_y + 12), (x, 318), (x, 380)]], body.knee * 0.9, 0.3, lighter(cloth.colour, 0.55))


def _jeans_seams(canvas: Canvas, body: Body, cut: Legs, thread: Colour, line: Colour, high: float) -> None:
    for side in (1, -1):
        pocket: list[Knot] = [(side * (body.waist - 9), high + 12), (side * (body.waist - 7), high + 26)]
        pocket.append((side * (body.hip - 3), high + 34))
        canvas.stroke(pocket, line, 1.2)
        canvas.stroke([(k[0] * 0.94, k[1] + 2.4) for k in pocket], thread, 0.9, dash=2.2)
        x = side * body.stance
        canvas.stroke(
            [(side * 2.5, body.crotch_y + 6), (x - side * body.knee * 0.6, 330), (x, cut.length - 5)],
            line,
            0.6,
        )
    canvas.stroke([(7, high + 12, 1), (7, body.crotch_y - 18), (0, body.crotch_y - 8, 1)], thread, 0.9, dash=2.2)


def _side_stripes(canvas: Canvas, body: Body, cut: Legs, cloth: Cloth, high: float) -> None:
    stripe = contrast(cloth.colour)
    if cut.kind == "cargo shorts":
        for side in (1, -1):
            x = side * (body.stance + 8)
            box = rounded(min(x, x + side * 17), 262, max(x, x + side * 17), 286, 2)
            canvas.fill(box, cloth, depth=0.12, edge=0.9)
            canvas.stroke([(x, 269, 1), (x + side * 17, 269, 1)], ink(cloth.colour), 0.9)
        return
    if cut.kind == "shorts":
        for side in (1, -1):
            canvas.stroke(
                [(side * (body.waist - 8), high + 13, 1), (side * (body.hip - 2), high + 40, 1)],
                ink(cloth.colour),
                1.0,
            )
        return
    end = _stance_at(body, cut.length) + _width_at_end(body, cut)
    knee = body.stance + body.knee + cut.ease[1]
    for side in (1, -1):
        for shift in (4.0, 7.5):
            way: list[Knot] = [
                (side * (body.waist - shift), high + 12),
                (side * (body.hip - shift + 1), body.hip_y),
            ]
            if cut.length > 380:
                way.append((side * (knee - shift + 1.5), 344))
            canvas.stroke([*way, (side * (end - shift), cut.length - 1)], stripe, 1.8)


def _waistband(canvas: Canvas, body: Body, cut: Legs, cloth: Cloth, high: float) -> None:
    width = body.waist
    if cut.kind in ("track", "sport shorts"):
        canvas.fill(rounded(-width, high - 1, width, high + 11, 2), cloth, depth=0.15)
        for at in range(int(-width) + 4, int(width), 5):
            canvas.stroke([(at, high + 1, 1), (at, high + 9, 1)], ink(cloth.colour), 0.6)
        for side in (1, -1):
            canvas.stroke(
                [(side * 2, high + 8), (side * 5, high + 22), (side * 4, high + 34)],
                contrast(cloth.colour),
                1.6,
            )
        return
    band: Cloth | Colour = LEATHER if cut.belt else cloth
    canvas.fill(rounded(-width - 0.5, high - 1, width + 0.5, high + 11, 1.5), band, depth=0.15)
    if cut.belt:
        canvas.stroke(rounded(-7, high - 1, 7, high + 11, 2), STEEL, 2.2, closed=True)
    else:
        canvas.dot(0, high + 5, 2.4, (190, 140, 80) if cut.kind == "jeans" else contrast(cloth.colour))
    for x in (-width * 0.6, width * 0.6):
        canvas.fill(rounded(x - 1.6, high - 2, x + 1.6, high + 12, 0.8), cloth, depth=0, edge=0.7)


def draw_skirt(canvas: Canvas, body: Body, kind: str, cloth: Cloth, draw: random.Random) -> None:
    """Draw a skirt: "a-line", "pencil", "pleated", "tiered", "denim" or "maxi"."""
    high = body.waist_y + 6
    length = {"a-line": 318, "pencil": 332, "pleated": 300, "tiered": 312, "denim": 280, "maxi": 436}[kind]
    flare = {"a-line": 26, "pencil": -3, "pleated": 30, "tiered": 32, "denim": 8, "maxi": 28}[kind]
    if not body.worn:
        length = min(length, 292) + 14
        flare += 12
    hem = body.hip + flare
    half: list[Knot] = [
        (0, high, 1),
        (body.waist + 1, high, 1),
        (body.hip + max(0, flare * 0.22), body.hip_y),
    ]
    if kind == "pencil":
        half.append((body.hip + 1, 265))
    half += [(hem, length, 1), (hem * 0.5, length + 5), (0, length + 6)]
    canvas.fill(smooth(mirrored(half)), cloth, depth=0.34)
    line = ink(cloth.colour)
    if kind == "pleated":
        for at in range(-4, 5):
            way: list[Knot] = [(at * body.waist / 4.6, high + 10), (at * hem / 4.4, length + 3)]
            canvas.folds([way], 3, 0.38)
            canvas.stroke(way, line, 0.7)
    elif kind == "tiered":
        for share in (0.4, 0.7):
            y = high + (length - high) * share
            wide = body.hip + flare * share * 0.9
            wave: list[Knot] = [(-wide + wide * i / 6, y + (3 if i % 2 else -1)) for i in range(13)]
            canvas.stroke(wave, line, 1.2)
            canvas.folds([[(x, y + 3), (x, y + 18)] for x in range(-int(wide) + 8, int(wide), 12)], 2, 0.3)
    elif kind == "denim":
        thread = (214, 160, 92)
        canvas.stroke([(0, high + 11, 1), (0, length, 1)], line, 1.0)
        canvas.stroke([(3, high + 11, 1), (3, length, 1)], thread, 0.9, dash=2.2)
        for side in (1, -1):
            pocket = [
                (side * (body.waist - 9), high + 12),
                (side * (body.waist - 6), high + 27),
                (side * (body.hip - 2), high + 33),
            ]
            canvas.stroke(pocket, line, 1.1)
        canvas.stroke([(-hem + 2, length - 4), (0, length + 2), (hem - 2, length - 4)], thread, 0.9, dash=2.2)
    else:
        lean = draw.uniform(-4, 4)
        canvas.folds([[(x, body.hip_y - 20), (x * 1.5 + lean, length)] for x in (-26, -10, 8, 24)], 4, 0.26)
    canvas.folds([[(-body.waist * 0.6, high + 16), (-hem * 0.5, length - 12)]], 12, 0.14, WHITE)
    if kind != "denim":
        canvas.stroke([(-hem + 2, length - 4), (0, length + 2), (hem - 2, length - 4)], line, 0.7)
    canvas.fill(rounded(-body.waist - 1.5, high - 1, body.waist + 1.5, high + 9, 2), cloth, depth=0.12)
