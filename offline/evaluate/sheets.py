"""Pictures of queries with their results, which show what figures cannot."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from offline.dataset.rows import Dataset
from offline.evaluate.products import ProductTable
from offline.measure.metrics import MISSING, right_results
from services.search.catalogue.products import Product

_ROWS: Final = 20
_WIDTH, _HEIGHT, _TEXT, _GAP = 90, 120, 26, 6
_RIGHT, _WRONG, _PLAIN = (40, 140, 70), (200, 40, 40), (120, 120, 120)


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
    paths = []
    for name, rows in chosen.items():
        path = folder / f"{name}.png"
        _sheet(of_queries, shop, queries, catalogue, results, rows.tolist()).save(path)
        paths.append(path)
    return paths


def _sheet(
    of_queries: Dataset,
    shop: Dataset,
    queries: ProductTable,
    catalogue: ProductTable,
    results: NDArray[np.int64],
    rows: Sequence[int],
) -> Image.Image:
    columns = results.shape[1] + 1
    across, down = _WIDTH + _GAP, _HEIGHT + _TEXT + _GAP
    sheet = Image.new("RGB", (columns * across + 2 * _GAP, len(rows) * down + _GAP), (255, 255, 255))
    for at, row in enumerate(rows):
        query, top = queries.products[row], _GAP + at * down
        _cell(sheet, of_queries, query, (_GAP, top), _PLAIN)
        for place, result in enumerate(results[row].tolist()):
            if result != MISSING:
                product = catalogue.products[result]
                colour = _RIGHT if product.derived_type == query.derived_type else _WRONG
                _cell(sheet, shop, product, (2 * _GAP + (place + 1) * across, top), colour)
    return sheet


def _cell(sheet: Image.Image, dataset: Dataset, product: Product, at: tuple[int, int], colour: tuple[int, ...]) -> None:
    picture = Image.open(io.BytesIO(dataset.photograph(product.id))).convert("RGB")
    picture = picture.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
    sheet.paste(picture, at)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((at[0] - 1, at[1] - 1, at[0] + _WIDTH, at[1] + _HEIGHT), outline=colour, width=2)
    text = f"{product.derived_type[:17]}\n{(product.base_colour or '')[:17]}"
    draw.text((at[0], at[1] + _HEIGHT + 1), text, fill=colour, font=ImageFont.load_default(9), spacing=1)
