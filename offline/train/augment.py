"""Altering training pictures the way shoppers' photographs differ from studio shots; colours keep their hue."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from services.vision.decode import WHITE

# So many pictures are flipped and shifted, and no more: the network has to know studio shots best of all.
CALM: Final = 0.4
# Chances of the others, per picture. A run of a few passes from scratch tolerates less; one that goes on from a
# finished network tolerates these.
FLIP: Final = 0.5
SHIFT_ALONE: Final = 0.5
TURN: Final = 0.25
LIGHT: Final = 0.4
BACKGROUND: Final = 0.2
# Of the backgrounds, so many are no plain colour.
UNEVEN: Final = 0.6
FAR: Final = 0.15
COVER: Final = 0.1
BLUR: Final = 0.05
COARSEN: Final = 0.06
JPEG: Final = 0.06
# Studio shots stand on white; JPEG leaves it a little grey.
_NEARLY_WHITE: Final = 240


def augment(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Flip, shift, scale and now and then turn a picture, change its light, background or sharpness, cover parts of it.

    Args:
        picture: (height, width, 3), uint8, RGB on white.
        random: where chance comes from.

    Returns:
        The altered picture, same shape.
    """
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    if random.random() < FLIP:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if random.random() < CALM:
        return np.asarray(_shift(image, random))
    image = _step_back(image, random) if random.random() < FAR else _move(image, random)
    if random.random() < BACKGROUND:
        image = Image.fromarray(_change_background(np.asarray(image), random))
    if random.random() < COVER:
        _cover(image, random)
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


def _shift(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Shift by up to a fifteenth and by whole pixels, so that it stays as sharp as pictures that are served."""
    width, height = image.size
    shifted = Image.new("RGB", image.size, WHITE)
    reach_x, reach_y = width // 15, height // 15
    at = (int(random.integers(-reach_x, reach_x + 1)), int(random.integers(-reach_y, reach_y + 1)))
    shifted.paste(image, at)
    return shifted


def _move(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Shift by up to a fifteenth, and often scale by up to an eighth and turn; what comes in is white."""
    if random.random() < SHIFT_ALONE:
        return _shift(image, random)
    width, height = image.size
    zoom = float(np.exp(random.uniform(-0.12, 0.2)))
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
        fillcolor=WHITE,
    )


def _step_back(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """The picture at 45 to 90 % of its size, anywhere on white."""
    width, height = image.size
    share = float(random.uniform(0.45, 0.9))
    smaller = (max(4, round(width * share)), max(4, round(height * share)))
    room = Image.new("RGB", image.size, WHITE)
    at = (int(random.integers(0, width - smaller[0] + 1)), int(random.integers(0, height - smaller[1] + 1)))
    room.paste(image.resize(smaller, Image.Resampling.BILINEAR, reducing_gap=2.0), at)
    return room


def _change_background(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Lay something else behind the product, where the white reaches the border in a straight line.

    A plain colour, or a plane that grows darker or lighter to one side, often with spots or stripes on it.
    """
    height, width = picture.shape[:2]
    white = picture.min(axis=2) >= _NEARLY_WHITE
    behind = (
        np.logical_and.accumulate(white, axis=0)
        | np.logical_and.accumulate(white, axis=1)
        | np.logical_and.accumulate(white[::-1], axis=0)[::-1]
        | np.logical_and.accumulate(white[:, ::-1], axis=1)[:, ::-1]
    )
    there = random.uniform(50, 256, 3).astype(np.float32)
    backdrop = np.broadcast_to(there, picture.shape)
    if random.random() < UNEVEN:
        beyond = np.clip(there + random.uniform(-100, 100) + random.uniform(-40, 40, 3), 0, 255).astype(np.float32)
        down, right = np.linspace(-0.5, 0.5, height)[:, None], np.linspace(-0.5, 0.5, width)
        angle = random.uniform(0, 2 * np.pi)
        share = 0.5 + (down * np.sin(angle) + right * np.cos(angle)) / np.sqrt(2)
        if random.random() < 0.3:
            share = (np.sin(share * random.uniform(10, 60)) + 1) / 2
        backdrop = there + (beyond - there) * share[:, :, None].astype(np.float32)
        grain = int(random.integers(1, max(2, height // 6)))
        coarse = random.normal(0, random.uniform(0, 35), (height // grain + 1, width // grain + 1)).astype(np.float32)
        spots = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        backdrop = backdrop + np.asarray(spots)[:, :, None]
    changed = picture.copy()
    changed[behind] = np.clip(backdrop, 0, 255).astype(np.uint8)[behind]
    return changed


def _cover(image: Image.Image, random: np.random.Generator) -> None:
    """Lay one to three plain rectangles and ellipses over the picture, most of them at its border."""
    width, height = image.size
    brush = ImageDraw.Draw(image)
    for _ in range(int(random.integers(1, 4))):
        across, down = random.uniform(0.1, 0.35, 2) * (width, height)
        left, top = random.uniform(-0.5, 1.0, 2) * (width, height)
        if 0.1 < left / width < 0.6 and 0.1 < top / height < 0.6:
            left = -across / 2
        shape = brush.rectangle if random.random() < 0.5 else brush.ellipse
        red, green, blue = (int(value) for value in random.integers(0, 256, 3))
        shape((left, top, left + across, top + down), fill=(red, green, blue))
