"""A drawn catalogue as the rows that write it, for benchmarks that need no data set."""

from collections.abc import Sequence
from typing import Final

from fashion.v1 import search_pb2, types_pb2
from offline.benchmark.hard_pictures import encoded
from offline.drawn.catalogue import catalogue_specs, draw_product
from offline.drawn.spec import ProductSpec

# A catalogue that has some products of each article type.
_MANY: Final = 1500


def drawn_rows(
    seed: int, products: int, *, width: int = 360, pictures: int | None = None, article_types: Sequence[str] = ()
) -> list[search_pb2.ProductRow]:
    """Returns products "p0", "p1" and so on, each with its photograph as a JPEG.

    Args:
        seed: of the catalogue.
        products: how many, in [1, 5000].
        width: of the photographs, in pixels; they are a third higher.
        pictures: draws at most this many; products beyond them get one of these in a file of their own. None: draws
            all.
        article_types: as many of each of these alone; () for all that a shop has.
    """
    specs: Sequence[ProductSpec] = catalogue_specs(seed, min(products, pictures or products))
    if article_types:
        every, count = catalogue_specs(seed, _MANY), products // len(article_types)
        specs = [
            spec for kind in article_types for spec in [each for each in every if each.article_type == kind][:count]
        ]
    drawn = [encoded(draw_product(spec).resize((width, width * 4 // 3)), "JPEG") for spec in specs]

    def row(number: int) -> search_pb2.ProductRow:
        spec, photograph = specs[number % len(specs)], drawn[number % len(specs)]
        product = types_pb2.Product(
            id=f"p{number}",
            gender=f"GENDER_{spec.gender.upper()}",
            article_type=spec.article_type,
            sub_category=spec.sub_category,
            base_colour=spec.base_colour,
            name=f"Product {number}",
        )
        image = types_pb2.Image(content=_with_comment(photograph, f"{number:8}"))
        return search_pb2.ProductRow(product=product, image=image)

    return [row(number) for number in range(products)]


def _with_comment(jpeg: bytes, comment: str) -> bytes:
    """Returns the same picture as another file."""
    content = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]
