"""How often labels are found, by each way, on a few products."""

import numpy as np
import pytest

from offline.evaluate.classification import (
    evaluate_classification,
    evaluate_unknown_types,
    label_figures,
    neighbour_weights,
)
from offline.evaluate.documents import Inputs, classification_document
from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService, unit
from offline.measure.metrics import MISSING, vote
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.contract.values import parse_derived_type
from services.search.indexes.faiss import FaissIndex
from tests.support.evaluated_shop import DIMENSION, product, table
from tests.unit.offline.evaluate.test_served import CATALOGUE, service


def head(*labels: str) -> LabelHead:
    """A head whose labels lie on the axes, in their order."""
    return LabelHead(labels, np.eye(len(labels), DIMENSION, dtype=np.float32), 20.0)


HEADS = {
    "subCategory": head("Topwear", "Bottomwear"),
    "gender": head("Women", "Men"),
    "derivedType": head("Men Shirts", "Men Jeans"),
}
QUERIES = table(
    [product("q0", "Men Shirts"), product("q1", "Women Shirts"), product("q2", "Men Jeans", "Bottomwear")],
    [[1.0, 0.0, 0.1], [1.0, 0.0, 0.2], [0.1, 1.0]],
)


def evaluate(queries=QUERIES):
    return evaluate_classification(queries, CATALOGUE, service(CATALOGUE), HEADS, 0, lambda steps: None)


def test_each_label_is_found_as_users_are_told_it() -> None:
    found = evaluate()

    # The blouse among the shirts is told to be a shirt for men: right in subCategory and article type alone.
    assert found.queries == 3
    assert found.sub_category.accuracy == 1.0
    assert found.article_type.accuracy == 1.0
    assert found.gender.accuracy == pytest.approx(2 / 3)
    assert found.derived_type.accuracy == pytest.approx(2 / 3)


def test_other_ways_are_compared_where_there_are_any() -> None:
    found = evaluate()

    assert found.derived_type.method == "service"
    assert found.derived_type.by_method.keys() == {"service", "candidates", "head", "neighbours"}
    assert found.derived_type.by_method["head"] == pytest.approx(2 / 3)
    # The head takes what points up the first axis for women.
    assert found.gender.by_method["head"] == pytest.approx(2 / 3)
    assert "head" not in found.article_type.by_method
    # All eight products of the catalogue are neighbours, most of them shirts for men; the most similar ones decide.
    assert found.derived_type.by_method["neighbours"] == pytest.approx(2 / 3)


def test_types_that_the_head_forgets_are_found_by_candidates() -> None:
    kinds = [f"Men Kind{at}" for at in range(10)]
    rows = np.eye(10, 16)
    catalogue = ProductTable(tuple(product(f"c{at}", kind) for at, kind in enumerate(kinds)), rows.astype(np.float32))
    queries = ProductTable(tuple(product(f"q{at}", kind) for at, kind in enumerate(kinds)), rows.astype(np.float32))
    # A head that is always wrong, where it is asked; candidates that are always right.
    wrong = LabelHead(tuple(kinds), np.roll(rows, 1, axis=0).astype(np.float32), 20.0)
    nothing = LabelHead((), np.zeros((0, 16), np.float32), 1.0)
    model = ClassifierModel("v1", 16, nothing, wrong, tuple(parse_derived_type(kind) for kind in kinds))
    whole = LocalService(catalogue, model, FaissIndex(16), threads=1)

    found = evaluate_unknown_types(queries, catalogue, whole, {"derivedType": wrong}, 0)

    assert found is not None
    assert (found.draws, found.share) == (5, 0.2)
    assert (found.unknown, found.unknown_with_head) == (1.0, 0.0)
    assert found.known_with_head == 0.0
    assert found.taken_for_unknown == 0.0


def test_no_centroid_is_asked_about_a_product_that_it_is_made_of() -> None:
    assert "candidates" not in evaluate(CATALOGUE.take([0, 7])).derived_type.by_method


def test_classes_and_macro_f1() -> None:
    figures = label_figures(["a", "a", "b"], ["a", "b", "c"], {"served": ["a", "b", "b"], "other": ["a", None, "b"]}, 0)

    assert figures.classes == 3
    assert figures.classes_of_queries == 2
    # a: precision 1, recall 1/2; b: precision 1/2, recall 1.
    assert figures.macro_f1 == pytest.approx(2 / 3)
    assert figures.by_method == pytest.approx({"served": 2 / 3, "other": 2 / 3})
    assert figures.labels == ("a", "b")
    assert figures.confusion.tolist() == [[1, 1], [0, 1]]


def test_the_worst_labels_are_those_with_the_lowest_f1_and_enough_queries() -> None:
    truth = ["good"] * 3 + ["bad"] * 3 + ["rare"]
    figures = label_figures(truth, [], {"served": ["good"] * 3 + ["good", "bad", "bad"] + ["good"]}, 0)

    assert [label for label, _, _ in figures.worst(5, at_least=3)] == ["good", "bad"]
    assert [label for label, _, _ in figures.worst(1, at_least=1)] == ["rare"]


def test_the_vote_goes_to_the_most_frequent_then_to_the_nearest() -> None:
    labels = np.array([0, 1, 1, 2])
    results = np.array([[0, 1, 2, 3], [3, 0, MISSING, MISSING], [MISSING] * 4])

    assert vote(labels, results).tolist() == [1, 2, MISSING]
    weights = np.array([[0.9, 0.3, 0.3, 0.1], [0.1, 0.2, 0.0, 0.0], [0.0] * 4])
    assert vote(labels, results, weights).tolist() == [0, 0, MISSING]


def test_a_neighbour_counts_the_less_the_less_similar_it_is() -> None:
    results = np.array([[0, 1, MISSING]] * len(QUERIES))
    weights = neighbour_weights(QUERIES, CATALOGUE, results)
    near = unit(CATALOGUE.embeddings[:2]) @ unit(QUERIES.embeddings).T
    np.testing.assert_allclose(weights[:, 1], np.exp((near[1] - near[0]) / 0.06), rtol=1e-4)
    assert (weights[:, 0] == 1).all() and (weights[:, 2] == 0).all()


def test_the_document_holds_the_contract() -> None:
    document = classification_document(evaluate(), Inputs.of(QUERIES, CATALOGUE, False, ("fake", "v1"), seed=0))

    assert (document["queries"], document["model_version"]) == (3, "v1")
    assert document["subCategory"]["accuracy"] == 1.0
    for label in ("subCategory", "articleType", "gender", "derivedType"):
        assert {"accuracy", "macro_f1", "classes", "low", "high", "by_method"} <= document[label].keys()
    assert document["derivedType"]["method"] == "service"
    assert document["derivedType"]["by_method"]["service"] == document["derivedType"]["accuracy"]
    confused = [cell for cell in document["gender"]["confusion"] if cell["truth"] != cell["found"]]
    assert confused == [{"truth": "Women", "found": "Men", "queries": 1}]
