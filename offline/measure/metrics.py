"""The figures of an evaluation as pure functions of labels and results.

Labels are integer codes; -1 is an unknown label, which agrees with nothing. Results are rows of positions in the
catalogue, the most similar first; -1 fills a row with fewer results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
Values = NDArray[np.float64]

MISSING = -1
# Results per query, and products that make an article type frequent (catalogue and queries together): the report's.
TOP_K = 10
FREQUENT = 500

_RESAMPLES_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, in the unit of its figure."""

    low: float
    high: float


def encode_labels(*columns: list[str | None]) -> tuple[tuple[str, ...], list[Codes]]:
    """Encodes the labels of several columns with one common code.

    Args:
        columns: labels; None for an unknown one.

    Returns:
        The labels in alphabetical order, and each column as int64 codes, MISSING for None.
    """
    labels = tuple(sorted({label for column in columns for label in column if label is not None}))
    code = {label: at for at, label in enumerate(labels)}
    return labels, [
        np.array([MISSING if label is None else code[label] for label in column], dtype=np.int64) for column in columns
    ]


def agreement(queries: Codes, catalogue: Codes, results: Codes) -> Flags:
    """Tells which results carry the label of their query.

    Args:
        queries: int64, shape (n,), the queries' labels.
        catalogue: int64, shape (m,), the catalogue's labels.
        results: int64, shape (n, k), positions in the catalogue, MISSING where there are fewer.

    Returns:
        bool, shape (n, k); False without a result, and for an unknown label.
    """
    labels = np.where(results == MISSING, MISSING, catalogue[results])
    return np.asarray((labels == queries[:, None]) & (labels != MISSING))


def right_results(
    queries: Sequence[str | None], catalogue: Sequence[str | None], results: Codes
) -> tuple[Flags, Flags]:
    """Tells which results carry the label of their query, and which queries have a label.

    Args:
        queries: n labels; None where a label is not known.
        catalogue: the catalogue's labels.
        results: int64, shape (n, k), positions in the catalogue, MISSING where there are fewer.

    Returns:
        bool, shape (n, k), as `agreement` says, and bool, shape (n,).
    """
    _, (query_codes, catalogue_codes) = encode_labels([*queries], [*catalogue])
    return agreement(query_codes, catalogue_codes, results), query_codes != MISSING


def all_right(right: Flags, results: Codes) -> Flags:
    """Tells which queries have no wrong result, and at least one result: bool, shape (n,)."""
    return within_tolerance(right, results, 0.0)


class ShortAnswer(Enum):
    """How the tolerance applies to an answer of fewer than k results.

    Attributes:
        PLACES: at most tolerance x k wrong results, the report's measure to the letter. A single wrong result, alone,
            passes from tolerance 1 / k on.
        SHOWN: at most tolerance x the number of results that a user sees.
        MISSING_WRONG: at most tolerance x k wrong results, where a place without result is a wrong one.
    """

    PLACES = "places"
    SHOWN = "shown"
    MISSING_WRONG = "missing wrong"


def within_tolerance(right: Flags, results: Codes, tolerance: float, short: ShortAnswer = ShortAnswer.PLACES) -> Flags:
    """Tells which queries pass the report's measure: at most tolerance x k of the results are wrong.

    Args:
        right: bool, shape (n, k), which results are right.
        results: int64, shape (n, k), MISSING where there are fewer.
        tolerance: the share in [0, 1] that may be wrong.
        short: how to judge an answer of fewer than k results.

    Returns:
        bool, shape (n,). A query without any result never passes.
    """
    shown = results != MISSING
    wrong = (~right if short is ShortAnswer.MISSING_WRONG else shown & ~right).sum(axis=1)
    places = shown.sum(axis=1) if short is ShortAnswer.SHOWN else right.shape[1]
    # In floats, 0.3 x 10 is just below 3.
    return np.asarray((wrong <= tolerance * places + 1e-9) & shown.any(axis=1))


def precision(right: Flags, results: Codes) -> Values:
    """Returns the share of right results among those shown.

    Args:
        right: bool, shape (n, k), which results are right.
        results: int64, shape (n, k), MISSING where there are fewer.

    Returns:
        float64, shape (n,), in [0, 1]; 0 for a query without any result.
    """
    shown = (results != MISSING).sum(axis=1)
    return np.asarray(right.sum(axis=1) / np.maximum(shown, 1), dtype=np.float64)


def average_precision(right: Flags, relevant: Codes) -> Values:
    """Returns the average precision at k: the mean of the precision at the rank of each right result.

    The divisor is the number of right results that k places can hold, so that a perfect row has 1
    (Manning, Raghavan, Schütze: Introduction to Information Retrieval, 2008, 8.4).

    Args:
        right: bool, shape (n, k), which results are right.
        relevant: int64, shape (n,), the number of right products in the catalogue.

    Returns:
        float64, shape (n,), in [0, 1]; 0 where the catalogue holds no right one.
    """
    ranks = np.arange(1, right.shape[1] + 1)
    at_rank = np.where(right, np.cumsum(right, axis=1) / ranks, 0.0).sum(axis=1)
    return np.asarray(at_rank / np.maximum(np.minimum(relevant, right.shape[1]), 1), dtype=np.float64)


