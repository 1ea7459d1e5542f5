"""Upper garments: T-shirts, shirts, tops, sweatshirts, jackets, kurtas and dresses."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from offline.drawn.canvas import Canvas, Cloth, Knot, Point, limb, mirrored, rounded, shadowed, smooth
from offline.drawn.figure import Body
from offline.drawn.palette import STEEL, WHITE, Colour, contrast, darker, ink, lighter, luminance


@dataclass(frozen=True, slots=True)
class Upper:
    """How an upper garment is cut.

    Attributes:
        neck: "crew", "v", "scoop", "boat", "square", "strap", "polo", "shirt", "mandarin", "hood", "stand".
        sleeve: how far down the arm the sleeve reaches, in [0, 1]; 0 is sleeveless.
        puff: how much wider than the arm the sleeve is.
        hem: height of the hem.
        ease: half-width added at the waist.
        flare: half-width added at the hem.
        front: "closed", "buttons", "placket", "zip".
        rib: ribbed hem and cuffs.
        curved: a shirt-tail hem.
        accent: trimmings; None for the cloth's own.
    """

    neck: str = "crew"
    sleeve: float = 0.34
    puff: float = 5.0
    hem: float = 214.0
    ease: float = 3.0
    flare: float = 2.0
    front: str = "closed"
    rib: bool = False
    curved: bool = False
    accent: Colour | None = None
    sleeves: Cloth | Colour | None = None


_DEPTHS = {"crew": 88, "v": 108, "scoop": 102, "boat": 84, "square": 104, "strap": 108}


def draw_upper(canvas: Canvas, body: Body, cut: Upper, cloth: Cloth, draw: random.Random) -> None:
    """Draw a garment on a body; the person's parts behind and above it are drawn by the caller."""
    neck = body.neck + {"boat": 14, "scoop": 7, "square": 8, "strap": 9, "crew": 3, "v": 4}.get(cut.neck, 3)
    sleeves = cut.sleeves or cloth
    trim = cut.accent or cloth.colour
    if not body.worn:
        inner: list[Knot] = [(0, body.neck_y - 1), (neck + 2, body.neck_y - 2), (neck, 96), (0, 110)]
        canvas.fill(smooth(mirrored(inner)), shadowed(cloth), depth=0.1)
    if cut.neck == "hood":
        hood: list[Knot] = [(0, 60), (22, 62), (27, 78), (22, 96), (0, 104)]
        canvas.fill(smooth(mirrored(hood)), shadowed(cloth, 0.2), depth=0.3)
    if cut.sleeve > 0:
        _sleeves(canvas, body, cut, sleeves, trim)
    canvas.fill(_torso(body, cut, neck), cloth, depth=0.34)
    _torso_folds(canvas, body, cut, draw)
    if cut.rib:
        hem = body.hip + cut.flare
        canvas.clipped([(-80, cut.hem - 11), (80, cut.hem - 11), (80, cut.hem + 9), (-80, cut.hem + 9)], trim)
        canvas.stroke([(-hem, cut.hem - 11, 1), (hem, cut.hem - 11, 1)], ink(trim), 0.8)
    else:
        _hem_stitch(canvas, body, cut, cloth)
    _front(canvas, body, cut, cloth, trim)
    _neck(canvas, body, cut, cloth, trim, neck)


def _torso(body: Body, cut: Upper, neck: float) -> list[Point]:
    hem = body.hip + cut.flare
    half: list[Knot] = []
    if cut.neck in _DEPTHS:
        depth = _DEPTHS[cut.neck]
        if cut.neck == "v":
            half += [(0, depth, 1), (neck, body.neck_y + 3, 1)]
        elif cut.neck in ("square", "strap"):
            half += [(0, depth), (neck - 1, depth - 1, 1), (neck + 1, body.neck_y + 6, 1)]
        else:
            half += [(0, depth), (neck * 0.6, depth - 2), (neck * 0.9, depth - 6), (neck, body.neck_y + 3, 1)]
    else:
        half += [(0, 86), (neck, body.neck_y + 3, 1)]
    if cut.neck == "strap":
        half += [(neck + 6, body.neck_y + 7, 1), (body.chest - 2, 108), (body.chest + 1, body.chest_y + 2, 1)]
    elif cut.sleeve == 0:
        half += [
            (body.shoulder - 7, body.shoulder_y - 2, 1),
            (body.chest - 4, 106),
            (body.chest + 1, body.chest_y + 4, 1),
        ]
    else:
        half += [
            (body.shoulder - 5, body.shoulder_y, 1),
            (body.shoulder - 8, 106),
            (body.chest + 1, body.chest_y + 4, 1),
        ]
    waist = body.waist + cut.ease
    half += [(waist, body.waist_y)]
    if cut.hem > body.hip_y + 20:
        half += [(body.hip + cut.ease * 0.6 + cut.flare * 0.25, body.hip_y)]
        half += [(hem, cut.hem, 1), (hem * 0.5, cut.hem + 4), (0, cut.hem + 5)]
    elif cut.curved:
        half += [(hem, cut.hem - 12, 1), (hem * 0.62, cut.hem + 2), (0, cut.hem + 5)]
    else:
        share = (cut.hem - body.waist_y) / (body.hip_y - body.waist_y)
        at = waist + (hem - waist) * max(0.0, min(1.0, share))
        half += [(at, cut.hem, 1), (at * 0.5, cut.hem + 3), (0, cut.hem + 4)]
    return smooth(mirrored(half))


