"""The vote of the nearest products, where only candidates knew what a photograph shows."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.values import (
    Classification,
    ClassificationMethod,
    DerivedTypePrediction,
    Gender,
    SubCategoryPrediction,
    derived_type,
)
from services.search.catalogue.products import Product, validate_product
from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.query.recognition import NEIGHBOURS, recognised

_SIZE = 16


def _unit(*parts: float) -> NDArray[np.float32]:
    vector = np.zeros(_SIZE, np.float32)
    vector[: len(parts)] = parts
    return vector / np.linalg.norm(vector)


def _product(number: int, gender: Gender, article_type: str, **attributes: object) -> Product:
    return validate_product(
        id=f"{gender.value}-{article_type}-{number}",
        gender=gender,
        sub_category="Topwear",
        article_type=article_type,
        **attributes,
    )


def _index(*rows: tuple[Product, NDArray[np.float32]]) -> FaissIndex:
    index = FaissIndex(_SIZE)
    index.load([[IndexedProduct(product, vector.astype(np.float16)) for product, vector in rows]], 1)
    return index


def _said(method: ClassificationMethod = ClassificationMethod.CANDIDATES) -> Classification:
    return Classification(
        (SubCategoryPrediction("Own", None), SubCategoryPrediction("Topwear", 0.9)),
        (DerivedTypePrediction(Gender.MEN, "Own things", "Own", 0.9, None, 1.0),),
        method,
        "m1",
        "c1",
        1.0,
    )


JACKETS = [(_product(at, Gender.UNISEX, "Jackets"), _unit(1, 0.1, at / 100)) for at in range(12)]
SHIRTS = [(_product(at, Gender.MEN, "Shirts"), _unit(1, 0.6, at / 100)) for at in range(30)]


def _vote(found: Classification) -> dict[str, float]:
    """Returns what the products have added, without the half that candidates have."""
    return {each.label: 2 * (each.probability or 0.0) for each in found.derived_types if each.label != "Men Own things"}


def test_the_nearest_products_vote_and_count_less_the_further_they_are() -> None:
    found = recognised(_said(), _unit(1), _index(*JACKETS, *SHIRTS), 5)
    assert found.method is ClassificationMethod.NEIGHBOURS
    assert [each.label for each in found.derived_types] == ["Men Own things", "Unisex Jackets", "Men Shirts"]
    # Twelve jackets and the eight nearest shirts: more than twelve of twenty, as the shirts are further away.
    assert 12 / NEIGHBOURS < _vote(found)["Unisex Jackets"] < 1.0
    assert sum(each.probability or 0.0 for each in found.derived_types) == pytest.approx(1.0)
    own, jackets, shirts = found.derived_types
    assert own.margin == pytest.approx(own.similarity - jackets.similarity) and shirts.margin is None
    assert found.confidence == own.probability == pytest.approx(0.5)
    assert [each.label for each in found.sub_categories] == ["Own", "Topwear"]


def test_candidates_and_neighbours_that_agree_outvote_others() -> None:
    prediction = DerivedTypePrediction(Gender.UNISEX, "Jackets", "Topwear", 0.9, None, 0.4)
    said = replace(_said(), derived_types=(replace(_said().derived_types[0], probability=0.6), prediction))
    found = recognised(said, _unit(1), _index(*JACKETS, *SHIRTS), 5)
    assert found.derived_types[0].label == "Unisex Jackets"
    # "Own" was named by the candidates alone, and lost.
    assert [each.label for each in found.sub_categories] == ["Topwear"]


def test_a_few_products_say_less_than_twenty() -> None:
    few = recognised(_said(), _unit(1), _index(*JACKETS[:4]), 5)
    assert [each.probability for each in few.derived_types] == pytest.approx([0.9, 0.1])


def test_confidence_is_that_of_the_article_type_whoever_it_is_for() -> None:
    girls = [(_product(at, Gender.GIRLS, "Jackets"), _unit(1, 0.12, at / 100)) for at in range(8)]
    jackets = replace(_said().derived_types[0], gender=Gender.MEN, article_type="Jackets", probability=1.0)
    found = recognised(replace(_said(), derived_types=(jackets,)), _unit(1), _index(*JACKETS, *girls), 1)
    assert [each.label for each in found.derived_types] == ["Men Jackets"]
    assert found.confidence == pytest.approx(1.0)


def test_products_out_of_stock_vote_and_excluded_ones_do_not() -> None:
    sold = [(_product(at, Gender.UNISEX, "Coats", in_stock=False), _unit(1, 0.0, at / 100)) for at in range(20)]
    index = _index(*JACKETS, *sold)
    assert "Unisex Coats" in _vote(recognised(_said(), _unit(1), index, 5))
    others = Eligibility(excluded_ids=[product.id for product, _ in sold], include_out_of_stock=True)
    without = recognised(_said(), _unit(1), index, 5, others)
    assert set(_vote(without)) == {derived_type(Gender.UNISEX, "Jackets")}


def test_equal_similarities_count_the_same() -> None:
    same = [(_product(at, Gender.UNISEX if at < 11 else Gender.MEN, "Coats"), _unit(1)) for at in range(20)]
    found = recognised(_said(), _unit(1), _index(*same), 5)
    assert _vote(found) == pytest.approx({"Unisex Coats": 0.55, "Men Coats": 0.45})


def test_what_the_model_knows_is_not_voted_about() -> None:
    said = _said(ClassificationMethod.MODEL_LABELS)
    assert recognised(said, _unit(1), _index(*JACKETS), 5) is said
    # Nobody can vote in an empty catalogue.
    candidates = _said()
    assert recognised(candidates, _unit(1), FaissIndex(_SIZE), 5) is candidates
