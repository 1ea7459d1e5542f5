"""A catalogue that the project draws itself, so that it can be shown without any data set."""

from offline.drawn.catalogue import (
    DEFAULT_PRODUCTS,
    DEFAULT_SEED,
    HeldOut,
    catalogue_specs,
    draw_catalogue,
    draw_product,
    draw_upload,
    held_out_photographs,
)
from offline.drawn.spec import ProductSpec

__all__ = [
    "DEFAULT_PRODUCTS",
    "DEFAULT_SEED",
    "HeldOut",
    "ProductSpec",
    "catalogue_specs",
    "draw_catalogue",
    "draw_product",
    "draw_upload",
    "held_out_photographs",
]
