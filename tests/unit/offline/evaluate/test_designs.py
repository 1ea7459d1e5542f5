"""Pairs that may be one design: counted by hand, and as search groups them."""

import numpy as np
import pytest

from offline.evaluate.designs import measure_designs
from offline.evaluate.products import ProductTable
from services.contract.values import Gender
from services.search.catalogue.products import validate_product
from services.search.indexes.designs import MIN_SIMILARITY, designs_of

# Name, colour, angle in degrees: the similarity of two is the cosine of the angle between them.
PRODUCTS = (
    ("Harbour Red Tee", "Red", 0),
    ("Harbour Blue Tee", "Blue", 20),
    ("Harbour Black Tee", "Black", 43),
    # One colour twice, and unlike: the name is no design's.
    ("Velora Red Dress", "Red", 0),
    ("Velora Red Dress", "Red", 60),
    ("Velora Blue Dress", "Blue", 30),
    ("Alone Red Cap", "Red", 0),
    # Unlike in all but their name.
    ("Marlowe Red Bag", "Red", 0),
    ("Marlowe Blue Bag", "Blue", 90),
)


@pytest.fixture
def table() -> ProductTable:
    products = tuple(
        validate_product(
            id=str(number),
            gender=Gender.WOMEN,
            sub_category="Topwear",
            article_type=name.split()[-1],
            base_colour=colour,
            name=name,
        )
        for number, (name, colour, _) in enumerate(PRODUCTS)
    )
    angles = np.radians([angle for *_, angle in PRODUCTS])
    return ProductTable(products, np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16))


def test_pairs_are_counted_by_similarity(table: ProductTable) -> None:
    measured = measure_designs(table)
    assert measured.document() == {
        "products": {"all": 9, "of_several": 8},
        "names": {"all": 4, "of_several": 3, "of_designs": 2},
        "pairs": [
            # cos 20, cos 23; cos 43; cos 90.
            {"similarity": "0.9 to 1", "pairs": 2},
            {"similarity": "0.85 to 0.9", "pairs": 0},
            {"similarity": "0.8 to 0.85", "pairs": 0},
            {"similarity": "0.75 to 0.8", "pairs": 0},
            {"similarity": "0.7 to 0.75", "pairs": 1},
            {"similarity": "below 0.7", "pairs": 1},
        ],
    }
    assert {tuple(sorted(pair)) for pair in measured.pairs["0.9 to 1"]} == {(0, 1), (1, 2)}


def test_a_pair_above_the_threshold_is_one_design_to_search(table: ProductTable) -> None:
    measured = measure_designs(table)
    for pairs in measured.pairs.values():
        for pair in pairs:
            vectors = table.embeddings[list(pair)].astype(np.float32)
            similarities = vectors @ vectors.T
            found = designs_of([table.products[row].base_colour for row in pair], similarities)
            assert bool(found) == (similarities[0, 1] >= MIN_SIMILARITY)
