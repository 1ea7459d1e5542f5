"""The projection is stored between starts, checked when it is read, and never needed."""

from pathlib import Path

import numpy as np
import pytest

from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.search.indexes.reduction_file import ReductionFile
from services.search.indexes.shards import Reduction, train_reduction

SETTINGS = FaissSettings(exact_limit=100, components=8)


def rows(count: int, dimension: int = 32) -> list[IndexedProduct]:
    vectors = np.random.default_rng(1).normal(size=(count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        IndexedProduct(
            Product(id=f"p{at:05}", gender=Gender.MEN, sub_category="Topwear", article_type=f"Type{at % 3}"),
            vector.astype(np.float16),
        )
        for at, vector in enumerate(vectors)
    ]


@pytest.fixture
def trained() -> Reduction:
    sample = np.random.default_rng(0).normal(size=(200, 32)).astype(np.float16)
    return train_reduction(sample, 8, trained_on=200, seed=1)


def test_it_comes_back_as_it_was(tmp_path: Path, trained: Reduction) -> None:
    ReductionFile(tmp_path, "m1").save(trained)
    found = ReductionFile(tmp_path, "m1").load(32, 8)
    assert found is not None
    assert np.array_equal(found.basis, trained.basis)
    assert found.trained_on == 200


def test_a_projection_of_another_shape_is_none(tmp_path: Path, trained: Reduction) -> None:
    kept = ReductionFile(tmp_path, "m1")
    for dimension, components in ((32, 9), (64, 8)):
        kept.save(trained)
        assert kept.load(dimension, components) is None
    kept.save(Reduction(trained.basis * 2, 200))
    assert kept.load(32, 8) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, trained: Reduction) -> None:
    kept = ReductionFile(tmp_path / "missing", "m1")
    kept.save(trained)
    assert kept.load(32, 8) is None


def test_an_index_takes_up_what_an_earlier_one_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ReductionFile(tmp_path, "m1")
    first = FaissIndex(32, SETTINGS, kept)
    first.load([rows(300)], index_version=1)
    trainings: list[int] = []

    def count(*arguments: object, trained_on: int, **options: object) -> Reduction:
        trainings.append(trained_on)
        return train_reduction(*arguments, trained_on=trained_on, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("services.search.indexes.reducer.train_reduction", count)
    again = FaissIndex(32, SETTINGS, kept)
    again.load([rows(320)], index_version=2)
    assert trainings == []
    query = np.random.default_rng(9).normal(size=32).astype(np.float32)
    found = again.search(query, 5, Eligibility())
    assert len(found.hits) == 5 and found.eligible_count == 320

    # The catalogue has outgrown it, so it is trained and stored again.
    grown = FaissIndex(32, SETTINGS, kept)
    grown.load([rows(700)], index_version=3)
    assert trainings == [700]
    # As many further components refine what the first ones choose.
    reduction = kept.load(32, 2 * SETTINGS.components)
    assert reduction is not None and reduction.trained_on == 700
