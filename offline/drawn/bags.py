"""Handbags, backpacks and wallets."""

import random

from PIL import Image

from offline.drawn.canvas import Canvas, Cloth, Frame, Knot, ellipse, limb, mirrored, rounded, smooth
from offline.drawn.garments import leading_colour, product_cloth
from offline.drawn.palette import STEEL, WHITE, companion, contrast, darker, ink, lighter, luminance
from offline.drawn.spec import ProductSpec

_BRASS = (206, 170, 90)


def handbag(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A tote, a satchel, a hobo or a bowling bag."""
    kind = spec.cut.split()[0]
    colour, fabric = leading_colour(spec), product_cloth(spec, draw, 1.2)
    canvas = Canvas(Frame(draw.uniform(1.0, 1.1), (0, 8), draw.uniform(-2, 2), flip=draw.random() < 0.5))
    canvas.floor(0, 104, 112, 9, 0.36)
    trim = darker(colour, 0.28)
    if kind == "hobo":
        canvas.fill(
            limb([(-92, -10), (-70, -120), (0, -156), (70, -120), (92, -10)], (9, 8, 8, 8, 9)),
            trim,
            depth=0.3,
        )
        half: list[Knot] = [(0, -8), (60, -22), (104, -30, 1), (126, 40), (96, 98), (0, 106)]
        canvas.fill(smooth(mirrored(half)), fabric, depth=0.36)
        canvas.folds([[(x, -4), (x * 1.25, 70)] for x in (-70, -34, 8, 46, 78)], 6, 0.28)
        canvas.stroke([(-100, -26), (0, -4), (100, -26)], ink(colour), 2)
        canvas.stroke([(-96, -22), (0, 1), (96, -22)], _BRASS, 1.6)
    else:
        top, bottom = {"tote": (104, 88), "satchel": (92, 108), "bowling": (84, 112)}[kind]
        tall = {"tote": -46, "satchel": -22, "bowling": -30}[kind]
        reach = -150 if kind == "tote" else -118
        canvas.fill(
            limb([(-48, tall + 10), (-44, reach + 30), (0, reach), (44, reach + 30), (48, tall + 10)], (5.5,)),
            darker(trim, 0.25),
            depth=0.2,
        )
        half = [(0, tall, 1), (top, tall, 1)] if kind == "tote" else [(0, tall), (top - 22, tall), (top, tall + 26)]
        half += [(bottom, 70), (bottom - 6, 102, 1), (0, 104)]
        canvas.fill(smooth(mirrored(half)), fabric, depth=0.34)
        canvas.folds([[(-60, tall + 20), (-72, 80)]], 14, 0.22, WHITE)
        if kind == "satchel":
            flap: list[Knot] = [(0, tall - 1), (top - 20, tall - 1), (top - 2, tall + 24), (70, 36), (0, 46)]
            canvas.fill(smooth(mirrored(flap)), fabric, depth=0.25)
            canvas.fill(rounded(-11, 34, 11, 56, 4), _BRASS, depth=0.3)
            canvas.stroke([(-66, 33), (0, 42), (66, 33)], ink(colour), 0.9, dash=5)
        elif kind == "bowling":
            canvas.stroke([(-top + 6, tall + 22), (0, tall + 14), (top - 6, tall + 22)], trim, 5)
            canvas.stroke([(-top + 6, tall + 22), (0, tall + 14), (top - 6, tall + 22)], _BRASS, 1.4)
            for side in (1, -1):
                corner = rounded(min(side * 70, side * 130), 66, max(side * 70, side * 130), 120, 10)
                canvas.clipped(corner, trim)
        else:
            canvas.stroke([(-top + 3, tall + 14, 1), (top - 3, tall + 14, 1)], ink(colour), 1.0, dash=5)
            canvas.clipped([(-130, 76), (130, 76), (130, 120), (-130, 120)], trim)
            canvas.stroke([(-bottom, 76, 1), (bottom, 76, 1)], ink(colour), 1.2)
        canvas.fill(
            limb(
                [(-48, tall + 36), (-46, reach + 46), (0, reach + 14), (46, reach + 46), (48, tall + 36)],
                (5.5,),
            ),
            trim,
            depth=0.2,
        )
        for x in (-48, 48):
            canvas.fill(rounded(x - 9, tall + 22, x + 9, tall + 46, 3), trim, depth=0.15)
            canvas.dot(x, tall + 40, 3.2, _BRASS)
    if draw.random() < 0.4:
        canvas.stroke([(60, -10), (66, 12)], _BRASS, 1.6)
        canvas.fill(ellipse(67, 24, 9, 13), companion(colour, 0.45), depth=0.25)
    return canvas.finish()


def backpack(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A rucksack from the front."""
    kind = spec.cut.split()[0]
    colour, fabric = leading_colour(spec), product_cloth(spec, draw, 1.2)
    accent = draw.choice((contrast(colour), companion(colour, 0.45), darker(colour, 0.35)))
    canvas = Canvas(Frame(draw.uniform(1.08, 1.2), (0, 0), draw.uniform(-3, 3), flip=draw.random() < 0.5))
    canvas.floor(0, 142, 92, 9, 0.36)
    dark = darker(colour, 0.4)
    for side in (1, -1):
        canvas.fill(
            limb([(side * 40, -112), (side * 96, -60), (side * 106, 30), (side * 84, 108)], (9, 10, 9, 6)),
            dark,
            depth=0.3,
        )
        canvas.fill(smooth([(side * 70, 56), (side * 104, 66), (side * 104, 118), (side * 76, 132)]), dark, depth=0.3)
    canvas.fill(limb([(-22, -128), (-16, -152), (16, -152), (22, -128)], (5,)), dark, depth=0.2)
    half: list[Knot] = [(0, -138), (44, -132), (80, -92), (90, 0), (92, 110), (76, 140), (0, 142)]
    canvas.fill(smooth(mirrored(half)), fabric, depth=0.36)
    canvas.folds([[(-54, -96), (-62, 20)]], 14, 0.22, WHITE)
    canvas.stroke([(-80, -50), (-64, -104), (0, -120), (64, -104), (80, -50)], dark, 4.2)
    canvas.stroke([(-80, -50), (-64, -104), (0, -120), (64, -104), (80, -50)], STEEL, 1.2)
    if kind == "flap":
        flap: list[Knot] = [(0, -138), (46, -132), (84, -92), (88, -30), (60, 2), (0, 8)]
        canvas.fill(smooth(mirrored(flap)), accent if luminance(accent) < 200 else fabric, depth=0.3)
        for x in (-40, 40):
            canvas.fill(rounded(x - 5, -30, x + 5, 44, 2), dark, depth=0.15)
            canvas.fill(rounded(x - 9, 20, x + 9, 36, 2), _BRASS, depth=0.1)
    else:
        canvas.fill(rounded(-66, 22, 66, 118, 20), fabric, depth=0.3)
        canvas.stroke([(-58, 44), (0, 38), (58, 44)], dark, 4)
        canvas.stroke([(-58, 44), (0, 38), (58, 44)], STEEL, 1.2)
        canvas.fill(rounded(40, 41, 46, 58, 2), accent, depth=0, edge=0.8)
        if kind == "panel":
            canvas.fill(smooth([(-66, -84, 1), (-20, -60), (66, -84, 1), (68, 0, 1), (-68, 0, 1)]), accent, depth=0.2)
        else:
            for row in range(3):
                canvas.stroke([(-72, -50 + row * 16, 1), (72, -50 + row * 16, 1)], accent if row == 1 else dark, 2.2)
    canvas.fill(rounded(-20, 68, 20, 84, 3), accent, depth=0, edge=0.8)
    return canvas.finish()


def wallet(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A man's folded wallet, or a woman's long purse with a zip or a clasp."""
    colour, fabric = leading_colour(spec), product_cloth(spec, draw)
    canvas = Canvas(Frame(draw.uniform(1.0, 1.1), (0, 0), draw.uniform(-4, 4)))
    thread = lighter(colour, 0.35) if luminance(colour) < 120 else darker(colour, 0.3)
    if spec.gender == "Women":
        canvas.fill(rounded(-126, -54, 126, 58, 10), Cloth(darker(colour, 0.25)), depth=0.2)
        canvas.fill(rounded(-126, -60, 126, 52, 10), fabric, depth=0.3)
        canvas.stroke(rounded(-119, -53, 119, 45, 7), thread, 1.0, dash=4.5, closed=True)
        if "zip" in spec.cut:
            canvas.stroke([(-124, -52), (0, -60, 1), (122, -56)], _BRASS, 4)
            canvas.fill(rounded(112, -52, 122, -14, 3), _BRASS, depth=0.2)
        else:
            flap: list[Knot] = [(-126, -56, 1), (126, -56, 1), (122, -6), (60, 8), (-60, 8), (-122, -6)]
            canvas.fill(smooth(flap), fabric, depth=0.22)
            canvas.fill(rounded(-14, -6, 14, 18, 5), _BRASS, depth=0.3)
        canvas.folds([[(-90, -40), (-30, 30)]], 12, 0.2, WHITE)
        return canvas.finish()
    canvas.fill(rounded(-98, -72, 104, 80, 6), Cloth(darker(colour, 0.35)), depth=0.2)
    canvas.fill(rounded(-92, -76, 92, 68, 3), (226, 214, 190), depth=0.1)
    canvas.fill(rounded(-104, -68, 98, 84, 6), fabric, depth=0.32)
    canvas.stroke(rounded(-97, -61, 91, 77, 4), thread, 1.0, dash=4.5, closed=True)
    canvas.stroke([(-98, -66, 1), (-98, 82, 1)], ink(colour), 2.4)
    canvas.folds([[(-70, -44), (-10, 50)]], 14, 0.2, WHITE)
    if "tab" in spec.cut:
        canvas.fill(rounded(40, -8, 98, 22, 5), darker(colour, 0.15), depth=0.2)
        canvas.dot(56, 7, 5, STEEL)
    else:
        canvas.fill(rounded(50, 50, 82, 64, 2), darker(colour, 0.25), depth=0, edge=0.7)
    return canvas.finish()
