"""What users would be shown, by the real index, candidates and classifier over a few products."""

from dataclasses import replace

import numpy as np

from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from offline.measure.metrics import MISSING
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.contract.values import parse_derived_type
from services.search.indexes.faiss import FaissIndex
from tests.support.evaluated_shop import DIMENSION, product, table


def model() -> ClassifierModel:
    weights = np.zeros((2, DIMENSION), dtype=np.float32)
    weights[0, 0] = weights[1, 1] = 1.0
    nothing = LabelHead((), np.zeros((0, DIMENSION), dtype=np.float32), 1.0)
    return ClassifierModel("v1", DIMENSION, LabelHead(("Topwear", "Bottomwear"), weights, 20.0), nothing, ())


def service(catalogue: ProductTable) -> LocalService:
    return LocalService(catalogue, model(), FaissIndex(DIMENSION), threads=2)


def serve(catalogue: ProductTable, queries: ProductTable, path: str, k: int = 10) -> list[list[str]]:
    results = service(catalogue).serve(path, queries, k, lambda steps: None).results
    return [[catalogue.products[row].id for row in found if row != MISSING] for found in results.tolist()]


SHIRTS = [product(f"shirt{at}", "Men Shirts") for at in range(4)]
BLOUSES = [product(f"blouse{at}", "Women Shirts") for at in range(3)]
JEANS = [product("jeans0", "Men Jeans", "Bottomwear")]
CATALOGUE = table(
    [*SHIRTS, *BLOUSES, *JEANS],
    [
        [1.0, 0.0, 0.00],
        [1.0, 0.0, 0.10],
        [1.0, 0.0, 0.20],
        [1.0, 0.0, 0.30],
        [1.0, 0.0, 0.80],
        [1.0, 0.0, 0.90],
        [1.0, 0.0, 1.00],
        [0.1, 1.0, 0.00],
    ],
)


def test_the_inventory_is_searched_whole_and_in_order() -> None:
    queries = table([product("q", "Men Shirts")], [[1.0, 0.0, 0.12]])

    assert serve(CATALOGUE, queries, "inventory", k=3) == [["shirt1", "shirt2", "shirt0"]]
    assert len(serve(CATALOGUE, queries, "inventory")[0]) == 8


def test_a_photograph_searches_the_derived_type_that_the_classifier_finds() -> None:
    queries = table([product("q", "Men Shirts")], [[1.0, 0.0, 0.7]])

    # Nearer to the blouses, whatever its label: the classifier decides, as it does for users.
    assert serve(CATALOGUE, queries, "photograph") == [["blouse0", "blouse1", "blouse2"]]


def test_a_products_own_place_is_left_out_on_both_paths() -> None:
    queries = CATALOGUE.take([1])

    assert "shirt1" not in serve(CATALOGUE, queries, "inventory")[0]
    assert sorted(serve(CATALOGUE, queries, "photograph")[0]) == ["shirt0", "shirt2", "shirt3"]


def test_others_are_left_out_of_an_answer_where_they_are_named() -> None:
    queries = CATALOGUE.take([1, 2])

    results = (
        service(CATALOGUE).serve("inventory", queries, 10, lambda steps: None, [{"shirt0", "blouse1"}, {}]).results
    )

    answers = [[CATALOGUE.products[row].id for row in found if row != MISSING] for found in results.tolist()]
    assert {"shirt1", "shirt0", "blouse1"}.isdisjoint(answers[0])
    assert len(answers[0]) == 5
    assert len(answers[1]) == 7


def test_the_last_of_a_type_is_neither_recognised_by_itself_nor_left_without_answer() -> None:
    queries = CATALOGUE.take([7])

    found = service(CATALOGUE).classify(queries)[0]

    # Without it, the catalogue has no trousers at all.
    assert found.derived_types[0].label != "Men Jeans"
    assert serve(CATALOGUE, queries, "photograph")[0]


def test_a_product_is_not_recognised_by_itself() -> None:
    whole = service(CATALOGUE)
    own = whole.classify(CATALOGUE.take([3]))[0].derived_types[0].similarity
    stranger = table([product("stranger", "Men Shirts")], [CATALOGUE.embeddings[3].tolist()])

    # The others' mean is further off than the mean that it is part of.
    assert own < whole.classify(stranger)[0].derived_types[0].similarity


def test_all_products_of_the_catalogue_are_classified_as_if_each_were_not_there() -> None:
    whole = service(CATALOGUE).classify(CATALOGUE)

    for row in range(len(CATALOGUE)):
        rest = CATALOGUE.take([other for other in range(len(CATALOGUE)) if other != row])
        alone = service(rest).classify(CATALOGUE.take([row]))[0]
        assert whole[row].derived_types == alone.derived_types
        assert whole[row].sub_categories == alone.sub_categories


def test_a_type_without_another_product_falls_back_to_the_inventory() -> None:
    # Candidates of an earlier state still name a type that the catalogue has no product of any more.
    earlier = table(
        [product("only", "Men Shirts"), product("other", "Women Shirts")], [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    )
    now = service(earlier.take([1]))
    now.candidates = service(earlier).candidates

    served = now.serve("photograph", earlier.take([0]), 10, lambda steps: None)

    assert served.results[0].tolist() == [0, *[MISSING] * 9]
    assert served.fell_back == 1


def test_work_done_is_reported() -> None:
    steps: list[int] = []
    queries = CATALOGUE.take([0, 1, 2])

    service(CATALOGUE).serve("inventory", queries, 10, steps.append)

    assert sum(steps) == 3


def test_candidates_alone_answer_as_if_no_head_knew_the_types() -> None:
    known = LabelHead(("Men Shirts", "Women Shirts"), np.eye(2, DIMENSION, dtype=np.float32), 20.0)
    kinds = tuple(parse_derived_type(label) for label in known.labels)
    whole = LocalService(CATALOGUE, replace(model(), derived_type=known, kinds=kinds), FaissIndex(DIMENSION), threads=1)
    queries = table([product("q", "Men Shirts")], [[1.0, 0.0, 0.9]])

    assert whole.classify(queries)[0].derived_types[0].label == "Men Shirts"
    assert whole.derived_types(queries, trained=()) == ["Women Shirts"]
