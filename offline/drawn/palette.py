"""The colours of the drawn catalogue, named as the data set names them, and what is derived from them."""

import colorsys

Colour = tuple[int, int, int]

BASE_COLOURS: dict[str, Colour] = {
    "Beige": (214, 194, 160),
    "Black": (36, 36, 40),
    "Blue": (50, 104, 182),
    "Brown": (110, 70, 44),
    "Charcoal": (66, 70, 76),
    "Cream": (244, 232, 200),
    "Gold": (208, 168, 84),
    "Green": (46, 130, 74),
    "Grey": (146, 150, 155),
    "Khaki": (178, 160, 112),
    "Lavender": (186, 170, 220),
    "Magenta": (198, 36, 126),
    "Maroon": (114, 26, 44),
    "Mustard": (206, 156, 36),
    "Navy Blue": (30, 42, 86),
    "Olive": (104, 110, 58),
    "Orange": (236, 122, 40),
    "Peach": (248, 192, 160),
    "Pink": (238, 132, 168),
    "Purple": (112, 66, 152),
    "Red": (200, 36, 42),
    "Silver": (196, 200, 206),
    "Tan": (192, 142, 92),
    "Teal": (22, 124, 128),
    "Turquoise Blue": (54, 182, 198),
    "White": (246, 246, 245),
    "Yellow": (246, 206, 44),
}
# "Multi" is no colour: it is several at once, none of which leads.
MULTI: tuple[Colour, ...] = (
    (226, 72, 70),
    (246, 190, 60),
    (60, 150, 190),
    (90, 170, 110),
    (150, 90, 170),
)
SKINS: tuple[Colour, ...] = ((248, 212, 184), (234, 188, 152), (206, 152, 112), (164, 112, 76), (118, 78, 54))
HAIR: tuple[Colour, ...] = ((38, 30, 30), (66, 44, 34), (96, 62, 40), (134, 84, 50))
DENIM: Colour = (74, 98, 136)
LEATHER: Colour = (98, 62, 40)
STEEL: Colour = (188, 192, 198)
WHITE: Colour = (250, 250, 249)
DARK: Colour = (44, 44, 50)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between two; `share` in [0, 1] is that of the second."""
    return (
        round(one[0] + (other[0] - one[0]) * share),
        round(one[1] + (other[1] - one[1]) * share),
        round(one[2] + (other[2] - one[2]) * share),
    )


def darker(colour: Colour, share: float = 0.3) -> Colour:
    """The colour in shadow."""
    return mix(colour, (18, 16, 28), share)


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    """The colour in light."""
    return mix(colour, (255, 255, 255), share)


def luminance(colour: Colour) -> float:
    """How bright a colour looks, in [0, 255] (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def ink(colour: Colour) -> Colour:
    """The line to draw on a colour: seen, yet of its own hue; on dark cloth it is lighter than the cloth."""
    light = luminance(colour)
    if light < 62:
        return lighter(colour, 0.24)
    return darker(colour, 0.26 if light > 200 else 0.34)


def contrast(colour: Colour) -> Colour:
    """White on dark cloth, dark on light."""
    return WHITE if luminance(colour) < 140 else DARK


def companion(colour: Colour, turn: float) -> Colour:
    """A second colour that goes with the first, `turn` of the colour circle away, softened."""
    hue, light, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    if saturation < 0.12:
        return contrast(colour)
    red, green, blue = colorsys.hls_to_rgb((hue + turn) % 1, min(0.86, light + 0.22), saturation * 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)
