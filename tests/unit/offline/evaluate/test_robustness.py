"""Altered photographs: repeatable, altered at all, and measured as users would be served."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offline.dataset.rows import open_dataset
from offline.drawn import catalogue_specs, draw_product
from offline.evaluate.alterations import ALTERATIONS
from offline.evaluate.products import ProductTable, product_of
from offline.evaluate.robustness import UNALTERED, alter, evaluate_robustness, robustness_sheet
from offline.evaluate.served import LocalService
from offline.evaluate.sheets import write_sheets
from services.classifier.recognition import ClassifierModel
from services.embedder.runtimes.fake import FakeEncoder
from services.search.indexes.faiss import FaissIndex
from services.vision import Frame, decode, prepare
from tests.unit.cli.commands.test_evaluate import write_shop


def photograph(at: int = 3) -> bytes:
    file = io.BytesIO()
    draw_product(catalogue_specs(9, 40)[at]).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_alters_and_is_the_same_every_time(name: str) -> None:
    content = photograph()
    one, again = (alter(content, name, ALTERATIONS[name], "7", 1) for _ in range(2))
    assert one == again
    assert alter(content, name, ALTERATIONS[name], "8", 1) != one
    assert alter(content, name, ALTERATIONS[name], "7", 2) != one
    before, after = prepare(content, Frame(80, 60)).astype(int), prepare(one, Frame(80, 60)).astype(int)
    assert np.abs(before - after).mean() > 0.4
    assert ALTERATIONS[name].__doc__


@pytest.mark.parametrize("name", ["plain background", "textured background"])
def test_another_background_leaves_the_product_alone(name: str) -> None:
    pixels = np.full((80, 60, 3), 255, dtype=np.uint8)
    pixels[20:60, 15:45] = (200, 20, 20)
    # White within the product, such as a print, is no background.
    pixels[35:45, 25:35] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    altered = np.asarray(decode(alter(file.getvalue(), name, ALTERATIONS[name], "1", 0)))
    assert np.array_equal(altered[20:60, 15:45], pixels[20:60, 15:45])
    assert (altered[:20] != 255).mean() > 0.9


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_shop(tmp_path / "catalogue", first=0, count=36)
    write_shop(tmp_path / "queries", first=100, count=9)
    return tmp_path


def embedded(folder: Path, encoder: FakeEncoder) -> ProductTable:
    with open_dataset(folder) as dataset:
        pixels = np.stack([prepare(dataset.photograph(row.id), encoder.frame) for row in dataset.rows])
        return ProductTable(tuple(product_of(row) for row in dataset.rows), encoder.encode(pixels))


def test_every_alteration_is_a_row_beside_the_photographs_as_they_are(shop: Path) -> None:
    encoder = FakeEncoder()
    catalogue, queries = (embedded(shop / name, encoder) for name in ("catalogue", "queries"))
    service = LocalService(
        catalogue, ClassifierModel.without_heads(encoder.model), FaissIndex(encoder.model.dimension), 1
    )
    steps: list[int] = []
    with open_dataset(shop / "queries") as dataset:
        rows = evaluate_robustness(dataset, queries, catalogue, service, encoder, 0, steps.append)
        sheet = robustness_sheet(dataset, queries.ids[:2], 0)
    assert [row.alteration for row in rows] == [UNALTERED, *ALTERATIONS]
    assert sum(steps) == len(queries) * len(ALTERATIONS)
    found = [one.derived_types[0].label for one in service.classify(queries)]
    right = np.mean([label == truth for label, truth in zip(found, queries.derived_types, strict=True)])
    assert rows[0].derived_type == pytest.approx(right)
    # A type that is not recognised cannot be found in.
    assert all(row.photograph <= row.derived_type for row in rows)
    assert sheet.size == (120 * 11, 320)


def test_sheets_show_some_by_chance_and_the_worst(shop: Path) -> None:
    encoder = FakeEncoder()
    catalogue, queries = (embedded(shop / name, encoder) for name in ("catalogue", "queries"))
    results = np.full((9, 10), -1)
    types = np.array(catalogue.derived_types)
    for row, truth in enumerate(queries.derived_types):
        # The first query alone has nothing but wrong results.
        results[row] = np.flatnonzero((types == truth) == (row > 0))[:10]
    with open_dataset(shop / "queries") as of_queries, open_dataset(shop / "catalogue") as of_catalogue:
        paths = write_sheets(of_queries, of_catalogue, queries, catalogue, results, 0, shop / "sheets")
    assert [path.name for path in paths] == ["random.png", "worst.png"]
    worst = np.asarray(Image.open(paths[1]).convert("RGB"))
    green = (worst == (40, 140, 70)).all(axis=2)
    # Its row is the first, and has no green frame; all others have.
    assert not green[:150].any()
    assert green[160:300].any()
