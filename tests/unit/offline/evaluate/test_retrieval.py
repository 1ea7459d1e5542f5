"""The protocol for retrieval: scopes, rows and figures, with answers written by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from offline.evaluate.documents import Inputs, retrieval_document
from offline.evaluate.products import ProductTable
from offline.evaluate.retrieval import Served, evaluate_retrieval, in_scope, work
from offline.measure.metrics import FREQUENT, MISSING
from services.contract.errors import InvalidInput
from services.search.filters.colours import family_of
from tests.support.evaluated_shop import product, table


class ScriptedService:
    """Gives scripted answers, and records the calls."""

    def __init__(self, results: np.ndarray, fell_back: int = 0) -> None:
        self._served = Served(results, fell_back)
        self.calls: list[tuple[str, int]] = []

    def serve(self, path: str, queries: ProductTable, k: int, advance: Callable[[int], None]) -> Served:
        self.calls.append((path, k))
        advance(len(queries))
        return self._served


def many(kind: str, count: int, start: int = 0) -> ProductTable:
    return table([product(f"{kind}-{at}", kind) for at in range(start, start + count)], [[1.0]] * count)


def joined(*tables: ProductTable) -> ProductTable:
    return ProductTable(
        tuple(one for part in tables for one in part.products), np.concatenate([part.embeddings for part in tables])
    )


def shop() -> tuple[ProductTable, ProductTable]:
    catalogue = table(
        [
            product("c0", "Men Shirts", colour="Blue"),
            product("c1", "Men Shirts", colour="Navy Blue"),
            product("c2", "Women Shirts", colour="Blue"),
            product("c3", "Men Belts", "Belts"),
        ],
        [[1.0]] * 4,
    )
    queries = table([product("q0", "Men Shirts", colour="Blue"), product("q1", "Men Belts", "Belts")], [[1.0]] * 2)
    return queries, catalogue


def ten(*rows: int) -> list[int]:
    return [*rows, *[MISSING] * (10 - len(rows))]


def evaluate(results: np.ndarray, queries: ProductTable, catalogue: ProductTable):
    service = ScriptedService(results)
    return evaluate_retrieval(queries, catalogue, lambda _: service, family_of, 0, lambda steps: None)


def test_performance_is_the_share_of_queries_within_the_tolerance() -> None:
    queries, catalogue = shop()

    found = evaluate(np.array([ten(0, 1, 2), ten(3, 0, 1)]), queries, catalogue)

    performance = {(row.path, row.feature, row.tolerance): row.performance for row in found.rows}
    # The shirt has one wrong gender and no wrong article type; the belt two wrong article types and no wrong gender.
    assert performance["inventory", "articleType", 0.0] == 0.5
    assert performance["inventory", "articleType", 0.1] == 0.5
    assert performance["inventory", "articleType", 0.2] == 1.0
    assert performance["inventory", "gender", 0.0] == 0.5
    assert performance["inventory", "gender", 0.1] == 1.0
    assert performance["inventory", "both", 0.0] == 0.0
    assert performance["inventory", "both", 0.1] == 0.5
    assert performance["inventory", "both", 0.2] == 1.0


def test_rows_cover_paths_features_and_tolerances_and_tell_short_answers() -> None:
    queries, catalogue = shop()

    found = evaluate(np.array([ten(0, 1), ten(3)]), queries, catalogue)

    # Article types of four products are none of at least 500: only the scope "all" can be measured.
    assert [(row.path, row.scope, row.feature, row.tolerance) for row in found.rows] == [
        (path, "all", feature, tolerance)
        for path in ("inventory", "photograph")
        for feature in ("articleType", "gender", "both")
        for tolerance in (0.0, 0.1, 0.2)
    ]
    assert {row.short_answers for row in found.rows} == {2}
    assert {row.queries for row in found.rows} == {2}
    assert {row.performance for row in found.rows} == {1.0}
    assert {row.performance_missing_wrong for row in found.rows} == {0.0}


def test_figures_of_one_path() -> None:
    queries, catalogue = shop()

    figures = evaluate(np.array([ten(0, 2, 1), ten(3, 0)]), queries, catalogue).figures[0]

    assert figures.precision == {
        "articleType": 0.75,
        "gender": pytest.approx((2 / 3 + 1) / 2),
        "both": pytest.approx(7 / 12),
    }
    # The shirt's right ones stand at ranks 1 and 3 of the catalogue's two; the belt's only one at rank 1.
    assert figures.mean_average_precision["both"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    # The belt's own colour is not known, so it does not count: two of three are blue, and all three of the family.
    assert figures.colour_agreement == pytest.approx(2 / 3)
    assert figures.colour_family_agreement == 1.0
    assert figures.curves["both"][0] == 0.0
    assert figures.curves["both"][10] == 1.0


def test_the_best_possible_answer_has_a_normalised_gain_of_one() -> None:
    queries, catalogue = shop()

    assert evaluate(np.array([ten(0, 1, 2), ten(3)]), queries, catalogue).figures[0].ndcg == pytest.approx(1.0)
    assert evaluate(np.array([ten(2, 0, 1), ten(3)]), queries, catalogue).figures[0].ndcg < 0.95


def test_a_products_own_place_in_the_catalogue_is_not_missed() -> None:
    _, catalogue = shop()
    queries = catalogue.take([0])

    # The only other shirt for men is found first: nothing better was to be had.
    figures = evaluate(np.array([ten(1)]), queries, catalogue).figures[0]

    assert figures.mean_average_precision["both"] == 1.0


def test_frequent_types_are_counted_over_both_sides_and_restrict_both() -> None:
    catalogue = joined(many("Men Shirts", 300), many("Women Shirts", 100), many("Men Belts", FREQUENT - 1))
    queries = joined(many("Men Shirts", 100, start=1000), many("Men Socks", 3, start=1000))

    of_scope, searched = in_scope("types_500", queries, catalogue)

    assert {one.article_type for one in of_scope.products} == {"Shirts"}
    assert len(searched) == 400


def test_a_product_on_both_sides_counts_once() -> None:
    catalogue = many("Men Shirts", FREQUENT - 1)

    assert len(in_scope("types_500", catalogue, catalogue)[1]) == 0
    assert len(in_scope("types_500", many("Men Shirts", FREQUENT), catalogue)[1]) == FREQUENT - 1


def test_each_scope_is_served_on_both_paths() -> None:
    catalogue = many("Men Shirts", FREQUENT)
    queries = many("Men Shirts", 2, start=1000)
    services: list[ScriptedService] = []
    answered: list[int] = []

    def make(searched: ProductTable) -> ScriptedService:
        assert len(searched) == FREQUENT
        services.append(ScriptedService(np.zeros((2, 10), dtype=np.int64)))
        return services[-1]

    found = evaluate_retrieval(queries, catalogue, make, family_of, 0, answered.append)

    assert [service.calls for service in services] == [[("inventory", 10), ("photograph", 10)]] * 2
    assert len(found.rows) == 36
    assert sum(answered) == work(queries, catalogue) == 8


def test_nothing_to_find_is_refused() -> None:
    alone = many("Men Shirts", 1)

    with pytest.raises(InvalidInput, match="too few"):
        evaluate(np.zeros((1, 10), dtype=np.int64), alone, alone)


def test_the_document_holds_the_contract() -> None:
    queries, catalogue = shop()
    found = evaluate(np.array([ten(0, 1, 2), ten(3, 0, 1)]), queries, catalogue)

    document = retrieval_document(found, Inputs.of(queries, catalogue, False, ("fake", "v1"), seed=0))

    assert (document["queries"], document["catalogue"], document["top_k"]) == (2, 4, 10)
    assert document["model_version"] == "v1"
    row = document["rows"][0]
    assert {"path", "scope", "feature", "tolerance", "performance", "queries"} <= row.keys()
    assert document["precision_at_10"].keys() == {"articleType", "gender", "both"}
    assert document["colour_agreement_at_10"] == pytest.approx(2 / 3)
    assert row["low"] <= row["performance"] <= row["high"]


def test_no_known_colour_is_no_interval_rather_than_no_json() -> None:
    catalogue = many("Men Shirts", 3)
    found = evaluate(np.array([ten(0, 1, 2)]), many("Men Shirts", 1, start=9), catalogue)

    document = retrieval_document(found, Inputs.of(catalogue, catalogue, True, ("fake", "v1"), seed=0))

    assert document["figures"][0]["intervals"]["colour_agreement"] == {"low": None, "high": None}
    assert document["colour_agreement_at_10"] == 0.0
