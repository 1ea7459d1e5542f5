"""Alterations of photographs, as shoppers' uploads differ from studio shots, to measure a model on them.

Code and parameters are other than those of `offline.train.augment`, so that no figure measures what training practised.
"""

import io
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

Alteration = Callable[[Image.Image, np.random.Generator], Image.Image]

# Studio shots have a white background, which JPEG makes a little grey.
_NEARLY_WHITE: Final = 235


def _behind(picture: Image.Image) -> NDArray[np.bool_]:
    """Returns the background: nearly white pixels that nearly white pixels connect to the border."""
    white: NDArray[np.bool_] = np.asarray(picture).min(axis=2) >= _NEARLY_WHITE
    reached = np.zeros_like(white)
    reached[[0, -1], :], reached[:, [0, -1]] = white[[0, -1], :], white[:, [0, -1]]
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= white
        if np.array_equal(grown, reached):
            return reached
        reached = grown


def _on(picture: Image.Image, backdrop: NDArray[np.floating]) -> Image.Image:
    pixels = np.array(picture)
    behind = _behind(picture)
    pixels[behind] = np.clip(backdrop, 0, 255).astype(np.uint8)[behind]
    return Image.fromarray(pixels)


def plain_background(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A plain colour, any but very dark, behind the product."""
    shape = (picture.height, picture.width, 3)
    return _on(picture, np.broadcast_to(random.uniform(60, 250, 3), shape))


def textured_background(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A gradient between two colours with coarse noise, like a wall, a carpet or a bed, behind the product."""
    height, width = picture.height, picture.width
    slope = np.linspace(0, 1, height)[:, None, None] * random.uniform(0.3, 1.0)
    backdrop = random.uniform(70, 230, 3) * (1 - slope) + random.uniform(70, 230, 3) * slope
    coarse = random.normal(0, 22, (max(2, height // 4), max(2, width // 4))).astype(np.float32)
    noise = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return _on(picture, backdrop + noise[:, :, None])


def crop(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Seven to nine tenths of each side: the product runs out of the picture."""
    width, height = (round(side * random.uniform(0.7, 0.9)) for side in picture.size)
    left, top = random.integers(0, picture.width - width + 1), random.integers(0, picture.height - height + 1)
    return picture.crop((int(left), int(top), int(left) + width, int(top) + height))


def far_away(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """The product at 50 to 75 % of its size, anywhere in the picture."""
    share = random.uniform(0.5, 0.75)
    small = picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", picture.size, (255, 255, 255))
    left = random.integers(0, picture.width - small.width + 1)
    top = random.integers(0, picture.height - small.height + 1)
    canvas.paste(small, (int(left), int(top)))
    return canvas


def blur(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Out of focus: a box of 1 to 1.8 pixels at a width of 60."""
    return picture.filter(ImageFilter.BoxBlur(float(random.uniform(1.0, 1.8)) * picture.width / 60 / 2))


def jpeg(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Sent through a messenger: JPEG at quality 15 to 35."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=int(random.integers(15, 36)))
    return Image.open(file).convert("RGB")


def perspective(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Held at an angle: each corner moves by up to 15 % of the side, inwards."""
    width, height = picture.size
    far = random.uniform(0, 0.15, (4, 2)) * (width, height)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=float)
    moved = corners + far * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    rows, values = [], []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows), np.array(values))
    return picture.transform(
        picture.size,
        Image.Transform.PERSPECTIVE,
        tuple(coefficients.tolist()),
        Image.Resampling.BICUBIC,
        fillcolor=(255, 255, 255),
    )


def light(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """In lamplight: brightness 60 to 130 %, contrast 75 to 115 %, and the white balance off by up to 15 %."""
    altered = ImageEnhance.Brightness(picture).enhance(float(random.uniform(0.6, 1.3)))
    altered = ImageEnhance.Contrast(altered).enhance(float(random.uniform(0.75, 1.15)))
    warmth = float(random.uniform(-0.15, 0.15))
    gains = np.array([1 + warmth, 1.0, 1 - warmth])
    return Image.fromarray(np.clip(np.asarray(altered) * gains, 0, 255).astype(np.uint8))


def clutter(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Other things in the picture: two to four coloured discs and bars that reach in from the border."""
    pixels = np.array(picture)
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    for _ in range(int(random.integers(2, 5))):
        across, down = random.choice([0.0, 1.0]), random.uniform(0, 1)
        if random.random() < 0.5:
            across, down = down, across
        radius = random.uniform(0.08, 0.2) * height
        inside = (x - across * width) ** 2 + (y - down * height) ** 2 <= radius**2
        pixels[inside] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


def mixed(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A shopper's photograph: another background, then three of the others by chance."""
    backgrounds = (plain_background, textured_background)
    altered = backgrounds[int(random.integers(2))](picture, random)
    others = (crop, blur, jpeg, perspective, light, clutter)
    for place in sorted(random.choice(len(others), 3, replace=False).tolist()):
        altered = others[place](altered, random)
    return altered


ALTERATIONS: Final[Mapping[str, Alteration]] = {
    "plain background": plain_background,
    "textured background": textured_background,
    "crop": crop,
    "far away": far_away,
    "blur": blur,
    "JPEG": jpeg,
    "perspective": perspective,
    "light": light,
    "clutter": clutter,
    "mixed": mixed,
}
