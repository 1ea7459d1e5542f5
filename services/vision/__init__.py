"""Decoding and preprocessing of photographs: one implementation for training and serving."""

from services.vision.decode import ImageLimits, decode
from services.vision.preprocess import Frame, Padding, Preprocessing, check_region, fit, prepare, scale

__all__ = ["Frame", "ImageLimits", "Padding", "Preprocessing", "check_region", "decode", "fit", "prepare", "scale"]
