"""What is printed on the chest of a T-shirt or a top."""

import math
import random

from offline.drawn.canvas import Canvas, Knot, Point, ellipse, rounded, smooth
from offline.drawn.palette import MULTI, Colour, companion, contrast, darker

ADULT_PRINTS = ("sun", "mountain", "slogan", "wave", "rings", "leaf", "number")
BOY_PRINTS = ("rocket", "dinosaur", "car", "number", "robot")
GIRL_PRINTS = ("heart", "flower", "butterfly", "cat", "star")


def chest_print(canvas: Canvas, kind: str, cloth: Colour, draw: random.Random, *, size: float = 1.0) -> None:
    """Draw one print, about 40 units wide, in the middle of the chest."""
    main = contrast(cloth)
    second = companion(cloth, draw.choice((0.1, 0.45, -0.15)))
    bright = draw.choice([colour for colour in MULTI if _far(colour, cloth)])
    x, y = 0.0, 138.0

    def at(points: list[Point]) -> list[Point]:
        return [(x + px * size, y + py * size) for px, py in points]

    def curve(*knots: Knot) -> list[Point]:
        return at(smooth(knots))

    if kind == "sun":
        canvas.fill(at(ellipse(0, 0, 17, 17)), bright, depth=0, edge=0)
        for row in range(4):
            canvas.fill(at(rounded(-20, 1 + row * 5, 20, 2.6 + row * 5, 0.8)), cloth, depth=0, edge=0)
    elif kind == "mountain":
        canvas.fill(at(ellipse(9, -10, 6, 6)), bright, depth=0, edge=0)
        canvas.fill(at([(-24, 14), (-7, -14), (3, 2), (9, -5), (24, 14)]), main, depth=0, edge=0)
        canvas.fill(at([(-11, -7), (-7, -14), (-3, -7), (-7, -4)]), second, depth=0, edge=0)
    elif kind == "slogan":
        for row, width in enumerate(draw.sample((22, 17, 20, 13), 3)):
            left = -float(width)
            for _ in range(draw.choice((3, 4))):
                right = min(width, left + draw.uniform(7, 13))
                if right - left > 3:
                    fill = bright if row == 1 else main
                    canvas.fill(at(rounded(left, -12 + row * 9, right, -6 + row * 9, 1)), fill, depth=0, edge=0)
                left = right + 2
    elif kind == "wave":
        for row, colour in enumerate((main, bright, second)):
            wave: list[Knot] = [(-22 + 5.5 * i, row * 8 - 8 + (3 if i % 2 else -3)) for i in range(9)]
            canvas.stroke([(x + k[0] * size, y + k[1] * size) for k in wave], colour, 5.5 * size)
    elif kind == "rings":
        for radius, colour in ((18, main), (12.5, bright), (7, second)):
            canvas.fill(at(ellipse(0, 0, radius, radius)), colour, depth=0, edge=0)
            canvas.fill(at(ellipse(0, 0, radius - 3.2, radius - 3.2)), cloth, depth=0, edge=0)
    elif kind == "leaf":
        for turn in (-52, -26, 0, 26, 52):
            angle = math.radians(turn - 90)
            leaf = ellipse(12 * math.cos(angle), 12 + 18 * math.sin(angle), 13, 3.6, turn - 90)
            canvas.fill(at(leaf), bright if turn % 52 else main, depth=0, edge=0)
    elif kind == "number":
        ten: list[Knot] = [(-13, -12, 1), (-8, -16, 1), (-4, -16, 1), (-4, 16, 1), (-11, 16, 1), (-11, -8, 1)]
        canvas.fill(curve(*ten), main, depth=0, edge=0)
        canvas.fill(at(ellipse(9, 0, 10, 16)), main, depth=0, edge=0)
        canvas.fill(at(ellipse(9, 0, 3.6, 9)), cloth, depth=0, edge=0)
        canvas.fill(at(rounded(-18, 20, 20, 23, 1)), bright, depth=0, edge=0)
    elif kind == "rocket":
        canvas.fill(curve((-7, 12, 1), (-16, 20, 1), (-7, 2, 1)), bright, depth=0, edge=0)
        canvas.fill(curve((7, 12, 1), (16, 20, 1), (7, 2, 1)), bright, depth=0, edge=0)
        canvas.fill(curve((0, -24, 1), (9, -8), (7, 14, 1), (-7, 14, 1), (-9, -8)), main, depth=0, edge=0)
        canvas.fill(at(ellipse(0, -6, 4.2, 4.2)), bright, depth=0, edge=0)
        canvas.fill(curve((-5, 15, 1), (5, 15, 1), (0, 26)), (246, 180, 50), depth=0, edge=0)
    elif kind == "dinosaur":
        body: tuple[Knot, ...] = (
            (-26, 10, 1),
            (-14, 2),
            (-4, -4),
            (6, -12),
            (8, -20),
            (16, -22),
            (22, -16),
            (15, -12),
        )
        canvas.fill(
            curve(*body, (12, 0), (10, 12, 1), (4, 18, 1), (1, 10), (-6, 18, 1), (-9, 10)),
            bright,
            depth=0,
            edge=0,
        )
        for spot in ((-8, 2), (0, -2), (5, -8)):
            canvas.fill(at(ellipse(*spot, 1.8, 1.8)), main, depth=0, edge=0)
        canvas.fill(at(ellipse(15, -18, 1.3, 1.3)), darker(cloth, 0.8), depth=0, edge=0)
    elif kind == "car":
        canvas.fill(curve((-13, -2, 1), (-7, -12), (8, -12), (14, -2, 1)), main, depth=0, edge=0)
        canvas.fill(at(rounded(-23, -3, 23, 9, 4)), bright, depth=0, edge=0)
        for wheel in (-12, 12):
            canvas.fill(at(ellipse(wheel, 10, 5.4, 5.4)), (40, 40, 46), depth=0, edge=0)
            canvas.fill(at(ellipse(wheel, 10, 2.2, 2.2)), main, depth=0, edge=0)
    elif kind == "robot":
        canvas.fill(at(rounded(-11, -20, 11, -4, 3)), bright, depth=0, edge=0)
        canvas.fill(at(rounded(-14, -2, 14, 17, 3)), main, depth=0, edge=0)
        for eye in (-4.5, 4.5):
            canvas.fill(at(ellipse(eye, -12, 2.6, 2.6)), (250, 250, 250), depth=0, edge=0)
        canvas.fill(at(rounded(-7, 4, 7, 9, 1)), bright, depth=0, edge=0)
    elif kind == "heart":
        half: tuple[Knot, ...] = (
            (0, 20, 1),
            (-16, 4),
            (-19, -8),
            (-10, -16),
            (0, -8, 1),
            (10, -16),
            (19, -8),
            (16, 4),
        )
        canvas.fill(curve(*half), bright, depth=0, edge=0)
        canvas.fill(at(ellipse(-8, -6, 3, 4, 30)), main, depth=0, edge=0)
    elif kind == "flower":
        for turn in range(0, 360, 60):
            angle = math.radians(turn)
            petal = ellipse(10 * math.cos(angle), 10 * math.sin(angle), 8.5, 6, turn)
            canvas.fill(at(petal), bright, depth=0, edge=0)
        canvas.fill(at(ellipse(0, 0, 6, 6)), (250, 214, 90), depth=0, edge=0)
    elif kind == "butterfly":
        for side in (1, -1):
            canvas.fill(curve((0, 0, 1), (side * 8, -16), (side * 20, -14), (side * 16, 0)), bright, depth=0, edge=0)
            canvas.fill(curve((0, 2, 1), (side * 13, 2), (side * 15, 13), (side * 6, 14)), second, depth=0, edge=0)
        canvas.fill(at(ellipse(0, 0, 1.8, 12)), darker(cloth, 0.7), depth=0, edge=0)
    elif kind == "cat":
        canvas.fill(at([(-15, -4), (-14, -20), (-4, -11), (4, -11), (14, -20), (15, -4)]), main, depth=0, edge=0)
        canvas.fill(at(ellipse(0, 0, 17, 14)), main, depth=0, edge=0)
        for eye in (-6, 6):
            canvas.fill(at(ellipse(eye, -2, 2, 2.6)), cloth, depth=0, edge=0)
        canvas.fill(at([(-2.4, 4), (2.4, 4), (0, 7)]), bright, depth=0, edge=0)
    elif kind == "star":
        points = []
        for step in range(10):
            radius = 20 if step % 2 == 0 else 9
            angle = math.radians(step * 36 - 90)
            points.append((radius * math.cos(angle), radius * math.sin(angle)))
        canvas.fill(at(points), bright, depth=0, edge=0)


def _far(one: Colour, other: Colour) -> bool:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 150
