"""How many types an unsure query searches, and where nothing is like it."""

import json
from pathlib import Path

import pytest

from offline.dataset.labels import PhotographLabel
from offline.evaluate.coarse_types import CoarseTypes
from offline.evaluate.doubt import Asked, doubt_figures, doubt_page, searches
from tests.support.evaluated_shop import product, table
from tests.unit.offline.evaluate.test_served import CATALOGUE, service

PAGE = Path(__file__).parents[4] / "docs" / "evaluation"
# The last is nearer to the blouses than to the shirts that it is.
QUERIES = table(
    [product("q1", "Men Shirts"), product("q2", "Men Jeans", "Bottomwear"), product("q3", "Men Shirts")],
    [[1.0, 0.0, 0.12], [0.0, 1.0, 0.1], [1.0, 0.0, 0.7]],
)


def test_another_type_is_searched_where_the_first_is_wrong() -> None:
    of_catalogue, steps = service(CATALOGUE), list[int]()
    asked = Asked.studio(QUERIES)
    figures = doubt_figures([asked], CATALOGUE, of_catalogue, steps.append)
    assert sum(steps) == searches([asked])
    # One type is the same whatever counts as unsure.
    assert all(row["precision_1"] == pytest.approx(2 / 3) for row in figures["unsure"]["studio shots"])
    (limit, *_), like = figures["nearest_similarity"], figures["nothing_like_it"]["studio shots"]
    row = like["q01 of the catalogue"]
    assert row["similarity"] == limit
    # Without the coarse type of each, the nearest is far.
    assert row["said_where_it_is_there"] < row["said_where_it_is_not"] == 1


def test_of_photographs_an_article_type_that_the_label_may_mean_is_right() -> None:
    labels = {product_id: PhotographLabel("sender", "Shirt") for product_id in QUERIES.ids}
    asked = Asked.photographs(QUERIES, labels, CoarseTypes.load())
    assert asked.attribute == "article_type" and all("Shirts" in meant for meant in asked.meant)
    figures = doubt_figures([asked], CATALOGUE, service(CATALOGUE), lambda steps: None)
    # Blouses are shirts too, whoever they are for.
    assert figures["unsure"]["people's photographs"][0]["precision_1"] == 1


def test_the_page_is_that_of_its_figures() -> None:
    document = json.loads((PAGE / "doubt.json").read_text())
    assert doubt_page(document) == (PAGE / "doubt.md").read_text()
    assert max(map(len, (line for line in doubt_page(document).splitlines() if not line.startswith("|")))) <= 120
