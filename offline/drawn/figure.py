"""The faceless people who wear the drawn garments, in one set of coordinates.

Head to foot is y 14 to 468; x = 0 is the middle.
"""

import random
from dataclasses import dataclass, replace

from offline.drawn.canvas import Canvas, Cloth, Frame, Knot, Point, ellipse, limb, mirrored, rounded, smooth
from offline.drawn.palette import DENIM, HAIR, SKINS, Colour, darker, lighter


@dataclass(frozen=True, slots=True)
class Body:
    """Half-widths and heights that garments are cut to; a person's, or those of a garment laid flat.

    Attributes:
        worn: a person is inside; otherwise the garment lies flat.
        neck, shoulder, chest, waist, hip, thigh: half-widths.
        neck_y, shoulder_y, chest_y, waist_y, hip_y, crotch_y: heights.
        stance: half the distance between the legs' middles.
        knee, ankle: half-widths of one leg.
        arms: the arms' middle lines, right and left.
        arm_widths: half-widths of an arm from shoulder to wrist.
    """

    worn: bool
    neck: float
    shoulder: float
    chest: float
    waist: float
    hip: float
    thigh: float
    knee: float
    ankle: float
    stance: float
    arms: tuple[tuple[Knot, ...], tuple[Knot, ...]]
    arm_widths: tuple[float, ...]
    neck_y: float = 77.0
    shoulder_y: float = 89.0
    chest_y: float = 122.0
    waist_y: float = 166.0
    hip_y: float = 216.0
    crotch_y: float = 240.0


def _arms(*points: Point) -> tuple[tuple[Knot, ...], tuple[Knot, ...]]:
    return tuple(points), tuple((-x, y) for x, y in points)


MAN = Body(
    worn=True,
    neck=11,
    shoulder=44,
    chest=38,
    waist=35,
    hip=37,
    thigh=20,
    knee=14,
    ankle=9,
    stance=19,
    arms=_arms((36, 97), (46, 150), (50, 206), (50, 222)),
    arm_widths=(10.0, 9.0, 7.2, 6.4),
)
WOMAN = Body(
    worn=True,
    neck=8,
    shoulder=37,
    chest=31,
    waist=24,
    hip=38,
    thigh=19,
    knee=11.5,
    ankle=6.5,
    stance=15,
    arms=_arms((31, 94), (42, 146), (49, 198), (50, 212)),
    arm_widths=(8.0, 7.0, 5.5, 4.6),
    waist_y=158,
)
BOY_FLAT = Body(
    worn=False,
    neck=15,
    shoulder=46,
    chest=41,
    waist=41,
    hip=42,
    thigh=22,
    knee=16.5,
    ankle=13.5,
    stance=20,
    arms=_arms((38, 98), (66, 134), (72, 190), (73, 205)),
    arm_widths=(15, 14, 11, 10),
)
GIRL_FLAT = Body(
    worn=False,
    neck=16,
    shoulder=37,
    chest=33,
    waist=31,
    hip=42,
    thigh=20,
    knee=15,
    ankle=12,
    stance=19,
    arms=_arms((31, 97), (52, 126), (58, 180), (59, 196)),
    arm_widths=(13, 12, 9, 8),
    waist_y=150,
)
ADULT_FLAT = Body(
    worn=False,
    neck=14,
    shoulder=49,
    chest=42,
    waist=40,
    hip=41,
    thigh=22,
    knee=17,
    ankle=14,
    stance=20,
    arms=_arms((40, 97), (66, 138), (72, 200), (73, 218)),
    arm_widths=(14, 13, 10, 9),
)
WOMAN_FLAT = replace(
    ADULT_FLAT,
    shoulder=39,
    chest=33,
    waist=28,
    hip=37,
    waist_y=156,
    arms=_arms((32, 97), (52, 134), (60, 196), (61, 212)),
    arm_widths=(10, 9, 7, 6),
)


def hand_on_hip(body: Body) -> Body:
    """The same person with the right hand on the hip."""
    return replace(body, arms=(((31, 94), (58, 138), (55, 150), (34, 178)), body.arms[1]))


