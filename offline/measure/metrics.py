"""The figures of an evaluation as pure functions of labels and results.

Labels are integer codes; -1 stands for a label that is not known, which agrees with nothing. Results are rows of
positions in the catalogue, the most similar first; -1 fills the places of a row that fewer results came back for.
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
    """A confidence interval, in the unit of the figure that it belongs to."""

    low: float
    high: float


def encode_labels(*columns: list[str | None]) -> tuple[tuple[str, ...], list[Codes]]:
    """Gives the labels of several columns one common code.

    Args:
        columns: labels; None where a label is not known.

    Returns:
        The labels in alphabetical order, and each column as codes, int64, MISSING where it holds None.
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
        bool, shape (n, k); False where there is no result, or where a label is not known.
    """
    found = np.where(results == MISSING, MISSING, catalogue[results])
    return np.asarray((found == queries[:, None]) & (found != MISSING))


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
    """How an answer of fewer than k results is held against the tolerance.

    Attributes:
        PLACES: at most tolerance x k wrong results, however few are shown: the report's measure to the letter. One
            wrong result on its own passes from tolerance 1 / k on.
        SHOWN: at most tolerance x the number shown: the share of wrong ones among what a user sees.
        MISSING_WRONG: at most tolerance x k wrong results, a place without result being one.
    """

    PLACES = "places"
    SHOWN = "shown"
    MISSING_WRONG = "missing wrong"


def within_tolerance(right: Flags, results: Codes, tolerance: float, short: ShortAnswer = ShortAnswer.PLACES) -> Flags:
    """Tells for which queries the report's measure holds: at most tolerance x k of the results are wrong.

    Args:
        right: bool, shape (n, k), which results are right.
        results: int64, shape (n, k), MISSING where there are fewer.
        tolerance: share in [0, 1] that may be wrong.
        short: what to make of answers of fewer than k results.

    Returns:
        bool, shape (n,). A query without any result is never within.
    """
    shown = results != MISSING
    wrong = (~right if short is ShortAnswer.MISSING_WRONG else shown & ~right).sum(axis=1)
    places = shown.sum(axis=1) if short is ShortAnswer.SHOWN else right.shape[1]
    # A hair more: 0.3 x 10 is a hair below 3.
    return np.asarray((wrong <= tolerance * places + 1e-9) & shown.any(axis=1))


def precision(right: Flags, results: Codes) -> Values:
    """The share of right results among those shown.

    Args:
        right: bool, shape (n, k), which results are right.
        results: int64, shape (n, k), MISSING where there are fewer.

    Returns:
        float64, shape (n,), in [0, 1]; 0 for a query without any result.
    """
    shown = (results != MISSING).sum(axis=1)
    return np.asarray(right.sum(axis=1) / np.maximum(shown, 1), dtype=np.float64)


def average_precision(right: Flags, relevant: Codes) -> Values:
    """Average precision at k: the precision at the rank of each right result, averaged.

    The sum is divided by how many right results k places could have held, so that a perfect row has 1
    (Manning, Raghavan, Schütze: Introduction to Information Retrieval, 2008, 8.4).

    Args:
        right: bool, shape (n, k), which results are right.
        relevant: int64, shape (n,), how many right ones the catalogue holds.

    Returns:
        float64, shape (n,), in [0, 1]; 0 where the catalogue holds no right one.
    """
    ranks = np.arange(1, right.shape[1] + 1)
    at_rank = np.where(right, np.cumsum(right, axis=1) / ranks, 0.0).sum(axis=1)
    return np.asarray(at_rank / np.maximum(np.minimum(relevant, right.shape[1]), 1), dtype=np.float64)


def normalised_gain(grades: Codes, available: Codes) -> Values:
    """Normalised discounted cumulative gain at k with gain 2^grade - 1 (Burges et al., ICML 2005).

    Args:
        grades: int64, shape (n, k), the grade of each result, 0 for an irrelevant or missing one.
        available: int64, shape (n, g), how many products of grade 1, 2, …, g the catalogue holds for each query.

    Returns:
        float64, shape (n,), in [0, 1], 1 for the best possible row; 0 where the catalogue holds nothing relevant.
    """
    k = grades.shape[1]
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gained = ((2.0**grades - 1.0) * discounts).sum(axis=1)
    # Discounts of the places that a grade fills in the best row: from the end of the better grades on.
    cumulated = np.concatenate([[0.0], np.cumsum(discounts)])
    best = np.zeros(len(grades))
    start = np.zeros(len(grades), dtype=np.int64)
    for grade in range(available.shape[1], 0, -1):
        end = np.minimum(start + available[:, grade - 1], k)
        best += (2.0**grade - 1.0) * (cumulated[end] - cumulated[start])
        start = end
    return np.asarray(np.divide(gained, best, out=np.zeros_like(best), where=best > 0), dtype=np.float64)


def confusion_matrix(truth: Codes, predicted: Codes, classes: int) -> NDArray[np.int64]:
    """Counts how often each class was taken for each.

    Args:
        truth: int64, shape (n,), in [0, classes).
        predicted: int64, shape (n,), in [0, classes).
        classes: how many there are.

    Returns:
        int64, shape (classes, classes): rows are the truth, columns what was predicted.
    """
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def f1_by_class(confusion: NDArray[np.int64]) -> Values:
    """The harmonic mean of precision and recall of each class.

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
    """The mean F1 of the classes that the truth holds, each counting the same; 0 where it holds none."""
    scores = f1_by_class(confusion)
    known = ~np.isnan(scores)
    return float(scores[known].mean()) if known.any() else 0.0