def normalised_gain(grades: Codes, available: Codes) -> Values:
    """Returns the normalised discounted cumulative gain at k, with gain 2^grade - 1 (Burges et al., ICML 2005).

    Args:
        grades: int64, shape (n, k), the grade of each result, 0 for an irrelevant or missing one.
        available: int64, shape (n, g), the number of products of grade 1, 2, …, g in the catalogue per query.

    Returns:
        float64, shape (n,), in [0, 1], 1 for the best possible row; 0 where the catalogue holds nothing relevant.
    """
    k = grades.shape[1]
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gained = ((2.0**grades - 1.0) * discounts).sum(axis=1)
    # In the best row, each grade fills the places after the better grades.
    cumulated = np.concatenate([[0.0], np.cumsum(discounts)])
    best = np.zeros(len(grades))
    start = np.zeros(len(grades), dtype=np.int64)
    for grade in range(available.shape[1], 0, -1):
        end = np.minimum(start + available[:, grade - 1], k)
        best += (2.0**grade - 1.0) * (cumulated[end] - cumulated[start])
        start = end
    return np.asarray(np.divide(gained, best, out=np.zeros_like(best), where=best > 0), dtype=np.float64)


def confusion_matrix(truth: Codes, predicted: Codes, classes: int) -> NDArray[np.int64]:
    """Counts how often each class was predicted as each class.

    Args:
        truth: int64, shape (n,), in [0, classes).
        predicted: int64, shape (n,), in [0, classes).
        classes: the number of classes.

    Returns:
        int64, shape (classes, classes): rows are the truth, columns the prediction.
    """
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def f1_by_class(confusion: NDArray[np.int64]) -> Values:
    """Returns the harmonic mean of precision and recall per class.

    Args:
        confusion: int64, shape (classes, classes), rows are the truth.

    Returns:
        float64, shape (classes,), in [0, 1]; NaN for a class that the truth does not hold.
    """
    hits = np.diagonal(confusion)
    support = confusion.sum(axis=1)
    total = support + confusion.sum(axis=0)
    return np.where(support > 0, 2.0 * hits / np.maximum(total, 1), np.nan)


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Returns the unweighted mean F1 of the classes that the truth holds; 0 where it holds none."""
    scores = f1_by_class(confusion)
    known = ~np.isnan(scores)
    return float(scores[known].mean()) if known.any() else 0.0


def bootstrap_interval(
    values: NDArray[np.generic], seed: int, resamples: int = 1000, groups: Codes | None = None
) -> list[Interval]:
    """Returns 95 % confidence intervals of means, by the percentile bootstrap over queries (Efron, 1979).

    Args:
        values: shape (n, m): m figures of n queries; all figures use the same resamples.
        seed: the same seed gives the same intervals.
        resamples: the number of draws with replacement.
        groups: int64, shape (n,), at least 0, the group of each query where queries of a group resemble one another:
            whole groups are drawn. None to draw single queries.

    Returns:
        m intervals; NaN to NaN without queries.
    """
    figures = values.shape[1]
    if not len(values):
        return [Interval(float("nan"), float("nan"))] * figures
    random = np.random.default_rng(seed)
    numbers, sizes = values.astype(np.float32), np.ones(len(values), dtype=np.float32)
    if groups is not None:
        _, places = np.unique(groups, return_inverse=True)
        sizes = np.bincount(places).astype(np.float32)
        sums = np.zeros((len(sizes), figures), dtype=np.float32)
        np.add.at(sums, places, numbers)
        numbers = sums
    count = len(sizes)
    means = np.empty((resamples, figures))
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        weights = np.empty((size, count), dtype=np.float32)
        for row in weights:
            row[:] = np.bincount(random.integers(0, count, count), minlength=count)
        means[start : start + size] = weights @ numbers / (weights @ sizes)[:, None]
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def mean_where(values: Values, known: Flags) -> float:
    """Returns the mean of the known values; 0 where none is known."""
    return float(values[known].mean()) if known.any() else 0.0


def counts_by(columns: Codes, catalogue: Codes) -> Codes:
    """Counts the products of the catalogue with the label of each query; 0 for MISSING."""
    size = int(max(columns.max(initial=MISSING), catalogue.max(initial=MISSING))) + 1
    counts = np.bincount(catalogue[catalogue != MISSING], minlength=max(size, 1))
    return np.where(columns == MISSING, 0, counts[columns])


def vote(labels: Codes, results: Codes, weights: NDArray[np.floating] | None = None) -> Codes:
    """Returns the most frequent label of each query's results; of equally frequent ones that of the most similar.

    Args:
        labels: int64, shape (m,), the catalogue's labels, all known.
        results: int64, shape (n, k), the most similar first, MISSING where there are fewer.
        weights: at least 0, shape (n, k), the weight of each vote; None for 1 each.

    Returns:
        int64, shape (n,); MISSING for a query without any result.
    """
    votes = np.where(results == MISSING, MISSING, labels[results])
    weights = np.ones(results.shape) if weights is None else weights
    # Per result, the weight of all results of the row with the same label.
    counts = ((votes[:, :, None] == votes[:, None, :]) * weights[:, None, :]).sum(axis=2)
    counts[votes == MISSING] = 0
    # argmax takes the first of equal ones, which is the most similar.
    return np.asarray(votes[np.arange(len(votes)), counts.argmax(axis=1)])
