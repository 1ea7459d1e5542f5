"""Where the garment of a person's photograph is, pixel by pixel, from its colours alone: nobody has drawn any."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

# Photographs are looked at in this size, in pixels a side.
SIDE: Final = 48
_RIM: Final = 2
# The share of the rim that may be garment: a sleeve that reaches the edge.
_RIM_GARMENT: Final = 0.12
_ROUNDS: Final = 3
_GROUND_COLOURS, _GARMENT_COLOURS = 3, 4
# Variance of a colour's channel that counts as noise, in squared steps of 255.
_NOISE: Final = 25.0
# No log-likelihood ratio of a single pixel counts more than this.
_MAX_RATIO: Final = 12.0
_SMOOTHING: Final = 1.0
_MIN_PIXELS: Final = 50
# An outline that is less or more of its photograph, or that runs along more of its rim, went wrong.
_MIN_SHARE, _MAX_SHARE, _MAX_RIM_SHARE = 0.08, 0.8, 0.3
# Pieces smaller than this share of the largest are not of the garment; a pair of shoes is two pieces.
_PIECE: Final = 0.4
# How much of what was taken for garment has to be in these pieces.
_WHOLE: Final = 0.75

Floats = NDArray[np.floating[Any]]
# Of each colour: its mean, the inverse of its covariance, and the logarithm of its weight.
_Colours = list[tuple[Floats, Floats, float]]


def outline(picture: Image.Image) -> NDArray[np.bool_] | None:
    """Parts a garment from its ground by their colours, as GrabCut does (Rother et al. 2004), without its graph.

    Args:
        picture: mode "RGB", of one garment with ground around it.

    Returns:
        (SIDE, SIDE), true where the garment is; None where no plausible garment stands out.
    """
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64).reshape(-1, 3)
    rim = np.ones((SIDE, SIDE), dtype=np.bool_)
    rim[_RIM:-_RIM, _RIM:-_RIM] = False
    edge = rim.ravel()
    likely = _likelihood(pixels, _colours(pixels[edge], _GROUND_COLOURS))
    garment = likely < np.quantile(likely[edge], _RIM_GARMENT)
    for _ in range(_ROUNDS):
        if min(garment.sum(), (~garment).sum()) < _MIN_PIXELS:
            return None
        ratio = _likelihood(pixels, _colours(pixels[garment], _GARMENT_COLOURS))
        ratio -= _likelihood(pixels, _colours(pixels[~garment], _GROUND_COLOURS))
        smooth = ndimage.gaussian_filter(ratio.clip(-_MAX_RATIO, _MAX_RATIO).reshape(SIDE, SIDE), _SMOOTHING)
        garment = (smooth > 0).ravel()
    return _in_one_piece(ndimage.binary_opening(garment.reshape(SIDE, SIDE)), rim)


def box_of(shape: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Returns the box of an outline: left, top, right and bottom in shares."""
    height, width = shape.shape
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


def _in_one_piece(garment: NDArray[np.bool_], rim: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    pieces, count = ndimage.label(garment)
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())[1:]
    large = 1 + np.flatnonzero(sizes >= _PIECE * sizes.max())
    shape: NDArray[np.bool_] = ndimage.binary_fill_holes(np.isin(pieces, large))
    plausible = _MIN_SHARE < shape.mean() < _MAX_SHARE and shape[rim].mean() <= _MAX_RIM_SHARE
    return shape if plausible and sizes[large - 1].sum() >= _WHOLE * sizes.sum() else None


def _colours(pixels: Floats, count: int) -> _Colours:
    """Parts pixels into their main colours, by k-means."""
    means = pixels[np.linspace(0, len(pixels) - 1, count).astype(int)]
    for _ in range(6):
        nearest = ((pixels[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        parts = [pixels[nearest == index] for index in range(count)]
        means = np.stack([part.mean(axis=0) if len(part) else mean for part, mean in zip(parts, means, strict=True)])
    found: _Colours = []
    for part in parts:
        if len(part) > 3:
            covariance = np.cov(part.T) + _NOISE * np.eye(3)
            weight = np.log(len(part) / len(pixels)) - 0.5 * np.linalg.slogdet(covariance)[1]
            found.append((part.mean(axis=0), np.linalg.inv(covariance), float(weight)))
    return found


def _likelihood(pixels: Floats, colours: _Colours) -> Floats:
    """Returns the logarithm of each pixel's likelihood under the colour that explains it best."""
    away = [(pixels - mean, inverse, weight) for mean, inverse, weight in colours]
    best: Floats = np.max([weight - 0.5 * ((x @ inverse) * x).sum(axis=1) for x, inverse, weight in away], axis=0)
    return best
