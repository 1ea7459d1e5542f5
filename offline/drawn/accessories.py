"""Watches, sunglasses, caps, belts, ties and socks."""

import math
import random

from PIL import Image

from offline.drawn.canvas import Canvas, Cloth, Frame, Knot, ellipse, limb, mirrored, rounded, smooth
from offline.drawn.garments import leading_colour, product_cloth
from offline.drawn.palette import (
    DARK,
    STEEL,
    WHITE,
    Colour,
    companion,
    contrast,
    darker,
    ink,
    lighter,
    luminance,
    mix,
)
from offline.drawn.spec import ProductSpec

_METALS = ("Silver", "Gold", "Copper", "Bronze", "Steel")
_ROSE: Colour = (214, 160, 130)


def watch(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A wrist watch from the front: a man's with a large dial, a woman's slender."""
    colour, women = leading_colour(spec), spec.gender == "Women"
    metal = spec.base_colour in _METALS
    case = (
        colour
        if metal
        else (draw.choice(((212, 172, 90), _ROSE, STEEL)) if women else draw.choice((STEEL, (92, 96, 104))))
    )
    canvas = Canvas(Frame(draw.uniform(0.94, 1.04) * (0.94 if women else 1.08), (0, 0), draw.uniform(-3, 3)))
    radius, band = (52.0, 19.0) if women else (80.0, 40.0)
    if "square" in spec.cut:
        radius *= 0.92
    for way in (-1, 1):
        strap: list[Knot] = [(-band * 1.1, way * radius * 0.7, 1), (band * 1.1, way * radius * 0.7, 1)]
        strap += [
            (band, way * 130),
            (band * 0.84, way * 196, 1),
            (0, way * 204),
            (-band * 0.84, way * 196, 1),
        ]
        canvas.fill(smooth(strap), Cloth(colour), depth=0.4)
        if metal:
            for y in range(int(radius) + 6, 200, 11):
                canvas.stroke([(-band, way * y, 1), (band, way * y, 1)], ink(colour), 1.4)
            for x in (-band * 0.4, band * 0.4):
                canvas.stroke([(x, way * (radius + 4), 1), (x * 0.9, way * 196, 1)], ink(colour), 1.0)
        else:
            thread = lighter(colour, 0.4) if luminance(colour) < 150 else darker(colour, 0.3)
            for side in (1, -1):
                canvas.stroke(
                    [(side * (band - 5), way * (radius + 8), 1), (side * (band * 0.84 - 5), way * 190, 1)],
                    thread,
                    1.1,
                    dash=4,
                )
            if way > 0:
                for y in (128, 146, 164):
                    canvas.fill(ellipse(0, y, 2.6, 3.6), darker(colour, 0.7), depth=0, edge=0)
    if not women:
        canvas.fill(rounded(radius - 4, -9, radius + 13, 9, 3), darker(case, 0.15), depth=0.2)
        for y in (-34, 34):
            canvas.fill(rounded(radius - 14, y - 7, radius + 3, y + 7, 3), darker(case, 0.2), depth=0.2)
    else:
        canvas.fill(rounded(radius - 3, -5, radius + 7, 5, 2), darker(case, 0.15), depth=0.2)
    dial = draw.choice((WHITE, (238, 226, 204), DARK)) if women else draw.choice((DARK, WHITE, (34, 50, 92), DARK))
    _dial(canvas, spec, radius, case, dial, draw)
    return canvas.finish()


def _dial(canvas: Canvas, spec: ProductSpec, radius: float, case: Colour, dial: Colour, draw: random.Random) -> None:
    mark, square = contrast(dial), "square" in spec.cut

    def face(share: float) -> list[tuple[float, float]]:
        reach = radius * share
        return rounded(-reach, -reach, reach, reach, reach * 0.28) if square else ellipse(0, 0, reach, reach)

    canvas.fill(face(1.0), case, depth=0.4, edge=1.4)
    if spec.gender == "Women" and not square and draw.random() < 0.5:
        for step in range(28):
            angle = step / 28 * math.tau
            canvas.dot(radius * 0.91 * math.cos(angle), radius * 0.91 * math.sin(angle), 2.6, lighter(case, 0.7))
    canvas.fill(face(0.82), dial, depth=0.16, edge=1.2)
    if "digital" in spec.cut:
        canvas.fill(rounded(-radius * 0.6, -radius * 0.32, radius * 0.6, radius * 0.3, 4), (186, 198, 176), depth=0.1)
        for x in (-0.42, -0.2, 0.12, 0.34):
            low = rounded(radius * x, -radius * 0.2, radius * (x + 0.13), radius * 0.18, 2)
            canvas.stroke(low, DARK, 3, closed=True)
        return
    for step in range(12):
        angle = step / 12 * math.tau
        inner = 0.6 if step % 3 == 0 else 0.67
        ends: list[Knot] = [(radius * r * math.sin(angle), -radius * r * math.cos(angle), 1) for r in (inner, 0.74)]
        canvas.stroke(ends, mark, 3.4 if step % 3 == 0 else 1.8)
    if "chronograph" in spec.cut:
        for x, y in ((-0.34, 0.0), (0.34, 0.0), (0.0, 0.34)):
            canvas.fill(ellipse(x * radius, y * radius, radius * 0.17, radius * 0.17), mix(dial, mark, 0.16), depth=0)
    thick = 4.2 if radius > 60 else 3
    canvas.stroke([(0, 0, 1), (-radius * 0.34, -radius * 0.26, 1)], mark, thick)
    canvas.stroke([(0, 0, 1), (radius * 0.36, -radius * 0.46, 1)], mark, thick * 0.8)
    canvas.stroke([(-radius * 0.1, radius * 0.14, 1), (radius * 0.2, -radius * 0.3, 1)], (206, 60, 50), 1.2)
    canvas.dot(0, 0, radius * 0.055, mark)


def sunglasses(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """Sunglasses from the front, a little turned: aviators, wayfarers, wraps; a woman's large and round."""
    kind, colour = spec.cut.split()[0], leading_colour(spec)
    canvas = Canvas(Frame(draw.uniform(0.96, 1.04), (12, 6), draw.uniform(-4, 2)))
    canvas.floor(0, 62, 100, 5, 0.25)
    wire = kind == "aviator"
    tint = (
        draw.choice(((58, 52, 50), (84, 62, 46), (52, 62, 74)))
        if spec.gender != "Women"
        else draw.choice(((92, 64, 66), (104, 76, 56), (70, 60, 84)))
    )
    arm = (3.4, 3.0, 2.6, 3.4) if wire else (7, 5, 4, 5)
    canvas.fill(limb([(104, -24), (140, -20), (158, -4), (160, 20)], arm), darker(colour, 0.2), depth=0.2)
    canvas.fill(limb([(-104, -24), (-124, -20), (-132, -8), (-132, 10)], arm), darker(colour, 0.3), depth=0.2)
    shapes: dict[str, list[Knot]] = {
        "aviator": [(16, -24), (60, -32), (108, -26), (110, 6), (80, 44), (48, 42), (20, 8)],
        "wayfarer": [(14, -30, 1), (60, -34), (118, -36, 1), (108, 16), (84, 36), (44, 34), (20, 10)],
        "round": [(16, -14), (44, -44), (88, -44), (118, -16), (112, 26), (80, 48), (40, 44), (18, 20)],
        "cateye": [(14, -18), (56, -30), (124, -50, 1), (112, 10), (84, 38), (44, 36), (18, 14)],
        "wrap": [(10, -22, 1), (60, -30), (124, -26, 1), (112, 4), (76, 24), (34, 22), (14, 4)],
    }
    lens = shapes[kind]
    middle = (sum(k[0] for k in lens) / len(lens), sum(k[1] for k in lens) / len(lens))
    rim = 0.95 if wire else (0.84 if kind in ("round", "wayfarer", "cateye") else 0.88)
    bridge: list[Knot] = [(-20, -18), (0, -25), (20, -18)]
    canvas.fill(limb(bridge, (3 if wire else 6,)), colour, depth=0.2)
    if wire:
        canvas.stroke([(-34, -33), (0, -36), (34, -33)], colour, 4)
    for side in (1, -1):
        outer: list[Knot] = [(side * k[0], k[1]) if len(k) == 2 else (side * k[0], k[1], 1) for k in lens]
        canvas.fill(smooth(outer), colour, depth=0.2, edge=1.2)
        inner = [(side * (middle[0] + (k[0] - middle[0]) * rim), middle[1] + (k[1] - middle[1]) * rim) for k in lens]
        knots: list[Knot] = [(x, y) for x, y in inner]
        canvas.fill(smooth(knots), tint, depth=0, edge=0.8)
        canvas.folds([[(-140, 30), (0, 34), (140, 30)]], 46, 0.5, lighter(tint, 0.6))
        canvas.folds([[(side * middle[0] - 26, 18), (side * middle[0] + 4, -26)]], 10, 0.4, WHITE)
    return canvas.finish()


def cap(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A baseball cap, turned a little, or a knitted beanie."""
    colour, fabric = leading_colour(spec), product_cloth(spec, draw, 0.9)
    canvas = Canvas(Frame(draw.uniform(1.08, 1.2), (6, 0), draw.uniform(-4, 4), flip=draw.random() < 0.5))
    accent = draw.choice((contrast(colour), companion(colour, 0.45)))
    line = ink(colour)
    if "beanie" in spec.cut:
        half: list[Knot] = [(0, -84), (52, -66), (84, -10), (88, 34, 1), (0, 44)]
        canvas.fill(smooth(mirrored(half)), fabric, depth=0.34)
        for x in (-60, -36, -12, 12, 36, 60):
            canvas.folds([[(x * 0.3, -76), (x * 0.9, -20), (x * 1.1, 36)]], 3, 0.3)
        canvas.fill(smooth([(-90, 26), (0, 38), (90, 26), (90, 64), (0, 76), (-90, 64)]), accent, depth=0.25)
        for step in range(-8, 9):
            canvas.stroke(
                [(step * 10.4, 34 - abs(step) * 0.8, 1), (step * 10.4, 72 - abs(step) * 0.9, 1)],
                ink(accent),
                1.2,
            )
        if "pompom" in spec.cut:
            canvas.fill(ellipse(0, -92, 22, 20), accent, depth=0.4)
        return canvas.finish()
    peak_cloth = accent if spec.pattern == "Colourblock" else fabric
    crown: list[Knot] = [
        (-96, 36, 1),
        (-98, -6),
        (-70, -62),
        (-8, -82),
        (54, -62),
        (80, -10),
        (84, 30, 1),
        (0, 46),
    ]
    canvas.fill(smooth(crown), fabric, depth=0.38)
    for seam in (
        [(-8, -82), (-58, -38), (-72, 38)],
        [(-8, -82), (6, -30), (2, 44)],
        [(-8, -82), (48, -40), (64, 32)],
    ):
        canvas.stroke(seam, line, 1.2)
        canvas.stroke([(x + 4, y) for x, y in seam], line, 0.7, dash=3.5)
    canvas.fill(ellipse(-8, -82, 7, 4.5), accent, depth=0.2)
    for x, y in ((-50, -34), (28, -42)):
        canvas.dot(x, y, 2.4, darker(colour, 0.5))
    peak: list[Knot] = [(2, 40), (50, 22), (86, 22, 1), (128, 38), (142, 62), (112, 68), (56, 56), (0, 60, 1)]
    canvas.fill(smooth(peak), peak_cloth, depth=0.34)
    stitch = ink(peak_cloth.colour if isinstance(peak_cloth, Cloth) else peak_cloth)
    for inset in (0.0, 7.0):
        canvas.stroke([(14, 50 - inset), (60, 46 - inset), (122, 58 - inset)], stitch, 0.8, dash=3.5)
    badge = draw.choice(("disc", "bar", "letter"))
    if badge == "disc":
        canvas.fill(ellipse(36, -14, 17, 20), accent, depth=0, edge=0.8)
    elif badge == "bar":
        canvas.fill([(14, -20), (62, -26), (66, -4), (16, 2)], accent, depth=0, edge=0.8)
    else:
        canvas.stroke([(26, 6, 1), (30, -30, 1), (42, -8, 1), (52, -32, 1), (60, 2, 1)], accent, 5)
    return canvas.finish()


def belt(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A belt rolled up, its buckle in front."""
    colour, fabric = leading_colour(spec), product_cloth(spec, draw, 0.7)
    women = spec.gender == "Women"
    wide = 13 if women else 21
    canvas = Canvas(Frame(draw.uniform(0.98, 1.06), (0, 0), draw.uniform(-3, 3)))
    canvas.floor(0, 60, 112, 8, 0.3)
    thread = lighter(colour, 0.4) if luminance(colour) < 150 else darker(colour, 0.3)
    back: list[Knot] = [(-122, 6), (-98, -22), (0, -36), (98, -22), (122, 6)]
    canvas.fill(
        limb(back, (wide * 0.8, wide * 0.72, wide * 0.7, wide * 0.72, wide * 0.8)),
        mix(darker(colour, 0.3), (150, 120, 90), 0.35),
        depth=0.3,
    )
    front: list[Knot] = [(-124, 0), (-112, 24), (-60, 40), (0, 44), (60, 40), (112, 24), (124, 0)]
    canvas.fill(limb(front, (wide * 0.85, wide, wide, wide, wide, wide, wide * 0.85)), fabric, depth=0.34)
    for edge in (-0.74, 0.74):
        canvas.stroke([(x * 0.99, y + wide * edge) for x, y, *_ in front], thread, 1.0, dash=4)
    metal = (
        draw.choice(((212, 172, 90), _ROSE, STEEL)) if women else draw.choice((STEEL, (120, 112, 96), (190, 160, 96)))
    )
    canvas.fill(limb([(30, 42), (54, 41)], (wide + 3,)), darker(colour, 0.2), depth=0.2)
    high = wide + 8
    if women and "round" in spec.cut:
        canvas.stroke(ellipse(-10, 44, high + 4, high + 4), ink(metal), 8, closed=True)
        canvas.stroke(ellipse(-10, 44, high + 4, high + 4), metal, 6, closed=True)
    elif "plate" in spec.cut:
        canvas.fill(rounded(-42, 44 - high, 16, 44 + high, 6), metal, depth=0.35, edge=1.4)
        canvas.stroke(rounded(-36, 50 - high, 10, 38 + high, 4), ink(metal), 1.2, closed=True)
    else:
        canvas.stroke(rounded(-36, 44 - high, 14, 44 + high, 7), ink(metal), 9, closed=True)
        canvas.stroke(rounded(-36, 44 - high, 14, 44 + high, 7), metal, 7, closed=True)
        canvas.stroke([(-34, 44, 1), (16, 44, 1)], metal, 5)
    for x in (74, 90, 104):
        canvas.dot(x, 38 - (x - 74) * 0.3, 2.4, darker(colour, 0.75))
    return canvas.finish()


def tie(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A knotted tie, hanging."""
    colour, fabric = leading_colour(spec), product_cloth(spec, draw, 0.8)
    slim = 0.8 if "slim" in spec.cut else 1.0
    canvas = Canvas(Frame(draw.uniform(1.0, 1.06), (0, 0), draw.uniform(-5, 5), flip=draw.random() < 0.5))
    loop: list[Knot] = [(-12, -168), (-30, -204), (0, -218), (30, -204), (12, -168)]
    canvas.fill(limb(loop, (6, 7, 6, 7, 6)), Cloth(darker(colour, 0.22)), depth=0.3)
    tail: list[Knot] = [(4, -160, 1), (18 * slim, -150, 1), (24 * slim, 110, 1), (10, 128, 1), (-4, 112, 1)]
    canvas.fill(smooth(tail), Cloth(darker(colour, 0.3)), depth=0.2)
    blade: list[Knot] = [(-10 * slim, -164, 1), (12 * slim, -164, 1), (24 * slim, -40), (36 * slim, 150, 1)]
    canvas.fill(smooth([*blade, (0, 200, 1), (-36 * slim, 150, 1), (-24 * slim, -40)]), fabric, depth=0.36)
    canvas.folds([[(-6, -150), (-12, 120)]], 8, 0.26, WHITE)
    canvas.folds([[(6, -156), (10, -60), (4, 20)]], 6, 0.3)
    knot: list[Knot] = [
        (-20 * slim, -186, 1),
        (20 * slim, -186, 1),
        (13 * slim, -152, 1),
        (0, -148),
        (-13 * slim, -152, 1),
    ]
    canvas.fill(smooth(knot), fabric, depth=0.4)
    canvas.folds([[(-8, -182), (2, -154)]], 4, 0.35)
    return canvas.finish()


def socks(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A pair of socks, one before the other: ankle, crew or knee length."""
    colour, fabric = leading_colour(spec), product_cloth(spec, draw, 1.0)
    canvas = Canvas(Frame(draw.uniform(0.98, 1.06), (10, 0), draw.uniform(-4, 4), flip=draw.random() < 0.5))
    tall = {"ankle": -34, "crew": -104, "knee": -168}[spec.cut.split()[0]]
    accent = draw.choice((contrast(colour), companion(colour, 0.45), darker(colour, 0.35)))
    for shift, cloth in ((34.0, Cloth(darker(fabric.colour, 0.14), None)), (-26.0, fabric)):
        leg: list[Knot] = [
            (-36, tall, 1),
            (34, tall, 1),
            (32, 10),
            (44, 56),
            (92, 100),
            (98, 132),
            (70, 146),
            (20, 128),
        ]
        knots: list[Knot] = [
            (k[0] + shift, k[1]) if len(k) == 2 else (k[0] + shift, k[1], 1) for k in [*leg, (-20, 104), (-40, 64)]
        ]
        canvas.fill(smooth(knots), cloth, depth=0.34)
        for part in (
            ellipse(shift - 30, 92, 30, 34, 30),
            ellipse(shift + 92, 140, 40, 30, 40),
            [
                (shift - 60, tall - 4),
                (shift + 60, tall - 4),
                (shift + 60, tall + 24),
                (shift - 60, tall + 24),
            ],
        ):
            canvas.clipped(part, accent)
        for x in range(-32, 34, 7):
            canvas.stroke([(shift + x, tall + 2, 1), (shift + x, tall + 23, 1)], ink(accent), 0.8)
        canvas.folds([[(shift - 24, 58), (shift + 10, 66)], [(shift - 20, 46), (shift + 6, 50)]], 4, 0.26)
    return canvas.finish()
