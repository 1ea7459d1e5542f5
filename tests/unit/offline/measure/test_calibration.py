"""Calibration and doubt on figures that can be counted by hand."""

import numpy as np
import pytest

from offline.measure.calibration import area_under_curve, expected_calibration_error, reliability, thresholds


def test_reliability_compares_each_bins_probability_with_what_is_right() -> None:
    bins = reliability(np.array([0.95, 0.91, 0.32, 0.38, 1.0]), np.array([True, False, False, False, True]))

    assert [(each.low, each.high, each.answers) for each in bins] == [(0.3, 0.4, 2), (0.9, 1.0, 3)]
    assert [each.right for each in bins] == [0.0, pytest.approx(2 / 3)]
    assert bins[0].probability == pytest.approx(0.35)
    # Two of five answers are 35 points off, three of five 95.33 - 66.67.
    assert expected_calibration_error(bins) == pytest.approx(0.4 * 0.35 + 0.6 * (2.86 / 3 - 2 / 3))


def test_the_ends_of_the_range_are_in_the_outer_bins() -> None:
    bins = reliability(np.array([0.0, 0.1, 1.0]), np.array([False, False, True]))

    assert [(each.low, each.answers) for each in bins] == [(0.0, 2), (0.9, 1)]
    assert expected_calibration_error([]) == 0.0


def test_a_sign_that_is_always_higher_where_right_tells_everything() -> None:
    right = np.array([True, False, True, False])

    assert area_under_curve(np.array([0.9, 0.1, 0.8, 0.2]), right) == 1.0
    assert area_under_curve(np.array([0.1, 0.9, 0.2, 0.8]), right) == 0.0
    assert area_under_curve(np.array([0.5, 0.5, 0.5, 0.5]), right) == 0.5
    # Of four pairs, three are in order and one is equal.
    assert area_under_curve(np.array([0.9, 0.1, 0.5, 0.5]), right) == pytest.approx(3.5 / 4)
    assert area_under_curve(np.array([0.9, 0.1]), np.array([True, True])) is None


def test_a_threshold_says_what_it_costs_and_what_it_catches() -> None:
    signs = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.15, 0.85])
    right = np.array([True] * 10 + [False] * 2)

    (found,) = thresholds(signs, right, [0.2])

    assert found.threshold == pytest.approx(0.28)
    assert found.right_doubted == pytest.approx(0.2)
    assert found.wrong_caught == pytest.approx(0.5)
    assert found.doubted == pytest.approx(3 / 12)
    assert found.right_above == pytest.approx(8 / 9)
    assert thresholds(signs, np.ones(12, dtype=bool), [0.2]) == []
