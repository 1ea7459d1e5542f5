"""The shipped model, evaluated by command on products that it has never seen: a guard against silent decay."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from offline.dataset.rows import Dataset, open_dataset
from offline.dataset.split import Part, photograph_digests, split, write_subset

# 1,900 embeddings take a quarter of a minute on two idle cores, and far longer on busy ones.
pytestmark = pytest.mark.timeout(600)

CATALOGUE = 1500
QUERIES = 400


@pytest.fixture(scope="module")
def parts(fashion_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Some products of the part that the model was trained on, and some that have no twin there."""
    folder = tmp_path_factory.mktemp("parts")
    with open_dataset(fashion_dataset) as dataset:
        of_product = split(dataset.rows, photograph_digests(dataset))
        draw(dataset, of_product, "train", CATALOGUE, folder / "train.zip")
        draw(dataset, of_product, "test", QUERIES, folder / "test.zip")
    return folder / "train.zip", folder / "test.zip"


def draw(dataset: Dataset, of_product: dict[str, Part], part: Part, count: int, path: Path) -> None:
    ids = [product_id for product_id, its in of_product.items() if its == part]
    write_subset(dataset, np.random.default_rng(0).choice(ids, count, replace=False).tolist(), path)


def evaluate(command: str, parts: tuple[Path, Path], tmp_path: Path) -> dict:
    catalogue, queries = map(str, parts)
    written = tmp_path / "figures.json"
    arguments = [
        "--catalogue",
        catalogue,
        "--queries",
        queries,
        "--json",
        str(written),
        "--cache",
        str(parts[0].parent),
    ]
    # In a process of its own: TensorFlow fixes its number of threads per process, and other tests need another.
    subprocess.run([sys.executable, "-m", "cli", "evaluate", command, *arguments], check=True, timeout=500)
    return json.loads(written.read_text())


# The floors lie well below what is measured on the whole test part (docs/evaluation.md): a smaller catalogue holds
# fewer products of each type, and 400 queries tell a share to within five points. Pixels in another order or range, or
# heads of another model, come out far below them.


def test_most_results_are_of_the_querys_kind(parts: tuple[Path, Path], tmp_path: Path) -> None:
    found = evaluate("retrieval", parts, tmp_path)

    assert found["queries"] == QUERIES
    assert found["precision_at_10"]["articleType"] > 0.55
    assert found["precision_at_10"]["gender"] > 0.75


def test_most_sub_categories_are_recognised(parts: tuple[Path, Path], tmp_path: Path) -> None:
    found = evaluate("classification", parts, tmp_path)

    assert found["subCategory"]["accuracy"] > 0.85
    assert found["gender"]["by_method"]["head"] > 0.75
    assert found["articleType"]["by_method"]["head"] > 0.65