def bootstrap_interval(values: NDArray[np.generic], seed: int, resamples: int = 1000) -> list[Interval]:
    """95 % confidence intervals of means, by the percentile bootstrap over queries (Efron, 1979).

    Args:
        values: shape (n, m): m figures of n queries, all resampled alike.
        seed: the same seed gives the same intervals.
        resamples: how many times n queries are drawn with replacement.

    Returns:
        m intervals; NaN to NaN where there is no query.
    """
    count, figures = values.shape
    if count == 0:
        return [Interval(float("nan"), float("nan"))] * figures
    random = np.random.default_rng(seed)
    numbers = values.astype(np.float32)
    means = np.empty((resamples, figures))
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        weights = np.empty((size, count), dtype=np.float32)
        for row in weights:
            row[:] = np.bincount(random.integers(0, count, count), minlength=count)
        means[start : start + size] = weights @ numbers / count
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def mean_where(values: Values, known: Flags) -> float:
    """The mean of the values that are known; 0 where none is."""
    return float(values[known].mean()) if known.any() else 0.0


def counts_by(columns: Codes, catalogue: Codes) -> Codes:
    """How many products of the catalogue carry the label of each query; 0 for MISSING."""
    size = int(max(columns.max(initial=MISSING), catalogue.max(initial=MISSING))) + 1
    counts = np.bincount(catalogue[catalogue != MISSING], minlength=max(size, 1))
    return np.where(columns == MISSING, 0, counts[columns])


def vote(labels: Codes, results: Codes, weights: NDArray[np.floating] | None = None) -> Codes:
    """The label that the most of each query's results have; of equally frequent ones that of the most similar result.

    Args:
        labels: int64, shape (m,), the catalogue's labels, none of them MISSING.
        results: int64, shape (n, k), the most similar first, MISSING where there are fewer.
        weights: at least 0, shape (n, k), what each result's vote counts; 1 where they are not given.

    Returns:
        int64, shape (n,); MISSING for a query without any result.
    """
    found = np.where(results == MISSING, MISSING, labels[results])
    counted = np.ones(results.shape) if weights is None else weights
    # What the results of the same row that carry the label of each count together.
    counts = ((found[:, :, None] == found[:, None, :]) * counted[:, None, :]).sum(axis=2)
    counts[found == MISSING] = 0
    # The first of the largest is the most similar one.
    return np.asarray(found[np.arange(len(found)), counts.argmax(axis=1)])