def upper_frame(body: Body, draw: random.Random) -> Frame:
    """Head to hip; a flat garment smaller, with paper around it."""
    if body.worn:
        return Frame(draw.uniform(1.9, 2.02), (draw.uniform(-3, 3), 127), draw.uniform(-1.2, 1.2))
    return Frame(draw.uniform(1.68, 1.84), (0, 146), draw.uniform(-3, 3))


def lower_frame(body: Body, draw: random.Random) -> Frame:
    """Waist to foot; a flat garment smaller."""
    if body.worn:
        return Frame(draw.uniform(1.36, 1.44), (draw.uniform(-3, 3), 308), draw.uniform(-1, 1))
    return Frame(draw.uniform(1.28, 1.38), (0, 290), draw.uniform(-3, 3))


class Person:
    """Who stands inside a garment: skin, hair and how they are drawn, part by part, from back to front."""

    def __init__(self, body: Body, woman: bool, draw: random.Random) -> None:
        self.body = body
        self.woman = woman
        self.skin = draw.choice(SKINS)
        self.hair = draw.choice(HAIR)
        self.style = draw.choice(
            ("long", "long", "bob", "bun", "ponytail") if woman else ("short", "short", "side", "beard")
        )

    def behind(self, canvas: Canvas) -> None:
        """Hair that falls behind the shoulders."""
        if not self.woman:
            return
        if self.style == "long":
            half: list[Knot] = [(0, 16), (17, 24), (23, 50), (25, 84), (27, 116), (14, 124, 1), (0, 122)]
            canvas.fill(smooth(mirrored(half)), self.hair, depth=0.35, edge=0)
        elif self.style == "bob":
            half = [(0, 16), (18, 24), (24, 50), (24, 74), (14, 80, 1), (0, 78)]
            canvas.fill(smooth(mirrored(half)), self.hair, depth=0.35, edge=0)
        elif self.style == "ponytail":
            tail = limb([(8, 28), (26, 40), (27, 70), (22, 98)], (6, 9, 7, 1))
            canvas.fill(tail, self.hair, depth=0.3, edge=0)
        else:
            canvas.fill(ellipse(0, 15, 9, 8), self.hair, depth=0.4, edge=0)

    def arms(self, canvas: Canvas, *, bare_from: float = 0.0) -> None:
        """Both arms with their hands."""
        for spine in self.body.arms:
            canvas.fill(
                limb(spine, self.body.arm_widths, start=bare_from, round_start=True),
                self.skin,
                depth=0.25,
                edge=0.4,
            )
            (x0, y0), (x, y) = spine[-2][:2], spine[-1][:2]
            length = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5 or 1.0
            dx, dy = (x - x0) / length, (y - y0) / length
            width = self.body.arm_widths[-1]
            hand = limb(
                [(x - dx * 2, y - dy * 2), (x + dx * 8, y + dy * 8), (x + dx * 19, y + dy * 19)],
                (width * 0.95, width * 1.25, width * 0.5),
            )
            canvas.fill(hand, self.skin, depth=0.25, edge=0.4)

    def torso(self, canvas: Canvas) -> None:
        """Neck and shoulders, as far as a neckline may show."""
        body = self.body
        half: list[Knot] = [
            (0, 54, 1),
            (body.neck, 54, 1),
            (body.neck, 72),
            (body.neck + 7, 82),
            (body.shoulder - 4, 92),
            (body.chest - 2, 128, 1),
            (0, 150, 1),
        ]
        canvas.fill(smooth(mirrored(half)), self.skin, depth=0.12, edge=0)
        canvas.folds([[(-body.neck, 68), (0, 74), (body.neck, 68)]], 7, 0.3, darker(self.skin, 0.4))

    def head(self, canvas: Canvas) -> None:
        """A face without features, hair around it."""
        width = 15.5 if self.woman else 17.0
        half: list[Knot] = [
            (0, 20),
            (width * 0.8, 25),
            (width, 42),
            (width * 0.86, 56),
            (width * 0.4, 67),
            (0, 69),
        ]
        if not self.woman:
            canvas.fill(ellipse(-width, 46, 3, 5.5), self.skin, depth=0, edge=0.4)
            canvas.fill(ellipse(width, 46, 3, 5.5), self.skin, depth=0, edge=0.4)
        canvas.fill(smooth(mirrored(half)), self.skin, depth=0.16, edge=0.4)
        if self.style == "beard":
            beard: list[Knot] = [
                (0, 58),
                (7, 57),
                (13, 50, 1),
                (width + 0.3, 44, 1),
                (width - 1, 57),
                (7, 69),
                (0, 71),
            ]
            canvas.clipped(smooth(mirrored(beard)), self.hair)
        if self.woman:
            cap: list[Knot] = [
                (0, 14),
                (14, 17),
                (20, 34),
                (18.5, 56, 1),
                (14, 40),
                (7, 29),
                (-4, 27, 1),
                (-11, 33),
            ]
            cap += [(-15, 44), (-18.5, 56, 1), (-20, 34), (-14, 17)]
        else:
            side = 5.0 if self.style == "side" else 0.0
            cap = [
                (0, 12),
                (13, 14),
                (19, 28),
                (18, 42, 1),
                (15, 33),
                (9, 29),
                (0, 27 + side),
                (-9, 29),
                (-15, 33),
            ]
            cap += [(-18, 42, 1), (-19, 28), (-13, 14 - side)]
        canvas.fill(smooth(cap), self.hair, depth=0.3, edge=0)
        canvas.folds([[(-10, 20), (0, 17), (9, 20)]], 3, 0.3, lighter(self.hair, 0.5))

    def legs(self, canvas: Canvas) -> None:
        """Bare legs and feet."""
        body = self.body
        for side in (1, -1):
            spine = [(side * body.stance, 215), (side * (body.stance + 1), 335), (side * body.stance, 448)]
            canvas.fill(limb(spine, (body.thigh, body.knee, body.ankle)), self.skin, depth=0.25, edge=0.4)
            canvas.folds([[(side * body.stance - 4, 338), (side * body.stance + 4, 339)]], 3, 0.18)

    def shoes(self, canvas: Canvas, colour: Colour) -> None:
        """Plain shoes seen from the front."""
        body = self.body
        for side in (1, -1):
            x = side * (body.stance + 2)
            wide = body.ankle + (2.5 if self.woman else 4.5)
            top = 450 if self.woman else 444
            half: list[Knot] = [
                (x - wide * 0.7, top, 1),
                (x + wide * 0.7, top, 1),
                (x + wide, 462),
                (x + wide * 0.8, 471),
            ]
            half += [(x - wide * 0.8, 471), (x - wide, 462)]
            canvas.fill(smooth(half), colour, depth=0.35, edge=0.5)


