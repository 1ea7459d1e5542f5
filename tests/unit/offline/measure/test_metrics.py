"""The figures of an evaluation against examples worked by hand."""

import math

import numpy as np
import pytest

from offline.measure.metrics import (
    MISSING,
    ShortAnswer,
    agreement,
    all_right,
    average_precision,
    bootstrap_interval,
    confusion_matrix,
    counts_by,
    encode_labels,
    f1_by_class,
    macro_f1,
    normalised_gain,
    precision,
    right_results,
    within_tolerance,
)


def codes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_labels_of_several_columns_share_one_code() -> None:
    labels, (first, second) = encode_labels(["b", None, "a"], ["c", "a"])

    assert labels == ("a", "b", "c")
    assert first.tolist() == [1, MISSING, 0]
    assert second.tolist() == [2, 0]


def test_a_result_agrees_with_its_own_query_alone() -> None:
    right = agreement(codes(0, 1), codes(0, 1, 1), np.array([[0, 1, 2], [2, 0, MISSING]]))

    assert right.tolist() == [[True, False, False], [True, False, False]]


def test_an_unknown_label_agrees_with_nothing_not_even_another_unknown_one() -> None:
    right = agreement(codes(MISSING, 0), codes(MISSING, 0), np.array([[0, 1], [0, 1]]))

    assert right.tolist() == [[False, False], [False, True]]


def test_tolerance_counts_wrong_results_out_of_ten() -> None:
    wrong_counts = range(4)
    right = np.array([[False] * wrong + [True] * (10 - wrong) for wrong in wrong_counts])
    results = np.zeros((4, 10), dtype=np.int64)

    assert within_tolerance(right, results, 0.0).tolist() == [True, False, False, False]
    assert within_tolerance(right, results, 0.1).tolist() == [True, True, False, False]
    assert within_tolerance(right, results, 0.2).tolist() == [True, True, True, False]
    # 0.3 x 10 is 2.9999999999999996 as floats go.
    assert within_tolerance(right, results, 0.3).tolist() == [True, True, True, True]


@pytest.mark.parametrize(
    ("right", "tolerance", "short", "within"),
    [
        # Two shown, both right.
        ([True, True], 0.0, ShortAnswer.PLACES, True),
        ([True, True], 0.0, ShortAnswer.SHOWN, True),
        ([True, True], 0.2, ShortAnswer.MISSING_WRONG, False),
        # Two shown, both wrong: two of ten places, but all that there is.
        ([False, False], 0.1, ShortAnswer.PLACES, False),
        ([False, False], 0.2, ShortAnswer.PLACES, True),
        ([False, False], 0.2, ShortAnswer.SHOWN, False),
        # Five shown, one wrong: a fifth.
        ([True, False, True, True, True], 0.1, ShortAnswer.PLACES, True),
        ([True, False, True, True, True], 0.1, ShortAnswer.SHOWN, False),
        ([True, False, True, True, True], 0.2, ShortAnswer.SHOWN, True),
    ],
)
def test_answers_of_fewer_than_ten(right: list[bool], tolerance: float, short: ShortAnswer, within: bool) -> None:
    missing = 10 - len(right)
    results = np.array([[5] * len(right) + [MISSING] * missing])

    assert within_tolerance(np.array([right + [False] * missing]), results, tolerance, short).tolist() == [within]


def test_an_empty_answer_is_never_a_right_one() -> None:
    results = np.full((1, 10), MISSING)

    for short in ShortAnswer:
        assert within_tolerance(np.zeros((1, 10), dtype=bool), results, 1.0, short).tolist() == [False]


def test_precision_is_a_share_of_what_is_shown() -> None:
    right = np.array([[True, False, True, True], [True, False, False, False], [False] * 4])
    results = np.array([[0, 1, 2, 3], [0, 1, MISSING, MISSING], [MISSING] * 4])

    assert precision(right, results).tolist() == [0.75, 0.5, 0.0]


def test_average_precision() -> None:
    right = np.array([[True, False, True, False], [True, True, False, False], [False] * 4])

    # (1/1 + 2/3) / min(3, 4); two of two at the top; none.
    assert average_precision(right, codes(3, 2, 0)) == pytest.approx([5 / 9, 1.0, 0.0])


