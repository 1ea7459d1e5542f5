"""Shoes, heels, sandals and flip-flops, each seen from its outer side, toe to the right."""

import random

from PIL import Image

from offline.drawn.canvas import Canvas, Cloth, Frame, Knot, ellipse, limb, rounded, shadowed, smooth
from offline.drawn.garments import leading_colour, product_cloth
from offline.drawn.palette import (
    DARK,
    MULTI,
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

_LINING: Colour = (206, 190, 166)


def _canvas(spec: ProductSpec, draw: random.Random) -> Canvas:
    size = {"Men": 1.06, "Unisex": 1.06, "Women": 0.96, "Boys": 0.82, "Girls": 0.78}[spec.gender]
    canvas = Canvas(Frame(size * draw.uniform(0.97, 1.03), (0, 0), draw.uniform(5, 11)))
    canvas.floor(2, 64, 138, 9, 0.34)
    return canvas


def casual_shoes(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A sneaker, a slip-on, a loafer or a high-top."""
    kind = spec.cut.split()[0]
    canvas, colour, fabric = _canvas(spec, draw), leading_colour(spec), product_cloth(spec, draw, 0.8)
    if kind == "loafer":
        return _loafer(canvas, colour, fabric)
    slim = 4 if spec.gender in ("Women", "Girls") else 0
    sole = WHITE if luminance(colour) < 215 and draw.random() < 0.8 else draw.choice(((198, 160, 110), DARK))
    high = -34 if kind == "hightop" else 0
    far: list[Knot] = [
        (-116, -34 + high, 1),
        (-86, -50 + high),
        (-40, -54 + high, 1),
        (-30, -10, 1),
        (-110, 0, 1),
    ]
    if kind == "slipon":
        far = [(-116, -34, 1), (-86, -42), (-50, -40), (-24, -30, 1), (-30, 0, 1), (-110, 0, 1)]
    canvas.fill(smooth(far), shadowed(fabric, 0.45), depth=0.1)
    if kind != "slipon":
        tongue: list[Knot] = [
            (-46, -44 + high, 1),
            (-38, -66 + high),
            (-22, -64 + high, 1),
            (34, -14, 1),
            (0, 4, 1),
        ]
        canvas.fill(smooth(tongue), lighter(colour, 0.16), depth=0.25)
    upper: list[Knot] = [
        (-126, 46, 1),
        (-130, 10),
        (-122, -26 + high),
        (-114, -38 + high, 1),
        (-84, -22 + high),
    ]
    upper += [
        (-48, -34 + high, 1),
        (-20, -26 + high * 0.4),
        (24, -2 + slim),
        (74, 6 + slim),
        (118, 18 + slim),
        (134, 46, 1),
    ]
    canvas.fill(smooth(upper), fabric, depth=0.36)
    line, trim = ink(colour), draw.choice((contrast(colour), companion(colour, 0.45), darker(colour, 0.3)))
    canvas.folds([[(44, 4), (38, 20)], [(60, 6), (56, 24)]], 4, 0.22)
    if kind in ("sneaker", "hightop"):
        cap: list[Knot] = [(84, 8 + slim), (80, 28), (92, 50)]
        canvas.clipped([*smooth(cap, closed=False), (140, 60), (140, 0)], WHITE if draw.random() < 0.6 else trim)
        canvas.stroke(cap, line, 1.0)
    if kind == "slipon":
        gore: list[Knot] = [(-40, -30, 1), (-14, -22, 1), (-22, 10, 1), (-34, 8, 1)]
        canvas.fill(smooth(gore), darker(colour, 0.4), depth=0)
    elif kind == "velcro":
        for shift in (0, 34):
            strap = limb(
                [
                    (-38 + shift, -36 + shift * 0.5),
                    (-22 + shift, -8 + shift * 0.42),
                    (-30 + shift, 16 + shift * 0.2),
                ],
                (11,),
            )
            canvas.fill(strap, trim, depth=0.2)
            canvas.stroke([(-34 + shift, 2 + shift * 0.4), (-24 + shift, 14 + shift * 0.3)], ink(trim), 0.8, dash=3)
    else:
        stay: list[Knot] = [(-52, -32 + high, 1), (-40, -6), (0, 16), (40, 18), (34, 0, 1)]
        canvas.stroke(stay, line, 1.2)
        canvas.stroke([(x - 2, y + 3) for x, y, *_ in stay], line, 0.7, dash=4)
        laces = contrast(colour) if luminance(colour) < 215 else draw.choice((WHITE, DARK))
        count = 6 if kind == "hightop" else 5
        for at in range(count):
            share = at / (count - 1)
            x, y = -46 + share * 68, -32 + high * (1 - share) + share * 30
            canvas.stroke([(x - 6, y + 12), (x + 6, y + 1), (x + 16, y - 6)], ink(laces), 6.2)
            canvas.stroke([(x - 6, y + 12), (x + 6, y + 1), (x + 16, y - 6)], laces, 4.6)
    if kind == "sneaker":
        motif = draw.choice(("stripes", "wave", "dot"))
        if motif == "stripes":
            for shift in (0, 14, 28):
                canvas.stroke([(-64 + shift, 34, 1), (-50 + shift, 0, 1)], trim, 6)
        elif motif == "wave":
            canvas.fill(smooth([(-92, 10, 1), (-60, 30), (-10, 22), (6, 16, 1), (-30, 36), (-66, 40)]), trim, depth=0)
    if kind == "hightop":
        canvas.fill(ellipse(-70, -28, 13, 13), trim, depth=0, edge=1)
    if kind != "slipon":
        heel: list[Knot] = [(-128, 2, 1), (-121, -30 + high, 1), (-106, -30 + high, 1), (-112, 6, 1)]
        canvas.fill(smooth(heel), trim, depth=0.1)
    canvas.stroke([(-114, -37 + high), (-84, -21 + high), (-50, -32 + high)], line, 2.2)
    base = smooth([(-132, 42, 1), (-134, 58), (-126, 64), (120, 64), (138, 56), (136, 40, 1), (60, 46), (-60, 46)])
    canvas.fill(base, sole, depth=0.2)
    canvas.stroke([(-131, 54), (0, 56), (135, 51)], trim if luminance(sole) > 200 else ink(sole), 1.6)
    return canvas.finish()


def _loafer(canvas: Canvas, colour: Colour, fabric: Cloth) -> Image.Image:
    far: list[Knot] = [(-114, -26, 1), (-60, -36), (-4, -24, 1), (10, 10, 1), (-104, 10, 1)]
    canvas.fill(smooth(far), _LINING, depth=0.4)
    upper: list[Knot] = [
        (-128, 46, 1),
        (-130, 8),
        (-116, -30, 1),
        (-70, -6),
        (-12, -2),
        (0, -24, 1),
        (46, -18),
        (104, 14),
    ]
    canvas.fill(smooth([*upper, (134, 46, 1)]), fabric, depth=0.4)
    canvas.stroke([(6, -18), (30, 4), (76, 20), (106, 24)], ink(colour), 1.6)
    strap: list[Knot] = [(-22, -4, 1), (4, -24, 1), (30, -20, 1), (10, 14, 1), (-14, 16, 1)]
    canvas.fill(smooth(strap), darker(colour, 0.16), depth=0.2)
    canvas.fill(rounded(-2, -10, 14, -4, 2), darker(colour, 0.6), depth=0, edge=0)
    canvas.stroke([(-114, -28), (-70, -4), (-14, 0)], ink(colour), 2)
    base = smooth([(-131, 44, 1), (-131, 62), (-70, 62, 1), (-64, 56, 1), (120, 58), (137, 50), (134, 42, 1), (0, 43)])
    canvas.fill(base, (64, 46, 36), depth=0.2)
    return canvas.finish()


def sports_shoes(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A running shoe: a mesh upper, overlays and a thick, sculpted sole."""
    canvas, colour = _canvas(spec, draw), leading_colour(spec)
    fabric = Cloth(colour)
    accent = draw.choice(MULTI) if luminance(colour) > 190 or luminance(colour) < 70 else draw.choice((WHITE, DARK))
    far: list[Knot] = [(-112, -36, 1), (-80, -52), (-40, -54, 1), (-20, -10, 1), (-108, 0, 1)]
    canvas.fill(smooth(far), darker(accent, 0.3), depth=0.1)
    tongue: list[Knot] = [(-46, -44, 1), (-40, -72), (-20, -66, 1), (44, -8, 1), (0, 4, 1)]
    canvas.fill(smooth(tongue), mix(colour, accent, 0.35), depth=0.25)
    upper: list[Knot] = [
        (-124, 34, 1),
        (-128, 4),
        (-124, -30),
        (-120, -50, 1),
        (-104, -40),
        (-80, -22),
        (-50, -36, 1),
    ]
    upper += [(-14, -24), (32, -2), (82, 8), (126, 16), (142, 36, 1), (20, 44)]
    canvas.fill(smooth(upper), fabric, depth=0.34)
    mesh = ink(colour)
    for row in range(4):
        for column in range(8):
            canvas.dot(36 + column * 11 + row % 2 * 5, 10 + row * 7 + column * 1.5, 1.0, mesh)
    toe: list[Knot] = [(104, 10), (112, 26), (108, 44)]
    canvas.clipped([*smooth(toe, closed=False), (150, 60), (150, 0)], mix(colour, accent, 0.7))
    swoop = draw.choice(("bars", "flash", "lines"))
    if swoop == "bars":
        for shift in (0, 20, 40):
            canvas.fill(
                [
                    (-70 + shift, 38),
                    (-46 + shift, -14 + shift * 0.5),
                    (-36 + shift, -10 + shift * 0.5),
                    (-58 + shift, 38),
                ],
                accent,
                depth=0,
            )
    elif swoop == "flash":
        canvas.fill(smooth([(-104, 30, 1), (-60, 26), (20, -2, 1), (6, 14), (-40, 36), (-84, 42)]), accent, depth=0.1)
    else:
        for shift in (0, 9, 18):
            canvas.stroke([(-110, -4 + shift), (-60, 22 + shift), (10, 10 + shift)], accent, 3.4)
    cup: list[Knot] = [(-126, 30, 1), (-127, -6), (-122, -32, 1), (-98, -18), (-92, 10), (-102, 34, 1)]
    canvas.fill(smooth(cup), mix(colour, accent, 0.55), depth=0.2)
    laces = contrast(colour)
    for at in range(6):
        x, y = -44 + at * 14, -34 + at * 6.4
        canvas.stroke([(x - 5, y + 12), (x + 6, y + 1), (x + 15, y - 6)], ink(laces), 5.6)
        canvas.stroke([(x - 5, y + 12), (x + 6, y + 1), (x + 15, y - 6)], laces, 4.2)
    canvas.stroke([(-119, -48), (-104, -38), (-80, -20), (-51, -34)], ink(colour), 2.4)
    sole = WHITE if luminance(colour) < 225 else (222, 224, 228)
    middle: list[Knot] = [
        (-126, 26, 1),
        (-80, 36),
        (-20, 38),
        (60, 40),
        (144, 32, 1),
        (146, 46),
        (126, 58),
        (20, 56),
        (-60, 60),
    ]
    canvas.fill(smooth([*middle, (-120, 60), (-138, 46)]), sole, depth=0.24)
    canvas.stroke([(-128, 40), (-70, 46), (-10, 44), (50, 49), (138, 44)], accent, 2.6)
    tread: list[Knot] = [
        (-134, 52, 1),
        (-120, 60),
        (-60, 60),
        (20, 56),
        (126, 58),
        (144, 48, 1),
        (130, 64),
        (20, 64),
        (-124, 67),
    ]
    canvas.fill(smooth(tread), darker(accent, 0.3) if luminance(accent) > 90 else DARK, depth=0.1)
    return canvas.finish()


def formal_shoes(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A polished laced shoe or a slip-on with a heel block."""
    canvas, colour, lace = _canvas(spec, draw), leading_colour(spec), "oxford" in spec.cut
    far: list[Knot] = [(-112, -38, 1), (-80, -50), (-36, -44, 1), (-20, 0, 1), (-104, 6, 1)]
    if not lace:
        far = [(-112, -38, 1), (-84, -40), (-50, -34, 1), (-30, 0, 1), (-104, 6, 1)]
    canvas.fill(smooth(far), _LINING, depth=0.5)
    if lace:
        tongue: list[Knot] = [(-44, -36, 1), (-34, -54), (-20, -50, 1), (26, -8, 1), (0, 0, 1)]
        canvas.fill(smooth(tongue), darker(colour, 0.2), depth=0.25)
    upper: list[Knot] = [
        (-126, 42, 1),
        (-130, 6),
        (-112, -40, 1),
        (-78, -18),
        (-48, -30, 1),
        (-16, -20),
        (40, 10),
        (98, 22),
    ]
    canvas.fill(smooth([*upper, (134, 32), (146, 46, 1)]), Cloth(colour), depth=0.5)
    canvas.folds([[(60, 20), (100, 28), (128, 38)], [(-116, 0), (-112, 26)]], 6, 0.5, lighter(colour, 0.6))
    line = ink(colour)
    canvas.stroke([(64, 14), (58, 28), (66, 44)], line, 1.4)
    canvas.stroke([(68, 15), (62, 28), (70, 44)], line, 0.9, dash=2.4)
    canvas.stroke([(-46, -28), (-34, 6), (20, 24), (56, 24)], line, 1.4)
    if lace:
        for at in range(4):
            x, y = -40 + at * 14, -26 + at * 8
            canvas.stroke([(x - 3, y + 10), (x + 5, y), (x + 13, y - 5)], darker(colour, 0.65), 3.2)
    else:
        canvas.fill(smooth([(-40, -28, 1), (-22, -22, 1), (-18, 8, 1), (-32, 4, 1)]), darker(colour, 0.35), depth=0)
        canvas.fill(limb([(-16, -22, 1), (-2, 14, 1)], (5,)), darker(colour, 0.15), depth=0.1)
        canvas.fill(rounded(-14, -6, 0, 6, 2), STEEL, depth=0)
    canvas.stroke([(-111, -38), (-78, -16), (-50, -28)], line, 2)
    base = smooth(
        [
            (-129, 40, 1),
            (-130, 66, 1),
            (-74, 66, 1),
            (-70, 54, 1),
            (30, 58),
            (140, 54),
            (148, 44, 1),
            (30, 42),
        ]
    )
    canvas.fill(base, (40, 30, 26), depth=0.2)
    return canvas.finish()


def flats(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A ballerina: low, open, with a bow."""
    canvas, colour, fabric = _canvas(spec, draw), leading_colour(spec), product_cloth(spec, draw, 0.7)
    far: list[Knot] = [(-118, 0, 1), (-60, -8), (20, -4), (62, 14, 1), (40, 40, 1), (-110, 44, 1)]
    canvas.fill(smooth(far), _LINING, depth=0.35)
    upper: list[Knot] = [
        (-126, 50, 1),
        (-130, 24),
        (-120, -10, 1),
        (-104, 8),
        (-60, 24),
        (10, 26),
        (56, 10, 1),
        (90, 12),
    ]
    canvas.fill(smooth([*upper, (124, 26), (136, 50, 1)]), fabric, depth=0.4)
    canvas.stroke([(-119, -8), (-104, 10), (-60, 26), (10, 28), (56, 12)], ink(colour), 2)
    canvas.folds([[(80, 18), (112, 28)]], 5, 0.45, lighter(colour, 0.6))
    trim = darker(colour, 0.2)
    if "bow" in spec.cut:
        left: list[Knot] = [(62, 12, 1), (40, 0), (40, 18)]
        right: list[Knot] = [(62, 12, 1), (82, -2), (86, 14)]
        for wing in (left, right):
            canvas.fill(smooth(wing), trim, depth=0.25)
        canvas.fill(ellipse(62, 11, 5, 5), trim, depth=0.2)
    else:
        canvas.fill(limb([(-34, 24), (-24, -2), (-2, -8)], (4.5,)), trim, depth=0.2)
        canvas.dot(-30, 16, 3.6, (206, 170, 90))
    base = smooth([(-129, 48, 1), (-129, 58), (-90, 58, 1), (-84, 54), (120, 56), (139, 50, 1), (0, 50)])
    canvas.fill(base, (150, 110, 80), depth=0.1)
    return canvas.finish()


def heels(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A pump, a peep toe, a strapped or a block-heeled shoe."""
    kind = spec.cut.split()[0]
    canvas, colour, fabric = _canvas(spec, draw), leading_colour(spec), product_cloth(spec, draw, 0.7)
    dark = darker(colour, 0.3)
    if kind == "block":
        heel: list[Knot] = [(-122, -20, 1), (-116, 64, 1), (-84, 64, 1), (-76, 10, 1)]
    elif kind == "wedge":
        heel = [(-122, -20, 1), (-120, 64, 1), (60, 64, 1), (20, 40, 1)]
    else:
        heel = [(-122, -20, 1), (-112, 30), (-113, 64, 1), (-103, 64, 1), (-100, 30), (-74, 8, 1)]
    canvas.fill(smooth(heel), dark if kind != "wedge" else (196, 158, 112), depth=0.3)
    far: list[Knot] = [
        (-112, -52, 1),
        (-60, -40),
        (0, -8),
        (40, 18, 1),
        (20, 44, 1),
        (-60, 10),
        (-110, -14, 1),
    ]
    canvas.fill(smooth(far), _LINING, depth=0.3)
    sole: list[Knot] = [
        (-124, -22, 1),
        (-90, 0),
        (-30, 28),
        (20, 50),
        (80, 58),
        (138, 56, 1),
        (136, 64, 1),
        (70, 65),
        (10, 60),
    ]
    canvas.fill(smooth([*sole, (-40, 36), (-100, 10), (-122, -10, 1)]), dark, depth=0.1)
    if kind in ("strappy", "wedge"):
        straps: tuple[list[Knot], ...] = (
            [(34, 54), (50, 36), (70, 36), (84, 58)],
            [(84, 60), (94, 44), (112, 45), (124, 60)],
        )
        for strap in straps:
            canvas.fill(limb(strap, (8, 9, 9, 8)), fabric, depth=0.3)
        canvas.fill(limb([(-122, -18), (-112, -62), (-70, -66), (-40, -56)], (9, 6, 5, 5)), fabric, depth=0.3)
        canvas.fill(limb([(-110, -18), (-60, -26), (-44, -54)], (6, 5, 5)), fabric, depth=0.3)
        canvas.fill(rounded(-62, -70, -48, -56, 2), (206, 176, 100), depth=0.1)
    else:
        upper: list[Knot] = [
            (-124, -20, 1),
            (-124, -44),
            (-114, -60, 1),
            (-96, -36),
            (-50, -4),
            (0, 22),
            (44, 16, 1),
            (88, 26),
        ]
        upper += [(124, 42), (138, 57, 1), (80, 58), (20, 50), (-30, 28), (-90, 0)]
        canvas.fill(smooth(upper), fabric, depth=0.44)
        canvas.stroke([(-113, -58), (-96, -34), (-50, -2), (0, 24), (44, 18)], ink(colour), 1.6)
        canvas.folds([[(60, 26), (104, 38), (124, 48)], [(-112, -30), (-88, -12)]], 5, 0.5, lighter(colour, 0.65))
        if kind == "peep":
            canvas.fill(ellipse(128, 50, 11, 7, 25), (60, 40, 36), depth=0, edge=1)
        if kind == "maryjane":
            canvas.fill(limb([(-40, 4), (-28, -34), (4, -30), (18, 20)], (5,)), fabric, depth=0.2)
            canvas.dot(-34, -10, 4, (206, 176, 100))
    return canvas.finish()


def sandals(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A strapped sandal on a thick sole, seen from above and aside."""
    size = {"Men": 1.02, "Unisex": 1.02, "Women": 0.92, "Boys": 0.8, "Girls": 0.78}[spec.gender]
    canvas = Canvas(Frame(size, (0, 0), draw.uniform(8, 15)))
    canvas.floor(2, 48, 140, 18, 0.3)
    colour, slim = leading_colour(spec), 0.86 if spec.gender in ("Women", "Girls") else 1.0
    leather, dark = Cloth(colour), darker(colour, 0.3)
    outline = smooth(_footbed(slim))
    tread = (58, 48, 44) if luminance(colour) > 60 else (78, 78, 82)
    canvas.fill([(x, y + 22) for x, y in outline], tread, depth=0.2)
    canvas.fill([(x, y + 13) for x, y in outline], lighter(tread, 0.16), depth=0.1)
    canvas.fill(outline, mix(colour, _LINING, 0.62), depth=0.25)
    canvas.stroke([(x * 0.92, y * 0.84) for x, y, *_ in _footbed(slim)], ink(_LINING), 0.9, dash=4, closed=True)
    canvas.folds([[(96, -20), (110, 4), (92, 36)], [(34, -24), (46, 4), (24, 34)]], 14, 0.35)
    if "slide" not in spec.cut:
        heel: list[Knot] = [(-36, -28 * slim), (-92, -66), (-138, -52), (-142, -8), (-116, 26 * slim)]
        canvas.fill(limb(heel, (8, 9, 9, 10, 9)), dark, depth=0.3)
        canvas.fill(limb([(-36, -28), (-60, -6), (-96, 6), (-116, 26 * slim)], (7, 6, 6, 8)), leather, depth=0.3)
    front: list[Knot] = [(96, -27 * slim), (114, -20), (110, 12), (84, 42 * slim)]
    middle: list[Knot] = [(20, -21 * slim), (44, -30), (46, 2), (18, 36 * slim)]
    for strap, wide in ((front, 15), (middle, 19)):
        canvas.fill(limb(strap, (wide * 0.8, wide, wide, wide * 0.9)), leather, depth=0.42)
        thread = lighter(colour, 0.5) if luminance(colour) < 150 else darker(colour, 0.4)
        for inset in (-0.66, 0.66):
            line = [(knot[0] + wide * inset, knot[1] * 0.72) for knot in strap]
            canvas.stroke([(x, y) for x, y in line], thread, 1.0, dash=4)
    if "slide" not in spec.cut:
        canvas.fill(limb([(52, -14), (78, -18), (104, -8)], (7,)), leather, depth=0.3)
        canvas.fill(rounded(26, 10, 46, 28, 3), STEEL, depth=0.2)
    if spec.gender in ("Boys", "Girls"):
        canvas.fill(ellipse(48, -10, 13, 13), companion(colour, 0.45), depth=0.15)
        canvas.fill(ellipse(48, -10, 5, 5), (246, 210, 96), depth=0)
    return canvas.finish()


def _footbed(slim: float) -> list[Knot]:
    foot: list[Knot] = [
        (-136, 4),
        (-122, -24 * slim),
        (-70, -30 * slim),
        (0, -26 * slim),
        (70, -38 * slim),
        (122, -24),
    ]
    foot += [(142, 6), (120, 34 * slim), (60, 38 * slim), (0, 26 * slim), (-70, 30 * slim), (-124, 26 * slim)]
    return foot


def flip_flops(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A flip-flop seen from above and aside."""
    size = {"Men": 1.06, "Unisex": 1.04, "Women": 0.94, "Boys": 0.8, "Girls": 0.8}[spec.gender]
    canvas = Canvas(Frame(size, (0, 0), draw.uniform(8, 16)))
    canvas.floor(2, 40, 140, 16, 0.3)
    colour = leading_colour(spec)
    slim = 0.86 if spec.gender in ("Women", "Girls") else 1.0
    foot = _footbed(slim)
    outline = smooth(foot)
    canvas.fill([(x, y + 13) for x, y in outline], darker(colour, 0.4), depth=0.1)
    canvas.fill(
        [(x, y + 7) for x, y in outline],
        WHITE if luminance(colour) < 190 else darker(colour, 0.15),
        depth=0.1,
    )
    canvas.fill(outline, product_cloth(spec, draw), depth=0.22)
    canvas.stroke([(x * 0.92, y * 0.84) for x, y, *_ in foot], ink(colour), 0.9, closed=True)
    trim = draw.choice((contrast(colour), companion(colour, 0.45), darker(colour, 0.4)))
    wide = (5, 9, 8) if spec.gender == "Women" else (8, 15, 12)
    canvas.folds([[(84, 8), (20, 40)], [(84, 8), (20, -14)]], 12, 0.35)
    canvas.fill(limb([(86, 0), (44, -40), (-16, -26)], wide), trim, depth=0.3)
    canvas.fill(limb([(86, 0), (46, 26), (-12, 30)], wide), trim, depth=0.3)
    canvas.fill(ellipse(87, 0, 7, 7), trim, depth=0.2)
    if spec.gender in ("Women", "Girls"):
        canvas.fill(ellipse(84, -2, 13, 13), lighter(trim, 0.3), depth=0.15)
        canvas.fill(ellipse(84, -2, 5, 5), (240, 200, 90), depth=0)
    return canvas.finish()
