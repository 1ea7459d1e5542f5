"""Altering training pictures the way shoppers' photographs differ from studio shots; colours keep their hue."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from services.vision.decode import WHITE

# Chances, per picture. A run of a few passes tolerates little; each rare one is seen some thousand times all the same.
FLIP: Final = 0.5
SHIFT_ALONE: Final = 0.5
TURN: Final = 0.25
LIGHT: Final = 0.4
BACKGROUND: Final = 0.08
BLUR: Final = 0.05
COARSEN: Final = 0.06
JPEG: Final = 0.06
# Studio shots stand on white; JPEG leaves it a little grey.
_NEARLY_WHITE: Final = 240

Colour = tuple[int, int, int]


def augment(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Flip, shift, scale and now and then turn a picture, change its light, background or sharpness.

    Args:
        picture: (height, width, 3), uint8, RGB on white.
        random: where chance comes from.

    Returns:
        The altered picture, same shape.
    """
    height, width = picture.shape[:2]
    backdrop: Colour = WHITE
    if random.random() < BACKGROUND:
        picture, backdrop = _recolour_background(picture, random)
    image = Image.fromarray(picture)
    if random.random() < FLIP:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = _move(image, random, backdrop)
    if random.random() < BLUR:
        image = image.filter(ImageFilter.GaussianBlur(float(random.uniform(0.4, 1.2)) * width / 60))
    if random.random() < COARSEN:
        factor = float(random.uniform(0.4, 0.8))
        small = (max(4, int(width * factor)), max(4, int(height * factor)))
        image = image.resize(small, Image.Resampling.BICUBIC).resize((width, height), Image.Resampling.BICUBIC)
    if random.random() < JPEG:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(random.integers(25, 85)))
        image = Image.open(file)
    altered = np.asarray(image)
    if random.random() < LIGHT:
        gain, lift = random.uniform(0.85, 1.1), random.uniform(-8.0, 8.0)
        altered = np.clip(altered.astype(np.float32) * gain + lift, 0, 255).astype(np.uint8)
    return altered


def _move(image: Image.Image, random: np.random.Generator, backdrop: Colour) -> Image.Image:
    """Shift by up to a fifteenth, and often scale by up to an eighth and turn; what comes in is background."""
    width, height = image.size
    if random.random() < SHIFT_ALONE:
        # By whole pixels, so that half of the pictures stay as sharp as those that are served.
        shifted = Image.new("RGB", image.size, backdrop)
        reach_x, reach_y = width // 15, height // 15
        at = (int(random.integers(-reach_x, reach_x + 1)), int(random.integers(-reach_y, reach_y + 1)))
        shifted.paste(image, at)
        return shifted
    zoom = float(np.exp(random.uniform(-0.12, 0.12)))
    stretch = float(np.exp(random.uniform(-0.05, 0.05)))
    angle = float(np.deg2rad(random.uniform(-8, 8))) if random.random() < TURN else 0.0
    right, down = random.uniform(-width / 15, width / 15), random.uniform(-height / 15, height / 15)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    a, b, d, e = cos * stretch, sin * stretch, -sin / stretch, cos / stretch
    x, y = width / 2, height / 2
    c, f = x - a * (x + right) - b * (y + down), y - d * (x + right) - e * (y + down)
    return image.transform(
        (width, height),
        Image.Transform.AFFINE,
        (a, b, c, d, e, f),
        Image.Resampling.BILINEAR,
        fillcolor=backdrop,
    )


def _recolour_background(picture: NDArray[np.uint8], random: np.random.Generator) -> tuple[NDArray[np.uint8], Colour]:
    """Lay another plain colour behind the product, where the white reaches the border in a straight line."""
    white = picture.min(axis=2) >= _NEARLY_WHITE
    behind = (
        np.logical_and.accumulate(white, axis=0)
        | np.logical_and.accumulate(white, axis=1)
        | np.logical_and.accumulate(white[::-1], axis=0)[::-1]
        | np.logical_and.accumulate(white[:, ::-1], axis=1)[:, ::-1]
    )
    red, green, blue = (int(value) for value in random.integers(90, 256, 3))
    colour = (red, green, blue)
    changed = picture.copy()
    changed[behind] = colour
    return changed, colour
