"""What a search looks for and leaves out, over a real index."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.contract.errors import InvalidInput, ModelMismatch, NotFound
from services.contract.values import Embedding, Gender
from services.search.catalogue.products import Product
from services.search.filters.colours import DislikedColour
from services.search.indexes.base import IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.query.retrieval import Inventory, SimilarQuery, check_query
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


def found(query: SimilarQuery) -> list[str]:
    return [hit.product.id for hit in SHOP.search(query).hits]


def test_leaves_out_the_product_that_is_asked_about() -> None:
    outcome = SHOP.search(SimilarQuery(query="yellow", top_k=2))
    assert [hit.product.id for hit in outcome.hits] == ["green", "red"]
    assert [hit.similarity for hit in outcome.hits] == pytest.approx([2**-0.5] * 2, abs=1e-3)
    assert (outcome.eligible_count, outcome.model_version, outcome.index_version) == (4, "model-1", 4)
    assert (outcome.derived_types, outcome.excluded_colours) == ((), ())


def test_liked_products_pull_disliked_ones_push_and_all_are_left_out() -> None:
    start = Embedding(unit(1, 1, 1), "model-1")
    assert set(found(SimilarQuery(query=start))) == {"red", "green", "blue", "yellow", "teal"}
    assert found(SimilarQuery(query=start, liked_ids=("red",)))[0] == "yellow"
    assert found(SimilarQuery(query=start, disliked_ids=("red",)))[0] == "teal"
    assert "red" not in found(SimilarQuery(query=start, liked_ids=("red",)))
    assert "red" not in found(SimilarQuery(query=start, disliked_ids=("red",)))
    assert "red" not in found(SimilarQuery(query=start, excluded_ids=("red", "never heard of".replace(" ", "-"))))


def test_the_similarity_of_a_steered_search_is_that_with_the_steered_query() -> None:
    hits = SHOP.search(SimilarQuery(query="red", liked_ids=("green",), top_k=1)).hits
    expected = (unit(1, 0.75, 0) @ unit(1, 1, 0)).item()
    assert (hits[0].product.id, hits[0].similarity) == ("yellow", pytest.approx(expected, abs=1e-3))


def test_dislikes_and_types_are_applied_and_told() -> None:
    outcome = SHOP.search(
        SimilarQuery(
            query="red",
            derived_types=frozenset({"Men Shirts"}),
            disliked_colours=(DislikedColour("Blue"), DislikedColour("Pink")),
        )
    )
    assert [hit.product.id for hit in outcome.hits] == ["yellow", "green"]
    assert outcome.excluded_colours == ("Blue", "Pink", "Teal")
    assert outcome.derived_types == ("Men Shirts",)


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


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (SimilarQuery(query="red", top_k=0), "TOP_K_OUT_OF_RANGE"),
        (SimilarQuery(query="red", top_k=101), "TOP_K_OUT_OF_RANGE"),
        (SimilarQuery(query="red", liked_ids=tuple(map(str, range(21)))), "TOO_MANY_PRODUCTS"),
        (SimilarQuery(query="red", disliked_ids=tuple(map(str, range(21)))), "TOO_MANY_PRODUCTS"),
        (SimilarQuery(query="red", excluded_ids=tuple(map(str, range(501)))), "TOO_MANY_PRODUCTS"),
        (SimilarQuery(query="red", liked_ids=("a", "a")), "PRODUCT_ID_DUPLICATE"),
        (SimilarQuery(query="red", liked_ids=("a",), disliked_ids=("a",)), "PRODUCT_ID_DUPLICATE"),
        (SimilarQuery(query="red", liked_ids=("",)), "PRODUCT_ID_INVALID"),
        (SimilarQuery(query="red", excluded_ids=("a b",)), "PRODUCT_ID_INVALID"),
    ],
)
def test_refuses(query: SimilarQuery, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_query(query)
    assert refused.value.reason == reason
    with pytest.raises(InvalidInput):
        SHOP.search(query)


def test_unknown_products_are_named() -> None:
    for query in (
        SimilarQuery(query="nobody"),
        SimilarQuery(query="red", liked_ids=("nobody",)),
        SimilarQuery(query="red", disliked_ids=("nobody",)),
    ):
        with pytest.raises(NotFound, match='"nobody"') as missing:
            SHOP.search(query)
        assert missing.value.reason == "PRODUCT_NOT_FOUND"
    with pytest.raises(InvalidInput, match="product_id"):
        SHOP.search(SimilarQuery(query=""))


def test_another_models_embedding_is_never_compared() -> None:
    for query in (SimilarQuery(query=Embedding(unit(1, 0, 0), "model-2")), SimilarQuery(query="olive")):
        with pytest.raises(ModelMismatch) as mismatch:
            SHOP.search(query)
        assert mismatch.value.reason == "MODEL_VERSION_MISMATCH"
    assert "olive" not in found(SimilarQuery(query="red", top_k=100))
    assert SHOP.product("olive").id == "olive"


def test_derived_types_that_nobody_has_are_refused() -> None:
    assert SHOP.require_derived_types(["Men Shirts"]) == {"Men Shirts"}
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