def jeans_below(canvas: Canvas, body: Body, colour: Colour = DENIM) -> None:
    """The trousers that show below an upper garment, down to the sheet's edge."""
    high = body.hip_y - 14
    half: list[Knot] = [
        (0, high, 1),
        (body.hip - 3, high, 1),
        (body.hip, body.hip_y + 12),
        (body.hip, 300, 1),
    ]
    half += [(3, 300, 1), (2, body.crotch_y + 4, 1), (0, body.crotch_y, 1)]
    canvas.fill(smooth(mirrored(half)), colour, depth=0.3)
    canvas.folds([[(0, body.hip_y), (0, body.crotch_y)], [(4, body.crotch_y), (18, body.crotch_y - 6)]], 3, 0.3)


def top_above(canvas: Canvas, body: Body, cloth: Cloth | Colour) -> None:
    """The hem of a plain top above a lower garment, from the sheet's edge down."""
    half: list[Knot] = [
        (0, 118, 1),
        (body.chest, 118, 1),
        (body.waist + 1, body.waist_y - 4),
        (body.waist + 4, 180),
    ]
    half += [(body.waist, 183, 1), (0, 185)]
    canvas.fill(smooth(mirrored(half)), cloth, depth=0.3)
    canvas.folds([[(-12, 140), (-16, 182)], [(14, 150), (10, 183)]], 3, 0.25)


def hanger(canvas: Canvas) -> None:
    """A wooden hanger with a steel hook."""
    canvas.stroke([(0, 80), (0, 66), (7, 58), (0, 50), (-7, 56)], (150, 154, 160), 2.0)
    canvas.fill(rounded(-40, 79, 40, 86, 3), (196, 150, 100), depth=0.2)
