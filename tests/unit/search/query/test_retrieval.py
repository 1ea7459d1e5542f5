"""The vector that a query is compared with, from the products of a real index."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.contract.errors import InvalidInput, ModelMismatch, NotFound
from services.contract.values import Embedding, Gender
from services.search.catalogue.products import Product
from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.query.retrieval import Inventory
from services.search.query.steering import SteeringWeights, steer


def unit(*values: float) -> NDArray[np.float32]:
    vector = np.array(values, dtype=np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def inventory(**vectors: NDArray[np.float32] | None) -> Inventory:
    index = FaissIndex(3)
    rows = [
        IndexedProduct(
            Product(
                id=name, gender=Gender.MEN, sub_category="Topwear", article_type="Shirts", base_colour=name.title()
            ),
            None if vector is None else vector.astype(np.float16),
        )
        for name, vector in vectors.items()
    ]
    index.load([rows], 4)
    return Inventory(index, "model-1")


SHOP = inventory(
    red=unit(1, 0, 0), green=unit(0, 1, 0), blue=unit(0, 0, 1), yellow=unit(1, 1, 0), teal=unit(0, 1, 1), olive=None
)


def nearest(direction: NDArray[np.float32], top_k: int = 10) -> list[str]:
    return [hit.product.id for hit in SHOP.index.search(direction, top_k, Eligibility()).hits]


def test_liked_products_pull_and_disliked_ones_push() -> None:
    start = Embedding(unit(1, 1, 1), "model-1")
    assert np.array_equal(SHOP.direction(start), start.values)
    assert nearest(SHOP.direction(start, liked_ids=("red",)))[:2] == ["yellow", "red"]
    assert nearest(SHOP.direction(start, disliked_ids=("red",)))[0] == "teal"
    assert nearest(SHOP.direction(start, disliked_ids=("red",)))[-1] == "red"


def test_a_steered_product_query_points_between_both_products() -> None:
    assert SHOP.direction("red", liked_ids=("green",)) == pytest.approx(unit(1, 0.75, 0), abs=1e-3)


vectors = st.integers(0, 2**32 - 1).map(lambda seed: unit(*np.random.default_rng(seed).normal(size=3)))


@given(vectors, st.lists(vectors, max_size=4), st.lists(vectors, max_size=4))
def test_no_choice_of_products_leaves_a_query_without_direction(
    query: NDArray[np.float32], liked: list[NDArray[np.float32]], disliked: list[NDArray[np.float32]]
) -> None:
    empty = np.empty((0, 3), dtype=np.float32)
    steered = steer(
        query,
        np.stack([-query, *liked]),
        np.stack([query, *disliked]) if disliked else empty,
        SteeringWeights(),
    )
    assert steered.dtype == np.float32
    assert np.linalg.norm(steered) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(steer(query, empty, empty, SteeringWeights()), query) or np.allclose(
        steer(query, empty, empty, SteeringWeights()), query, atol=1e-6
    )


def test_even_the_opposite_of_a_query_does_not_cancel_it() -> None:
    query = unit(1, 2, 3)
    steered = steer(query, np.stack([-query] * 20), np.stack([query] * 20), SteeringWeights())
    assert np.allclose(steered, query, atol=1e-5)


@pytest.mark.parametrize("weights", [(1.0, 0.75, 0.25), (1.0, -0.1, 0.1), (0.0, 0.0, 0.0), (float("nan"), 0.1, 0.1)])
def test_weights_that_could_cancel_a_query_are_refused(weights: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="outweigh"):
        SteeringWeights(*weights)


def test_unknown_products_are_named() -> None:
    for arguments in (("nobody",), ("red", ("nobody",)), ("red", (), ("nobody",))):
        with pytest.raises(NotFound, match='"nobody"') as missing:
            SHOP.direction(*arguments)
        assert missing.value.reason == "PRODUCT_NOT_FOUND"
    with pytest.raises(InvalidInput, match="product_id"):
        SHOP.direction("")


def test_a_product_of_another_model_is_known_but_never_compared() -> None:
    for arguments in (("olive",), ("red", ("olive",)), ("red", (), ("olive",))):
        with pytest.raises(ModelMismatch) as mismatch:
            SHOP.direction(*arguments)
        assert mismatch.value.reason == "MODEL_VERSION_MISMATCH"
    assert "olive" not in nearest(SHOP.direction("red"), 100)
    assert SHOP.product("olive").id == "olive"


def test_derived_types_that_nobody_has_are_refused() -> None:
    SHOP.require_derived_types(["Men Shirts"])
    with pytest.raises(InvalidInput, match='"Men Shirts"') as refused:
        SHOP.require_derived_types(["Men Shirts", "Men Shirt"])
    assert refused.value.reason == "DERIVED_TYPE_UNKNOWN"
    for labels in ([], ["Men Shirts"] * 101):
        with pytest.raises(InvalidInput) as refused:
            SHOP.require_derived_types(labels)
        assert refused.value.reason == "SCOPE_INVALID"


def test_an_embedding_is_of_norm_1_again() -> None:
    embedding = SHOP.embedding("yellow")
    assert embedding.model_version == "model-1"
    assert float(np.linalg.norm(embedding.values)) == pytest.approx(1, abs=1e-6)
