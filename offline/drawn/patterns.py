"""Cloth: what a pattern makes of a colour, as a texture of the whole sheet."""

import random

from PIL import Image, ImageDraw

from offline.drawn.canvas import HEIGHT, OVERSAMPLING, WIDTH, Cloth
from offline.drawn.palette import (
    MULTI,
    WHITE,
    Colour,
    companion,
    contrast,
    darker,
    lighter,
    luminance,
    mix,
)

PATTERNS = (
    "Solid",
    "Striped",
    "Pinstriped",
    "Checked",
    "Gingham",
    "Polka Dot",
    "Floral",
    "Geometric",
    "Melange",
    "Colourblock",
    "Printed",
)


def cloth(pattern: str, colour: Colour, draw: random.Random, *, scale: float = 1.0, multi: bool = False) -> Cloth:
    """Cloth of a pattern.

    Args:
        pattern: one of `PATTERNS`; "Colourblock" and "Printed" are put on by the article and give plain cloth.
        colour: the leading colour.
        draw: the source of all variation.
        scale: sheet units for a unit of the pattern; larger is coarser.
        multi: several colours of equal weight instead of the one.

    Returns:
        The cloth; its texture covers the whole sheet.
    """
    painter = _PAINTERS.get(pattern)
    if painter is None and multi:
        painter = _bands
    if painter is None:
        return Cloth(colour)
    image = Image.new("RGB", (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING), colour)
    inks = list(MULTI) if multi else _inks(colour, draw)
    painter(image, colour, inks, draw, scale * OVERSAMPLING)
    return Cloth(colour, image)


