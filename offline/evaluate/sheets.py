"""Pictures of queries with their results, which show what figures cannot."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from offline.dataset.rows import Dataset
from offline.evaluate.products import ProductTable
from offline.measure.metrics import MISSING, right_results
from services.search.catalogue.products import Product

_ROWS: Final = 20
_WIDTH, _HEIGHT, _TEXT, _GAP = 90, 120, 26, 6
_RIGHT, _WRONG, _PLAIN, _WHITE = (40, 140, 70), (200, 40, 40), (120, 120, 120), (255, 255, 255)


def write_sheets(
    of_queries: Dataset,
    shop: Dataset,
    queries: ProductTable,
    catalogue: ProductTable,
    results: NDArray[np.int64],
    seed: int,
    folder: Path,
) -> list[Path]:
    """Draws twenty random queries, and the twenty with the most wrong results.

    Args:
        of_queries: the photographs of the queries.
        shop: the photographs of the catalogue.
        queries: n products.
        catalogue: the products that were searched.
        results: int64, shape (n, k), rows of the catalogue, MISSING for none.
        seed: seeds the choice.
        folder: the folder for `random.png` and `worst.png`.

    Returns:
        Their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    right, _ = right_results(queries.derived_types, catalogue.derived_types, results)
    wrong = (~right & (results != MISSING)).sum(axis=1)
    random = np.random.default_rng(seed)
    # Of equally bad ones, random ones.
    shuffled = random.permutation(len(queries))
    chosen = {
        "random": np.sort(shuffled[:_ROWS]),
        "worst": shuffled[np.argsort(-wrong[shuffled], kind="stable")][:_ROWS],
    }
    asked, sold = ([(product.id, product_text(product)) for product in each.products] for each in (queries, catalogue))
    paths = []
    for name, rows in chosen.items():
        path = folder / f"{name}.png"
        few = [asked[row] for row in rows.tolist()]
        draw_answers(of_queries, shop, few, sold, results[rows], right[rows]).save(path)
        paths.append(path)
    return paths


def draw_answers(
    of_queries: Dataset,
    shop: Dataset,
    queries: Sequence[tuple[str, str]],
    catalogue: Sequence[tuple[str, str]],
    results: NDArray[np.int64],
    right: NDArray[np.bool_],
) -> Image.Image:
    """Draws a row per query: its photograph, and its results, green where right and red where wrong.

    Args:
        of_queries: the photographs of the queries.
        shop: the photographs of the catalogue.
        queries: shape (n,), id and text of each query.
        catalogue: id and text of each product.
        results: int64, shape (n, k), rows of the catalogue, MISSING for none.
        right: bool, shape (n, k).
    """
    across, down = _WIDTH + _GAP, _HEIGHT + _TEXT + _GAP
    sheet = Image.new("RGB", ((results.shape[1] + 1) * across + 2 * _GAP, len(queries) * down + _GAP), _WHITE)
    for at, query in enumerate(queries):
        top = _GAP + at * down
        _cell(sheet, of_queries, query, (_GAP, top), _PLAIN)
        for place, result in enumerate(results[at].tolist()):
            if result != MISSING:
                colour = _RIGHT if right[at, place] else _WRONG
                _cell(sheet, shop, catalogue[result], (2 * _GAP + (place + 1) * across, top), colour)
    return sheet


def _cell(
    sheet: Image.Image, dataset: Dataset, product: tuple[str, str], at: tuple[int, int], colour: tuple[int, ...]
) -> None:
    picture = Image.open(io.BytesIO(dataset.photograph(product[0]))).convert("RGB")
    sheet.paste(ImageOps.pad(picture, (_WIDTH, _HEIGHT), Image.Resampling.BICUBIC, _WHITE), at)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((at[0] - 1, at[1] - 1, at[0] + _WIDTH, at[1] + _HEIGHT), outline=colour, width=2)
    text = "\n".join(line[:17] for line in product[1].splitlines())
    draw.text((at[0], at[1] + _HEIGHT + 1), text, fill=colour, font=ImageFont.load_default(9), spacing=1)


def product_text(product: Product) -> str:
    """Returns what stands below a photograph: derived type and colour."""
    return f"{product.derived_type}\n{product.base_colour or ''}"
