"""The report's protocol for retrieval, on both paths that serve users."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from offline.evaluate.products import ProductTable
from offline.evaluate.reported import Feature, Path, Scope
from offline.measure.metrics import (
    FREQUENT,
    MISSING,
    TOP_K,
    Codes,
    Flags,
    Interval,
    ShortAnswer,
    Values,
    agreement,
    average_precision,
    bootstrap_interval,
    counts_by,
    encode_labels,
    mean_where,
    normalised_gain,
    precision,
    within_tolerance,
)
from services.contract.errors import InvalidInput

TOLERANCES: Final = (0.0, 0.1, 0.2)
FEATURES: Final[tuple[Feature, ...]] = ("articleType", "gender", "both")
PATHS: Final[tuple[Path, ...]] = ("inventory", "photograph")
SCOPES: Final[tuple[Scope, ...]] = ("all", "types_500")
_CURVE: Final = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """The answers that users would see.

    Attributes:
        results: int64, shape (n, k), rows of the catalogue, the most similar first, MISSING where there are fewer.
        fell_back: queries that searched the whole inventory, because the catalogue has no product of their type.
    """

    results: Codes
    fell_back: int


class Service(Protocol):
    """The services over one catalogue, as an evaluation calls them."""

    def serve(self, path: Path, queries: ProductTable, k: int, advance: Callable[[int], None]) -> Served:
        """Answers queries as if the query's own product were not in the catalogue.

        Args:
            path: "inventory" searches the whole catalogue; "photograph" the derived type that the classifier finds.
            queries: the products to ask for.
            k: results per query at most.
            advance: takes how many more queries have an answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class PerformanceRow:
    """The report's measure: the share of queries whose results hold at most tolerance x k wrong ones.

    Attributes:
        path: the path of the queries.
        scope: all products, or article types with at least 500.
        feature: the label that makes a result right.
        tolerance: the share of the results that may be wrong.
        performance: share of queries, in [0, 1]; to the letter, a place without result is no wrong result.
        interval: 95 % confidence interval of the performance.
        performance_of_shown: the same, with at most tolerance x the number of results shown wrong. It is lower where
            short answers are wrong: a single wrong product is within a tolerance of 0.1, but it is the whole answer.
        performance_missing_wrong: the same, where a place without result counts as a wrong one.
        queries: the number of queries.
        short_answers: queries with fewer than k results.
    """

    path: Path
    scope: Scope
    feature: Feature
    tolerance: float
    performance: float
    interval: Interval
    performance_of_shown: float
    performance_missing_wrong: float
    queries: int
    short_answers: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over the queries of one path and scope, each in [0, 1].

    Attributes:
        path: the path of the queries.
        scope: all products, or article types with at least 500.
        queries: the number of queries.
        catalogue: the number of products searched.
        fell_back: queries that searched the whole inventory on the path "photograph".
        precision: by feature, the share of right results among those shown.
        mean_average_precision: by feature.
        curves: by feature, `performance_of_shown` for tolerances 0, 0.1, …, 1.
        ndcg: with grade 3 for derived type and colour family, 2 for the derived type, 1 for the article type.
        colour_agreement: the share of results of the query's main colour, over queries with a known colour.
        colour_family_agreement: the same for the colour's family.
        intervals: 95 % confidence intervals: "precision" and "mean_average_precision" of the feature "both", "ndcg",
            "colour_agreement", "colour_family_agreement".
    """

    path: Path
    scope: Scope
    queries: int
    catalogue: int
    fell_back: int
    precision: Mapping[Feature, float]
    mean_average_precision: Mapping[Feature, float]
    curves: Mapping[Feature, tuple[float, ...]]
    ndcg: float
    colour_agreement: float
    colour_family_agreement: float
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class RetrievalEvaluation:
    """All figures of retrieval, in the order of PATHS within SCOPES."""

    rows: tuple[PerformanceRow, ...]
    figures: tuple[Figures, ...]


def evaluate_retrieval(
    queries: ProductTable,
    catalogue: ProductTable,
    make_service: Callable[[ProductTable], Service],
    colour_family: Callable[[str], str],
    seed: int,
    advance: Callable[[int], None],
) -> RetrievalEvaluation:
    """Measures the answers to queries, on each path and in each scope.

    Args:
        queries: the products to ask for; the answer to a product of the catalogue leaves it out.
        catalogue: the products to search.
        make_service: puts the services over a catalogue; called once per scope.
        colour_family: returns the family of a colour.
        seed: seeds the confidence intervals.
        advance: takes how many more queries have an answer; in all, `work(…)` of them.

    Returns:
        The figures; none for a scope without queries, or with nothing to find.

    Raises:
        InvalidInput: EVALUATION_EMPTY, no scope has queries and something to find.
    """
    rows: list[PerformanceRow] = []
    figures: list[Figures] = []
    for scope in SCOPES:
        scope_queries, scope_catalogue = in_scope(scope, queries, catalogue)
        if not _can_answer(scope_queries, scope_catalogue):
            continue
        service = make_service(scope_catalogue)
        judge = _Judge(scope_queries, scope_catalogue, colour_family)
        for path in PATHS:
            served = service.serve(path, scope_queries, TOP_K, advance)
            rows += judge.rows(path, scope, served, seed)
            figures.append(judge.figures(path, scope, served, seed))
        # Two indexes of a large catalogue would take twice the memory.
        del service
    if not figures:
        raise InvalidInput(
            f"{len(queries)} queries and a catalogue of {len(catalogue)} products are too few to measure anything.",
            reason="EVALUATION_EMPTY",
        )
    return RetrievalEvaluation(tuple(rows), tuple(figures))


def _can_answer(queries: ProductTable, catalogue: ProductTable) -> bool:
    # A catalogue of one product has no answer for that product.
    return len(queries) > 0 and (len(catalogue) > 1 or bool(set(catalogue.ids) - set(queries.ids)))


def work(queries: ProductTable, catalogue: ProductTable) -> int:
    """Returns how many queries `evaluate_retrieval` will answer."""
    scopes = [in_scope(scope, queries, catalogue) for scope in SCOPES]
    return sum(len(PATHS) * len(of_scope) for of_scope, searched in scopes if _can_answer(of_scope, searched))


def in_scope(scope: Scope, queries: ProductTable, catalogue: ProductTable) -> tuple[ProductTable, ProductTable]:
    """Restricts queries and catalogue to a scope.

    The counts of types are over both together; a product of both counts once.
    """
    if scope == "all":
        return queries, catalogue
    known = set(catalogue.ids)
    counts = Counter(catalogue.article_types)
    counts.update(product.article_type for product in queries.products if product.id not in known)
    frequent = {article_type for article_type, count in counts.items() if count >= FREQUENT}
    return _of_types(queries, frequent), _of_types(catalogue, frequent)


def _of_types(table: ProductTable, article_types: set[str]) -> ProductTable:
    return table.take([row for row, product in enumerate(table.products) if product.article_type in article_types])


class _Judge:
    """Compares answers with the labels of queries and catalogue."""

    def __init__(self, queries: ProductTable, catalogue: ProductTable, colour_family: Callable[[str], str]) -> None:
        def families(colours: Sequence[str | None]) -> list[str | None]:
            return [None if colour is None else colour_family(colour) for colour in colours]

        self._labels: dict[str, tuple[Codes, Codes]] = {}
        for name, of_queries, of_catalogue in (
            ("articleType", queries.article_types, catalogue.article_types),
            ("gender", queries.genders, catalogue.genders),
            ("both", queries.derived_types, catalogue.derived_types),
            ("colour", queries.colours, catalogue.colours),
            ("family", families(queries.colours), families(catalogue.colours)),
        ):
            _, (query_codes, catalogue_codes) = encode_labels([*of_queries], [*of_catalogue])
            self._labels[name] = (query_codes, catalogue_codes)
        known = set(catalogue.ids)
        self._own = np.array([product.id in known for product in queries.products], dtype=np.int64)
        self._queries = len(queries)
        self._catalogue = len(catalogue)

    def rows(self, path: Path, scope: Scope, served: Served, seed: int) -> list[PerformanceRow]:
        cells = [(feature, tolerance) for feature in FEATURES for tolerance in TOLERANCES]
        right = {feature: self._right(feature, served.results) for feature in FEATURES}
        outcomes = np.stack(
            [within_tolerance(right[feature], served.results, tolerance) for feature, tolerance in cells], axis=1
        )
        short = int((served.results == MISSING).any(axis=1).sum())

        def within(feature: Feature, tolerance: float, reading: ShortAnswer) -> float:
            return float(within_tolerance(right[feature], served.results, tolerance, reading).mean())

        return [
            PerformanceRow(
                path=path,
                scope=scope,
                feature=feature,
                tolerance=tolerance,
                performance=float(outcomes[:, at].mean()),
                interval=interval,
                performance_of_shown=within(feature, tolerance, ShortAnswer.SHOWN),
                performance_missing_wrong=within(feature, tolerance, ShortAnswer.MISSING_WRONG),
                queries=self._queries,
                short_answers=short,
            )
            for at, ((feature, tolerance), interval) in enumerate(
                zip(cells, bootstrap_interval(outcomes, seed), strict=True)
            )
        ]

    def figures(self, path: Path, scope: Scope, served: Served, seed: int) -> Figures:
        results = served.results
        right = {feature: self._right(feature, results) for feature in FEATURES}
        precisions = {feature: precision(right[feature], results) for feature in FEATURES}
        averages = {feature: average_precision(right[feature], self._relevant(feature)) for feature in FEATURES}
        gains = self._gains(results)
        colour, colour_known = self._colour_agreement("colour", results)
        family, family_known = self._colour_agreement("family", results)
        columns = {
            "precision": precisions["both"],
            "mean_average_precision": averages["both"],
            "ndcg": gains,
        }
        intervals = dict(zip(columns, bootstrap_interval(np.stack(list(columns.values()), axis=1), seed), strict=True))
        (intervals["colour_agreement"],) = bootstrap_interval(colour[colour_known][:, None], seed)
        (intervals["colour_family_agreement"],) = bootstrap_interval(family[family_known][:, None], seed)
        return Figures(
            path=path,
            scope=scope,
            queries=self._queries,
            catalogue=self._catalogue,
            fell_back=served.fell_back,
            precision={feature: float(values.mean()) for feature, values in precisions.items()},
            mean_average_precision={feature: float(values.mean()) for feature, values in averages.items()},
            curves={
                feature: tuple(
                    float(within_tolerance(flags, results, step, ShortAnswer.SHOWN).mean()) for step in _CURVE
                )
                for feature, flags in right.items()
            },
            ndcg=float(gains.mean()),
            colour_agreement=mean_where(colour, colour_known),
            colour_family_agreement=mean_where(family, family_known),
            intervals=intervals,
        )

    def _right(self, name: str, results: Codes) -> Flags:
        queries, catalogue = self._labels[name]
        return agreement(queries, catalogue, results)

    def _relevant(self, name: str) -> Codes:
        """Counts the right products of the catalogue per query, without the query's own."""
        queries, catalogue = self._labels[name]
        return np.asarray(np.maximum(counts_by(queries, catalogue) - self._own, 0))

    def _colour_agreement(self, name: str, results: Codes) -> tuple[Values, Flags]:
        return precision(self._right(name, results), results), self._labels[name][0] != MISSING

    def _gains(self, results: Codes) -> Values:
        article, derived, family = (self._right(name, results) for name in ("articleType", "both", "family"))
        grades = np.where(derived, np.where(family, 3, 2), np.where(article, 1, 0))
        in_family = self._relevant_in_family()
        of_type = self._relevant("both")
        available = np.stack([self._relevant("articleType") - of_type, of_type - in_family, in_family], axis=1)
        return normalised_gain(grades, available)

    def _relevant_in_family(self) -> Codes:
        (types, catalogue_types), (families, catalogue_families) = self._labels["both"], self._labels["family"]
        size = int(max(families.max(initial=0), catalogue_families.max(initial=0))) + 1

        def joined(left: Codes, right: Codes) -> Codes:
            return np.asarray(np.where((left == MISSING) | (right == MISSING), MISSING, left * size + right))

        queries = joined(types, families)
        counted = counts_by(queries, joined(catalogue_types, catalogue_families))
        return np.asarray(np.maximum(counted - np.where(queries == MISSING, 0, self._own), 0))
