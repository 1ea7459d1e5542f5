"""Decoding and preprocessing of photographs: one implementation, used by training and by serving."""

from services.vision.decode import ImageLimits, decode
from services.vision.preprocess import Preprocessing, fit, prepare, scale

__all__ = ["ImageLimits", "Preprocessing", "Region", "decode", "fit", "prepare", "scale"]
