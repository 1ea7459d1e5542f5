"""When to doubt an answer: measured on the catalogue, again after changes, and stored between starts."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.embedding import renormalised
from services.contract.errors import Upstream
from services.contract.fakes import FakeClassifier
from services.contract.values import Classification, ClassificationMethod, DerivedTypePrediction, Embedding, Gender
from services.search.candidates import doubt_meter
from services.search.candidates.doubt import MAX_SAMPLE, SHARES, Doubt, measured, sample
from services.search.candidates.doubt_meter import FILE, DoubtMeter
from services.search.catalogue.products import Product, validate_product
from services.search.indexes.base import IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.writes.generation import Change

_SIZE = 8


class Space:
    model_version = "m1"
    dimension = _SIZE


def _product(number: int) -> Product:
    return validate_product(
        id=f"p{number:05}", gender=Gender.MEN, sub_category="Topwear", article_type=("Shirts", "Tops")[number % 2]
    )


def _index(count: int, version: int = 1) -> FaissIndex:
    rows = np.random.default_rng(0).normal(size=(count, _SIZE))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = FaissIndex(_SIZE)
    index.load([[IndexedProduct(_product(at), rows[at].astype(np.float16)) for at in range(count)]], version)
    return index


def _said(confidence: float | None, version: str = "c1") -> Classification:
    prediction = DerivedTypePrediction(Gender.MEN, "Shirts", "Topwear", 0.5, None, confidence)
    return Classification((), (prediction,), ClassificationMethod.MODEL_LABELS, "m1", version, confidence)


class Shop:
    def __init__(self, directory: Path, count: int, version: int = 1) -> None:
        self.index = _index(count, version)
        self.classifier = FakeClassifier(lambda embedding, top_k: _said(abs(float(embedding.values[0]))))
        self.candidates = "c1"
        self.meter = DoubtMeter(
            self.index,
            self.classifier,
            Space(),
            directory,
            candidates_version=lambda: self.candidates,
            changed_share=0.1,
            period_s=0.01,
        )

    def rows(self) -> list[tuple[Product, NDArray[np.float16]]]:
        return list(sample(self.index))


def test_the_threshold_and_the_distribution_come_from_the_catalogue() -> None:
    doubt = Doubt.of(np.linspace(0.2, 1.0, 101), np.linspace(0.0, 1.0, 101))
    assert doubt is not None
    assert doubt.unsure_below == pytest.approx(0.208)
    assert doubt.similarities == pytest.approx(SHARES)
    assert doubt.sample_count == 101
    # What is more likely right than wrong is not doubted, however sure all else is.
    certain = Doubt.of(np.ones(100), np.ones(100))
    assert certain is not None and certain.unsure_below == 0.5
    # Fewer than a hundred products cannot tell what one in a hundred falls below.
    for count in (0, 99):
        few = Doubt.of(np.ones(count), np.ones(99))
        assert few is not None and (few.unsure_below, few.sample_count) == (0.0, 99)
    assert Doubt.of(np.empty(0), np.empty(0)) is None


def test_a_sample_is_bounded_repeatable_and_of_every_type() -> None:
    index = _index(MAX_SAMPLE + 500)
    ids = [product.id for product, _ in sample(index)]
    assert len(ids) == len(set(ids)) == MAX_SAMPLE
    assert ids == [product.id for product, _ in sample(index)]
    assert {product.article_type for product, _ in sample(index)} == {"Shirts", "Tops"}
    assert [*sample(FaissIndex(_SIZE))] == []


async def test_every_product_is_asked_for_as_if_it_were_not_there(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 120)
    assert shop.meter.current is None
    assert await shop.meter.measure()
    doubt = shop.meter.current
    assert doubt is not None and doubt.sample_count == shop.classifier.calls == 120
    rows = np.stack([vector for _, vector in sample(shop.index)]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -1.0)
    assert doubt.similarities == pytest.approx(np.quantile(similar.max(axis=1), SHARES), abs=1e-3)
    assert doubt.unsure_below == pytest.approx(np.quantile(np.abs(rows[:, 0]), 0.01), abs=1e-3)


async def test_a_products_variants_are_no_other_products(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 40)
    await shop.meter.measure()
    alone = shop.meter.current
    variants = [(replace(product, id=f"{product.id}-xl", parent_id=product.id), row) for product, row in shop.rows()]
    shop.index.apply([IndexedProduct(product, row) for product, row in variants], (), 2)
    await shop.meter.measure()
    beside = shop.meter.current
    assert alone is not None and beside is not None and beside.sample_count == 2 * alone.sample_count
    # Not the same photograph in another size.
    assert max(beside.similarities) == pytest.approx(max(alone.similarities)) and max(alone.similarities) < 0.99
    shop.index.apply((), [product.id for product, _ in shop.rows() if product.family != "p00007"], 3)
    (product, row), _ = shop.rows()
    said = replace(_said(0.9), method=ClassificationMethod.CANDIDATES)
    assert measured(shop.index, product, Embedding(renormalised(row), "m1"), said) == (0.9, None)


async def test_a_start_finds_the_measure_of_the_last_one_and_a_changed_catalogue_measures_again(
    tmp_path: Path,
) -> None:
    before = Shop(tmp_path, 40)
    await before.meter.measure()
    before.meter.keep()
    again = Shop(tmp_path, 40)
    again.meter.begin()
    assert again.meter.current == before.meter.current and again.classifier.calls == 0
    other = Shop(tmp_path, 40, version=2)
    other.meter.begin()
    assert other.meter.current is None
    before.meter.keep()
    assert not (tmp_path / FILE).exists(), "the file was of another version, and is deleted"


async def test_a_tenth_of_changes_makes_it_due(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 40)
    assert shop.meter.due
    await shop.meter.measure()
    assert not shop.meter.due
    shop.meter.note([Change(_product(at), None) for at in range(3)])
    assert not shop.meter.due
    shop.meter.note([Change(_product(3), None)])
    assert shop.meter.due
    await shop.meter.measure()
    assert not shop.meter.due


async def test_a_classifier_behind_or_down_is_asked_again_later(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 40)
    shop.candidates = "c2"
    assert not await shop.meter.measure()
    assert (shop.meter.current, shop.meter.due, shop.classifier.calls) == (None, True, 1)

    def down(embedding: Embedding, top_k: int) -> Classification:
        raise Upstream("The classifier does not answer.", reason="CLASSIFIER_UNAVAILABLE")

    shop.candidates, answer, shop.classifier.answer = "c1", shop.classifier.answer, down
    with pytest.raises(Upstream):
        await shop.meter.measure()
    assert shop.meter.due
    shop.classifier.answer = answer
    assert await shop.meter.measure() and shop.meter.current is not None


async def test_candidates_that_change_meanwhile_do_not_end_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path, 40)

    def behind(embedding: Embedding, top_k: int) -> Classification:
        # Each write publishes candidates, which the classifier knows a little later.
        said, shop.candidates = shop.candidates, f"{shop.candidates}+"
        return _said(0.9, said)

    shop.classifier.answer = behind
    assert await shop.meter.measure()
    assert shop.classifier.calls == 40 and not shop.meter.due


@pytest.mark.parametrize("rest", [0, 10**6])
async def test_it_rests_before_it_measures_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: int) -> None:
    shop = Shop(tmp_path, 5)
    monkeypatch.setattr(doubt_meter, "_REST", rest)
    measures = 0

    async def measure() -> bool:
        nonlocal measures
        measures += 1
        await asyncio.sleep(0.001)
        return False

    monkeypatch.setattr(shop.meter, "measure", measure)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await shop.meter.run()
    if rest:
        assert measures == 1
    else:
        assert measures >= 3


async def test_a_catalogue_of_one_product_has_no_usual_similarity(tmp_path: Path) -> None:
    for count in (0, 1):
        shop = Shop(tmp_path, count)
        assert await shop.meter.measure()
        assert shop.meter.current is None