def denim(colour: Colour, draw: random.Random) -> Cloth:
    """Twill: a fine diagonal weave."""
    side, step = 80 * OVERSAMPLING, OVERSAMPLING
    tile = Image.new("RGB", (side, side), colour)
    pen = ImageDraw.Draw(tile)
    light, dark = lighter(colour, 0.04), darker(colour, 0.05)
    for at in range(0, side, step):
        thread = draw.choice((light, dark))
        for begin in (at, at - side):
            pen.line((begin, side, begin + side, 0), fill=thread, width=OVERSAMPLING // 2 + 1)
    image = Image.new("RGB", (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING), colour)
    for y in range(0, image.height, side):
        for x in range(0, image.width, side):
            image.paste(tile, (x, y))
    return Cloth(colour, image)


def _inks(colour: Colour, draw: random.Random) -> list[Colour]:
    """Second colours that leave the first in the lead."""
    light = lighter(colour, 0.62) if luminance(colour) < 150 else darker(colour, 0.42)
    turned = companion(colour, draw.choice((-0.12, 0.1, 0.45)))
    return [light, contrast(colour) if luminance(colour) < 90 else mix(light, WHITE, 0.3), turned]


def _striped(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    pen = ImageDraw.Draw(image)
    period, share = draw.choice((14, 18, 24, 30)) * unit, draw.choice((0.22, 0.32, 0.4))
    at, count = draw.uniform(-period, 0), 0
    while at < image.height:
        pen.rectangle((0, at, image.width, at + period * share), fill=inks[count % len(inks) if len(inks) > 3 else 0])
        at, count = at + period, count + 1


def _pinstriped(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    pen = ImageDraw.Draw(image)
    period, at, count = draw.choice((8, 11, 15)) * unit, 0.0, 0
    while at < image.width:
        pen.rectangle((at, 0, at + 1.5 * unit, image.height), fill=inks[count % len(inks) if len(inks) > 3 else 0])
        at, count = at + period, count + 1


def _checked(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    """A tartan: bands that cross half transparent, and thin lines between."""
    period = draw.choice((28, 36, 44)) * unit
    if len(inks) < 4:
        # On light cloth dark bands would lead, and a yellow shirt be a brown one.
        inks = [lighter(colour, 0.66) if luminance(colour) < 225 else darker(colour, 0.3), *inks[1:]]
    band = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(band)
    for across in _steps(image.width, period):
        pen.rectangle((across, 0, across + period * 0.36, image.height), fill=120)
    image.paste(inks[0], (0, 0), band)
    band = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(band)
    for down in _steps(image.height, period):
        pen.rectangle((0, down, image.width, down + period * 0.36), fill=120)
    image.paste(inks[0], (0, 0), band)
    pen = ImageDraw.Draw(image)
    for across in _steps(image.width, period):
        x = across + period * 0.68
        pen.rectangle((x, 0, x + 1.4 * unit, image.height), fill=inks[2])
    for down in _steps(image.height, period):
        y = down + period * 0.68
        pen.rectangle((0, y, image.width, y + 1.4 * unit), fill=inks[2])


def _gingham(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    """Small checks on white; the colour leads because it takes three of four squares."""
    period = draw.choice((9, 12)) * unit
    image.paste(colour, (0, 0, image.width, image.height))
    pale = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(pale)
    for across in _steps(image.width, period * 2):
        pen.rectangle((across, 0, across + period, image.height), fill=110)
    image.paste(WHITE, (0, 0), pale)
    pale = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(pale)
    for down in _steps(image.height, period * 2):
        pen.rectangle((0, down, image.width, down + period), fill=110)
    image.paste(WHITE, (0, 0), pale)


def _dotted(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    pen = ImageDraw.Draw(image)
    period = draw.choice((13, 17, 24)) * unit
    radius = period * draw.uniform(0.18, 0.25)
    dot = contrast(colour) if luminance(colour) < 170 else inks[0]
    for row, y in enumerate(_steps(image.height, period)):
        for column, x in enumerate(_steps(image.width, period)):
            cx = x + (period / 2 if row % 2 else 0)
            fill = inks[(row + column) % len(inks)] if len(inks) > 3 else dot
            pen.ellipse((cx - radius, y - radius, cx + radius, y + radius), fill=fill)


def _floral(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    pen = ImageDraw.Draw(image)
    period = draw.choice((24, 30)) * unit
    leaf = mix((70, 130, 80), colour, 0.35)
    for row, y in enumerate(_steps(image.height, period * 0.8)):
        for x in _steps(image.width, period):
            cx = x + (period / 2 if row % 2 else 0) + draw.uniform(-2, 2) * unit
            cy = y + draw.uniform(-2, 2) * unit
            size = draw.uniform(3.0, 4.6) * unit
            petal = inks[draw.randrange(len(inks))]
            pen.ellipse((cx + size, cy + size * 0.8, cx + size * 2.8, cy + size * 1.8), fill=leaf)
            for dx, dy in ((0, -1), (0.95, -0.3), (0.6, 0.8), (-0.6, 0.8), (-0.95, -0.3)):
                px, py, r = cx + dx * size, cy + dy * size, size * 0.72
                pen.ellipse((px - r, py - r, px + r, py + r), fill=petal)
            r = size * 0.5
            pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(246, 206, 80))


def _geometric(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    pen = ImageDraw.Draw(image)
    period = draw.choice((20, 26)) * unit
    kind = draw.choice(("diamond", "chevron"))
    for row, y in enumerate(_steps(image.height, period)):
        for column, x in enumerate(_steps(image.width, period)):
            fill = inks[(row + column) % len(inks)] if len(inks) > 3 else inks[row % 2 * 2]
            if kind == "chevron":
                line = [(x, y), (x + period / 2, y + period * 0.35), (x + period, y)]
                pen.line(line, fill=fill, width=max(1, round(period * 0.16)), joint="curve")
            else:
                r = period * 0.3
                pen.polygon([(x, y - r * 1.3), (x + r, y), (x, y + r * 1.3), (x - r, y)], fill=fill)


def _melange(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    pen = ImageDraw.Draw(image)
    shades = (lighter(colour, 0.2), darker(colour, 0.14), lighter(colour, 0.1))
    for _ in range(2600):
        x, y = draw.random() * image.width, draw.random() * image.height
        length = draw.uniform(3, 9) * OVERSAMPLING
        pen.line((x, y, x + length, y), fill=draw.choice(shades), width=OVERSAMPLING)


def _bands(image: Image.Image, colour: Colour, inks: list[Colour], draw: random.Random, unit: float) -> None:
    pen = ImageDraw.Draw(image)
    height = draw.choice((16, 22)) * unit
    for count, y in enumerate(_steps(image.height, height)):
        pen.rectangle((0, y, image.width, y + height), fill=inks[count % len(inks)])


def _steps(end: float, step: float) -> list[float]:
    return [at * step - step for at in range(int(end / step) + 3)]


_PAINTERS = {
    "Striped": _striped,
    "Pinstriped": _pinstriped,
    "Checked": _checked,
    "Gingham": _gingham,
    "Polka Dot": _dotted,
    "Floral": _floral,
    "Geometric": _geometric,
    "Melange": _melange,
}