def _sleeves(canvas: Canvas, body: Body, cut: Upper, cloth: Cloth | Colour, trim: Colour) -> None:
    for side, spine in zip((1, -1), body.arms, strict=True):
        pad = cut.puff if body.worn else cut.puff - 4
        widths = [width + pad * (1.0 if at < 2 else 0.7) for at, width in enumerate(body.arm_widths)]
        # Narrower at the shoulder than below it, or the shoulder would look padded.
        widths[0] *= 0.84
        reach = cut.sleeve
        # The shoulder's roundness: the sleeve's own width, ending where the torso's shoulder does.
        joint = (side * (body.shoulder + 0.5 - widths[0]), body.shoulder_y + widths[0] * 0.93)
        spine = (joint, *spine[1:])
        canvas.fill(limb(spine, widths, upto=reach, round_start=True), cloth, depth=0.36)
        (x0, y0), (x1, y1) = spine[1][:2], spine[2][:2]
        canvas.folds(
            [[(x0 - side * 8, y0 - 6), (x0 + side * 4, y0 + 2)], [(x0, y0 + 14), (x1 - side * 3, y1 - 22)]],
            2.5,
            0.3,
        )
        if reach > 0.8:
            canvas.fill(limb(spine, [w - 0.6 for w in widths], upto=reach, start=reach - 0.09), trim, depth=0.2)
        elif reach > 0.12:
            edge = limb(spine, widths, upto=reach, start=reach - 0.045)
            if cut.accent is not None:
                canvas.fill(edge, trim, depth=0.15, edge=0.6)
            else:
                canvas.stroke([edge[0], edge[-1]], ink(cloth.colour if isinstance(cloth, Cloth) else cloth), 0.8)


def _torso_folds(canvas: Canvas, body: Body, cut: Upper, draw: random.Random) -> None:
    low = min(cut.hem, body.hip_y)
    lean = draw.uniform(-4, 4)
    lines: list[Sequence[Knot]] = [
        [(body.chest - 3, body.chest_y + 4), (body.chest - 16, body.chest_y + 16)],
        [(-body.chest + 3, body.chest_y + 4), (-body.chest + 16, body.chest_y + 16)],
    ]
    if body.worn:
        lines += [
            [(body.waist, body.waist_y - 2), (body.waist - 18, body.waist_y + 8 + lean)],
            [(-body.waist, body.waist_y + 6), (-body.waist + 16, body.waist_y + 20 + lean)],
            [(-14 + lean, body.waist_y + 22), (-17, low)],
            [(20, body.waist_y + 12), (22 + lean, low)],
        ]
    if cut.hem > body.hip_y + 20:
        wide = (body.hip + cut.flare) * 0.6
        for share in (-0.8, -0.3, 0.3, 0.8):
            lines.append([(share * body.waist * 0.7, body.waist_y + 12), (share * wide + lean, cut.hem)])
    canvas.folds(lines, 3.6, 0.2)
    canvas.folds([[(-body.chest * 0.45, 100), (-body.waist * 0.5, body.waist_y)]], 12, 0.16, WHITE)


def _hem_stitch(canvas: Canvas, body: Body, cut: Upper, cloth: Cloth) -> None:
    if cut.curved or cut.hem > body.hip_y + 20:
        return
    share = (cut.hem - body.waist_y) / (body.hip_y - body.waist_y)
    waist = body.waist + cut.ease
    at = waist + (body.hip + cut.flare - waist) * max(0.0, min(1.0, share)) - 1
    canvas.stroke([(-at, cut.hem - 5), (0, cut.hem - 1), (at, cut.hem - 5)], ink(cloth.colour), 0.7)


def _front(canvas: Canvas, body: Body, cut: Upper, cloth: Cloth, trim: Colour) -> None:
    line = ink(cloth.colour)
    if cut.front == "buttons":
        low = cut.hem + 4
        canvas.stroke([(-4, 90, 1), (-4, low, 1)], line, 0.8)
        canvas.stroke([(4, 90, 1), (4, low, 1)], line, 0.8)
        button = WHITE if luminance(cloth.colour) < 190 else darker(cloth.colour, 0.5)
        y = 98.0
        while y < low - 10:
            canvas.dot(0, y, 1.6, button)
            y += 19
    elif cut.front == "placket":
        low = 128 if cut.hem < 240 else 142
        canvas.fill(rounded(-4.2, 88, 4.2, low, 1.5), trim, depth=0.1, edge=0.8)
        for y in range(95, low - 2, 11):
            canvas.dot(0, y, 1.4, contrast(trim))
    elif cut.front == "zip":
        canvas.stroke([(0, 84, 1), (0, cut.hem + 4, 1)], ink(trim), 3.2)
        canvas.stroke([(0, 84, 1), (0, cut.hem + 4, 1)], STEEL, 1.5)
        canvas.fill(rounded(-1.8, 90, 1.8, 100, 1.5), STEEL, depth=0, edge=0.6)


