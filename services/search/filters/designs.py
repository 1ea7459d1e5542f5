"""Which products may be one design in several colours, by what the shop calls them."""

from collections.abc import Hashable

from services.search.catalogue.products import Product
from services.search.filters.colours import words_without_colours


def design_name(product: Product) -> Hashable | None:
    """Returns what the colours of one design have in common; None for a product whose name tells nothing.

    That is the name without its colour words, beside the product's line. A product that has a `parent_id`
    needs none, because its family is known.
    """
    if product.name is None or product.parent_id is not None:
        return None
    words = words_without_colours(product.name, product.base_colour)
    return (product.line, words) if words else None
