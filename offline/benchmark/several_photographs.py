"""Measures searches of products with one photograph, and of the same products with several.

    python -m offline.benchmark.several_photographs [--products 12000]

prints the table of docs/decisions/0021-several-photographs.md. It needs no model and no data set.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark.timing import interleaved
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex

_ROUNDS: Final = 7
_DIMENSION: Final = 2048
_TYPE_COUNT: Final = 30
_QUERIES: Final = 20


def _vectors(count: int, randomness: np.random.Generator) -> NDArray[np.float16]:
    """Returns unit vectors like embeddings: most of them in few directions, a little in all; shape (count, 2048)."""
    scale = np.arange(1, _DIMENSION + 1) ** -0.75
    vectors = (randomness.normal(size=(count, _DIMENSION)) * scale).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def _index(count: int, further: int) -> FaissIndex:
    """Makes an index of products with so many photographs after the first, each as like it as front and back are."""
    randomness = np.random.default_rng(5)
    index = FaissIndex(_DIMENSION)

    def batches() -> Iterator[list[IndexedProduct]]:
        for of_type in range(_TYPE_COUNT):
            numbers = range(of_type, count, _TYPE_COUNT)
            looks = zip(numbers, _looks(len(numbers), further, randomness), strict=True)
            yield [IndexedProduct(_product(number), each[0], tuple(each[1:])) for number, each in looks]

    index.load(batches(), 1)
    return index


def _looks(count: int, further: int, randomness: np.random.Generator) -> NDArray[np.float16]:
    """Returns photographs of products: float16, shape (count, 1 + further, 2048)."""
    first = _vectors(count, randomness).astype(np.float32)
    looks = [first.astype(np.float16)]
    for _ in range(further):
        mixed = 0.8 * first + 0.6 * _vectors(count, randomness).astype(np.float32)
        looks.append((mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float16))
    return np.stack(looks, axis=1)


def _product(number: int) -> Product:
    return Product(
        id=f"p{number:06}", gender=Gender.WOMEN, sub_category="Topwear", article_type=f"Type {number % _TYPE_COUNT}"
    )


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--products", type=int, default=12_000)
    count = parser.parse_args().products
    queries = _vectors(_QUERIES, np.random.default_rng(9)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    one_type = Eligibility(derived_types=frozenset({_product(0).derived_type}))
    work: dict[str, Callable[[], object]] = {}
    for further in (0, 2, 7):
        index = _index(count, further)
        for name, eligibility in (("everything", Eligibility()), ("one derived type", one_type)):
            work[f"{name}, {1 + further} each"] = partial(_search, index, cycle(queries), eligibility)
    times = interleaved(work, _ROUNDS, _QUERIES, time.thread_time)
    sys.stdout.write(f"| {count:,} products, 10 results, of one core | ms |\n|---|---:|\n")
    for name, series in times.items():
        sys.stdout.write(f"| {name} | {series.median:.2f} |\n")


def _search(index: FaissIndex, queries: Iterator[NDArray[np.float32]], eligibility: Eligibility) -> None:
    index.search(next(queries), 10, eligibility)


if __name__ == "__main__":
    main()
