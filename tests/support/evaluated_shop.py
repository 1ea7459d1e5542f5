"""A small shop for the tests of evaluation: products with embeddings written by hand."""

from collections.abc import Sequence

import numpy as np

from offline.evaluate.products import ProductTable
from services.contract.values import Gender
from services.search.catalogue.products import Product

DIMENSION = 8


def product(product_id: str, kind: str, sub_category: str = "Topwear", colour: str | None = None) -> Product:
    """A product of a kind such as "Men Shirts"."""
    gender, _, article_type = kind.partition(" ")
    return Product(
        id=product_id,
        gender=Gender(gender),
        sub_category=sub_category,
        article_type=article_type,
        base_colour=colour,
    )


def table(products: Sequence[Product], vectors: Sequence[Sequence[float]]) -> ProductTable:
    """A table of products; vectors are filled up with zeros and normalised."""
    embeddings = np.zeros((len(products), DIMENSION), dtype=np.float32)
    for row, vector in zip(embeddings, vectors, strict=True):
        row[: len(vector)] = vector
        row /= np.linalg.norm(row)
    return ProductTable(tuple(products), embeddings)
