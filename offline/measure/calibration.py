"""How far probabilities can be believed, and how well a sign tells right answers from wrong ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from offline.measure.metrics import Flags, Values

BINS: Final = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose probability lies between two bounds.

    Attributes:
        low: the lower bound.
        high: the upper bound, which belongs to the bin.
        answers: the number of answers.
        probability: the mean of their probabilities.
        right: the share of them that is right.
    """

    low: float
    high: float
    answers: int
    probability: float
    right: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """What happens if answers whose sign lies below a threshold count as doubtful.

    Attributes:
        threshold: the threshold.
        right_doubted: the share of right answers below it.
        wrong_caught: the share of wrong answers below it.
        doubted: the share of all answers below it.
        right_above: the share of the answers at or above it that is right.
    """

    threshold: float
    right_doubted: float
    wrong_caught: float
    doubted: float
    right_above: float


def reliability(probabilities: Values, right: Flags) -> list[ReliabilityBin]:
    """Compares probabilities with the share of right answers, in bins of equal width without the empty ones.

    Args:
        probabilities: shape (n,), in [0, 1].
        right: bool, shape (n,).
    """
    places = np.clip(np.ceil(probabilities * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = []
    for place in np.unique(places).tolist():
        inside = places == place
        bins.append(
            ReliabilityBin(
                low=place / BINS,
                high=(place + 1) / BINS,
                answers=int(inside.sum()),
                probability=float(probabilities[inside].mean()),
                right=float(right[inside].mean()),
            )
        )
    return bins


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Returns the mean distance of probability and share of right answers, weighted by the answers of each bin.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. 0 without bins.
    """
    answers = sum(each.answers for each in bins)
    return sum(each.answers * abs(each.probability - each.right) for each in bins) / max(answers, 1)


def area_under_curve(signs: Values, right: Flags) -> float | None:
    """Returns how often a right answer has a higher sign than a wrong one; equal signs count half.

    Args:
        signs: shape (n,), such as a similarity or a probability.
        right: bool, shape (n,).

    Returns:
        The area under the ROC curve in [0, 1]; 0.5 for a sign that tells nothing; None where no answer, or each, is
        right.
    """
    positives, negatives = int(right.sum()), int((~right).sum())
    if not positives or not negatives:
        return None
    _, places, counts = np.unique(signs, return_inverse=True, return_counts=True)
    # Equal signs share the mean of their ranks.
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = ranks[places][right].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def thresholds(signs: Values, right: Flags, shares: Sequence[float]) -> list[Threshold]:
    """Returns the thresholds that doubt given shares of the right answers, and what each catches.

    Args:
        signs: shape (n,).
        right: bool, shape (n,).
        shares: the shares of the right answers, each in (0, 1).

    Returns:
        One threshold per share; none where no answer, or each, is right.
    """
    if right.all() or not right.any():
        return []
    found = []
    for share in shares:
        threshold = float(np.quantile(signs[right], share))
        doubted = signs < threshold
        above = ~doubted
        found.append(
            Threshold(
                threshold=threshold,
                right_doubted=float(doubted[right].mean()),
                wrong_caught=float(doubted[~right].mean()),
                doubted=float(doubted.mean()),
                right_above=float(right[above].mean()),
            )
        )
    return found