def test_normalised_gain() -> None:
    # Grades 1, 3, 0 where the catalogue holds two of grade 1 and one of grade 3: the best row is 3, 1, 1.
    gained = 1 / math.log2(2) + 7 / math.log2(3)
    best = 7 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)

    result = normalised_gain(np.array([[1, 3, 0], [3, 1, 1], [0, 0, 0]]), np.array([[2, 0, 1], [2, 0, 1], [0, 0, 0]]))

    assert result == pytest.approx([gained / best, 1.0, 0.0])


def test_the_best_row_holds_no_more_than_k_products() -> None:
    assert normalised_gain(np.array([[2, 2]]), np.array([[9, 9]])) == pytest.approx([1.0])


def test_confusion_and_f1() -> None:
    truth, predicted = codes(0, 0, 0, 1, 1), codes(0, 0, 1, 1, 2)
    confusion = confusion_matrix(truth, predicted, 3)

    assert confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    # Class 0: precision 1, recall 2/3. Class 1: precision 1/2, recall 1/2. Class 2 is never the truth.
    assert f1_by_class(confusion)[:2] == pytest.approx([0.8, 0.5])
    assert math.isnan(f1_by_class(confusion)[2])
    assert macro_f1(confusion) == pytest.approx(0.65)


def test_relevant_products_are_counted_by_the_label_of_the_query() -> None:
    assert counts_by(codes(0, 2, MISSING), codes(0, 0, 1, MISSING)).tolist() == [2, 0, 0]


def test_a_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.zeros((400, 2))
    values[:100, 0] = 1.0
    values[:, 1] = 1.0

    share, constant = bootstrap_interval(values, seed=7)

    # The standard error of a share of 1/4 among 400 is 0.0217; 1.96 of them are 0.0424.
    assert share.low == pytest.approx(0.25 - 0.0424, abs=0.006)
    assert share.high == pytest.approx(0.25 + 0.0424, abs=0.006)
    assert (constant.low, constant.high) == (1.0, 1.0)


def test_a_bootstrap_interval_is_the_same_for_the_same_seed() -> None:
    values = np.arange(50, dtype=np.float64)[:, None]

    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_queries_of_a_group_are_drawn_together() -> None:
    # Of ten groups of forty, each right or wrong as a whole, a mean is known as badly as of ten queries.
    values = np.repeat(np.array([1.0] * 5 + [0.0] * 5), 40)[:, None]

    (single,) = bootstrap_interval(values, seed=3)
    (grouped,) = bootstrap_interval(values, seed=3, groups=np.repeat(np.arange(10) * 7, 40))

    assert single.high - single.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(400), abs=0.015)
    assert grouped.high - grouped.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(10), abs=0.1)


def test_a_large_group_weighs_more_in_the_mean() -> None:
    values, groups = np.array([1.0] * 9 + [0.0])[:, None], codes(*[0] * 9, 1)

    (interval,) = bootstrap_interval(values, seed=3, groups=groups)

    # A quarter of the draws take one group twice, half of them both: 0, 0.9 or 1.
    assert (interval.low, interval.high) == (0.0, 1.0)
    assert bootstrap_interval(values, seed=3, groups=np.arange(10)) == bootstrap_interval(values, seed=3)


def test_no_query_has_no_interval() -> None:
    (interval,) = bootstrap_interval(np.zeros((0, 1)), seed=1)

    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_all_right_needs_a_result_and_no_wrong_one() -> None:
    results = np.array([[0, 1], [0, 2], [0, MISSING], [MISSING, MISSING]])

    right, known = right_results(["a", "a", "a", "a"], ["a", "a", "b"], results)

    assert all_right(right, results).tolist() == [True, False, True, False]
    assert known.all()


def test_no_label_agrees_with_nothing_not_even_with_none() -> None:
    right, known = right_results([None, "a"], [None, "a"], np.array([[0, 1], [0, 1]]))

    assert right.tolist() == [[False, False], [False, True]]
    assert known.tolist() == [False, True]
