"""Measures own attributes and prices in memory: what they hold, what a filter and facets take.

    python -m offline.benchmark.attributes [--products 40000]

prints the tables of docs/decisions/0020-own-attributes.md. It needs no model and no data set.
"""

import argparse
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

import numpy as np

from offline.benchmark.timing import interleaved
from services.contract.own_attributes import AttributeValue, Flag, attributes_of, attributes_text
from services.contract.values import Gender
from services.search.catalogue.products import Price, Product
from services.search.filters.facets import count_facets
from services.search.filters.filter import Filter, FlagFilter, LabelFilter, NumberRange, PriceRange, evaluate
from services.search.indexes.columns import Columns

_ROUNDS: Final = 7
_CALLS: Final = 5
_MATERIALS: Final = ("Cotton", "Wool", "Linen", "Polyester", "Elastane", "Leather", "Silk", "Viscose")
_FILTERS: Final = {
    "nothing": Filter(),
    "brand, as before": Filter(brand=LabelFilter(any_of=("Brand 7",))),
    "own label, one of two": Filter(**{"attributes.material": LabelFilter(any_of=("Cotton", "Wool"))}),
    "own label, none of one": Filter(**{"attributes.material": LabelFilter(none_of=("Cotton",))}),
    "own label, each product another": Filter(**{"attributes.ean": LabelFilter(any_of=(f"40{7:011}",))}),
    "own number": Filter(**{"attributes.heel_mm": NumberRange(20, 60)}),
    "own yes or no": Filter(**{"attributes.organic": FlagFilter(flag=True)}),
    "price": Filter(price=PriceRange("EUR", Price("EUR", 20), Price("EUR", 49, 990_000_000))),
}

Made = TypeVar("Made")


def _attributes(number: int, randomness: np.random.Generator) -> dict[str, AttributeValue]:
    """Returns eight attributes as shops have them: few sizes, several materials, numbers, yes and no, an EAN each."""
    materials = randomness.choice(_MATERIALS, randomness.integers(1, 4), replace=False)
    return {
        "age_group": ("adult",),
        "heel_mm": float(randomness.integers(0, 120)),
        "material": tuple(map(str, materials)),
        "organic": Flag(bool(number % 2)),
        "pattern": (("plain", "striped", "checked")[number % 3],),
        "size": (str(34 + 2 * (number % 8)),),
        "weight_g": float(randomness.integers(80, 900)),
        "ean": (f"40{number:011}",),
    }


def _products(count: int, own_count: int) -> list[Product]:
    """Makes products with the first of `_attributes`."""
    randomness = np.random.default_rng(7)
    made: list[Product] = []
    for number in range(count):
        # Through the text that is stored, as a start reads them.
        own = dict(islice(_attributes(number, randomness).items(), own_count))
        price = Price("EUR" if number % 20 else "USD", int(randomness.lognormal(3.6, 0.7)), 990_000_000)
        made.append(
            Product(
                id=f"p{number}",
                gender=list(Gender)[number % 5],
                sub_category="Topwear",
                article_type=f"Type {number % 40}",
                base_colour="Blue",
                brand=f"Brand {number % 300}",
                price=price,
                attributes=attributes_of(attributes_text(own)),
            )
        )
    return made


def _held(make: Callable[[], Made]) -> tuple[Made, int]:
    """Returns what a function makes, and the bytes that it holds."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return made, held


def _columns(products: Sequence[Product]) -> Columns:
    columns = Columns()
    for product in products:
        columns.append(product, searchable=True)
    return columns


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=40_000, help="size of the catalogue")
    count = parser.parse_args().products
    calls: dict[str, Callable[[], object]] = {}
    columns = Columns()
    _write(f"| {count:,} products | products | columns |", "|---|---:|---:|")
    for name, own_count in (("no own attribute", 0), ("seven each", 7), ("these and an EAN each", 8)):
        products, of_products = _held(partial(_products, count, own_count))
        columns, of_columns = _held(partial(_columns, products))
        _write(f"| {name} | {of_products / 1e6:.1f} MB | {of_columns / 1e6:.1f} MB |")
        calls[f"facets, {name}"] = partial(count_facets, Filter(), columns)
        calls[f"facets under a price, {name}"] = partial(count_facets, _FILTERS["price"], columns)
    calls |= {f"filter: {name}": partial(evaluate, each, columns) for name, each in _FILTERS.items()}
    _write("", "| over all products, of one core | ms |", "|---|---:|")
    for name, series in interleaved(calls, _ROUNDS, _CALLS, time.process_time).items():
        _write(f"| {name} | {series.median:.2f} |")


def _write(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