def _neck(canvas: Canvas, body: Body, cut: Upper, cloth: Cloth, trim: Colour, neck: float) -> None:
    line = ink(cloth.colour)
    top = body.neck_y + 3
    if cut.neck in ("crew", "scoop", "boat"):
        depth = _DEPTHS[cut.neck]
        right: list[Knot] = [(neck * 0.6, depth - 2), (neck * 0.9, depth - 6), (neck, top)]
        left: list[Knot] = [(-knot[0], knot[1]) for knot in reversed(right)]
        band: list[Knot] = [*left, (0, depth), *right]
        canvas.fill(limb(band, (2.4,)), trim, depth=0.1, edge=0.7)
    elif cut.neck == "v":
        for side in (1, -1):
            canvas.fill(limb([(side * neck, top, 1), (0, 109, 1)], (2.4,)), trim, depth=0.1, edge=0.7)
    elif cut.neck in ("square", "strap"):
        canvas.stroke([(-neck, 103), (0, 105), (neck, 103)], line, 0.8)
    elif cut.neck in ("shirt", "polo"):
        back: list[Knot] = [(-neck - 1, top), (0, top - 7), (neck + 1, top), (0, top + 7)]
        if not body.worn:
            canvas.fill(smooth(back), shadowed(cloth), depth=0.1)
        leaf = trim if cut.neck == "polo" else cloth
        for side in (1, -1):
            flap: list[Knot] = [(0, 90, 1), (side * (neck - 1), top - 5, 1), (side * (neck + 3), top - 3)]
            flap += [(side * (neck + 9), 95, 1), (side * (neck - 2), 101, 1)]
            canvas.fill(smooth(flap), leaf, depth=0.15, edge=1.0)
    elif cut.neck in ("mandarin", "stand"):
        high = 8 if cut.neck == "mandarin" else 11
        band = [(-neck - 1, top - high, 1), (0, top - high + 5), (neck + 1, top - high, 1)]
        band += [(neck + 3, top + 3, 1), (0, 92), (-neck - 3, top + 3, 1)]
        canvas.fill(smooth(band), trim, depth=0.2)
        canvas.stroke([(0, top - high + 5, 1), (0, 92, 1)], line, 1.0)
    elif cut.neck == "hood":
        for side in (1, -1):
            edge: list[Knot] = [
                (0, 108, 1),
                (side * 12, 100),
                (side * 24, 84),
                (side * 22, 68),
                (side * 16, 76),
            ]
            edge += [(side * 11, 90)]
            canvas.fill(smooth(edge), cloth, depth=0.25)
            canvas.stroke([(side * 7, 100), (side * 8, 122)], lighter(contrast(cloth.colour), 0.1), 1.6)


def kangaroo_pocket(canvas: Canvas, cloth: Cloth, hem: float) -> None:
    """The pouch of a sweatshirt."""
    half: list[Knot] = [
        (0, hem - 44, 1),
        (17, hem - 44, 1),
        (26, hem - 26, 1),
        (26, hem - 13, 1),
        (0, hem - 13, 1),
    ]
    canvas.fill(smooth(mirrored(half)), cloth, depth=0.12)


def chest_pocket(canvas: Canvas, body: Body, cloth: Cloth, *, flap: bool = False) -> None:
    """A pocket on the wearer's left."""
    x = body.chest * 0.5
    pocket: list[Knot] = [(x - 9, 116, 1), (x + 9, 116, 1), (x + 9, 134, 1), (x, 138, 1), (x - 9, 134, 1)]
    canvas.fill(smooth(pocket), cloth, depth=0.08, edge=0.9)
    if flap:
        canvas.fill(
            smooth([(x - 9, 115, 1), (x + 9, 115, 1), (x + 9, 120, 1), (x, 124, 1), (x - 9, 120, 1)]),
            cloth,
            depth=0,
        )
        canvas.dot(x, 120.5, 1.2, contrast(cloth.colour))


def welt_pockets(canvas: Canvas, body: Body, colour: Colour, hem: float) -> None:
    """The slanted pockets of a jacket."""
    for side in (1, -1):
        slit = limb([(side * body.waist * 0.82, hem - 44, 1), (side * body.waist * 0.62, hem - 22, 1)], (1.8,))
        canvas.fill(slit, darker(colour, 0.25), depth=0, edge=0.8)
